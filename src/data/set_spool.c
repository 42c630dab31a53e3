/* A rank's samples before the commit: frames of a head and its bytes, appended to a file. A file that stays
 * when the run ends (reel_set_resume) is a journal: items that are closed in it, and whose checksums are
 * right, are finished, whoever goes on. */
#include "data/set_priv.h"

#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crc.h"
#include "base/file.h"
#include "comm/pulse.h"
#include "tensor/half.h"

enum { SAMPLE = 0x504d5352, ITEM = 0x4d455452 }; /* "RSMP", "RTEM" in a file */
struct head {
    int32_t kind;
    uint32_t crc;          /* of the head with 0 here; what is behind it has its checksums in r */
    int64_t bytes;         /* behind the head */
    struct reel_record r;  /* an item: key, in rows how many samples, in crc[0] that of its note */
};
_Static_assert(sizeof(struct head) == 16 + 80, "no gaps");

/* ---- start --------------------------------------------------------------------------------- */
static reel_err copy_rows(float **dst, int *rows, const float *src, int n, int have, int dim)
{
    *rows = n;
    if (!have) return REEL_OK;
    *dst = calloc((size_t)n * (size_t)dim + 1, sizeof **dst);
    if (!*dst) return REEL_FAIL(REEL_ENOMEM, "no memory for a prompt");
    if (n) memcpy(*dst, src, (size_t)n * (size_t)dim * sizeof **dst);
    return REEL_OK;
}

static void put_str(char *dst, size_t room, const char *s) { snprintf(dst, room, "%s", s ? s : ""); }

static reel_err writer_init(struct reel_set_writer *w, const char *path, const struct reel_set_desc *d, struct reel_comm *c)
{
    struct reel_set_info *f = &w->f;

    REEL_BUG_IF(d->channels > REEL_SET_CHANNELS, "%d channels", d->channels);
    REEL_BUG_IF(d->states > REEL_SET_STATES || (d->recipe && strlen(d->recipe) >= REEL_SET_RECIPE), "%d states", d->states);
    w->c = c;
    if (snprintf(w->path, sizeof w->path, "%s", path) >= (int)sizeof w->path)
        return REEL_FAIL(REEL_EIO, "%s: the name is too long", path);
    snprintf(w->tmp, sizeof w->tmp, "%s.tmp", path);
    f->channels = d->channels, f->frames = d->frames, f->height = d->height, f->width = d->width;
    f->text_dim = d->text_dim, f->pad_to = d->pad_to, f->dtype = d->dtype;
    f->pix_height = d->pix_height, f->pix_width = d->pix_width, f->pix_frames = d->pix_frames, f->fps = d->fps;
    memcpy(f->down, d->down, sizeof f->down);
    for (int i = 0; i < d->channels; i++) f->mean[i] = d->mean[i], f->std[i] = d->std[i];
    put_str(f->kind, sizeof f->kind, d->kind);
    put_str(f->family, sizeof f->family, d->family);
    put_str(f->vae, sizeof f->vae, d->vae);
    put_str(f->text_encoder, sizeof f->text_encoder, d->text_encoder);
    put_str(f->tokenizer, sizeof f->tokenizer, d->tokenizer);
    put_str(f->source, sizeof f->source, d->source);
    f->states = d->states;
    for (int i = 0; i < d->states; i++) f->state_t[i] = d->state_t[i];
    put_str(f->recipe, sizeof f->recipe, d->recipe);
    REEL_TRY(copy_rows(&w->negative, &w->negative_rows, d->negative, d->negative_rows, d->have_negative, d->text_dim));
    REEL_TRY(copy_rows(&w->empty, &w->empty_rows, d->empty, d->empty_rows, d->have_empty, d->text_dim));
    w->negative_prompt = strdup(d->negative_prompt ? d->negative_prompt : "");
    return w->negative_prompt ? REEL_OK : REEL_FAIL(REEL_ENOMEM, "no memory for a prompt");
}

