/* Normals in backend memory: made there by the generator, or put there from the replay file. */
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "data/draws_priv.h"

/* What a tensor holds of a draw: frames lo.. of a latent of T frames, or (T 0) all of what is no latent. */
struct part { int64_t lo, T; };

static int64_t whole(reel_tensor out, struct part p) { return p.T ? reel_numel(out) / out.n[1] * p.T : reel_numel(out); }

/* Model's order [nb,n,C,H,W] from that of draws and files, [nb,C,T,H,W], or (back) to it: both are runs of H*W elements. */
static void reorder(reel_tensor t, struct part p, float *model, float *file, int back)
{
    int64_t nb = t.n[0], n = t.n[1], C = t.n[2], hw = t.n[3] * t.n[4];

    for (int64_t b = 0; b < nb; b++)
        for (int64_t f = 0; f < n; f++)
            for (int64_t c = 0; c < C; c++) {
                float *x = model + ((b * n + f) * C + c) * hw, *y = file + ((b * C + c) * p.T + p.lo + f) * hw;
                memcpy(back ? y : x, back ? x : y, (size_t)hw * sizeof *x);
            }
}

/* Room for so many elements, which grows. NULL: the failure is recorded. */
static float *staging(struct reel_draws *d, int64_t n)
{
    size_t bytes = (size_t)n * sizeof(float);

    if (bytes > d->host_room) {
        free(d->host);
        d->host = malloc(bytes);
        d->host_room = d->host ? bytes : 0;
        if (!d->host) reel_draw_fail_(d, REEL_FAIL(REEL_ENOMEM, "no memory for a replayed or recorded draw of %lld values", (long long)n));
    }
    return d->host;
}

static void generate(struct reel_draws *d, struct reel_stream *s, reel_tensor out, struct part p, const char *name, struct reel_where w)
{
    uint64_t key = d ? reel_rng_key(d->seed, name) : 0; /* no draws: a planning run */

    if (p.T) reel_randn_frames(s, out, p.lo, p.T, key, w.step, w.round, (uint32_t)w.b0);
    else reel_randn(s, out, key, w.step, w.round, (uint32_t)w.b0);
}

/* file: the whole draw of these samples */
static void keep(struct reel_draws *d, const float *file, reel_tensor out, struct part p, const char *name, struct reel_where w)
{
    int64_t latent[4] = { out.n[2], p.T, out.n[3], out.n[4] };

    reel_draw_keep_(d, (struct reel_draw_type){ .kind = REEL_DRAW_NORMAL }, file, p.T ? latent : out.n + 1, out.nd - 1, name, w);
}

static void keep_generated(struct reel_draws *d, struct reel_stream *s, reel_tensor out, struct part p, const char *name, struct reel_where w)
{
    int64_t n = reel_numel(out);
    float *h;

    if (!d->record || d->health) return;
    if (n < whole(out, p)) { /* no rows: the record's writer makes them, once, as it does rows that nobody drew */
        w.b0 = w.nb = 0;
        keep(d, NULL, out, p, name, w);
        return;
    }
    if (!(h = staging(d, 2 * n))) return;
    reel_get(s, h, out);
    if (p.T) reorder(out, p, h, h + n, 1);
    keep(d, p.T ? h + n : h, out, p, name, w);
}

static void draw(struct reel_draws *d, struct reel_stream *s, reel_tensor out, struct part p, const char *name, struct reel_where w)
{
    int64_t n = whole(out, p);
    float *h = NULL;

    REEL_BUG_IF(out.dt != REEL_F32 || out.n[0] != w.nb, "%s: %lld rows for %lld samples", name, (long long)out.n[0], (long long)w.nb);
    if (s->planning) {
        generate(d, s, out, p, name, w);
        return;
    }
    if (d->replay) h = staging(d, 2 * n);
    if (h && reel_draw_find_(d, REEL_DRAW_NORMAL, h, n / w.nb, name, w)) {
        if (p.T) reorder(out, p, h + n, h, 0);
        reel_put(s, out, p.T ? h + n : h);
        keep(d, h, out, p, name, w);
    } else {
        generate(d, s, out, p, name, w);
        keep_generated(d, s, out, p, name, w);
    }
    if (!d->replay && w.step >= 1 && w.step < d->first_step) d->first_step = w.step;
}

void reel_draw_normal(struct reel_draws *d, struct reel_stream *s, reel_tensor out, const char *name, struct reel_where w)
{
    draw(d, s, out, (struct part){ .T = out.nd == 5 ? out.n[1] : 0 }, name, w);
}

void reel_draw_frames(struct reel_draws *d, struct reel_stream *s, reel_tensor out, int64_t lo, int64_t T, const char *name,
                      struct reel_where w)
{
    draw(d, s, out, (struct part){ lo, T }, name, w);
}
