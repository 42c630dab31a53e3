#include "media/movie.h"

#include <errno.h>
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/opt.h>
#include <libswscale/swscale.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "media/av.h"
#include "media/video.h"

/* Encoders of films, best first. */
static const struct encoder {
    const char *name, *options, *warning;
} encoders[] = {
    { "libx264", "preset=ultrafast,crf=18,x264-params=cpu-independent=1:force-cfr=1", NULL },
    { "libopenh264", "", NULL },
    { "mpeg4", "", "libav has no H.264 encoder here (libx264): films are MPEG-4 part 2, which players show and browsers do not" },
};
enum { N_ENCODERS = sizeof encoders / sizeof *encoders };

struct reel_movie {
    char path[PATH_MAX], part[PATH_MAX], tmp[PATH_MAX]; /* the film, what grows, what is settled */
    int w, h, even_w, even_h;
    double fps;
    int64_t frames;
    AVFormatContext *oc;
    AVCodecContext *enc;
    AVStream *st;
    AVPacket *pkt;
    AVFrame *frame;
    struct SwsContext *sws;
    uint8_t *padded; /* [even_h,even_w,3]; NULL where the sides are even */
};

static const struct encoder *best(void)
{
    for (int i = 0; i < N_ENCODERS; i++)
        if (avcodec_find_encoder_by_name(encoders[i].name)) return &encoders[i];
    return NULL;
}

const char *reel_movie_encoder(void) { return best() ? best()->name : NULL; }
const char *reel_movie_warning(void) { return best() ? best()->warning : "libav has no encoder for films here"; }

static reel_err written(const struct reel_movie *m, int code)
{
    if (code >= 0 && m->oc->pb) code = m->oc->pb->error; /* the muxer forgets some of them */
    return code < 0 ? reel_av_fail(REEL_EIO, m->path, "cannot write", code) : REEL_OK;
}

/* ---- beginning ----------------------------------------------------------------------------- */

static reel_err start_encoder(struct reel_movie *m, const char *name)
{
    const AVCodec *codec = name ? avcodec_find_encoder_by_name(name) : NULL;
    AVDictionary *options = NULL;
    AVCodecContext *c;
    int e = 0;

    if (!codec) return REEL_FAIL(REEL_ECONFIG, "%s: libav has no encoder%s%s here", m->path, name ? " " : " for films", name ? name : "");
    c = m->enc = avcodec_alloc_context3(codec);
    if (!c) return REEL_FAIL(REEL_ENOMEM, "%s: no memory for the encoder", m->path);
    c->width = m->even_w, c->height = m->even_h, c->pix_fmt = AV_PIX_FMT_YUV420P;
    c->framerate = av_d2q(m->fps, 1001000);
    c->time_base = av_inv_q(c->framerate);
    c->colorspace = AVCOL_SPC_SMPTE170M, c->color_range = AVCOL_RANGE_MPEG; /* what the conversion below makes */
    c->thread_count = 1; /* the same bytes everywhere */
    c->flags |= AV_CODEC_FLAG_GLOBAL_HEADER | AV_CODEC_FLAG_BITEXACT | AV_CODEC_FLAG_QSCALE;
    c->global_quality = 2 * FF_QP2LAMBDA; /* of encoders without an option for it */
    for (int i = 0; i < N_ENCODERS; i++)
        if (!strcmp(encoders[i].name, name)) e = av_dict_parse_string(&options, encoders[i].options, "=", ",", 0);
    if (e >= 0) e = avcodec_open2(c, codec, &options);
    av_dict_free(&options);
    return e < 0 ? reel_av_fail(REEL_ECONFIG, m->path, "the encoder refuses this size or rate", e) : REEL_OK;
}

static reel_err open_file(struct reel_movie *m, AVFormatContext **oc, const char *path)
{
    char url[PATH_MAX + 8];
    int e;

    snprintf(url, sizeof url, "file:%s", path);
    e = avformat_alloc_output_context2(oc, NULL, "mp4", url);
    if (e < 0) return reel_av_fail(REEL_ENOMEM, m->path, "no mp4", e);
    (*oc)->flags |= AVFMT_FLAG_BITEXACT; /* no versions, no dates */
    e = avio_open(&(*oc)->pb, url, AVIO_FLAG_WRITE);
    return e < 0 ? reel_av_fail(REEL_EIO, m->path, "cannot write", e) : REEL_OK;
}

static reel_err begin_part(struct reel_movie *m, const struct reel_movie_opts *o)
{
    AVDictionary *options = NULL;
    int e;

    REEL_TRY(open_file(m, &m->oc, m->part));
    m->st = avformat_new_stream(m->oc, NULL);
    if (!m->st) return REEL_FAIL(REEL_ENOMEM, "%s: no memory", m->path);
    m->st->time_base = m->enc->time_base;
    m->st->avg_frame_rate = m->enc->framerate;
    e = avcodec_parameters_from_context(m->st->codecpar, m->enc);
    if (e >= 0 && o->caption) e = av_dict_set(&m->oc->metadata, "title", o->caption, 0);
    if (e >= 0 && o->comment) e = av_dict_set(&m->oc->metadata, "comment", o->comment, 0);
    if (e >= 0) e = av_dict_set(&options, "movflags", "frag_custom+empty_moov+default_base_moof", 0);
    if (e >= 0) e = avformat_write_header(m->oc, &options);
    av_dict_free(&options);
    return written(m, e);
}

