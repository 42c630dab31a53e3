#include <math.h>
#include <stdio.h>

#include "train/report.h"
#include "train/run.h"
#include "train/save.h"

/* The prefetched micro-batch on the device: raw latents (if any) normalised, text as it is. A failed read is
 * held until the step's reduction tells everyone; the old batch stands in for it until then. */
static void take_batch(struct reel_run *r, const struct reel_step *st)
{
    struct reel_host_batch in;

    r->batch.b0 = r->mesh.dp_rank * r->batch.x0.n[0];
    r->held = reel_loader_take(r->loader, st->step, st->round, &in);
    if (r->held) return;
    reel_put(&r->s, r->batch.text, in.text);
    if (!in.x) return;
    reel_put(&r->s, r->raw, in.x);
    reel_normalize(&r->s, r->batch.x0, r->raw, r->mean, r->istd);
}

static void fetch_next(struct reel_run *r, const struct reel_step *st)
{
    if (st->round + 1 < st->rounds)
        reel_loader_prefetch(r->loader, st->step, st->round + 1);
    else if (st->step < r->last)
        reel_loader_prefetch(r->loader, st->step + 1, 0);
}

/* This rank's health: the batch in use, the one that is being read, the draws. */
static reel_err health(struct reel_run *r)
{
    reel_err e = r->held;

    if (e == REEL_OK) e = reel_loader_status(r->loader);
    return e == REEL_OK ? reel_draws_status(r->draws) : e;
}

/* Metrics, everyone's health and what differs between ranks in one reduction; then values are equal on all ranks. */
static reel_err reduce_step(struct reel_run *r, struct reel_step *st)
{
    int slots = reel_spread_slots(r), head = 1 + slots, n = head;
    int64_t *v = reel_arena_push(&r->host, (size_t)(head + REEL_NMETRIC * REEL_EXACT_LIMBS) * sizeof *v);
    reel_err mine = health(r);

    v[0] = mine != REEL_OK;
    reel_spread_put(r, v + 1);
    for (int i = 0; i < st->n_metric; i++) /* the ranks of an SP group have the same sums */
        for (int k = 0; k < REEL_EXACT_LIMBS; k++) v[n++] = r->mesh.sp.rank ? 0 : st->metric[i].sum[k];
    reel_comm_sum_i64(&r->mesh.hsdp, v, n);
    reel_comm_sum_i64(&r->mesh.tp, v, head); /* tp ranks have the same metrics, not the same health and slots */
    reel_spread_take(r, v + 1);
    for (int i = 0; i < st->n_metric; i++)
        st->metric[i].value = st->metric[i].scale * reel_exact_value(v + head + i * REEL_EXACT_LIMBS);
    return v[0] > 0 ? reel_agree(r->world, mine) : REEL_OK; /* the same count on every rank */
}

static void update(struct reel_run *r, struct reel_step *st)
{
    for (int i = REEL_NROLE - 1; i >= 0; i--) /* the critic before the student, as the reference does */
        if (st->trained & REEL_ROLE(i)) reel_optim_step(&r->optim[i], &r->s);
    reel_sync(&r->s);
}

static void begin_step(struct reel_run *r, struct reel_step *st, long step)
{
    *st = (struct reel_step){ .step = step, .rounds = (int)r->cfg->training.loop.gradient_accumulation_steps };
    for (int i = 0; i < REEL_NROLE; i++) {
        if (!(r->roles & REEL_ROLE(i)) || !r->role[i].trainable) continue;
        reel_grads_zero(r->role[i].ps);
        r->role[i].gscale = 1;
    }
}

static void finish_grads(struct reel_run *r)
{
    for (int i = 0; i < REEL_NROLE; i++)
        if (r->roles & REEL_ROLE(i) && r->role[i].trainable) reel_grads_finish(r->role[i].ps);
}

void reel_run_first(struct reel_run *r)
{
    if (r->first < r->last) reel_loader_prefetch(r->loader, r->first + 1, 0);
}

