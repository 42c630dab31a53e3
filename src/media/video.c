#include "media/video.h"

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/display.h>
#include <libswscale/swscale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "media/av.h"
#include "media/fit.h"

struct reel_video {
    char path[1024];
    struct reel_video_info info;
    AVFormatContext *fmt;
    AVCodecContext *dec;
    AVPacket *pkt;
    AVFrame *frame;
    struct SwsContext *sws;
    int stream, draining;
    double tick;   /* seconds per time stamp */
    int64_t *pts;  /* [frames] ascending; NULL: the container has none */
    int64_t at;    /* index of `frame`, -1 before the first */
    uint8_t *raw;  /* [h,w,3] before rotation */
    int w, h;      /* before rotation */
};

static reel_err av_fail(const char *path, const char *what, int code)
{
    return reel_av_fail(code == AVERROR(ENOENT) || code == AVERROR(EACCES) ? REEL_EIO : REEL_EDATA, path, what, code);
}

static reel_err open_container(struct reel_video *v)
{
    int e = avformat_open_input(&v->fmt, v->path, NULL, NULL);

    if (e < 0) return av_fail(v->path, "not a film", e);
    e = avformat_find_stream_info(v->fmt, NULL);
    if (e < 0) return av_fail(v->path, "no readable stream", e);
    v->stream = av_find_best_stream(v->fmt, AVMEDIA_TYPE_VIDEO, -1, -1, NULL, 0);
    if (v->stream < 0) return REEL_FAIL(REEL_EDATA, "%s: no video stream", v->path);
    v->tick = av_q2d(v->fmt->streams[v->stream]->time_base);
    return REEL_OK;
}

/* ---- time stamps --------------------------------------------------------------------------- */