/* A file at the end of the list; the first is the one that is appended to. */
static reel_err spool_open(struct reel_set_writer *w, const char *path, int flags)
{
    struct reel_spool *v = realloc(w->spool, (size_t)(w->n_spools + 1) * sizeof *v);

    if (!v) return REEL_FAIL(REEL_ENOMEM, "no memory for a spool");
    w->spool = v;
    v += w->n_spools;
    snprintf(v->path, sizeof v->path, "%s", path);
    v->fd = open(path, O_RDWR | O_CLOEXEC | flags, 0666);
    if (v->fd < 0) return REEL_FAIL(REEL_EIO, "%s: cannot create: %m", path);
    w->n_spools++;
    return REEL_OK;
}

void reel_set_writer_free_(struct reel_set_writer *w)
{
    if (!w) return;
    for (int i = 0; i < w->n_spools; i++) {
        close(w->spool[i].fd);
        if (!w->kept) unlink(w->spool[i].path);
    }
    free(w->spool);
    free(w->r);
    free(w->raw);
    free(w->negative);
    free(w->empty);
    free(w->negative_prompt);
    free(w);
}

/* ---- what an earlier writer finished ------------------------------------------------------- */

static reel_err remember(struct reel_set_writer *w, const struct reel_record *r)
{
    if (w->n == w->room) {
        int64_t room = w->room ? 2 * w->room : 256;
        void *p = realloc(w->r, (size_t)room * sizeof *w->r);
        if (!p) return REEL_FAIL(REEL_ENOMEM, "no memory for %lld samples", (long long)room);
        w->r = p;
        w->room = room;
    }
    for (int i = 0; i < REEL_SET_STRINGS; i++)
        if (r->len[i] > w->max_len[i]) w->max_len[i] = r->len[i];
    w->r[w->n++] = *r;
    return REEL_OK;
}

static uint32_t head_crc(const struct head *h)
{
    struct head x = *h;

    x.crc = 0;
    return reel_crc32c(0, &x, sizeof x);
}

static uint32_t meta_crc(const struct reel_record *r, const char *strings) /* one after the other */
{
    int32_t dims[3] = { r->width, r->height, r->frames };
    double num[2] = { r->fps, r->duration };
    uint32_t crc = reel_crc32c(0, strings, (size_t)r->len[0] + (size_t)r->len[1] + (size_t)r->len[2]);

    crc = reel_crc32c(crc, dims, sizeof dims);
    return reel_crc32c(crc, num, sizeof num);
}

static int64_t sample_bytes(const struct reel_set_writer *w, const struct reel_record *r)
{
    return (int64_t)reel_set_latent_bytes_(&w->f) + r->rows * (int64_t)reel_set_row_bytes_(&w->f) + r->len[0] + r->len[1] + r->len[2];
}

/* Are the bytes in w->raw those of the head? */
static int whole(const struct reel_set_writer *w, const struct head *h)
{
    size_t latent = reel_set_latent_bytes_(&w->f), text = (size_t)h->r.rows * reel_set_row_bytes_(&w->f);
    const char *p = w->raw;

    if (h->kind == ITEM) return reel_crc32c(0, p, (size_t)h->bytes) == h->r.crc[0];
    return reel_crc32c(0, p, latent) == h->r.crc[REEL_CRC_LATENT] && reel_crc32c(0, p + latent, text) == h->r.crc[REEL_CRC_TEXT] &&
           meta_crc(&h->r, p + latent + text) == h->r.crc[REEL_CRC_META];
}

/* The frame at `at` into *h and w->raw; 0: there is none that is right. */
static int next_frame(struct reel_set_writer *w, const struct reel_spool *s, int64_t at, int64_t end, struct head *h)
{
    reel_pulse(w->c);
    if (end - at < (int64_t)sizeof *h || pread(s->fd, h, sizeof *h, at) != (ssize_t)sizeof *h) return 0;
    if (head_crc(h) != h->crc || h->bytes < 0 || h->bytes > end - at - (int64_t)sizeof *h) return 0;
    if (h->kind != ITEM && (h->kind != SAMPLE || h->bytes != sample_bytes(w, &h->r))) return 0;
    if (reel_set_need_(w, (size_t)h->bytes + 1) || reel_pread(s->fd, w->raw, (size_t)h->bytes, (uint64_t)at + sizeof *h, s->path)) return 0;
    ((char *)w->raw)[h->bytes] = 0;
    return whole(w, h);
}

