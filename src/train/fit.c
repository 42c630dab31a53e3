/* plans: printed, judged, and the layouts that fit where one does not */
#include "train/fit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "train/report.h"

#define GIB 1073741824.0

/* A candidate layout and what is estimated of it. */
struct layout {
    struct reel_mesh_dims d;
    int64_t batch, rounds;
    int full; /* activations made again in the backward pass */
    struct reel_estimate e;
};

enum { SHOWN = 3, MOST = 512 };

static reel_err plan_new(struct reel_run **out, const struct reel_config *cfg, const struct reel_env *env, struct reel_comm *world)
{
    *out = calloc(1, sizeof **out);
    if (!*out) return REEL_FAIL(REEL_ENOMEM, "no memory for a plan");
    return reel_run_plan(*out, cfg, env, world);
}

static void plan_drop(struct reel_run *r)
{
    if (r) reel_run_unplan(r);
    free(r);
}

/* ---- layouts that fit ---- */

static void apply(struct reel_config *c, const struct layout *l)
{
    struct reel_cfg_distributed *d = &c->training.distributed;

    d->replicate = l->d.replicate, d->shard = l->d.shard, d->sp_size = l->d.sp, d->tp_size = l->d.tp;
    c->training.data.train_batch_size = l->batch;
    c->training.loop.gradient_accumulation_steps = l->rounds;
    for (int i = 0; l->full && i < c->n_roles; i++)
        if (c->role[i].trainable) c->role[i].checkpointing = REEL_CKPTING_FULL;
}

/* 1: planned and estimated, within `room` bytes. A layout that the model refuses is none. */
static int fits(struct layout *l, const struct reel_config *cfg, const struct reel_env *env, struct reel_comm *world,
                const struct reel_machine *m, double room)
{
    struct reel_config *c = malloc(sizeof *c);
    struct reel_run *r = NULL;
    reel_err e;

    if (!c) return 0;
    *c = *cfg;
    apply(c, l);
    e = plan_new(&r, c, env, world);
    if (e == REEL_OK) reel_estimate_step(r, m, &l->e);
    reel_err_clear();
    plan_drop(r);
    free(c);
    return e == REEL_OK && l->e.memory <= room;
}

/* Faster first; without times, what moves and waits less. */
static int by_step(const void *a, const void *b)
{
    const struct layout *x = a, *y = b;
    double p = x->e.step_s > 0 ? x->e.step_s : x->d.tp * 100 + x->d.sp * 10 + x->full;
    double q = y->e.step_s > 0 ? y->e.step_s : y->d.tp * 100 + y->d.sp * 10 + y->full;

    return (p > q) - (p < q);
}

/* As many samples a step as cfg has, one at a time. 0: they do not divide over its groups. */
static int64_t rounds_of(const struct reel_config *cfg, const struct layout *l)
{
    const struct reel_cfg_distributed *d = &cfg->training.distributed;
    int64_t all = cfg->training.data.train_batch_size * cfg->training.loop.gradient_accumulation_steps *
                  (d->replicate * d->shard / d->sp_size);
    int64_t groups = (int64_t)l->d.replicate * l->d.shard / l->d.sp;

    return all % groups ? 0 : all / groups;
}

/* Nothing is left to make again: the configuration says so of all that is trained. */
static int is_full(const struct reel_config *cfg)
{
    int all = 1;

    for (int i = 0; i < cfg->n_roles; i++) all &= !cfg->role[i].trainable || cfg->role[i].checkpointing == REEL_CKPTING_FULL;
    return all;
}

static int search(struct layout *found, const struct reel_config *cfg, const struct reel_env *env, struct reel_comm *world,
                  const struct reel_machine *m, double room)
{
    int n = 0, ranks = (int)cfg->training.distributed.num_gpus;

    for (int full = 0; full < 2 - is_full(cfg); full++)
        for (int tp = 1; tp <= 8; tp *= 2)
            for (int sp = 1; sp <= 8; sp *= 2)
                for (int replicate = 1; replicate <= ranks / tp; replicate *= 2) {
                    struct layout l = { .d = { ranks, replicate, ranks / tp / replicate, sp, tp }, .batch = 1, .full = full };
                    if (l.d.shard * replicate * tp != ranks || l.d.shard < 1 || replicate * l.d.shard % sp) continue;
                    l.rounds = rounds_of(cfg, &l);
                    if (l.rounds && n < MOST && fits(&l, cfg, env, world, m, room)) found[n++] = l;
                }
    qsort(found, (size_t)n, sizeof *found, by_step);
    return n;
}

