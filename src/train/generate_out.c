/* Pictures of what was sampled: films as they come, a contact sheet, measures. */
#include <ctype.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/file.h"
#include "be/ops.h"
#include "media/picture.h"
#include "train/generate_priv.h"

static int sheet_alone(const struct reel_gen *j) { return reel_ends(j->f->out, ".png"); }
static int one_film(const struct reel_gen *j) { return reel_ends(j->f->out, ".mp4"); }
static int folder(const struct reel_gen *j) { return !sheet_alone(j) && !one_film(j); }

static const char *sampler(const struct reel_gen *j, char buf[16]) { return reel_choice_name(REEL_GENERATE_SAMPLERS, j->sampler, buf, 16); }

#define WORDS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
#define NAME  64 /* bytes of a film's file name */

/* ---- names ----------------------------------------------------------------------------------- */

/* "003-a-red-circle.mp4": whole words of the caption while they fit. */
static void file_name(char *buf, size_t size, int64_t i, const char *caption)
{
    size_t n = (size_t)snprintf(buf, size, "%03ld", (long)i), room = size - sizeof ".mp4";

    for (size_t len; *caption; caption += len) {
        caption += strcspn(caption, WORDS);
        len = strspn(caption, WORDS);
        if (!len || n + 1 + len > room) break;
        buf[n++] = '-';
        for (size_t k = 0; k < len; k++) buf[n++] = (char)tolower((unsigned char)caption[k]);
    }
    snprintf(buf + n, size - n, ".mp4");
}

static reel_err film_path(const struct reel_gen *j, int64_t i, char path[PATH_MAX])
{
    char name[NAME];

    if (one_film(j)) return snprintf(path, PATH_MAX, "%s", j->f->out) < PATH_MAX ? REEL_OK : REEL_FAIL(REEL_EIO, "%s: path too long", j->f->out);
    file_name(name, sizeof name, i, j->caption[i]);
    return reel_join(path, PATH_MAX, j->f->out, name);
}

/* Names that look like a film or a picture of another kind, or spelt in capitals, are no folders. */
static reel_err judge_name(const char *out)
{
    static const char *const other[] = { ".mp4", ".png", ".gif", ".webm", ".mkv", ".mov", ".avi", ".m4v", ".mpg", ".mpeg", ".ogv", ".webp", ".apng", ".jpg", ".jpeg" };
    const char *dot = strrchr(out, '.');

    for (size_t i = 0; dot && i < sizeof other / sizeof *other; i++)
        if (!strcasecmp(dot, other[i]))
            return REEL_FAIL(REEL_ECONFIG, "generate: --out %s: films are .mp4, contact sheets .png; any other name is a folder of films, but \"%s\" "
                                           "says otherwise", out, dot);
    return REEL_OK;
}

reel_err reel_gen_probe(const struct reel_gen *j)
{
    char path[PATH_MAX];

    if (folder(j)) REEL_TRY(judge_name(j->f->out));
    if (one_film(j) && j->n > 1)
        return REEL_FAIL(REEL_ECONFIG, "generate: --out %s is one film, %ld are asked for; name a folder", j->f->out, (long)j->n);
    if (!sheet_alone(j) && reel_movie_warning()) fprintf(stderr, "reel: warning: %s\n", reel_movie_warning());
    if (!folder(j)) return reel_file_probe(j->f->out);
    REEL_TRY(reel_mkdirs(j->f->out));
    REEL_TRY(reel_join(path, sizeof path, j->f->out, "sheet.png"));
    return reel_file_probe(path);
}

/* ---- memory ---------------------------------------------------------------------------------- */

static int64_t sheet_clips(const struct reel_gen *j) { return j->n < REEL_GEN_SHEET ? j->n : REEL_GEN_SHEET; }
static size_t shown_bytes(const struct reel_gen *j) { return (size_t)j->sheet_h * (size_t)j->sheet_w * 3; }

static uint8_t *shown(const struct reel_gen *j, int64_t i, int k) { return j->sheet + (size_t)(i * REEL_GEN_SHOWN + k) * shown_bytes(j); }