static int by_time(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

/* Containers lie about the number of frames or do not know it: count the packets. */
static reel_err read_stamps(struct reel_video *v)
{
    int64_t room = 0, n = 0, lacking = 0;
    int e;

    while ((e = av_read_frame(v->fmt, v->pkt)) >= 0) {
        if (v->pkt->stream_index == v->stream && !(v->pkt->flags & AV_PKT_FLAG_DISCARD)) {
            if (n == room) {
                int64_t *p = realloc(v->pts, (size_t)(room = room ? 2 * room : 1024) * sizeof *p);
                if (!p) return REEL_FAIL(REEL_ENOMEM, "%s: no memory for time stamps", v->path);
                v->pts = p;
            }
            lacking += v->pkt->pts == AV_NOPTS_VALUE;
            v->pts[n++] = v->pkt->pts;
        }
        av_packet_unref(v->pkt);
    }
    if (e != AVERROR_EOF) return av_fail(v->path, "damaged container", e);
    if (!n) return REEL_FAIL(REEL_EDATA, "%s: the video stream is empty", v->path);
    v->info.frames = n;
    if (lacking) free(v->pts), v->pts = NULL;
    else qsort(v->pts, (size_t)n, sizeof *v->pts, by_time);
    return REEL_OK;
}

static double time_of(const struct reel_video *v, int64_t i) { return (double)(v->pts[i] - v->pts[0]) * v->tick; }

static reel_err judge_spacing(struct reel_video *v)
{
    AVRational r = av_guess_frame_rate(v->fmt, v->fmt->streams[v->stream], NULL);
    struct reel_video_info *f = &v->info;
    double span = v->pts && f->frames > 1 ? time_of(v, f->frames - 1) : 0;

    f->fps = r.num > 0 && r.den > 0 ? av_q2d(r) : 0;
    for (int64_t i = 0; i < f->frames && v->pts && f->fps > 0; i++)
        if (fabs(time_of(v, i) - (double)i / f->fps) > 0.6 / f->fps) f->variable = 1;
    if (span > 0 && (f->variable || !(f->fps > 0))) f->fps = (double)(f->frames - 1) / span;
    if (!(f->fps > 0) || !isfinite(f->fps)) return REEL_FAIL(REEL_EDATA, "%s: the frame rate is not known", v->path);
    f->duration = f->variable ? span + 1 / f->fps : (double)f->frames / f->fps;
    return REEL_OK;
}

int64_t reel_video_count(const struct reel_video *v, double train_fps)
{
    if (!v->info.variable) return reel_frame_count(v->info.frames, v->info.fps, train_fps);
    return (int64_t)floor(v->info.duration * train_fps + 1e-6);
}

int64_t reel_video_pick(const struct reel_video *v, int64_t k, double train_fps)
{
    double t = (double)k / train_fps + v->tick / 2;
    int64_t lo = 0, hi = v->info.frames - 1;

    if (!v->info.variable) return reel_frame_index(k, v->info.fps, train_fps);
    while (lo < hi) { /* the last frame that begins by then */
        int64_t mid = (lo + hi + 1) / 2;
        if (time_of(v, mid) <= t) lo = mid;
        else hi = mid - 1;
    }
    return lo;
}

/* ---- opening ------------------------------------------------------------------------------- */

static int rotation_of(AVStream *st)
{
    const int32_t *m;
    double a;

#if LIBAVFORMAT_VERSION_MAJOR >= 61
    const AVPacketSideData *d = av_packet_side_data_get(st->codecpar->coded_side_data, st->codecpar->nb_coded_side_data, AV_PKT_DATA_DISPLAYMATRIX);
    m = d ? (const int32_t *)(const void *)d->data : NULL;
#else
    m = (const int32_t *)(const void *)av_stream_get_side_data(st, AV_PKT_DATA_DISPLAYMATRIX, NULL);
#endif
    a = m ? av_display_rotation_get(m) : 0; /* counterclockwise */
    return isfinite(a) ? (((int)lround(-a / 90) % 4 + 4) % 4) * 90 : 0;
}

static reel_err start_decoder(struct reel_video *v)
{
    AVStream *st = v->fmt->streams[v->stream];
    const AVCodec *codec = avcodec_find_decoder(st->codecpar->codec_id);
    int e, turned;

    if (!codec) return REEL_FAIL(REEL_EDATA, "%s: no decoder for %s", v->path, avcodec_get_name(st->codecpar->codec_id));
    v->dec = avcodec_alloc_context3(codec);
    if (!v->dec) return REEL_FAIL(REEL_ENOMEM, "%s: no memory for the decoder", v->path);
    e = avcodec_parameters_to_context(v->dec, st->codecpar);
    v->dec->pkt_timebase = st->time_base;
    v->dec->thread_count = 1; /* ranks are the parallelism */
    v->dec->err_recognition = AV_EF_CRCCHECK | AV_EF_BITSTREAM | AV_EF_BUFFER | AV_EF_EXPLODE;
    if (e >= 0) e = avcodec_open2(v->dec, codec, NULL);
    if (e < 0) return av_fail(v->path, "the decoder does not start", e);
    v->w = st->codecpar->width, v->h = st->codecpar->height;
    if (v->w < 1 || v->h < 1) return REEL_FAIL(REEL_EDATA, "%s: the size of the picture is not known", v->path);
    v->info.rotation = rotation_of(st);
    turned = v->info.rotation % 180 != 0;
    v->info.width = turned ? v->h : v->w, v->info.height = turned ? v->w : v->h;
    v->raw = malloc((size_t)v->w * (size_t)v->h * 3 + 64);
    return v->raw ? REEL_OK : REEL_FAIL(REEL_ENOMEM, "%s: no memory for a frame", v->path);
}

static reel_err open_all(struct reel_video *v, const char *path)
{
    if (snprintf(v->path, sizeof v->path, "%s", path) >= (int)sizeof v->path)
        return REEL_FAIL(REEL_EIO, "%s: the name is too long", path);
    if (access(path, R_OK)) return REEL_FAIL(REEL_EIO, "%s: cannot open: %m", path);
    av_log_set_level(AV_LOG_QUIET); /* our messages, not its own */
    v->pkt = av_packet_alloc();
    v->frame = av_frame_alloc();
    if (!v->pkt || !v->frame) return REEL_FAIL(REEL_ENOMEM, "%s: no memory", path);
    REEL_TRY(open_container(v));
    REEL_TRY(read_stamps(v));
    REEL_TRY(judge_spacing(v));
    avformat_close_input(&v->fmt); /* from the start again: not every container can seek */
    REEL_TRY(open_container(v));
    return start_decoder(v);
}

reel_err reel_video_open(struct reel_video **out, const char *path)
{
    struct reel_video *v = calloc(1, sizeof *v);
    reel_err e;

    *out = NULL;
    if (!v) return REEL_FAIL(REEL_ENOMEM, "%s: no memory", path);
    v->at = -1;
    e = open_all(v, path);
    if (e) reel_video_close(v);
    else *out = v;
    return e;
}

void reel_video_close(struct reel_video *v)
{
    if (!v) return;
    sws_freeContext(v->sws);
    avcodec_free_context(&v->dec);
    avformat_close_input(&v->fmt);
    av_packet_free(&v->pkt);
    av_frame_free(&v->frame);
    free(v->pts), free(v->raw), free(v);
}

const struct reel_video_info *reel_video_info(const struct reel_video *v) { return &v->info; }

/* ---- frames -------------------------------------------------------------------------------- */

/* One packet of our stream into the decoder, or the end of the film. */
static reel_err feed(struct reel_video *v)
{
    int e;

    do {
        av_packet_unref(v->pkt);
        e = av_read_frame(v->fmt, v->pkt);
        if (e == AVERROR_EOF) {
            v->draining = 1;
            avcodec_send_packet(v->dec, NULL);
            return REEL_OK;
        }
        if (e < 0) return av_fail(v->path, "damaged container", e);
    } while (v->pkt->stream_index != v->stream);
    e = avcodec_send_packet(v->dec, v->pkt);
    av_packet_unref(v->pkt);
    if (e < 0 && e != AVERROR(EAGAIN)) {
        char what[64];
        snprintf(what, sizeof what, "damaged after frame %lld", (long long)v->at);
        return av_fail(v->path, what, e);
    }
    return REEL_OK;
}

static reel_err next(struct reel_video *v)
{
    for (;;) {
        int e = avcodec_receive_frame(v->dec, v->frame);
        if (e >= 0) break;
        if (e == AVERROR_EOF || v->draining)
            return REEL_FAIL(REEL_EDATA, "%s: ends after frame %lld; its container speaks of %lld", v->path, (long long)v->at + 1,
                             (long long)v->info.frames);
        if (e != AVERROR(EAGAIN)) return av_fail(v->path, "damaged", e);
        REEL_TRY(feed(v));
    }
    v->at++; /* decoders deliver in the order of display; time stamps of packets are not always right */
    return REEL_OK;
}

static reel_err to_rgb(struct reel_video *v)
{
    AVFrame *f = v->frame;
    uint8_t *dst[4] = { v->raw };
    int stride[4] = { 3 * v->w };
    const int *coef = sws_getCoefficients(f->colorspace == AVCOL_SPC_UNSPECIFIED ? SWS_CS_DEFAULT : (int)f->colorspace);

    if (f->decode_error_flags || (f->flags & AV_FRAME_FLAG_CORRUPT))
        return REEL_FAIL(REEL_EDATA, "%s: frame %lld is damaged", v->path, (long long)v->at);
    if (f->width != v->w || f->height != v->h)
        return REEL_FAIL(REEL_EDATA, "%s: frame %lld is %dx%d, the film began with %dx%d", v->path, (long long)v->at, f->width, f->height, v->w, v->h);
    v->sws = sws_getCachedContext(v->sws, f->width, f->height, (enum AVPixelFormat)f->format, v->w, v->h, AV_PIX_FMT_RGB24,
                                  SWS_BICUBIC | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT | SWS_BITEXACT, NULL, NULL, NULL);
    if (!v->sws) return REEL_FAIL(REEL_EDATA, "%s: its pixel format cannot be converted", v->path);
    sws_setColorspaceDetails(v->sws, coef, f->color_range == AVCOL_RANGE_JPEG, sws_getCoefficients(SWS_CS_DEFAULT), 1, 0, 1 << 16, 1 << 16);
    sws_scale(v->sws, (const uint8_t *const *)f->data, f->linesize, 0, f->height, dst, stride);
    return REEL_OK;
}

static void upright(const struct reel_video *v, uint8_t *rgb)
{
    int W = v->info.width, r = v->info.rotation;

    for (int y = 0; y < v->h; y++)
        for (int x = 0; x < v->w; x++) {
            int ty = r == 0 ? y : r == 90 ? x : r == 180 ? v->h - 1 - y : v->w - 1 - x;
            int tx = r == 0 ? x : r == 90 ? v->h - 1 - y : r == 180 ? v->w - 1 - x : y;
            memcpy(rgb + ((size_t)ty * (size_t)W + (size_t)tx) * 3, v->raw + ((size_t)y * (size_t)v->w + (size_t)x) * 3, 3);
        }
}

reel_err reel_video_frame(struct reel_video *v, int64_t index, uint8_t *rgb)
{
    REEL_BUG_IF(index < 0 || index < v->at, "%s: frame %lld after frame %lld", v->path, (long long)index, (long long)v->at);
    if (index == v->at) return upright(v, rgb), REEL_OK;
    while (v->at < index) REEL_TRY(next(v));
    REEL_TRY(to_rgb(v));
    upright(v, rgb);
    return REEL_OK;
}
