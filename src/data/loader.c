#include "data/loader.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/rng.h"
#include "data/order.h"

enum { SLOT_FREE, SLOT_WAITING, SLOT_DONE };

struct slot { /* one micro-batch in host memory */
    float *x, *text;
    int64_t *id;
    unsigned char *drop;
    long step;
    int round, state;
    reel_err err;
    struct reel_errrec rec; /* the reading thread's words */
};

struct reel_loader {
    struct reel_loader_cfg cfg;
    struct reel_set *set;
    const struct reel_set_info *info;
    struct reel_draws *draws;
    struct reel_mesh *mesh;
    int reader, dp_size, dp_rank; /* reader: this rank reads for its group */
    int64_t batches, *perm;       /* micro-batches per epoch; parity: the fixed permutation */
    size_t nx, ntext;             /* elements of one sample */
    float *cthw, *rows;           /* one sample as stored, of the thread */
    const float *instead;         /* rows of a dropped text, NULL: zero */
    int instead_rows;
    struct slot slot[2];
    int head; /* slot of the next prefetch */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    int running, stop;
    struct reel_loader_stats stats;
};

/* ---- which samples ------------------------------------------------------------------------- */

void reel_loader_samples(const struct reel_loader *l, long step, int round, int64_t *id)
{
    int64_t k = ((int64_t)step - 1) * l->cfg.rounds + round, n = l->info->n, b = l->cfg.batch, Bg = b * l->dp_size;

    for (int64_t j = 0; j < b; j++) {
        if (l->cfg.parity) id[j] = l->perm[l->dp_rank + l->dp_size * ((k % l->batches) * b + j)];
        else {
            int64_t at = (k % l->batches) * Bg + l->dp_rank * b + j;
            id[j] = reel_order_sample(l->cfg.seed, (uint32_t)(k / l->batches), n, at);
        }
    }
}

static int dropped(const struct reel_loader *l, int64_t id, float u)
{
    if (l->cfg.cfg_rate <= 0) return 0;
    if (l->cfg.parity) return reel_order_random(l->cfg.seed ^ (uint64_t)id) < l->cfg.cfg_rate;
    return (double)u < l->cfg.cfg_rate;
}

static float dropout_draw(struct reel_loader *l, struct reel_where w)
{
    float u = 1;

    if (l->cfg.cfg_rate <= 0 || l->cfg.parity) return u;
    if (l->draws) reel_draw_uniform(l->draws, &u, 1, "data/cfg_dropout", w);
    else u = reel_rng_uniform(reel_rng_word(reel_rng_key(l->cfg.seed, "data/cfg_dropout"), w.step, w.round, (uint32_t)w.b0, 0));
    return u;
}

/* Draws are made by the main thread, so that replay and record see them in order. */
static reel_err choose(struct reel_loader *l, struct slot *s)
{
    int b = l->cfg.batch;
    struct reel_where w = { .step = (uint32_t)s->step, .round = (uint32_t)s->round, .b0 = (int64_t)l->dp_rank * b, .nb = b,
                            .b_global = (int64_t)l->dp_size * b };

    reel_loader_samples(l, s->step, s->round, s->id);
    if (l->draws) reel_draw_given(l->draws, s->id, 1, "data/sample", w);
    w.nb = 1;
    for (int j = 0; j < b; j++, w.b0++) {
        if (s->id[j] < 0 || s->id[j] >= l->info->n)
            return REEL_FAIL(REEL_EDATA, "data/sample:%ld:%d asks for sample %lld; the set has %lld", s->step, s->round,
                             (long long)s->id[j], (long long)l->info->n);
        s->drop[j] = (unsigned char)dropped(l, s->id[j], dropout_draw(l, w));
    }
    return REEL_OK;
}

/* ---- reading (the thread, or take() itself) ------------------------------------------------ */

static void latents_into(const struct reel_loader *l, float *x) /* [C,T,H,W] -> [T,C,H,W] */
{
    size_t C = (size_t)l->info->channels, T = (size_t)l->cfg.num_latent_t, hw = (size_t)l->info->height * (size_t)l->info->width;

    for (size_t t = 0; t < T; t++)
        for (size_t c = 0; c < C; c++) memcpy(x + (t * C + c) * hw, l->cthw + (c * T + t) * hw, hw * sizeof *x);
}

