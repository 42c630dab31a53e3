/* Golden kind wan-vae: the folder's VAE encodes and decodes its cases chunk by chunk; results and stages are those of an f64
 * evaluation over whole films. */
#include "golden.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device.h"
#include "encode/vae_priv.h"

#define ENCODE_TOL 2e-5 /* max error over rms, as the folder's README suggests */
#define DECODE_TOL 6e-5

/* What a step made, chunk by chunk: [T,H,W,C]. */
struct seen { char name[64]; float *x; int64_t n, t, c, plane; };

struct vcase {
    struct golden *g;
    struct reel_vae *v;
    struct reel_st *st;
    const char *name;
    struct seen seen[VAE_STEPS];
    int n_seen;
    float *out; /* all chunks, [T,H,W,C] */
    int64_t frames, plane;
};

static void append(struct seen *s, const float *x, const int64_t *n)
{
    const int64_t count = n[0] * n[1] * n[2] * n[3];

    s->x = realloc(s->x, (size_t)(s->n + count) * sizeof *x);
    memcpy(s->x + s->n, x, (size_t)count * sizeof *x);
    s->n += count, s->t += n[0], s->plane = n[1] * n[2], s->c = n[3];
}

static void look(void *ctx, const char *step, reel_tensor x, struct reel_stream *s)
{
    struct vcase *k = ctx;
    float *host = malloc(reel_bytes(x));
    int i = 0;

    reel_get(s, host, x);
    while (i < k->n_seen && strcmp(k->seen[i].name, step) != 0) i++;
    if (i == k->n_seen) snprintf(k->seen[k->n_seen++].name, sizeof k->seen[i].name, "%s", step);
    append(&k->seen[i], host, x.n);
    free(host);
}

/* The last step whose name begins with `stage`; conv_out belongs to the step of its side. */
static const struct seen *find(const struct vcase *k, const char *stage)
{
    const char *dot = strstr(stage, ".conv_out");
    const size_t n = dot ? (size_t)(dot - stage) : strlen(stage);
    const struct seen *found = NULL;

    for (int i = 0; i < k->n_seen; i++) {
        const char *name = k->seen[i].name;
        if (!strncmp(name, stage, n) && (!name[n] || (!dot && name[n] == '.'))) found = &k->seen[i];
    }
    return found;
}

/* got(c, t, place) of [T,H,W,C] against want [C,T,H,W] */
static void compare(const struct vcase *k, const char *name, const float *got, int64_t all, int64_t c0, int64_t c, int64_t t, int64_t plane,
                    const float *want, double tol, float (*as)(const struct reel_vae *v, int64_t ch, float x))
{
    double worst = 0, sum = 0;
    char line[160];

    for (int64_t ch = 0; ch < c; ch++)
        for (int64_t i = 0; i < t * plane; i++) {
            double w = (double)want[ch * t * plane + i], e = fabs((double)as(k->v, ch, got[i * all + c0 + ch]) - w);
            if (!(e <= worst)) worst = e;
            sum += w * w;
        }
    snprintf(line, sizeof line, "%s %s", k->name, name);
    golden_line(k->g, line, worst, worst / (sqrt(sum / (double)(c * t * plane)) + 1e-300), tol);
}

static float itself(const struct reel_vae *v, int64_t c, float x) { return (void)v, (void)c, x; }
static float clamped(const struct reel_vae *v, int64_t c, float x) { return (void)v, (void)c, fminf(fmaxf(x, -1), 1); }
static float logvar(const struct reel_vae *v, int64_t c, float x) { return (void)v, (void)c, fminf(fmaxf(x, -30), 20); }
static float normalized(const struct reel_vae *v, int64_t c, float x) { return (x - v->cfg.mean[c]) * (1 / v->cfg.std[c]); }

