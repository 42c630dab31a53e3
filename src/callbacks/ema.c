/* Exponential moving average of the student's weights, sharded like them.
 * At the end of a step that updated the student and is not before start_iter (of every such step with
 * every_iteration or parity): the first time shadow = weights, later shadow += (1 - decay)(weights - shadow).
 * Until then it holds the weights the run began with.
 * Source: FastVideo fastvideo/train/callbacks/ema.py EMACallback @2f3d4074, which averages in every
 * iteration and loses all shards but one in a checkpoint. */
#include "callbacks/ema.h"

#include <stddef.h>
#include <stdlib.h>

#include "be/ops.h"
#include "ckpt/io.h"

struct ema {
    double decay;
    int64_t start_iter;
    int every_iteration;

    reel_tensor *shadow; /* one per parameter; nd 0: not trained */
    int started;         /* the shadow has left the weights the run began with */
    int loaded;          /* and came from a checkpoint */
};

static const struct reel_opt ema_opts[] = {
    { "decay", REEL_OPT_F64, offsetof(struct ema, decay), .dflt = 0.9999, .min = 0, .max = 1,
      .help = "d in shadow = d shadow + (1 - d) weights" },
    { "start_iter", REEL_OPT_INT, offsetof(struct ema, start_iter), .min = 0, .max = 9e18, .unit = "steps",
      .help = "first step that averages; the shadow starts from that step's weights" },
    { "every_iteration", REEL_OPT_BOOL, offsetof(struct ema, every_iteration),
      .help = "average in every step, also in those that did not update the student" },
    { .type = REEL_OPT_END },
};

static struct reel_model *student(const struct reel_cb *c) { return c->method->role[REEL_STUDENT]; }
static int n_params(const struct reel_cb *c) { return reel_params_cfg(student(c)->ps)->n; }

static reel_err ema_layout(struct reel_cb *c, struct reel_arena *a)
{
    struct ema *e = c->priv;

    if (!e->shadow) e->shadow = calloc((size_t)n_params(c), sizeof *e->shadow);
    if (!e->shadow) return REEL_FAIL(REEL_ENOMEM, "no memory for a table of %d averages", n_params(c));
    for (int i = 0; i < n_params(c); i++) {
        struct reel_shard s = reel_param_shard(student(c)->ps, i);
        e->shadow[i] = s.g.nd ? reel_new(a, REEL_F32, s.w.n, s.w.nd) : (reel_tensor){ 0 };
    }
    return REEL_OK;
}

/* w 1: the weights as they are. */
static void move(struct reel_cb *c, double w)
{
    struct ema *e = c->priv;

    for (int i = 0; i < n_params(c); i++) {
        struct reel_shard s = reel_param_shard(student(c)->ps, i);
        if (!e->shadow[i].nd || !s.rows) continue;
        if (w < 1) reel_lerp_to(student(c)->s, e->shadow[i], s.w, w);
        else reel_copy(student(c)->s, e->shadow[i], s.w);
    }
}

static reel_err ema_prepare(struct reel_cb *c)
{
    const struct ema *e = c->priv;

    if (!e->loaded) move(c, 1);
    return REEL_OK;
}

static reel_err ema_step_end(struct reel_cb *c, struct reel_step *st)
{
    struct ema *e = c->priv;
    int always = e->every_iteration || c->method->cfg->method.parity;

    if (st->step < e->start_iter) return REEL_OK;
    if (!always && (st->skip || !(st->trained & REEL_ROLE(REEL_STUDENT)))) return REEL_OK;
    move(c, e->started ? 1 - e->decay : 1);
    e->started = 1;
    reel_step_scalar(st, "ema/decay", e->decay);
    return REEL_OK;
}

static void ema_state(struct reel_cb *c, struct reel_io *io)
{
    struct ema *e = c->priv;

    reel_io_flag(io, "ema_started", &e->started);
    for (int i = 0; i < n_params(c); i++)
        if (e->shadow[i].nd) reel_io_shadow(io, "student_ema", student(c)->ps, i, e->shadow[i]);
    if (reel_io_loading(io)) e->loaded = 1;
}

static void ema_fini(struct reel_cb *c)
{
    struct ema *e = c->priv;

    free(e->shadow);
    e->shadow = NULL;
}

const struct reel_callback_ops reel_callback_ema = {
    .name = "ema",
    .help = "keeps an exponential moving average of the student, which export and generate use when asked",
    .targets = "fastvideo.train.callbacks.ema.EMACallback|fastvideo.train.callbacks.EMACallback",
    .opts = ema_opts,
    .priv_size = sizeof(struct ema),
    .layout = ema_layout,
    .prepare = ema_prepare,
    .step_end = ema_step_end,
    .state = ema_state,
    .fini = ema_fini,
};

struct reel_cb *reel_ema_of(struct reel_cb *cb, int n)
{
    for (int i = 0; i < n; i++)
        if (cb[i].ops == &reel_callback_ema) return &cb[i];
    return NULL;
}

reel_tensor reel_ema_shadow(const struct reel_cb *c, int i) { return ((const struct ema *)c->priv)->shadow[i]; }

int reel_ema_swap(struct reel_cb *c, struct reel_arena *a)
{
    const struct ema *e = c->priv;
    struct reel_stream *s = student(c)->s;
    size_t mark = a->used;

    if (!e->started && !s->planning) return 0;
    for (int i = 0; i < n_params(c); i++) {
        reel_tensor w = reel_param_shard(student(c)->ps, i).w, kept;
        if (!e->shadow[i].nd || !reel_param_shard(student(c)->ps, i).rows) continue;
        kept = reel_new(a, REEL_F32, w.n, w.nd);
        reel_copy(s, kept, w);
        reel_copy(s, w, e->shadow[i]);
        reel_copy(s, e->shadow[i], kept);
        reel_arena_reset(a, mark);
    }
    return 1;
}

REEL_EXPORT(REEL_KIND_CALLBACK, ema);