static reel_err prepare_picture(struct reel_movie *m)
{
    m->pkt = av_packet_alloc();
    m->frame = av_frame_alloc();
    if (!m->pkt || !m->frame) return REEL_FAIL(REEL_ENOMEM, "%s: no memory", m->path);
    m->frame->format = AV_PIX_FMT_YUV420P, m->frame->width = m->even_w, m->frame->height = m->even_h;
    m->sws = sws_getContext(m->even_w, m->even_h, AV_PIX_FMT_RGB24, m->even_w, m->even_h, AV_PIX_FMT_YUV420P,
                            SWS_BICUBIC | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INP | SWS_BITEXACT, NULL, NULL, NULL);
    if (m->even_w != m->w || m->even_h != m->h) m->padded = malloc((size_t)m->even_w * (size_t)m->even_h * 3);
    if (!m->sws || av_frame_get_buffer(m->frame, 0) < 0 || (!m->padded && (m->even_w != m->w || m->even_h != m->h)))
        return REEL_FAIL(REEL_ENOMEM, "%s: no memory for a picture", m->path);
    return REEL_OK;
}

static reel_err begin(struct reel_movie *m, const struct reel_movie_opts *o)
{
    if (snprintf(m->tmp, sizeof m->tmp, "%s.tmp", o->path) >= (int)sizeof m->tmp ||
        snprintf(m->part, sizeof m->part, "%s.part", o->path) >= (int)sizeof m->part)
        return REEL_FAIL(REEL_EIO, "%s: the name is too long", o->path);
    snprintf(m->path, sizeof m->path, "%s", o->path);
    if (reel_is_dir(m->path)) return REEL_FAIL(REEL_EIO, "%s: is a folder; name a file to write", m->path);
    if (o->width < 1 || o->height < 1 || !(o->fps >= 0.01 && o->fps <= 1000))
        return REEL_FAIL(REEL_ECONFIG, "%s: a film of %d x %d pixels at %g pictures a second cannot be", m->path, o->width, o->height, o->fps);
    m->w = o->width, m->h = o->height, m->fps = o->fps;
    m->even_w = m->w + m->w % 2, m->even_h = m->h + m->h % 2;
    av_log_set_level(AV_LOG_QUIET); /* our messages, not its own */
    REEL_TRY(start_encoder(m, o->encoder ? o->encoder : reel_movie_encoder()));
    REEL_TRY(prepare_picture(m));
    return begin_part(m, o);
}

reel_err reel_movie_open(struct reel_movie **out, const struct reel_movie_opts *o)
{
    struct reel_movie *m = *out = calloc(1, sizeof *m);
    reel_err e = m ? begin(m, o) : REEL_FAIL(REEL_ENOMEM, "%s: no memory", o->path);

    if (e) reel_movie_drop(out);
    return e;
}

/* ---- pictures ------------------------------------------------------------------------------ */

static const uint8_t *even_sides(struct reel_movie *m, const uint8_t *rgb)
{
    size_t from = 3 * (size_t)m->w, to = 3 * (size_t)m->even_w;

    if (!m->padded) return rgb;
    for (int y = 0; y < m->even_h; y++) {
        uint8_t *row = m->padded + (size_t)y * to;
        memcpy(row, rgb + (size_t)(y < m->h ? y : m->h - 1) * from, from);
        if (to > from) memcpy(row + from, row + from - 3, 3);
    }
    return m->padded;
}

/* Packets that are ready, into the part. */
static reel_err drain(struct reel_movie *m)
{
    int e;

    while ((e = avcodec_receive_packet(m->enc, m->pkt)) >= 0) {
        m->pkt->duration = 1;
        av_packet_rescale_ts(m->pkt, m->enc->time_base, m->st->time_base);
        m->pkt->stream_index = m->st->index;
        REEL_TRY(written(m, av_write_frame(m->oc, m->pkt)));
    }
    if (e != AVERROR(EAGAIN) && e != AVERROR_EOF) return reel_av_fail(REEL_EIO, m->path, "cannot encode", e);
    return REEL_OK;
}

reel_err reel_movie_frame(struct reel_movie *m, const uint8_t *rgb)
{
    const uint8_t *src[4] = { even_sides(m, rgb) };
    const int stride[4] = { 3 * m->even_w };
    int e = av_frame_make_writable(m->frame);

    if (e >= 0) {
        sws_scale(m->sws, src, stride, 0, m->even_h, m->frame->data, m->frame->linesize);
        m->frame->pts = m->frames;
        e = avcodec_send_frame(m->enc, m->frame);
    }
    if (e < 0) return reel_av_fail(REEL_EIO, m->path, "cannot encode", e);
    m->frames++;
    return drain(m);
}

