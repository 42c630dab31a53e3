/* The flow-matching loss of samples that training does not see, at noise and timesteps that never change. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "be/ops.h"
#include "callbacks/validation_priv.h"

static int64_t size_of(const struct reel_cb *c) /* elements of a clip */
{
    const int64_t *d = c->method->shape;

    return d[1] * d[2] * d[3] * d[4];
}

/* Batches are as large as in training. Sample i is that of the set, and the position of its draws. */
static int64_t batch(const struct reel_cb *c) { return c->method->shape[0]; }

static int64_t per_group(const struct reel_cb *c)
{
    int64_t n = ((struct reel_validation *)c->priv)->validation_loss, each = c->mesh->dp_size * batch(c);

    return (n + each - 1) / each * batch(c);
}

void reel_held_out_layout(struct reel_cb *c, struct reel_arena *a)
{
    struct reel_held_out *h = &((struct reel_validation *)c->priv)->held_out;
    const struct reel_model *m = c->method->role[REEL_STUDENT];

    h->x0 = reel_new(a, REEL_F32, c->method->shape, 5);
    h->text = reel_new(a, REEL_F32, REEL_DIMS(batch(c), m->text_len, m->text_dim));
}

static reel_err judge(struct reel_cb *c)
{
    const struct reel_validation *v = c->priv;
    const struct reel_set_info *i = reel_set_info(v->held_out.set);
    const int64_t *d = c->method->shape;
    const struct reel_model *m = c->method->role[REEL_STUDENT];

    if (i->states || i->channels != d[2] || i->frames < d[1] || i->height != d[3] || i->width != d[4] || i->text_dim != m->text_dim)
        return REEL_FAIL(REEL_ECONFIG, "callbacks.%s.validation_data: %s holds %d x %d x %d x %d latents and texts of %d columns%s; the run takes "
                         "%d x %d x %d x %d and %d", c->name, v->validation_data, i->channels, i->frames, i->height, i->width,
                         i->text_dim, i->states ? " (trajectories)" : "", (int)d[2], (int)d[1], (int)d[3], (int)d[4], m->text_dim);
    if (i->n >= v->validation_loss) return REEL_OK;
    return REEL_FAIL(REEL_ECONFIG, "callbacks.%s.validation_loss: %lld samples, but %s holds %lld", c->name, (long long)v->validation_loss,
                     v->validation_data, (long long)i->n);
}

static reel_err take_memory(struct reel_cb *c)
{
    struct reel_validation *v = c->priv;
    struct reel_held_out *h = &v->held_out;
    const struct reel_set_info *i = reel_set_info(h->set);
    size_t clip = (size_t)size_of(c), B = (size_t)batch(c);

    h->raw = malloc(clip * sizeof *h->raw);
    h->latent = malloc(B * clip * sizeof *h->latent);
    h->rows = malloc(reel_bytes(h->text) + (size_t)(i->text_rows * i->text_dim) * sizeof *h->rows); /* one text more, as read */
    h->loss = malloc((size_t)v->validation_loss * sizeof *h->loss);
    if (h->raw && h->latent && h->rows && h->loss) return REEL_OK;
    return REEL_FAIL(REEL_ENOMEM, "%s: no host memory for %zu held-out samples", c->name, B);
}

reel_err reel_held_out_open(struct reel_cb *c)
{
    struct reel_validation *v = c->priv;
    struct reel_set_source src = { v->validation_data, 1 };

    REEL_TRY(reel_set_open_list(&v->held_out.set, &src, 1, c->run->world));
    REEL_TRY(judge(c));
    return reel_agree(c->run->world, take_memory(c));
}

void reel_held_out_close(struct reel_cb *c)
{
    struct reel_held_out *h = &((struct reel_validation *)c->priv)->held_out;

    reel_set_close(h->set);
    free(h->raw), free(h->latent), free(h->rows), free(h->loss);
    *h = (struct reel_held_out){ 0 };
}

/* Sample `index` as row b of the batch, normalised, frames before channels. Local. */
static reel_err read_sample(struct reel_cb *c, int64_t b, int64_t index)
{
    struct reel_held_out *h = &((struct reel_validation *)c->priv)->held_out;
    const struct reel_set_info *info = reel_set_info(h->set);
    const int64_t *d = c->method->shape;
    size_t T = (size_t)d[1], C = (size_t)d[2], area = (size_t)(d[3] * d[4]), L = (size_t)h->text.n[1], D = (size_t)h->text.n[2];
    float *text = h->rows + (size_t)h->text.n[0] * L * D, *z = h->latent + (size_t)b * T * C * area;
    int rows;

    REEL_TRY(reel_set_read(h->set, index, (int)T, h->raw, text, &rows));
    reel_set_pad(h->rows + (size_t)b * L * D, h->text.n[1], h->text.n[2], text, rows);
    for (size_t t = 0; t < T; t++)
        for (size_t k = 0; k < C; k++) {
            float mean = info->mean[k], istd = 1.0f / info->std[k], *to = z + (t * C + k) * area, *from = h->raw + (k * T + t) * area;
            for (size_t i = 0; i < area; i++) to[i] = (from[i] - mean) * istd;
        }
    return REEL_OK;
}