void reel_gen_size_out(struct reel_gen *j)
{
    const int64_t *d = j->shape;

    j->latent = (size_t)(d[1] * d[2] * d[3] * d[4]);
    j->frames = (int)(4 * d[1] - 3);
    j->height = (int)(8 * d[3]), j->width = (int)(8 * d[4]);
    j->picture = (size_t)j->height * (size_t)j->width * 3;
    j->shrink = j->height >= 480 ? j->height / 240 : 1;
    j->sheet_h = j->height / j->shrink, j->sheet_w = j->width / j->shrink;
}

struct sizes { size_t host, raw, rgb, sheet, z, all; };

static struct sizes sizes_of(const struct reel_gen *j)
{
    size_t x = reel_bytes(j->g.io.x), text = reel_bytes(j->g.io.text);
    size_t kept = !j->f->clips ? 0 : (size_t)(j->world->rank ? j->per_group : j->per_group * j->r->mesh.dp_size); /* clips, for the measures */

    return (struct sizes){ .host = x > text ? x : text,
                           .raw = (j->sampler == REEL_GEN_REAL ? j->latent : j->latent / (size_t)j->shape[1]) * sizeof *j->raw,
                           .rgb = 4 * j->picture,
                           .sheet = (size_t)sheet_clips(j) * REEL_GEN_SHOWN * shown_bytes(j),
                           .z = kept * j->latent * sizeof *j->z,
                           .all = kept * (size_t)j->frames * j->picture };
}

double reel_gen_out_bytes(const struct reel_gen *j)
{
    struct sizes b = sizes_of(j);

    return (double)b.host + (double)b.raw + (double)b.rgb + (double)b.sheet + (double)b.z + (double)b.all;
}

reel_err reel_gen_open_out(struct reel_gen *j)
{
    const struct reel_family *k = reel_codec_family(j->codec);
    struct sizes b = sizes_of(j);

    REEL_BUG_IF(k->channels != j->shape[2] || k->down[0] != 4 || k->down[1] != 8, "latents of %s", k->name);
    j->host = malloc(b.host);
    j->raw = malloc(b.raw);
    j->rgb = malloc(b.rgb);
    j->sheet = malloc(b.sheet);
    if (j->f->clips) j->z = malloc(b.z), j->all = malloc(b.all);
    if (j->host && j->raw && j->rgb && j->sheet && (!j->f->clips || (j->z && j->all))) return REEL_OK;
    return REEL_FAIL(REEL_ENOMEM, "no memory for %ld films of %d pictures of %d x %d", (long)j->n, j->frames, j->width, j->height);
}

void reel_gen_close_out(struct reel_gen *j)
{
    reel_movie_drop(&j->film.movie);
    free(j->host), free(j->raw), free(j->rgb), free(j->sheet), free(j->z), free(j->all);
}

/* ---- films ----------------------------------------------------------------------------------- */

reel_err reel_gen_film_begin(struct reel_gen *j, int64_t local)
{
    struct reel_gen_film *m = &j->film;
    struct reel_movie_opts o = { .path = m->path, .width = j->width, .height = j->height, .fps = j->fps };
    char comment[200], buf[16];

    *m = (struct reel_gen_film){ .i = reel_gen_clip(j, local), .local = local };
    REEL_TRY(reel_codec_decode_begin(j->codec, (int)j->shape[3], (int)j->shape[4]));
    if (sheet_alone(j)) return REEL_OK;
    REEL_TRY(film_path(j, m->i, m->path));
    snprintf(comment, sizeof comment, "reel: %s, %d steps, guidance %g, seed %ld, film %ld", sampler(j, buf), j->g.sampler.steps,
             j->g.sampler.guidance, (long)j->g.seed, (long)m->i);
    o.caption = j->caption[m->i];
    o.comment = comment;
    return reel_movie_open(&m->movie, &o);
}

