#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libswscale/swscale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "media/av.h"
#include "media/movie.h"
#include "media/video.h"

enum { MOST_WIDTH = 256, MOST_PICTURES = 48 };

struct gif {
    const char *path;
    struct reel_video *film;
    int shrink, step; /* of width and height; every so many pictures */
    uint8_t *rgb;
    AVFormatContext *oc;
    AVCodecContext *enc;
    AVStream *st;
    AVFrame *frame;
    AVPacket *pkt;
    struct SwsContext *sws;
};

static reel_err open_gif(struct gif *g)
{
    const struct reel_video_info *f = reel_video_info(g->film);
    const AVCodec *codec = avcodec_find_encoder(AV_CODEC_ID_GIF);
    int w, h, e;

    if (!codec) return REEL_FAIL(REEL_ECONFIG, "%s: libav has no encoder for GIF here", g->path);
    g->shrink = (f->width + MOST_WIDTH - 1) / MOST_WIDTH;
    g->step = (int)((f->frames + MOST_PICTURES - 1) / MOST_PICTURES);
    w = f->width / g->shrink, h = f->height / g->shrink > 0 ? f->height / g->shrink : 1;
    g->rgb = malloc((size_t)f->width * (size_t)f->height * 3);
    g->enc = avcodec_alloc_context3(codec);
    g->frame = av_frame_alloc(), g->pkt = av_packet_alloc();
    if (!g->rgb || !g->enc || !g->frame || !g->pkt) return REEL_FAIL(REEL_ENOMEM, "%s: no memory for a GIF", g->path);
    g->enc->width = g->frame->width = w, g->enc->height = g->frame->height = h;
    g->enc->pix_fmt = AV_PIX_FMT_RGB8, g->frame->format = AV_PIX_FMT_RGB8;
    g->enc->time_base = (AVRational){ 1, 100 };
    g->enc->flags |= AV_CODEC_FLAG_BITEXACT;
    e = avcodec_open2(g->enc, codec, NULL);
    if (e >= 0) e = av_frame_get_buffer(g->frame, 0);
    if (e >= 0) e = avformat_alloc_output_context2(&g->oc, NULL, "gif", NULL);
    if (e >= 0) g->st = avformat_new_stream(g->oc, NULL);
    g->sws = sws_getContext(f->width, f->height, AV_PIX_FMT_RGB24, w, h, AV_PIX_FMT_RGB8, SWS_AREA | SWS_ACCURATE_RND | SWS_BITEXACT, NULL, NULL, NULL);
    if (e < 0 || !g->st || !g->sws) return REEL_FAIL(REEL_ENOMEM, "%s: no memory for a GIF", g->path);
    g->st->time_base = g->enc->time_base;
    e = avcodec_parameters_from_context(g->st->codecpar, g->enc);
    if (e >= 0) e = avio_open_dyn_buf(&g->oc->pb);
    if (e >= 0) e = avformat_write_header(g->oc, NULL);
    return e < 0 ? reel_av_fail(REEL_EIO, g->path, "no GIF of it", e) : REEL_OK;
}

/* A picture, or NULL at the end. */
static int encode(struct gif *g, AVFrame *frame)
{
    int e = avcodec_send_frame(g->enc, frame);

    while (e >= 0 && (e = avcodec_receive_packet(g->enc, g->pkt)) >= 0) {
        av_packet_rescale_ts(g->pkt, g->enc->time_base, g->st->time_base);
        e = av_write_frame(g->oc, g->pkt);
        av_packet_unref(g->pkt);
    }
    return e == AVERROR(EAGAIN) || e == AVERROR_EOF ? 0 : e;
}

static reel_err write_pictures(struct gif *g)
{
    const struct reel_video_info *f = reel_video_info(g->film);
    const int stride[4] = { 3 * f->width };
    int e = 0;

    for (int64_t i = 0; i < f->frames && e >= 0; i += g->step) {
        REEL_TRY(reel_video_frame(g->film, i, g->rgb));
        e = av_frame_make_writable(g->frame);
        if (e < 0) break;
        sws_scale(g->sws, (const uint8_t *const[4]){ g->rgb }, stride, 0, f->height, g->frame->data, g->frame->linesize);
        g->frame->pts = llround((double)i * 100 / f->fps);
        e = encode(g, g->frame);
    }
    if (e >= 0) e = encode(g, NULL);
    if (e >= 0) e = av_write_trailer(g->oc);
    return e < 0 ? reel_av_fail(REEL_EIO, g->path, "no GIF of it", e) : REEL_OK;
}

/* The bytes that were written, malloc'ed, or none with gif NULL. */
static reel_err take(struct gif *g, void **gif, size_t *bytes)
{
    uint8_t *p = NULL;
    int n = g->oc && g->oc->pb ? avio_close_dyn_buf(g->oc->pb, &p) : 0;

    if (g->oc) g->oc->pb = NULL;
    if (gif && n > 0) *gif = malloc((size_t)n), *bytes = (size_t)n;
    if (gif && *gif) memcpy(*gif, p, *bytes);
    av_free(p);
    return !gif || *gif ? REEL_OK : REEL_FAIL(REEL_ENOMEM, "%s: no memory for a GIF", g->path);
}

reel_err reel_movie_gif(const char *path, void **gif, size_t *bytes)
{
    struct gif g = { .path = path };
    reel_err e, t;

    *gif = NULL, *bytes = 0;
    REEL_TRY(reel_video_open(&g.film, path));
    e = open_gif(&g);
    if (e == REEL_OK) e = write_pictures(&g);
    t = take(&g, e ? NULL : gif, bytes);
    reel_video_close(g.film);
    avformat_free_context(g.oc);
    avcodec_free_context(&g.enc);
    av_frame_free(&g.frame);
    av_packet_free(&g.pkt);
    sws_freeContext(g.sws);
    free(g.rgb);
    return e ? e : t;
}