/* One tensor of the file; 0: nobody knows it. */
static int check_tensor(const struct vcase *k, const char *name, const float *want, const struct reel_st_entry *e, enum vae_way way)
{
    static const struct { const char *name; int second; float (*as)(const struct reel_vae *v, int64_t ch, float x); } results[] = {
        { "mean", 0, itself }, { "logvar", 1, logvar }, { "normalized", 0, normalized }, { "out", 0, clamped }, { "out_unclamped", 0, itself },
    };
    const double tol = way == VAE_ENCODE ? ENCODE_TOL : DECODE_TOL;

    if (!strncmp(name, "stage.", 6)) {
        const struct seen *s = find(k, name + 6);
        if (!s || e->nd != 4 || e->n[0] != s->c || e->n[1] != s->t || e->n[2] * e->n[3] != s->plane) return 0;
        compare(k, name, s->x, s->c, 0, s->c, s->t, s->plane, want, tol, itself);
        return 1;
    }
    for (size_t i = 0; i < sizeof results / sizeof *results; i++)
        if (!strcmp(results[i].name, name)) {
            if (e->nd != 5 || e->n[2] != k->frames || e->n[3] * e->n[4] != k->plane) return 0;
            compare(k, name, k->out, vae_out(k->v, way), results[i].second * k->v->cfg.z, e->n[1], k->frames, k->plane, want, tol, results[i].as);
            return 1;
        }
    return 0;
}

static void run_film(struct vcase *k, enum vae_way way, const float *x, const int64_t *n)
{
    struct vae_film *f = &k->v->film[way];
    const int64_t c = n[1], plane = n[3] * n[4];
    const int step = way == VAE_ENCODE ? VAE_GROUP : 1;
    struct seen all = { .n = 0 };

    if (vae_film_begin(k->v, way, (int)n[3], (int)n[4])) return;
    f->look = look, f->look_ctx = k;
    for (int64_t t = 0, take = 1; t + take <= n[2]; t += take, take = step) {
        for (int64_t i = 0; i < take * plane; i++)
            for (int64_t ch = 0; ch < c; ch++) f->in[i * c + ch] = x[(ch * n[2] + t) * plane + i];
        const int64_t got = vae_film_chunk(k->v, f, (int)take), down = way == VAE_ENCODE ? 8 : 1, up = way == VAE_ENCODE ? 1 : 8;
        append(&all, f->out, (const int64_t[]){ got, n[3] / down * up, n[4] / down * up, vae_out(k->v, way) });
    }
    k->out = all.x, k->frames = all.t, k->plane = all.plane;
    f->look = NULL;
}

static int run_case(struct golden *g, struct reel_vae *v, const char *dir, const char *name)
{
    struct vcase k = { .g = g, .v = v, .name = name };
    const enum vae_way way = strncmp(name, "encode", 6) ? VAE_DECODE : VAE_ENCODE;
    const char *in = way == VAE_ENCODE ? "x" : "z";
    const struct reel_st_entry *e;
    char file[160];
    float *x;

    snprintf(file, sizeof file, "%s.safetensors", name);
    if (golden_open(&k.st, dir, file)) return 1;
    x = golden_bytes(k.st, in, &e);
    if (!x || e->nd != 5) return golden_true(g, file, 0), 1;
    run_film(&k, way, x, e->n);
    for (int i = 0; i < reel_st_count(k.st); i++) {
        const struct reel_st_entry *t = reel_st_entry(k.st, i);
        float *want = golden_bytes(k.st, t->name, NULL);
        if (strcmp(t->name, in) != 0 && (!k.out || !check_tensor(&k, t->name, want, t, way))) golden_true(g, t->name, 0);
        free(want);
    }
    for (int i = 0; i < k.n_seen; i++) free(k.seen[i].x);
    free(k.out);
    free(x);
    reel_st_close(k.st);
    return 0;
}

int golden_wan_vae(struct golden *g, const char *dir)
{
    struct reel_encode_opts o = { .model = dir, .dtype = REEL_F32 };
    struct reel_backend *be;
    struct reel_stream s;
    struct reel_vae *v;
    json_t *cases = golden_json(dir, "cases.json"), *c;
    size_t i;
    int rc = 1;

    if (!cases || test_backend(&be, 2)) return 1;
    reel_stream_init(&s, be, 0, NULL);
    o.s = &s;
    if (reel_vae_open(&v, &o) == REEL_OK) {
        rc = 0;
        json_array_foreach(json_object_get(cases, "cases"), i, c) rc |= run_case(g, v, dir, json_string_value(json_object_get(c, "name")));
        reel_vae_close(v);
    } else {
        printf("# %s\n", reel_errrec()->msg);
    }
    reel_backend_close(be);
    json_decref(cases);
    return rc;
}