/* Every shrink x shrink block of pixels becomes its mean. */
static void keep_shown(const struct reel_gen *j, const uint8_t *rgb, uint8_t *to)
{
    int s = j->shrink;

    for (int y = 0; y < j->sheet_h; y++)
        for (int x = 0; x < j->sheet_w * 3; x++) {
            int sum = 0, left = x / 3 * s * 3 + x % 3;
            for (int a = 0; a < s; a++)
                for (int b = 0; b < s; b++) sum += rgb[((size_t)(y * s + a) * (size_t)j->width) * 3 + (size_t)(left + 3 * b)];
            *to++ = (uint8_t)((sum + s * s / 2) / (s * s));
        }
}

static reel_err next_picture(struct reel_gen *j, const uint8_t *rgb)
{
    struct reel_gen_film *m = &j->film;

    for (int k = 0; k < REEL_GEN_SHOWN && m->i < REEL_GEN_SHEET; k++)
        if (m->pictures == k * (j->frames - 1) / (REEL_GEN_SHOWN - 1)) keep_shown(j, rgb, shown(j, m->i, k));
    if (j->all) memcpy(j->all + (size_t)(m->local * j->frames + m->pictures) * j->picture, rgb, j->picture);
    m->pictures++;
    return m->movie ? reel_movie_frame(m->movie, rgb) : REEL_OK;
}

/* Latents for the measures: [C,T,h,w] from a frame [C,h,w]. */
static void keep_latent(struct reel_gen *j, const float *z, int64_t t)
{
    size_t area = (size_t)(j->shape[3] * j->shape[4]);

    for (size_t c = 0; c < (size_t)j->shape[2]; c++)
        memcpy(j->z + (size_t)j->film.local * j->latent + (c * (size_t)j->shape[1] + (size_t)t) * area, z + c * area, area * sizeof *z);
}

/* A film of numbers that are none would look like one of black pictures. */
static reel_err check_finite(const struct reel_gen *j, const float *z)
{
    int64_t n = j->shape[2] * j->shape[3] * j->shape[4];

    for (int64_t k = 0; k < n; k++)
        if (!isfinite(z[k]))
            return REEL_FAIL(REEL_ENUMERIC, "generate: film %ld: %g in latent frame %d: --guidance %g is too large for the model, or its weights hold "
                                            "numbers that are not finite", (long)j->film.i, (double)z[k], (j->film.pictures + 3) / 4,
                             j->g.sampler.guidance);
    return REEL_OK;
}

reel_err reel_gen_film_frame(struct reel_gen *j, const float *z)
{
    int made = reel_codec_pictures(j->codec, 1);

    REEL_TRY(check_finite(j, z));
    if (j->z) keep_latent(j, z, (j->film.pictures + 3) / 4);
    REEL_TRY(reel_codec_decode_frame(j->codec, j->rgb, j->raw, z));
    for (int p = 0; p < made; p++) REEL_TRY(next_picture(j, j->rgb + (size_t)p * j->picture));
    return j->film.movie ? reel_movie_flush(j->film.movie) : REEL_OK;
}

reel_err reel_gen_film_end(struct reel_gen *j) { return reel_movie_close(&j->film.movie); }

/* ---- the end --------------------------------------------------------------------------------- */

/* `bytes` of clip i from the rank that made it to rank 0; the others lend memory. Collective(world). */
static void to_first(struct reel_gen *j, int64_t i, void *mine, void *first, void *lent, size_t bytes)
{
    int owner = reel_gen_owner(j, i), rank = j->world->rank;

    reel_comm_bcast(j->world, rank == owner ? mine : rank == 0 ? first : lent, bytes, owner);
}

/* What rank 0 shows and measures. */
static void collect(struct reel_gen *j)
{
    for (int64_t i = 0; i < sheet_clips(j); i++)
        to_first(j, i, shown(j, i, 0), shown(j, i, 0), shown(j, i, 0), REEL_GEN_SHOWN * shown_bytes(j));
    for (int64_t i = 0; j->f->clips && i < j->n; i++) {
        int64_t local = i % j->per_group;
        to_first(j, i, j->z + (size_t)local * j->latent, j->z + (size_t)i * j->latent, j->host, j->latent * sizeof *j->z);
        for (int p = 0; p < j->frames; p++)
            to_first(j, i, j->all + (size_t)(local * j->frames + p) * j->picture, j->all + (size_t)(i * j->frames + p) * j->picture, j->rgb, j->picture);
    }
}

