/* A callback: how far an update moves the weights of each trained role, as a share of their length,
 *
 *     update_ratio/<role> = |w after - w before| / |w after|,
 *
 * and its average over updates, which a checkpoint holds. 1e-3 is the folklore of a healthy rate. */

#include <math.h>
#include <stdio.h>

#include "be/ops.h"
#include "callbacks/callback.h"
#include "ckpt/io.h"

struct update_ratio {
    double beta, most;          /* options */
    int64_t every;
    int64_t updates[REEL_NROLE]; /* state */
    double average[REEL_NROLE];
    reel_tensor before[REEL_NROLE]; /* f32 [elements of this rank's shard] */
    reel_tensor sums;               /* i64 [2, REEL_EXACT_LIMBS]: of the change, of the weights */
};

#define F(field) offsetof(struct update_ratio, field)
static const struct reel_opt update_ratio_opts[] = {
    { "beta", REEL_OPT_F64, F(beta), .dflt = 0.9, .min = 0, .max = 1, .help = "a in average = a average + (1 - a) ratio" },
    { "every_steps", REEL_OPT_INT, F(every), .dflt = 1, .min = 1, .max = 9e15, .unit = "steps",
      .help = "steps between two lines in the log" },
    { "stop_above", REEL_OPT_F64, F(most), .min = 0, .max = 1e9, .help = "end the run if a ratio exceeds this; 0: never" },
    { .type = REEL_OPT_END },
};
#undef F

static reel_err update_ratio_check(const struct reel_config *cfg, const void *priv, const char *section)
{
    const struct update_ratio *u = priv;
    char key[128];

    if (u->most == 0 || u->most > 1e-6) return REEL_OK;
    snprintf(key, sizeof key, "%s.stop_above", section);
    return reel_config_fail(cfg, key, "%g stops any run; a healthy ratio is about 1e-3", u->most);
}

/* Rows of parameter i within a flat copy of the shard, *at elements in. */
static reel_tensor piece(reel_tensor flat, int64_t *at, reel_tensor like)
{
    int64_t n = reel_numel(like);
    reel_tensor part = reel_reshape(reel_slice(flat, *at, *at + n), like.n, like.nd);

    *at += n;
    return part;
}

/* Runs twice: to count memory, and to take it. */
static reel_err update_ratio_layout(struct reel_cb *c, struct reel_arena *a)
{
    struct update_ratio *u = c->priv;

    for (int role = 0; role < REEL_NROLE; role++) {
        const struct reel_model *m = c->method->role[role];
        int64_t n = 0;

        if (!m || !m->trainable) continue;
        for (int i = 0; i < m->n_def; i++) n += reel_numel(reel_param_shard(m->ps, i).w);
        u->before[role] = reel_new(a, REEL_F32, REEL_DIMS(n));
    }
    u->sums = reel_new(a, REEL_I64, REEL_DIMS(2, REEL_EXACT_LIMBS));
    return REEL_OK;
}

static int is_updated(const struct reel_step *st, int role) { return st->trained & REEL_ROLE(role) && !st->skip; }

static reel_err update_ratio_before_optim(struct reel_cb *c, struct reel_step *st)
{
    struct update_ratio *u = c->priv;

    for (int role = 0; role < REEL_NROLE; role++) {
        struct reel_model *m = c->method->role[role];
        int64_t at = 0;

        for (int i = 0; is_updated(st, role) && i < m->n_def; i++) {
            struct reel_shard s = reel_param_shard(m->ps, i);
            if (s.rows) reel_copy(m->s, piece(u->before[role], &at, s.w), s.w);
        }
    }
    return REEL_OK;
}

/* The sums of squares are exact integers, so neither the order of rows nor that of ranks shows in them. */
static double ratio(struct reel_cb *c, int role)
{
    struct update_ratio *u = c->priv;
    struct reel_model *m = c->method->role[role];
    int64_t at = 0, limbs[2 * REEL_EXACT_LIMBS] = { 0 };

    reel_put(m->s, u->sums, limbs);
    for (int i = 0; i < m->n_def; i++) {
        struct reel_shard s = reel_param_shard(m->ps, i);
        reel_tensor old;

        if (!s.rows) continue;
        old = piece(u->before[role], &at, s.w);
        reel_axpby(m->s, old, 1, s.w, -1);
        reel_sumsq(m->s, reel_at(u->sums, 0), old);
        reel_sumsq(m->s, reel_at(u->sums, 1), s.w);
    }
    reel_get(m->s, limbs, u->sums);
    reel_comm_sum_i64(&c->mesh->shard, limbs, 2 * REEL_EXACT_LIMBS);
    return sqrt(reel_exact_value(limbs) / reel_exact_value(limbs + REEL_EXACT_LIMBS));
}

static reel_err follow(struct reel_cb *c, struct reel_step *st, int role)
{
    struct update_ratio *u = c->priv;
    double x = ratio(c, role), a = u->updates[role]++ ? u->beta : 0;
    char name[64];

    u->average[role] = a * u->average[role] + (1 - a) * x;
    if (st->step % u->every == 0) {
        snprintf(name, sizeof name, "update_ratio/%s", reel_role_names[role]);
        reel_step_scalar(st, name, x);
        snprintf(name, sizeof name, "update_ratio/%s/average", reel_role_names[role]);
        reel_step_scalar(st, name, u->average[role]);
    }
    if (u->most == 0 || x <= u->most) return REEL_OK; /* the same number on every rank: no one is left behind */
    return REEL_FAIL(REEL_ENUMERIC, "step %ld: the update of the %s is %g of its weights, above callbacks.%s.stop_above %g",
                     st->step, reel_role_names[role], x, c->name, u->most);
}

static reel_err update_ratio_step_end(struct reel_cb *c, struct reel_step *st)
{
    for (int role = 0; role < REEL_NROLE; role++)
        if (is_updated(st, role)) REEL_TRY(follow(c, st, role));
    return REEL_OK;
}

static void update_ratio_state(struct reel_cb *c, struct reel_io *io)
{
    struct update_ratio *u = c->priv;

    reel_io_i64(io, "updates", u->updates, REEL_NROLE);
    reel_io_f64(io, "average", u->average, REEL_NROLE);
}

const struct reel_callback_ops reel_callback_update_ratio = {
    .name = "update_ratio",
    .help = "logs how far each update moves the weights",
    .opts = update_ratio_opts,
    .priv_size = sizeof(struct update_ratio),
    .check = update_ratio_check,
    .layout = update_ratio_layout,
    .before_optim = update_ratio_before_optim,
    .step_end = update_ratio_step_end,
    .state = update_ratio_state,
};

REEL_EXPORT(REEL_KIND_CALLBACK, update_ratio);
