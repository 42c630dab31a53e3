/* Normals in backend memory: made there by the generator, or put there from the replay file. */
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "data/draws_priv.h"

/* [nb,T,C,H,W] (model) and [nb,C,T,H,W] (draws and files) are both runs of H*W elements. */
struct latent { int64_t nb, T, C, hw; };

static struct latent latent_of(reel_tensor t)
{
    return (struct latent){ t.n[0], t.n[1], t.n[2], t.n[3] * t.n[4] };
}

static void model_order(struct latent k, float *model, const float *file)
{
    for (int64_t b = 0; b < k.nb; b++)
        for (int64_t t = 0; t < k.T; t++)
            for (int64_t c = 0; c < k.C; c++)
                memcpy(model + ((b * k.T + t) * k.C + c) * k.hw, file + ((b * k.C + c) * k.T + t) * k.hw, (size_t)k.hw * sizeof *model);
}

static void file_order(struct latent k, float *file, const float *model)
{
    for (int64_t b = 0; b < k.nb; b++)
        for (int64_t t = 0; t < k.T; t++)
            for (int64_t c = 0; c < k.C; c++)
                memcpy(file + ((b * k.C + c) * k.T + t) * k.hw, model + ((b * k.T + t) * k.C + c) * k.hw, (size_t)k.hw * sizeof *model);
}

/* Twice the tensor: one half in each order. NULL: the failure is recorded. */
static float *staging(struct reel_draws *d, int64_t n)
{
    size_t bytes = 2 * (size_t)n * sizeof(float);

    if (bytes > d->host_room) {
        free(d->host);
        d->host = malloc(bytes);
        d->host_room = d->host ? bytes : 0;
        if (!d->host) reel_draw_fail_(d, REEL_FAIL(REEL_ENOMEM, "no memory for a replayed draw of %lld values", (long long)n));
    }
    return d->host;
}

/* The generator on the device. A latent's draw is made in the draw's order, then turned. */
static void generate(struct reel_draws *d, struct reel_stream *s, reel_tensor out, const char *name, struct reel_where w)
{
    uint64_t key = d ? reel_rng_key(d->seed, name) : 0; /* no draws: a planning run */
    size_t mark = s->scratch ? s->scratch->used : 0;
    reel_tensor tmp;

    if (out.nd != 5 || out.n[1] == 1 || out.n[2] == 1) {
        reel_randn(s, out, key, w.step, w.round, (uint32_t)w.b0);
        return;
    }
    tmp = reel_new(s->scratch, REEL_F32, REEL_DIMS(out.n[0], out.n[2], out.n[1], out.n[3], out.n[4]));
    reel_randn(s, tmp, key, w.step, w.round, (uint32_t)w.b0);
    reel_swap_tc(s, out, tmp);
    reel_arena_reset(s->scratch, mark);
}

static void keep(struct reel_draws *d, struct reel_stream *s, reel_tensor out, const char *name, struct reel_where w)
{
    int64_t n = reel_numel(out), dim[4] = { out.n[1], out.n[2], out.n[3], out.n[4] };
    float *h;

    if (!d->record || d->health || !(h = staging(d, n))) return;
    reel_get(s, h, out);
    if (out.nd == 5) {
        file_order(latent_of(out), h + n, h);
        h += n;
        dim[0] = out.n[2], dim[1] = out.n[1];
    }
    reel_draw_keep_(d, (struct reel_draw_type){ .kind = REEL_DRAW_NORMAL }, h, dim, out.nd - 1, name, w);
}

void reel_draw_normal(struct reel_draws *d, struct reel_stream *s, reel_tensor out, const char *name, struct reel_where w)
{
    int64_t n = reel_numel(out);
    float *h = NULL;

    REEL_BUG_IF(out.dt != REEL_F32 || out.n[0] != w.nb, "%s: %lld rows for %lld samples", name, (long long)out.n[0], (long long)w.nb);
    if (s->planning) {
        generate(d, s, out, name, w);
        return;
    }
    if (d->replay) h = staging(d, n);
    if (h && reel_draw_find_(d, REEL_DRAW_NORMAL, h, n / w.nb, name, w)) {
        if (out.nd == 5) model_order(latent_of(out), h + n, h), h += n;
        reel_put(s, out, h);
    } else
        generate(d, s, out, name, w);
    if (!d->replay && w.step >= 1 && w.step < d->first_step) d->first_step = w.step;
    keep(d, s, out, name, w);
}