/* Items that spool i closed; what is behind the last of them never was finished and goes. */
static reel_err find_items(struct reel_set_writer *w, int i, reel_set_found *found, void *ctx)
{
    struct reel_spool *s = &w->spool[i];
    int64_t at = 0, good = 0, kept = w->n;
    struct head h;
    struct stat st;

    if (fstat(s->fd, &st)) return REEL_FAIL(REEL_EIO, "%s: %m", s->path);
    for (; next_frame(w, s, at, st.st_size, &h); at += (int64_t)sizeof h + h.bytes) {
        if (h.kind == SAMPLE) {
            h.r.at = at + (int64_t)sizeof h, h.r.spool = i;
            REEL_TRY(remember(w, &h.r));
            continue;
        }
        if (h.r.rows != w->n - kept) break;
        kept = w->n;
        good = at + (int64_t)sizeof h + h.bytes;
        REEL_TRY(found(ctx, h.r.key, h.r.rows, w->raw));
    }
    reel_err_clear();
    w->n = kept;
    if (good < st.st_size && ftruncate(s->fd, good)) return REEL_FAIL(REEL_EIO, "%s: cannot cut off what is not finished: %m", s->path);
    if (lseek(s->fd, good, SEEK_SET) < 0) return REEL_FAIL(REEL_EIO, "%s: %m", s->path);
    if (!i) w->spooled = good;
    return REEL_OK;
}

/* This rank's file, and those of ranks that are no more: every size-th. */
static reel_err take_over(struct reel_set_writer *w, const char *dir, reel_set_found *found, void *ctx)
{
    for (int k = w->c->rank;; k += w->c->size) {
        char name[32], path[1064];
        snprintf(name, sizeof name, "part-%05d", k);
        REEL_TRY(reel_join(path, sizeof path, dir, name));
        if (k != w->c->rank && !reel_is_file(path)) return REEL_OK;
        REEL_TRY(spool_open(w, path, O_CREAT));
        REEL_TRY(find_items(w, w->n_spools - 1, found, ctx));
    }
}

static reel_err start(struct reel_set_writer **out, const char *path, const struct reel_set_desc *d, const char *dir,
                      reel_set_found *found, void *ctx, struct reel_comm *c)
{
    struct reel_set_writer *w = calloc(1, sizeof *w);
    reel_err e = w ? writer_init(w, path, d, c) : REEL_FAIL(REEL_ENOMEM, "no memory for a set");
    char spool[1064];

    if (w) w->kept = dir != NULL;
    snprintf(spool, sizeof spool, "%s.spool.%d", path, c->rank);
    if (!e) e = dir ? take_over(w, dir, found, ctx) : spool_open(w, spool, O_CREAT | O_TRUNC);
    reel_pulse_rest(c);
    e = reel_agree(c, e);
    if (e) reel_set_writer_free_(w);
    *out = e ? NULL : w;
    return e;
}

reel_err reel_set_create(struct reel_set_writer **out, const char *path, const struct reel_set_desc *d, struct reel_comm *c)
{
    return start(out, path, d, NULL, NULL, NULL, c);
}

reel_err reel_set_resume(struct reel_set_writer **out, const char *path, const struct reel_set_desc *d, const char *dir,
                         reel_set_found *found, void *ctx, struct reel_comm *c)
{
    return start(out, path, d, dir, found, ctx, c);
}

/* ---- one sample ---------------------------------------------------------------------------- */

reel_err reel_set_need_(struct reel_set_writer *w, size_t bytes)
{
    void *p;

    if (bytes <= w->raw_room) return REEL_OK;
    if (!(p = realloc(w->raw, bytes))) return REEL_FAIL(REEL_ENOMEM, "no memory for a sample of %zu bytes", bytes);
    w->raw = p;
    w->raw_room = bytes;
    return REEL_OK;
}