reel_err reel_movie_flush(struct reel_movie *m)
{
    REEL_TRY(written(m, av_write_frame(m->oc, NULL))); /* ends the fragment */
    avio_flush(m->oc->pb);
    return written(m, 0);
}

/* ---- end ----------------------------------------------------------------------------------- */

static reel_err end_part(struct reel_movie *m)
{
    int e;

    if (!m->frames) return REEL_FAIL(REEL_EDATA, "%s: a film without pictures", m->path);
    e = avcodec_send_frame(m->enc, NULL);
    if (e < 0) return reel_av_fail(REEL_EIO, m->path, "cannot encode", e);
    REEL_TRY(drain(m));
    REEL_TRY(written(m, av_write_trailer(m->oc)));
    e = avio_closep(&m->oc->pb);
    return e < 0 ? reel_av_fail(REEL_EIO, m->path, "cannot write", e) : REEL_OK;
}

static int copy_packets(AVFormatContext *in, AVFormatContext *out, AVPacket *pkt)
{
    int e;

    while ((e = av_read_frame(in, pkt)) >= 0) {
        av_packet_rescale_ts(pkt, in->streams[0]->time_base, out->streams[0]->time_base);
        pkt->pos = -1;
        e = av_write_frame(out, pkt);
        av_packet_unref(pkt);
        if (e < 0) return e;
    }
    return e == AVERROR_EOF ? av_write_trailer(out) : e;
}

/* Fragments to one piece with its index in front: what every player, editor and browser takes. */
static int copy_film(AVFormatContext *in, AVFormatContext *out, AVPacket *pkt)
{
    AVDictionary *options = NULL;
    AVStream *st = avformat_new_stream(out, NULL);
    int e = st ? avformat_find_stream_info(in, NULL) : AVERROR(ENOMEM);

    if (e >= 0) e = in->nb_streams == 1 ? avcodec_parameters_copy(st->codecpar, in->streams[0]->codecpar) : AVERROR_INVALIDDATA;
    if (e >= 0) e = av_dict_copy(&out->metadata, in->metadata, 0);
    if (e >= 0) e = av_dict_set(&options, "movflags", "faststart", 0);
    if (e >= 0) {
        st->time_base = in->streams[0]->time_base;
        st->avg_frame_rate = in->streams[0]->avg_frame_rate;
        e = avformat_write_header(out, &options);
    }
    av_dict_free(&options);
    return e < 0 ? e : copy_packets(in, out, pkt);
}

static reel_err settle(struct reel_movie *m)
{
    AVFormatContext *in = NULL, *out = NULL;
    char url[PATH_MAX + 8];
    reel_err failed = open_file(m, &out, m->tmp);
    int e = 0, closed = 0;

    snprintf(url, sizeof url, "file:%s", m->part);
    if (!failed) e = avformat_open_input(&in, url, NULL, NULL);
    if (!failed && e >= 0) e = copy_film(in, out, m->pkt);
    avformat_close_input(&in);
    if (out && out->pb) {
        if (e >= 0) e = out->pb->error;
        closed = avio_closep(&out->pb);
    }
    avformat_free_context(out);
    if (!failed && (e < 0 || closed < 0)) failed = reel_av_fail(REEL_EIO, m->path, "cannot write", e < 0 ? e : closed);
    return failed;
}

static reel_err verify(const struct reel_movie *m)
{
    const struct reel_video_info *f;
    struct reel_video *v;
    reel_err e;

    REEL_TRY(reel_video_open(&v, m->tmp));
    f = reel_video_info(v);
    e = f->width == m->even_w && f->height == m->even_h && f->frames == m->frames && fabs(f->fps - m->fps) < 1e-3 * m->fps
            ? REEL_OK
            : REEL_FAIL(REEL_EDATA, "%s: reads back as %lld pictures of %d x %d at %g a second; written: %lld of %d x %d at %g", m->path,
                        (long long)f->frames, f->width, f->height, f->fps, (long long)m->frames, m->even_w, m->even_h, m->fps);
    reel_video_close(v);
    return e;
}

static reel_err finish(struct reel_movie *m)
{
    REEL_TRY(end_part(m));
    REEL_TRY(settle(m));
    REEL_TRY(verify(m));
    return reel_publish(m->tmp, m->path);
}

reel_err reel_movie_close(struct reel_movie **m)
{
    reel_err e = *m ? finish(*m) : REEL_OK;

    reel_movie_drop(m);
    return e;
}

void reel_movie_drop(struct reel_movie **out)
{
    struct reel_movie *m = *out;

    *out = NULL;
    if (!m) return;
    if (m->oc && m->oc->pb) avio_closep(&m->oc->pb);
    if (*m->path) unlink(m->part), unlink(m->tmp); /* gone already after a good end */
    avformat_free_context(m->oc);
    avcodec_free_context(&m->enc);
    av_packet_free(&m->pkt);
    av_frame_free(&m->frame);
    sws_freeContext(m->sws);
    free(m->padded), free(m);
}
