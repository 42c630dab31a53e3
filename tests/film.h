#ifndef REEL_TESTS_FILM_H
#define REEL_TESTS_FILM_H

/* Writes small films for the tests of the reader: any codec, any time stamps, any rotation. */
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/display.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct film {
    const char *path, *codec; /* "png" (lossless RGB), "mpeg4" (needs yuv420p) */
    int w, h, frames, fps, rotation;
    const int64_t *ms; /* time of each frame in milliseconds, NULL: evenly at fps */
};

/* Grey level of a pixel: tells frame and place apart. */
static uint8_t film_pixel(int f, int y, int x, int c) { return (uint8_t)(f * 7 + y * 3 + x * 5 + c * 40); }

static void film_fill(AVFrame *fr, int f, int rgb)
{
    if (rgb) {
        for (int y = 0; y < fr->height; y++)
            for (int i = 0; i < fr->width * 3; i++) fr->data[0][y * fr->linesize[0] + i] = film_pixel(f, y, i / 3, i % 3);
        return;
    }
    for (int y = 0; y < fr->height; y++)
        for (int x = 0; x < fr->width; x++) fr->data[0][y * fr->linesize[0] + x] = film_pixel(f, y, x, (x * y + f) % 5);
    for (int p = 1; p < 3; p++)
        for (int y = 0; y < fr->height / 2; y++) memset(fr->data[p] + y * fr->linesize[p], 128, (size_t)fr->width / 2);
}

static void film_drain(AVFormatContext *oc, AVCodecContext *c, AVStream *st, AVPacket *pkt)
{
    while (avcodec_receive_packet(c, pkt) >= 0) {
        av_packet_rescale_ts(pkt, c->time_base, st->time_base);
        av_interleaved_write_frame(oc, pkt);
    }
}

/* 0, or negative if this libav cannot write it */
static int film_write(const struct film *m)
{
    AVFormatContext *oc = NULL;
    const AVCodec *codec = avcodec_find_encoder_by_name(m->codec);
    AVCodecContext *c = codec ? avcodec_alloc_context3(codec) : NULL;
    AVFrame *fr = av_frame_alloc();
    AVPacket *pkt = av_packet_alloc();
    AVStream *st;
    int rgb = !strcmp(m->codec, "png"), e;

    if (!c || avformat_alloc_output_context2(&oc, NULL, NULL, m->path) < 0) return -1;
    st = avformat_new_stream(oc, NULL);
    c->width = m->w, c->height = m->h, c->pix_fmt = rgb ? AV_PIX_FMT_RGB24 : AV_PIX_FMT_YUV420P;
    c->time_base = m->ms ? (AVRational){ 1, 1000 } : (AVRational){ 1, m->fps };
    c->framerate = (AVRational){ m->fps, 1 };
    st->time_base = c->time_base, st->avg_frame_rate = c->framerate;
    if (oc->oformat->flags & AVFMT_GLOBALHEADER) c->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    if (avcodec_open2(c, codec, NULL) < 0 || avcodec_parameters_from_context(st->codecpar, c) < 0) return -2;
    if (m->rotation) {
        int32_t *d = (int32_t *)(void *)av_stream_new_side_data(st, AV_PKT_DATA_DISPLAYMATRIX, 9 * sizeof *d);
        av_display_rotation_set(d, m->rotation); /* clockwise */
    }
    if (avio_open(&oc->pb, m->path, AVIO_FLAG_WRITE) < 0 || avformat_write_header(oc, NULL) < 0) return -3;
    fr->format = c->pix_fmt, fr->width = m->w, fr->height = m->h;
    if (av_frame_get_buffer(fr, 0) < 0) return -4;
    for (int f = 0; f < m->frames; f++) {
        av_frame_make_writable(fr);
        film_fill(fr, f, rgb);
        fr->pts = m->ms ? m->ms[f] : f;
        if (avcodec_send_frame(c, fr) < 0) return -5;
        film_drain(oc, c, st, pkt);
    }
    avcodec_send_frame(c, NULL);
    film_drain(oc, c, st, pkt);
    e = av_write_trailer(oc);
    avio_closep(&oc->pb);
    avformat_free_context(oc);
    avcodec_free_context(&c);
    av_frame_free(&fr);
    av_packet_free(&pkt);
    return e;
}

#endif