/* Floats in the set's dtype; their checksum is that of the stored bytes. Returns where they end. */
static char *store(const struct reel_set_writer *w, char *dst, const float *x, size_t n, uint32_t *crc)
{
    size_t bytes = n * reel_dtype_size(w->f.dtype);

    if (w->f.dtype == REEL_F32) {
        if (n) memcpy(dst, x, bytes);
    } else
        for (size_t i = 0; i < n; i++) ((uint16_t *)(void *)dst)[i] = reel_f32_bf16(x[i]);
    *crc = reel_crc32c(0, dst, bytes);
    return dst + bytes;
}

static reel_err all_finite(const char *what, const struct reel_set_sample *s, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(x[i]))
            return REEL_FAIL(REEL_EDATA, "sample %lld (%s): %s hold a non-finite number at element %zu", (long long)s->key,
                             s->id ? s->id : "", what, i);
    return REEL_OK;
}

/* One write: a head and the h->bytes behind it, which stand in w->raw. */
static reel_err append(struct reel_set_writer *w, struct head *h)
{
    h->crc = head_crc(h);
    memcpy(w->raw, h, sizeof *h);
    REEL_TRY(reel_write(w->spool->fd, w->raw, sizeof *h + (size_t)h->bytes, w->spool->path));
    h->r.at = w->spooled + (int64_t)sizeof *h;
    w->spooled += (int64_t)sizeof *h + h->bytes;
    return REEL_OK;
}

static reel_err add(struct reel_set_writer *w, const struct reel_set_sample *s)
{
    const char *const str[REEL_SET_STRINGS] = { s->id ? s->id : "", s->caption ? s->caption : "", s->file_name ? s->file_name : "" };
    size_t nl = reel_set_latent_bytes_(&w->f) / reel_dtype_size(w->f.dtype), nt = (size_t)s->rows * (size_t)w->f.text_dim;
    struct head h = { .kind = SAMPLE, .r = { .key = s->key, .rows = s->rows, .width = s->width, .height = s->height,
                                             .frames = s->frames, .fps = s->fps, .duration = s->duration } };
    char *p;

    for (int i = 0; i < REEL_SET_STRINGS; i++) h.r.len[i] = (int32_t)strlen(str[i]);
    h.bytes = sample_bytes(w, &h.r);
    REEL_TRY(all_finite("latents", s, s->latent, nl));
    REEL_TRY(all_finite("text vectors", s, s->text, nt));
    REEL_TRY(reel_set_need_(w, sizeof h + (size_t)h.bytes));
    p = store(w, (char *)w->raw + sizeof h, s->latent, nl, &h.r.crc[REEL_CRC_LATENT]);
    p = store(w, p, s->text, nt, &h.r.crc[REEL_CRC_TEXT]);
    for (int i = 0; i < REEL_SET_STRINGS; i++) p = mempcpy(p, str[i], (size_t)h.r.len[i]);
    h.r.crc[REEL_CRC_META] = meta_crc(&h.r, p - h.r.len[0] - h.r.len[1] - h.r.len[2]);
    REEL_TRY(append(w, &h));
    w->unclosed++;
    return remember(w, &h.r);
}

reel_err reel_set_add(struct reel_set_writer *w, const struct reel_set_sample *s)
{
    if (!w->health) w->health = add(w, s);
    return w->health;
}

static reel_err close_item(struct reel_set_writer *w, int64_t item, const char *note)
{
    struct head h = { .kind = ITEM, .bytes = (int64_t)strlen(note), .r = { .key = item, .rows = w->unclosed } };

    h.r.crc[0] = reel_crc32c(0, note, (size_t)h.bytes);
    REEL_TRY(reel_set_need_(w, sizeof h + (size_t)h.bytes));
    memcpy((char *)w->raw + sizeof h, note, (size_t)h.bytes);
    w->unclosed = 0;
    return append(w, &h);
}

reel_err reel_set_done(struct reel_set_writer *w, int64_t item, const char *note)
{
    if (!w->health) w->health = close_item(w, item, note);
    return w->health;
}