reel_err reel_run_step(struct reel_run *r, long step, struct reel_step *st)
{
    reel_phase("forward/backward", step);
    reel_fault_stall();
    begin_step(r, st, step);
    for (; st->round < st->rounds; st->round++) {
        reel_arena_reset(&r->step_mem, 0);
        reel_arena_reset(&r->host, 0);
        take_batch(r, st);
        fetch_next(r, st);
        reel_profile_lap(&r->prof, REEL_PROF_DATA);
        r->method.ops->step(&r->method, &r->batch, st);
        reel_profile_lap(&r->prof, REEL_PROF_FORWARD);
    }
    finish_grads(r);
    reel_profile_lap(&r->prof, REEL_PROF_BACKWARD);
    REEL_TRY(reduce_step(r, st));
    reel_profile_lap(&r->prof, REEL_PROF_OTHER);

    if (r->on_grads) r->on_grads(r->on_grads_ctx, st);
    reel_phase("callbacks", step);
    REEL_TRY(reel_callbacks_before_optim(r->cb, r->n_cb, st));
    REEL_TRY(reel_check_finite(r, st));
    reel_profile_lap(&r->prof, REEL_PROF_CALLBACK);
    reel_phase("optimizer", step);
    if (!st->skip) update(r, st);
    reel_profile_lap(&r->prof, REEL_PROF_OPTIM);
    REEL_TRY(reel_callbacks_step_end(r->cb, r->n_cb, st));
    reel_profile_lap(&r->prof, REEL_PROF_CALLBACK);
    r->step = step;
    r->prof.steps++;
    return REEL_OK;
}

static void say_end(const struct reel_run *r)
{
    const char *who = r->stopped & REEL_STOP_WALL ? "the wall clock ends this run" : "a signal ends this run";

    if (r->world->rank || r->flags.quiet) return;
    if (r->step > r->first)
        fprintf(stderr, "reel: %s after step %ld of %ld; it is saved, and exit code %d asks for a requeue\n", who, r->step, r->last,
                REEL_EXIT_REQUEUE);
    else
        fprintf(stderr, "reel: %s before step %ld of %ld, with nothing new to save; exit code %d asks for a requeue\n", who, r->step + 1,
                r->last, REEL_EXIT_REQUEUE);
}

/* Callbacks that look at the weights of a step, at first those that the run starts from. Their work is not the training's. */
static reel_err after_step(struct reel_run *r, long step)
{
    double flops = r->s.flops, attention = r->s.attention_flops;

    REEL_TRY(reel_callbacks_after_step(r->cb, r->n_cb, step));
    r->s.flops = flops;
    r->s.attention_flops = attention;
    reel_profile_lap(&r->prof, REEL_PROF_VALIDATE);
    return REEL_OK;
}

/* What signals and the clock ask for after a step. */
static reel_err obey(struct reel_run *r, double seconds)
{
    int asked = reel_stop_poll(&r->stop, r->world, seconds, reel_save_seconds(r));

    if (asked & REEL_STOP_END && r->step < r->last) r->stopped = asked;
    if (r->stopped && r->step > r->first && !r->cfg->training.checkpoint.output_dir)
        return REEL_FAIL(REEL_EIO, "ended by a signal or the clock after step %ld, and nothing is saved: "
                                   "training.checkpoint.output_dir is not set", r->step);
    return asked && !r->stopped ? reel_save_now(r) : REEL_OK;
}

static void around_bwd(void *ctx, int after)
{
    struct reel_run *r = ctx;

    reel_profile_lap(&r->prof, after ? REEL_PROF_BACKWARD : REEL_PROF_FORWARD);
}

static void start_profile(struct reel_run *r)
{
    for (int i = 0; i < REEL_NROLE; i++) r->role[i].around_bwd = around_bwd, r->role[i].around_ctx = r;
    reel_profile_start(&r->prof, r->watch);
}

reel_err reel_run_loop(struct reel_run *r)
{
    start_profile(r);
    r->s.flops = 0;
    reel_run_first(r);
    r->stop.save_bytes = r->save_mem.cap;
    REEL_TRY(after_step(r, r->first));
    REEL_TRY(obey(r, 0)); /* what came while the run was opened */
    for (long step = r->first + 1; step <= r->last && !r->stopped; step++) {
        struct reel_step st;
        double began = reel_now(), seconds;
        REEL_TRY(reel_run_step(r, step, &st));
        seconds = reel_now() - began;
        REEL_TRY(reel_agree(r->world, reel_report_step(r, &st, seconds)));
        reel_profile_lap(&r->prof, REEL_PROF_OTHER);
        reel_phase("checkpoint", step);
        REEL_TRY(reel_save_due(r, step));
        reel_profile_lap(&r->prof, REEL_PROF_SAVE);
        REEL_TRY(after_step(r, step));
        REEL_TRY(obey(r, seconds));
        reel_profile_lap(&r->prof, REEL_PROF_SAVE);
    }
    REEL_TRY(reel_save_final(r));
    if (r->stopped) say_end(r);
    reel_profile_lap(&r->prof, REEL_PROF_SAVE);
    r->prof.flops = r->s.flops;
    reel_report_table(r);
    return REEL_OK;
}