static reel_err read_sample(struct reel_loader *l, struct slot *s, int j)
{
    int rows;

    if (reel_fault("data_read")) {
        int64_t local;
        const char *where = reel_set_where(l->set, s->id[j], &local);
        return REEL_FAIL(REEL_EIO, "%s: sample %lld: injected fault", where, (long long)local);
    }
    REEL_TRY(reel_set_read(l->set, s->id[j], l->cfg.num_latent_t, l->cfg.latents ? l->cthw : NULL,
                           s->drop[j] ? NULL : l->rows, &rows));
    if (l->cfg.latents) latents_into(l, s->x + (size_t)j * l->nx);
    reel_set_pad(s->text + (size_t)j * l->ntext, l->cfg.text_len, l->info->text_dim, s->drop[j] ? l->instead : l->rows,
                 s->drop[j] ? l->instead_rows : rows);
    return REEL_OK;
}

static void read_slot(struct reel_loader *l, struct slot *s)
{
    double t0 = reel_now(), bytes = 0;

    for (int j = 0; j < l->cfg.batch && !s->err; j++) {
        s->err = read_sample(l, s, j);
        bytes += (double)reel_set_sample_bytes(l->set, s->id[j]);
    }
    if (s->err) s->rec = *reel_errrec();
    reel_err_clear(); /* this thread goes on to the next slot */
    pthread_mutex_lock(&l->lock);
    l->stats.bytes += bytes;
    l->stats.read_s += reel_now() - t0;
    l->stats.samples += l->cfg.batch;
    pthread_mutex_unlock(&l->lock);
}

