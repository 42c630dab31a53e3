/* Golden kind umt5: token ids of two tokenizers, position buckets, and the encoder's rows and states. */
#include "golden.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "device.h"
#include "encode/umt5_priv.h"

#define MOST 512
#define TOL  5e-6 /* largest error over the root mean square; PyTorch in f32: 6e-7 */

/* The text as the folder has it, byte by byte. */
static char *unhex(const json_t *hex)
{
    const char *s = json_string_value(hex);
    size_t n = strlen(s) / 2;
    char *t = calloc(n + 1, 1);

    for (size_t i = 0; i < n; i++) {
        unsigned u = 0;
        sscanf(s + 2 * i, "%2x", &u);
        t[i] = (char)u;
    }
    return t;
}

static int same_ids(const json_t *want, const int32_t *id, int n)
{
    if (json_array_size(want) != (size_t)n) return 0;
    for (int i = 0; i < n; i++)
        if (json_integer_value(json_array_get(want, (size_t)i)) != id[i]) return 0;
    return 1;
}

static int ids_of(const struct reel_tokenizer *t, const json_t *one, int fast)
{
    const json_t *want = json_object_get(one, "hf4_fast");
    char *text = unhex(json_object_get(one, "utf8_hex"));
    int32_t id[MOST];
    int n, same;

    if (!fast || !want) want = json_object_get(one, "ids"); /* the fast tokenizer's are given where they differ */
    same = !reel_tokenizer_encode(t, text, id, MOST, &n) && same_ids(want, id, n);
    if (!same) printf("# \"%s\": %d other ids\n", text, n);
    free(text);
    return same;
}

static void tokenizer(struct golden *g, const char *dir, const char *folder, const char *file, int fast)
{
    char path[4200], name[128], *data = NULL;
    struct reel_tokenizer *t = NULL;
    json_t *strings = NULL, *one;
    size_t bytes = 0, i;
    int good = 0;

    snprintf(path, sizeof path, "%s/%s/%s", dir, folder, file);
    if (!reel_file_read(path, &data, &bytes)) reel_tokenizer_open(&t, data, bytes, path);
    free(data);
    snprintf(path, sizeof path, "%s/%s/strings.json", dir, folder);
    if (t && !reel_json_file(&strings, path))
        json_array_foreach(json_object_get(strings, "strings"), i, one) good += ids_of(t, one, fast);
    else
        reel_err_print(reel_errrec());
    bytes = json_array_size(json_object_get(strings, "strings"));
    snprintf(name, sizeof name, "%s/%s: ids of %zu strings", folder, file, bytes);
    golden_true(g, name, bytes > 70 && (size_t)good == bytes);
    json_decref(strings);
    reel_tokenizer_close(t);
}

void golden_umt5_tokenizers(struct golden *g, const char *dir)
{
    tokenizer(g, dir, "tokenizer_identity", "spiece.model", 0);
    tokenizer(g, dir, "tokenizer_nfkc", "spiece.model", 0);
    tokenizer(g, dir, "tokenizer_identity", "tokenizer.json", 1);
}

/* ---- the encoder ---- */