static size_t show_layout(char *out, size_t size, const struct layout *l)
{
    int n = snprintf(out, size, "\n  hsdp_replicate_dim %d, hsdp_shard_dim %d, sp_size %d, tp_size %d, train_batch_size %lld x %lld rounds%s: %s",
                     l->d.replicate, l->d.shard, l->d.sp, l->d.tp, (long long)l->batch, (long long)l->rounds,
                     l->full ? ", enable_gradient_checkpointing_type full" : "", reel_bytes_text(l->e.memory).s);

    if (l->e.step_s > 0 && n > 0 && (size_t)n < size) n += snprintf(out + n, size - (size_t)n, ", %.2f s a step", l->e.step_s);
    return n < 0 ? 0 : (size_t)n < size ? (size_t)n : size - 1;
}

/* ---- the verdict ---- */

static int larger(const void *a, const void *b)
{
    const struct reel_arena *const *x = a, *const *y = b;

    return ((*x)->peak < (*y)->peak) - ((*x)->peak > (*y)->peak);
}

static size_t show_terms(char *out, size_t size, struct reel_run *r, const struct reel_estimate *e, int on_host)
{
    struct reel_arena *a[REEL_RUN_ARENAS];
    int n = reel_run_memory(r, on_host, a);
    double before = reel_estimate_before(r);
    size_t at = 0;

    if (before >= e->memory) return (size_t)snprintf(out, size, "validation's text encoder %s, which ranks share", reel_bytes_text(before).s);
    qsort(a, (size_t)n, sizeof *a, larger);
    for (int i = 0; i < SHOWN && i < n; i++)
        at += (size_t)snprintf(out + at, size - at, "%s%s %s", i ? ", " : "", a[i]->name, reel_bytes_text((double)a[i]->peak).s);
    return at;
}

static reel_err refuse(struct reel_run *r, const struct reel_estimate *e, double room, const struct reel_machine *m)
{
    struct layout *found = malloc(MOST * sizeof *found);
    char terms[192], text[REEL_ERR_MSG] = "";
    size_t at = 0;
    int n;

    if (!found) return REEL_FAIL(REEL_ENOMEM, "no memory for the layouts that would fit");
    show_terms(terms, sizeof terms, r, e, reel_estimate_on_host(r, m));
    n = search(found, r->cfg, r->flags.env, r->world, m, room);
    for (int i = 0; i < SHOWN && i < n; i++) at += show_layout(text + at, sizeof text - at, &found[i]);
    free(found);
    return REEL_FAIL(REEL_ECONFIG, "a rank needs %s and has %s; the largest: %s; %s%s", reel_bytes_text(e->memory).s, reel_bytes_text(room).s, terms,
                     n ? "as many samples a step on as many ranks fit with" : "no layout of as many ranks fits: use more", text);
}

static void print_step(const struct reel_run *r, const struct reel_estimate *e, const struct reel_machine *m)
{
    double shown = 0;

    printf("step: %.4g TFLOP a rank, %.0f%% of them attention\n", e->flops * 1e-12, e->flops > 0 ? 100 * e->attention_flops / e->flops : 0);
    for (int a = 0; a < REEL_NAXIS; a++)
        for (int k = 0; k < REEL_NCOLL; k++)
            if (e->bytes[a][k] > 0) {
                printf("%10s %-10s %14.0f bytes received a step\n", reel_axis_name((enum reel_axis)a), reel_coll_name((enum reel_coll)k), e->bytes[a][k]);
                shown += e->bytes[a][k];
            }
    if (shown == 0 && r->mesh.dims.world > 1) printf("  nothing is exchanged\n");
    if (!m) return;
    if (shown > 0 && m->node_bandwidth <= 0 && m->network_bandwidth <= 0)
        printf("  %s has no rates of links: exchanges count as no time\n", m->name);
    printf("time on %s: compute %.3f s, behind it %.3f s of weights and gradients, waits for sp and tp %.3f s, optimizer %.3f s: %.3f s a step\n",
           m->name, e->compute_s, e->hidden_s, e->exposed_s, e->optim_s, e->step_s);
}

reel_err reel_plan_print(const struct reel_config *cfg, const struct reel_plan_flags *f, const struct reel_env *env,
                         struct reel_comm *world)
{
    struct reel_machine machine, *m = NULL;
    struct reel_estimate e;
    struct reel_run *r;
    double room = f && f->memory_gib > 0 ? f->memory_gib * GIB : 0;
    reel_err err;

    if (f && f->machine) { /* a file that may be on one node alone */
        REEL_TRY(reel_agree(world, world->rank ? REEL_OK : reel_machine_find(&machine, f->machine)));
        reel_comm_bcast(world, &machine, sizeof machine, 0);
        m = &machine;
        if (room <= 0) room = m->memory_bytes;
    }
    err = plan_new(&r, cfg, env, world);
    if (err == REEL_OK) {
        reel_estimate_step(r, m, &e);
        if (room > 0 && e.memory > room) err = refuse(r, &e, room, m);
        if (world->rank == 0) reel_report_plan(r, reel_estimate_on_host(r, m));
        if (world->rank == 0) print_step(r, &e, m);
    }
    plan_drop(r);
    return err;
}