static reel_err measure(struct reel_gen *j)
{
    static const char *const names[] = { "shape", "colour", "ground", "direction", "speed" };
    struct reel_score s;
    char buf[16];

    REEL_TRY(reel_benchmark_score(&j->bench, j->z, j->all, &s));
    printf("measures of %ld clips, benchmark %d, %s, %d steps, guidance %g:", (long)j->n, j->bench.number, sampler(j, buf),
           j->g.sampler.steps, j->g.sampler.guidance);
    for (int k = 0; k < 5; k++) printf(" %s %.4f", names[k], s.right[k]);
    printf(" all %.4f good %.4f residual %.2f swd %.4f swd_patch %.4f\n", s.all, s.good, s.residual, s.swd, s.patch);
    return REEL_OK;
}

/* Clips as rows of frames, up to four clips side by side where they are small. */
static reel_err write_sheet(struct reel_gen *j, const char *path)
{
    const uint8_t *pic[REEL_GEN_SHEET * REEL_GEN_SHOWN];
    int n = (int)sheet_clips(j), wide = n < 4 || j->sheet_w > 200 ? 1 : 4;

    for (int i = 0; i < n * REEL_GEN_SHOWN; i++) pic[i] = shown(j, i / REEL_GEN_SHOWN, i % REEL_GEN_SHOWN);
    REEL_TRY(reel_sheet_png(path, &(struct reel_sheet){ pic, n * REEL_GEN_SHOWN, wide * REEL_GEN_SHOWN, j->sheet_h, j->sheet_w,
                                                        (const char *const *)j->caption, REEL_GEN_SHOWN }));
    printf("contact sheet of %d clip%s: %s\n", n, n > 1 ? "s" : "", path);
    return REEL_OK;
}

/* films.json: which file shows what; --prompts takes it again. */
static reel_err write_list(struct reel_gen *j, const char *path)
{
    char buf[16];
    json_t *list = json_array(), *root = json_pack("{s:o, s:s, s:i, s:f, s:I, s:f}", "data", list, "sampler", sampler(j, buf), "steps",
                                                   j->g.sampler.steps, "guidance", j->g.sampler.guidance, "seed", (json_int_t)j->g.seed, "fps", j->fps);
    char *text, name[NAME];
    reel_err e;

    for (int64_t i = 0; i < j->n; i++) {
        file_name(name, sizeof name, i, j->caption[i]);
        json_array_append_new(list, json_pack("{s:s, s:s}", "file", name, "caption", j->caption[i]));
    }
    text = root ? json_dumps(root, JSON_INDENT(1)) : NULL;
    e = text ? reel_file_write(path, text, strlen(text)) : REEL_FAIL(REEL_ENOMEM, "%s: no memory", path);
    free(text);
    json_decref(root);
    return e;
}

static reel_err finish(struct reel_gen *j)
{
    char path[PATH_MAX];

    if (sheet_alone(j)) REEL_TRY(write_sheet(j, j->f->out));
    else printf("%ld film%s of %d pictures of %d x %d: %s\n", (long)j->n, j->n > 1 ? "s" : "", j->frames, j->width, j->height, j->f->out);
    if (folder(j)) {
        REEL_TRY(reel_join(path, sizeof path, j->f->out, "films.json"));
        REEL_TRY(write_list(j, path));
        REEL_TRY(reel_join(path, sizeof path, j->f->out, "sheet.png"));
        REEL_TRY(write_sheet(j, path));
    }
    return j->f->clips ? measure(j) : REEL_OK;
}

reel_err reel_gen_publish(struct reel_gen *j)
{
    collect(j);
    return reel_agree(j->world, j->world->rank ? REEL_OK : finish(j));
}