/* sigma and t of the batch's samples, on the device, by the density of the configuration. */
static void levels(struct reel_cb *c, struct reel_where w, reel_tensor sigma, reel_tensor t)
{
    const struct reel_cfg_model *k = &c->method->cfg->training.model;
    struct reel_density d = { .scheme = (enum reel_weighting)k->weighting_scheme, .logit_mean = k->logit_mean, .logit_std = k->logit_std,
                              .mode_scale = k->mode_scale };
    float *draw = reel_arena_push(c->method->host, 3 * (size_t)batch(c) * sizeof *draw), *s = draw + batch(c), *u = s + batch(c);
    struct reel_sched tab;

    memset(draw, 0, (size_t)batch(c) * sizeof *draw);
    reel_sched_a(&tab, c->method->role[REEL_STUDENT]->flow_shift);
    if (w.nb && d.scheme == REEL_WEIGHTING_LOGIT_NORMAL) reel_draw_normal_host(c->method->draws, draw, 1, "validation/loss/timestep", w);
    else if (w.nb) reel_draw_uniform(c->method->draws, draw, 1, "validation/loss/timestep", w);
    for (int64_t b = 0; b < batch(c); b++) {
        int i = reel_density_index(&d, (double)draw[b]);
        s[b] = tab.sigma[i], u[b] = tab.t[i];
    }
    reel_put(c->method->s, sigma, s);
    reel_put(c->method->s, t, u);
}

/* Sums of squares per frame of the batch that lies in h->x0 and h->text, host memory [B,T]. */
static const double *evaluate(struct reel_cb *c, struct reel_where w, double sparsity)
{
    struct reel_held_out *h = &((struct reel_validation *)c->priv)->held_out;
    struct reel_method *m = c->method;
    struct reel_model *student = m->role[REEL_STUDENT];
    double *out = reel_arena_push(m->host, (size_t)(batch(c) * m->shape[1]) * sizeof *out);
    reel_tensor sigma = reel_new(m->a, REEL_F32, REEL_DIMS(batch(c))), t = reel_new(m->a, REEL_F32, REEL_DIMS(batch(c))), none = { 0 };
    reel_tensor sum = reel_new(m->a, REEL_F64, REEL_DIMS(batch(c), m->shape[1])), eps = reel_new(m->a, REEL_F32, m->shape, 5);
    reel_tensor xt = reel_new(m->a, REEL_F32, m->shape, 5), v;

    levels(c, w, sigma, t);
    reel_fill(m->s, eps, 0);
    if (w.nb) reel_draw_normal(m->draws, m->s, reel_slice(eps, 0, w.nb), "validation/loss/noise", w);
    reel_noise_mix(m->s, xt, h->x0, eps, sigma);
    v = student->ops->fwd(student, m->a, &(struct reel_model_in){ .x = xt, .t = t, .text = h->text, .sparsity = sparsity }, NULL);
    reel_flow_loss(m->s, v, sum, v, h->x0, eps, xt, sigma, none, 0, m->cfg->training.model.precondition_outputs);
    reel_get(m->s, out, sum);
    return out;
}

static struct reel_where place(const struct reel_cb *c, int64_t at)
{
    const struct reel_validation *v = c->priv;

    return reel_val_where(c, per_group(c), at, batch(c), v->validation_loss);
}

void reel_held_out_plan(struct reel_cb *c)
{
    reel_arena_reset(c->method->a, 0);
    reel_arena_reset(c->method->host, 0);
    evaluate(c, place(c, 0), 0);
    reel_arena_reset(c->method->a, 0);
    reel_arena_reset(c->method->host, 0);
}

static reel_err run_batch(struct reel_cb *c, int64_t at, double sparsity)
{
    struct reel_validation *v = c->priv;
    struct reel_held_out *h = &v->held_out;
    struct reel_where w = place(c, at);
    const double *sum;
    reel_err e = REEL_OK;

    for (int64_t b = 0; b < batch(c) && e == REEL_OK; b++) e = read_sample(c, b, b < w.nb ? w.b0 + b : v->validation_loss - 1);
    REEL_TRY(reel_agree(c->run->world, e));
    reel_arena_reset(c->method->a, 0);
    reel_arena_reset(c->method->host, 0);
    reel_put(c->method->s, h->x0, h->latent);
    reel_put(c->method->s, h->text, h->rows);
    sum = evaluate(c, w, sparsity);
    for (int64_t b = 0; b < w.nb; b++) {
        double s = 0;
        for (int64_t t = 0; t < c->method->shape[1]; t++) s += sum[b * c->method->shape[1] + t];
        if (!c->mesh->sp.rank && !c->mesh->tp.rank) h->loss[w.b0 + b] = s / (double)size_of(c); /* once per group */
    }
    return REEL_OK;
}

reel_err reel_held_out_run(struct reel_cb *c, long step, double *loss)
{
    struct reel_validation *v = c->priv;
    struct reel_step st = { .step = step };
    double sparsity = reel_method_sparsity(c->method, &st);

    memset(v->held_out.loss, 0, (size_t)v->validation_loss * sizeof *v->held_out.loss);
    for (int64_t at = 0; at < per_group(c); at += batch(c)) REEL_TRY(run_batch(c, at, sparsity));
    reel_comm_sum(c->run->world, v->held_out.loss, (int)v->validation_loss); /* every term has one summand that is not 0 */
    *loss = 0;
    for (int64_t i = 0; i < v->validation_loss; i++) *loss += v->held_out.loss[i];
    *loss /= (double)v->validation_loss;
    return reel_agree(c->run->world, reel_draws_status(c->method->draws));
}