/* A pipeline's folder of the golden's parts: links in a folder that is removed at the end. */
static int link_parts(const char *dir, char to[PATH_MAX])
{
    char from[2 * PATH_MAX], link[2 * PATH_MAX], real[PATH_MAX];

    snprintf(to, PATH_MAX, "%s/reel-umt5-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    if (!mkdtemp(to) || !realpath(dir, real)) return -1;
    snprintf(from, sizeof from, "%s/text_encoder", real);
    snprintf(link, sizeof link, "%s/text_encoder", to);
    if (symlink(from, link)) return -1;
    snprintf(from, sizeof from, "%s/tokenizer_identity", real);
    snprintf(link, sizeof link, "%s/tokenizer", to);
    return symlink(from, link);
}

int golden_umt5_pipeline(struct reel_comm *world, const char *dir, char to[PATH_MAX])
{
    int bad = world->rank == 0 && link_parts(dir, to);

    reel_comm_bcast(world, to, PATH_MAX, 0);
    reel_comm_bcast(world, &bad, sizeof bad, 0);
    return bad;
}

/* Largest error over the root mean square of what is wanted. */
static void compare(struct golden *g, const char *name, const float *got, const double *want, int64_t n)
{
    double worst = 0, square = 0;

    for (int64_t i = 0; i < n; i++) {
        double e = fabs((double)got[i] - want[i]);
        if (!(e <= worst)) worst = e;
        square += want[i] * want[i];
    }
    golden_line(g, name, worst, worst / sqrt(square / (double)n), TOL);
}

struct states { struct golden *g; const struct reel_st *st; int64_t n, d; };

static void state(void *ctx, int layer, const float *rows, int n)
{
    const struct states *s = ctx;
    char name[64];
    double *want;

    (void)n; /* whole units; the sample has fewer */
    snprintf(name, sizeof name, "sample1.hidden%d", layer);
    want = golden_doubles(s->st, name, NULL);
    golden_true(s->g, name, want != NULL);
    if (want) compare(s->g, name, rows, want, s->n * s->d);
    free(want);
}

static void buckets(struct golden *g, const char *dir, const struct reel_umt5_dims *d)
{
    struct reel_st *st = NULL;
    const struct reel_st_entry *e = NULL;
    double *at, *want;
    int64_t good = 0, n = 0;

    if (!golden_open(&st, dir, "buckets.safetensors")) {
        at = golden_doubles(st, "relative_position", &e);
        want = golden_doubles(st, "bucket", NULL);
        for (n = at && want ? golden_count(e) : 0; good < n && reel_umt5_bucket(d, (int64_t)at[good]) == (int)want[good];) good++;
        free(at), free(want);
        reel_st_close(st);
    }
    golden_true(g, "buckets", n > 1000 && good == n);
}

/* The samples together, and one of them with its states. Every rank has them all. */
static void samples(struct golden *g, struct reel_umt5 *u, const struct reel_st *st)
{
    const struct reel_st_entry *e;
    double *mask = golden_doubles(st, "mask", &e), *ids = golden_doubles(st, "ids", NULL), *want = golden_doubles(st, "out.f64", NULL);
    int64_t n = e->n[0], s = e->n[1], d = reel_umt5_dim(u);
    int32_t *id = malloc((size_t)(n * s) * sizeof *id);
    struct reel_text_rows out[8] = { 0 };
    const int32_t *row[8];
    int len[8] = { 0 };

    for (int64_t i = 0; i < n; i++) {
        row[i] = id + i * s;
        for (int64_t j = 0; j < s; j++) id[i * s + j] = (int32_t)ids[i * s + j], len[i] += mask[i * s + j] > 0;
    }
    golden_true(g, "encoded", n == 3 && reel_umt5_encode_ids(u, row, len, (int)n, out) == REEL_OK);
    for (int64_t i = 0; i < n; i++) {
        char name[64];
        snprintf(name, sizeof name, "out of %d tokens", len[i]);
        if (out[i].rows) compare(g, name, out[i].rows, want + i * s * d, len[i] * d), golden_hash(g, out[i].rows, (size_t)(len[i] * d) * 4);
        free(out[i].rows);
    }
    u->look = state, u->look_ctx = &(struct states){ g, st, len[1], d };
    golden_true(g, "encoded alone", reel_umt5_encode_ids(u, row + 1, len + 1, 1, out) == REEL_OK);
    free(out[0].rows), free(id), free(ids), free(mask), free(want);
}

static void encoder(struct golden *g, const char *dir, const char *pipeline)
{
    struct reel_encode_opts o = { .model = pipeline, .dtype = REEL_F32, .comm = g->world };
    struct reel_backend *be = NULL;
    struct reel_umt5 *u = NULL;
    struct reel_st *st = NULL;
    struct reel_stream s;

    if (test_backend(&be, 2)) return golden_true(g, "backend", 0), (void)0;
    reel_stream_init(&s, be, 0, NULL);
    o.s = &s;
    golden_true(g, "text_encoder: opened", reel_umt5_open(&u, &o) == REEL_OK);
    if (!u) reel_err_print(reel_errrec());
    golden_true(g, "encoder.safetensors", !golden_open(&st, dir, "encoder.safetensors"));
    if (u && st) {
        buckets(g, dir, &u->dims);
        samples(g, u, st);
    }
    reel_st_close(st);
    if (u) reel_umt5_close(u);
    reel_backend_close(be);
}

int golden_umt5(struct golden *g, const char *dir)
{
    char pipeline[PATH_MAX] = "";

    golden_umt5_tokenizers(g, dir);
    golden_true(g, "a pipeline of links", !golden_umt5_pipeline(g->world, dir, pipeline));
    encoder(g, dir, pipeline);
    reel_comm_barrier(g->world);
    if (g->world->rank == 0) reel_rmtree(pipeline);
    return 0;
}
