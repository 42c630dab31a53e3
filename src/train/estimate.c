/* bytes and seconds of a step, from the code that will run it */
#include "train/estimate.h"

#include <math.h>
#include <string.h>

#include "be/ops.h"

#define PERIOD 10 /* steps: methods alternate their roles within */

static int trained(const struct reel_run *r, int i) { return r->roles & REEL_ROLE(i) && r->role[i].trainable; }

static void finish(struct reel_run *r)
{
    for (int i = 0; i < REEL_NROLE; i++)
        if (trained(r, i)) reel_grads_finish(r->role[i].ps);
}

static void one_step(struct reel_run *r, long step, int rounds)
{
    struct reel_step st = { .step = step, .rounds = rounds };

    for (int i = 0; i < REEL_NROLE; i++)
        if (trained(r, i)) reel_grads_zero(r->role[i].ps);
    for (; st.round < rounds; st.round++) {
        reel_arena_reset(&r->step_mem, 0);
        reel_arena_reset(&r->host, 0);
        r->method.ops->step(&r->method, &r->batch, &st);
    }
    finish(r);
    reel_arena_reset(&r->step_mem, 0);
    reel_arena_reset(&r->host, 0);
}

/* Neighbouring ranks are on one node: an axis leaves it when its last member is further away than the node is large. */
static double link(const struct reel_run *r, const struct reel_machine *m, int axis)
{
    const struct reel_mesh_dims *d = &r->mesh.dims;
    double reach = axis == REEL_AXIS_TP ? d->tp : axis == REEL_AXIS_SP ? d->tp * d->sp : axis == REEL_AXIS_SHARD ? d->tp * d->shard : d->world;

    return reach <= m->ranks_per_node || m->network_bandwidth <= 0 ? m->node_bandwidth : m->network_bandwidth;
}

/* Weights and gradients move behind compute; what sp and tp exchange is waited for. */
static void times(const struct reel_run *r, const struct reel_machine *m, struct reel_estimate *e)
{
    double moments = 0;

    e->compute_s = (e->flops - e->attention_flops) / m->gemm_flops + e->attention_flops / m->attention_flops;
    for (int a = 0; a < REEL_NAXIS; a++)
        for (int k = 0; k < REEL_NCOLL; k++) {
            double s = e->bytes[a][k] > 0 && link(r, m, a) > 0 ? e->bytes[a][k] / link(r, m, a) : 0;
            *(a == REEL_AXIS_SP || a == REEL_AXIS_TP ? &e->exposed_s : &e->hidden_s) += s;
        }
    for (int i = 0; i < REEL_NROLE; i++)
        if (trained(r, i)) moments += (double)(r->mem[i].params.peak + r->mem[i].optim.peak);
    e->optim_s = m->memory_bandwidth > 0 ? 2 * moments / m->memory_bandwidth : 0;
    e->step_s = fmax(e->compute_s, e->hidden_s) + e->exposed_s + e->optim_s;
}

int reel_estimate_on_host(const struct reel_run *r, const struct reel_machine *m)
{
    return !reel_backend_on_device(r->be) && !(m && m->card);
}

double reel_estimate_before(const struct reel_run *r)
{
    double most = 0;

    for (int i = 0; i < r->n_cb; i++) most = fmax(most, (double)r->cb[i].before);
    return most;
}

static double memory(struct reel_run *r, int on_host)
{
    struct reel_arena *a[REEL_RUN_ARENAS];
    double sum = 0;

    for (int i = reel_run_memory(r, on_host, a); i--;) sum += (double)a[i]->peak;
    for (int i = 0; on_host && i < r->n_cb; i++) sum += (double)r->cb[i].beside;
    return fmax(sum, reel_estimate_before(r));
}

void reel_estimate_step(struct reel_run *r, const struct reel_machine *m, struct reel_estimate *e)
{
    int rounds = (int)r->cfg->training.loop.gradient_accumulation_steps;

    *e = (struct reel_estimate){ 0 };
    finish(r); /* what the rehearsal left on its way */
    memset(r->mesh.bytes, 0, sizeof r->mesh.bytes);
    r->s.flops = r->s.attention_flops = 0;
    for (int i = 0; i < PERIOD; i++) one_step(r, i + 1, rounds);
    e->flops = r->s.flops / PERIOD;
    e->attention_flops = r->s.attention_flops / PERIOD;
    for (int x = 0; x < REEL_NAXIS; x++)
        for (int k = 0; k < REEL_NCOLL; k++) e->bytes[x][k] = r->mesh.bytes[x][k] / PERIOD;
    e->memory = memory(r, reel_estimate_on_host(r, m));
    if (m) times(r, m, e);
}