static void *reading(void *arg)
{
    struct reel_loader *l = arg;

    pthread_mutex_lock(&l->lock);
    for (;;) {
        struct slot *s = l->slot[0].state == SLOT_WAITING ? &l->slot[0] : l->slot[1].state == SLOT_WAITING ? &l->slot[1] : NULL;
        if (l->stop) break;
        if (!s) {
            pthread_cond_wait(&l->cond, &l->lock);
            continue;
        }
        pthread_mutex_unlock(&l->lock); /* the slot is ours until it is marked done */
        read_slot(l, s);
        pthread_mutex_lock(&l->lock);
        s->state = SLOT_DONE;
        pthread_cond_broadcast(&l->cond);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

/* ---- open ---------------------------------------------------------------------------------- */

static reel_err want(const char *key, int run, const char *what, int set)
{
    if (!run || run == set) return REEL_OK;
    return REEL_FAIL(REEL_ECONFIG, "%s: the run needs %s %d, the data set has %d", key, what, run, set);
}

static reel_err judge_kind(const struct reel_loader_cfg *c, const struct reel_set_info *f)
{
    if (c->states == f->states) return REEL_OK;
    if (!f->states) return REEL_FAIL(REEL_ECONFIG, "the data set holds clips; this method reads trajectories");
    if (!c->states)
        return REEL_FAIL(REEL_ECONFIG, "training.data.data_path: the set holds a teacher's trajectories; this method wants clips");
    return REEL_FAIL(REEL_ECONFIG, "the trajectories have %d states, the run wants %d", f->states, c->states);
}

static reel_err judge_dims(struct reel_loader *l)
{
    const struct reel_loader_cfg *c = &l->cfg;
    const struct reel_set_info *f = l->info;

    if (c->latents && !f->channels)
        return REEL_FAIL(REEL_ECONFIG, "training.data.data_path: the set holds text only; this method needs latents");
    if (c->latents) REEL_TRY(judge_kind(c, f));
    if (c->latents && (c->num_latent_t < 1 || c->num_latent_t > f->frames))
        return REEL_FAIL(REEL_ECONFIG, "training.data.num_latent_t is %d; the data set has %d latent frames (1 to %d are possible)",
                         c->num_latent_t, f->frames, f->frames);
    if (c->latents) {
        REEL_TRY(want("model config in_channels", c->channels, "latent channels", f->channels));
        REEL_TRY(want("training.data.num_height", c->height, "latent height (pixels/8)", f->height));
        REEL_TRY(want("training.data.num_width", c->width, "latent width (pixels/8)", f->width));
    }
    REEL_TRY(want("model config text_dim", c->text_dim, "text columns (text_dim)", f->text_dim));
    if (c->text_len < 1) return REEL_FAIL(REEL_ECONFIG, "text_len is %d; at least one row of text is needed", c->text_len);
    return REEL_OK;
}

static reel_err judge(struct reel_loader *l) /* Symmetric */
{
    const struct reel_loader_cfg *c = &l->cfg;
    int64_t Bg = (int64_t)c->batch * l->dp_size;

    REEL_TRY(judge_dims(l));
    if (c->batch < 1 || c->rounds < 1)
        return REEL_FAIL(REEL_ECONFIG, "train_batch_size %d and gradient_accumulation_steps %d must be at least 1", c->batch, c->rounds);
    l->batches = c->parity ? l->info->n / c->batch / l->dp_size : l->info->n / Bg;
    if (!l->batches)
        return REEL_FAIL(REEL_ECONFIG, "the data set has %lld samples, but one micro-batch of %d data-parallel groups x "
                         "train_batch_size %d takes %lld", (long long)l->info->n, l->dp_size, c->batch, (long long)Bg);
    if (c->dropout == REEL_DROP_NEGATIVE) l->instead = reel_set_negative(l->set, &l->instead_rows);
    if (c->dropout == REEL_DROP_EMPTY) l->instead = reel_set_empty(l->set, &l->instead_rows);
    if (c->cfg_rate > 0 && c->dropout != REEL_DROP_ZERO && !l->instead)
        return REEL_FAIL(REEL_ECONFIG, "training.data.cfg_dropout: the data set does not hold the %s prompt; use zero or preprocess again",
                         c->dropout == REEL_DROP_EMPTY ? "empty" : "negative");
    return REEL_OK;
}

static reel_err allocate(struct reel_loader *l)
{
    const struct reel_set_info *f = l->info;
    size_t b = (size_t)l->cfg.batch;
    int ok = 1;

    l->nx = l->cfg.latents ? (size_t)l->cfg.num_latent_t * (size_t)f->channels * (size_t)f->height * (size_t)f->width : 0;
    l->ntext = (size_t)l->cfg.text_len * (size_t)f->text_dim;
    for (int i = 0; i < 2; i++) {
        struct slot *s = &l->slot[i];
        ok &= (s->x = malloc(b * l->nx * sizeof *s->x + 64)) != NULL;
        ok &= (s->text = malloc(b * l->ntext * sizeof *s->text)) != NULL;
        ok &= (s->id = malloc(b * sizeof *s->id)) != NULL;
        ok &= (s->drop = malloc(b)) != NULL;
    }
    ok &= (l->cthw = malloc(l->nx * sizeof(float) + 64)) != NULL;
    ok &= (l->rows = malloc((size_t)f->text_rows * (size_t)f->text_dim * sizeof(float) + 64)) != NULL;
    if (l->cfg.parity) ok &= (l->perm = malloc((size_t)f->n * sizeof *l->perm)) != NULL;
    if (!ok) return REEL_FAIL(REEL_ENOMEM, "no host memory for two micro-batches (%zu bytes)", reel_loader_host_bytes(l));
    if (l->cfg.parity) reel_order_randperm(l->cfg.seed, f->n, l->perm);
    if (l->reader) {
        if (pthread_create(&l->thread, NULL, reading, l)) return REEL_FAIL(REEL_ENOMEM, "cannot start the reading thread");
        l->running = 1;
    }
    return REEL_OK;
}

reel_err reel_loader_open(struct reel_loader **out, struct reel_set *set, const struct reel_loader_cfg *cfg,
                          struct reel_draws *draws, struct reel_mesh *mesh)
{
    struct reel_loader *l = calloc(1, sizeof *l);
    reel_err e = l ? REEL_OK : REEL_FAIL(REEL_ENOMEM, "no memory for the loader");

    if (l) {
        l->cfg = *cfg, l->set = set, l->info = reel_set_info(set), l->draws = draws, l->mesh = mesh;
        l->reader = mesh->sp.rank == 0 && mesh->tp.rank == 0;
        l->dp_size = mesh->dp_size, l->dp_rank = mesh->dp_rank;
        pthread_mutex_init(&l->lock, NULL);
        pthread_cond_init(&l->cond, NULL);
        e = judge(l);
        if (!e) e = allocate(l);
    }
    e = reel_agree(&mesh->world, e);
    if (e) reel_loader_close(l);
    *out = e ? NULL : l;
    return e;
}

void reel_loader_close(struct reel_loader *l)
{
    if (!l) return;
    pthread_mutex_lock(&l->lock);
    l->stop = 1;
    pthread_cond_broadcast(&l->cond);
    pthread_mutex_unlock(&l->lock);
    if (l->running) pthread_join(l->thread, NULL);
    pthread_cond_destroy(&l->cond);
    pthread_mutex_destroy(&l->lock);
    for (int i = 0; i < 2; i++) free(l->slot[i].x), free(l->slot[i].text), free(l->slot[i].id), free(l->slot[i].drop);
    free(l->cthw), free(l->rows), free(l->perm), free(l);
}

/* ---- prefetch, status, take ---------------------------------------------------------------- */

void reel_loader_prefetch(struct reel_loader *l, long step, int round)
{
    struct slot *s = &l->slot[l->head];

    REEL_BUG_IF(step < 1 || round < 0 || round >= l->cfg.rounds, "prefetch of step %ld round %d", step, round);
    pthread_mutex_lock(&l->lock);
    REEL_BUG_IF(s->state != SLOT_FREE, "prefetch of step %ld round %d while two batches are held", step, round);
    s->step = step, s->round = round;
    s->err = choose(l, s);
    if (s->err) s->rec = *reel_errrec();
    s->state = s->err || !l->reader ? SLOT_DONE : SLOT_WAITING;
    l->head ^= 1;
    pthread_cond_broadcast(&l->cond);
    pthread_mutex_unlock(&l->lock);
}

/* Waits for a slot and makes its error this thread's. */
static reel_err settle(struct reel_loader *l, struct slot *s)
{
    double t0 = reel_now();
    reel_err e;

    pthread_mutex_lock(&l->lock);
    while (s->state == SLOT_WAITING) pthread_cond_wait(&l->cond, &l->lock);
    l->stats.wait_s += reel_now() - t0;
    e = s->state == SLOT_DONE ? s->err : REEL_OK;
    pthread_mutex_unlock(&l->lock);
    if (e && reel_errrec()->code == REEL_OK) *reel_errrec() = s->rec;
    return e;
}

/* The slot that holds (step, round), or NULL; the other one, taken before, is given back. */
static struct slot *held(struct reel_loader *l, long step, int round)
{
    struct slot *found = NULL;

    pthread_mutex_lock(&l->lock);
    for (int i = 0; i < 2; i++)
        if (l->slot[i].state != SLOT_FREE && l->slot[i].step == step && l->slot[i].round == round) found = &l->slot[i];
    for (int i = 0; i < 2; i++)
        if (&l->slot[i] != found && l->slot[i].state == SLOT_DONE) l->slot[i].state = SLOT_FREE, l->head = i;
    pthread_mutex_unlock(&l->lock);
    return found;
}

reel_err reel_loader_status(struct reel_loader *l)
{
    reel_err a = settle(l, &l->slot[0]), b = settle(l, &l->slot[1]);

    return a ? a : b;
}

/* The reader's samples on every rank of its SP x TP group. */
static reel_err share(struct reel_loader *l, struct slot *s, reel_err e)
{
    struct reel_comm *tp = &l->mesh->tp, *sp = &l->mesh->sp, *both[2] = { tp, sp };
    size_t b = (size_t)l->cfg.batch;

    if (tp->size > 1) e = reel_agree(tp, e);
    if (sp->size > 1) e = reel_agree(sp, e);
    if (e) return e;
    for (int i = 0; i < 2; i++) {
        if (both[i]->size == 1 || (both[i] == tp && sp->rank != 0)) continue;
        if (l->nx) reel_comm_bcast(both[i], s->x, b * l->nx * sizeof *s->x, 0);
        reel_comm_bcast(both[i], s->text, b * l->ntext * sizeof *s->text, 0);
    }
    return REEL_OK;
}

reel_err reel_loader_take(struct reel_loader *l, long step, int round, struct reel_host_batch *out)
{
    struct slot *s = held(l, step, round);
    reel_err e;

    if (!s) {
        s = &l->slot[l->head];
        reel_loader_prefetch(l, step, round);
    }
    e = share(l, s, settle(l, s));
    *out = (struct reel_host_batch){ .x = l->nx ? s->x : NULL, .text = s->text, .id = s->id, .mean = l->info->mean, .std = l->info->std };
    return e;
}

struct reel_loader_stats reel_loader_stats(struct reel_loader *l)
{
    struct reel_loader_stats s;

    pthread_mutex_lock(&l->lock);
    s = l->stats;
    l->stats = (struct reel_loader_stats){ 0 };
    pthread_mutex_unlock(&l->lock);
    return s;
}

int64_t reel_loader_batches(const struct reel_loader *l) { return l->batches; }

size_t reel_loader_host_bytes(const struct reel_loader *l)
{
    const struct reel_set_info *f = l->info;

    return 2 * (size_t)l->cfg.batch * (l->nx + l->ntext) * sizeof(float) + (l->nx + (size_t)f->text_rows * (size_t)f->text_dim) * sizeof(float) +
           (l->cfg.parity ? (size_t)f->n * sizeof *l->perm : 0);
}
