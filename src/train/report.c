#include "train/report.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "be/device.h"
#include "train/estimate.h"
#include "train/lora.h"
#include "train/notes.h"

#define MIB 1048576.0
#define GIB (1024 * MIB)

static const struct { const char *title, *key; } phase[REEL_NPROF] = {
    [REEL_PROF_DATA] = { "data", "time/data" },
    [REEL_PROF_FORWARD] = { "forward", "time/forward" },
    [REEL_PROF_BACKWARD] = { "backward", "time/backward" },
    [REEL_PROF_WAIT] = { "wait for ranks", "time/comm_wait" },
    [REEL_PROF_CALLBACK] = { "callbacks", "time/callbacks" },
    [REEL_PROF_OPTIM] = { "optimizer", "time/optimizer" },
    [REEL_PROF_SAVE] = { "checkpoint", "time/checkpoint" },
    [REEL_PROF_VALIDATE] = { "validation", "time/validation" },
    [REEL_PROF_OTHER] = { "log", "time/log" },
};

void reel_report_hms(char *buf, size_t size, double s)
{
    long t = (long)(s + 0.5);

    if (t >= 3600)
        snprintf(buf, size, "%ld:%02ld:%02ld", t / 3600, t / 60 % 60, t % 60);
    else
        snprintf(buf, size, "%ld:%02ld", t / 60, t % 60);
}

static double loss_of(const struct reel_step *st)
{
    return st->n_metric ? st->metric[0].value : (double)NAN;
}

/* The rate of this step's update of a role; of its next one where this step had none. */
static double rate_of(const struct reel_run *r, int role, const struct reel_step *st)
{
    int updated = !st->skip && st->trained & REEL_ROLE(role);

    return reel_lr_at(&r->optim[role].lr, r->optim[role].k - updated);
}

/* The card's data sheet, which gives bf16 products, if the run makes such; NULL: what products reach is measured. */
static const struct reel_gpu_spec *sheet(const struct reel_run *r)
{
    return r->role[REEL_STUDENT].compute == REEL_BF16 ? reel_backend_spec(r->be) : NULL;
}

static void progress(struct reel_run *r, const struct reel_step *st)
{
    long done = st->step - r->first, left = r->last - st->step;
    double elapsed = reel_now() - r->prof.start, per = elapsed / (double)done;
    double samples = (double)r->batch.b_global * st->rounds / per;
    double gflops = r->s.flops * r->world->size / elapsed * 1e-9;
    char eta[32];
    int tty = isatty(STDERR_FILENO);
    long every = tty ? 1 : r->last <= 200 ? 10 : 50;

    if (left && st->step % every && done > 1) return;
    reel_report_hms(eta, sizeof eta, per * (double)left);
    fprintf(stderr, "%sstep %ld/%ld  loss %.4f  lr %.2e  %.1f samples/s  %.1f GFLOP/s  ETA %s%s", tty ? "\r" : "",
            st->step, r->last, loss_of(st), rate_of(r, REEL_STUDENT, st), samples, gflops, eta,
            tty && left ? "   " : "\n");
}

enum { RECORD = REEL_NMETRIC + REEL_NSCALAR + 48 };
struct record {
    const char *name[RECORD];
    double value[RECORD];
    int n;
};

static void put(struct record *c, const char *name, double value)
{
    REEL_BUG_IF(c->n == RECORD, "a record of more than %d numbers", RECORD);
    c->name[c->n] = name;
    c->value[c->n++] = value;
}

/* Seconds of this rank in each phase, and operations, since the record before. */
static void put_work(struct record *c, struct reel_run *r, double seconds)
{
    struct reel_profile *p = &r->prof;
    double rate = (r->s.flops - p->logged_flops) * r->world->size / seconds;

    put(c, "flops_per_sec", rate);
    if (sheet(r)) put(c, "mfu", rate / r->world->size / sheet(r)->flops);
    for (int i = 0; i < REEL_NPROF; i++) put(c, phase[i].key, p->seconds[i] - p->logged[i]);
    memcpy(p->logged, p->seconds, sizeof p->logged);
    p->logged_flops = r->s.flops;
}

/* Of this rank: what the plan took, what of it was ever in use, the process's largest share of the host's memory. */
static void put_memory(struct record *c, struct reel_run *r)
{
    struct reel_arena *a[REEL_RUN_ARENAS];
    int n = reel_run_memory(r, !reel_backend_on_device(r->be), a);
    double planned = 0, peak = 0;
    struct rusage u;

    for (int i = 0; i < n; i++) planned += (double)a[i]->cap, peak += (double)a[i]->peak;
    put(c, "memory/planned_gib", planned / GIB);
    put(c, "memory/peak_gib", peak / GIB);
    if (getrusage(RUSAGE_SELF, &u) == 0) put(c, "memory/host_peak_gib", (double)u.ru_maxrss * 1024 / GIB);
}

/* Over all ranks: who makes the others wait, and whose memory is nearest to its end. One rank differs from no other. */
static void put_spread(struct record *c, const struct reel_run *r)
{
    static const struct { const char *mean, *max, *rank; } key[REEL_NSPREAD] = {
        [REEL_SPREAD_WORK] = { "ranks/work_mean_sec", "ranks/work_max_sec", "ranks/work_max_rank" },
        [REEL_SPREAD_DATA] = { "ranks/data_mean_sec", "ranks/data_max_sec", "ranks/data_max_rank" },
        [REEL_SPREAD_ARENAS] = { "ranks/memory_mean_gib", "ranks/memory_max_gib", "ranks/memory_max_rank" },
        [REEL_SPREAD_HOST] = { "ranks/host_mean_gib", "ranks/host_max_gib", "ranks/host_max_rank" },
    };

    for (int i = 0; r->world->size > 1 && i < REEL_NSPREAD; i++) {
        if (!key[i].mean) continue;
        put(c, key[i].mean, r->spread[i].mean);
        put(c, key[i].max, r->spread[i].max);
        put(c, key[i].rank, r->spread[i].rank);
    }
}

reel_err reel_report_step(struct reel_run *r, const struct reel_step *st, double seconds)
{
    static const char *const lr[REEL_NROLE] = { "lr/student", "lr/teacher", "lr/critic" };
    struct record c;

    c.n = 0;
    if (r->flags.quiet || r->world->rank) return REEL_OK;
    reel_note_pause(r);
    for (int i = 0; i < st->n_metric; i++) put(&c, st->metric[i].name, st->metric[i].value);
    put(&c, "step_time_sec", seconds);
    put(&c, "samples_per_sec", (double)r->batch.b_global * st->rounds / seconds);
    for (int i = 0; i < REEL_NROLE; i++)
        if (r->optim[i].model) put(&c, lr[i], rate_of(r, i, st));
    if (reel_method_sparse(r->cfg, REEL_STUDENT)) put(&c, "vsa_sparsity", reel_method_sparsity(&r->method, st));
    put_work(&c, r, seconds);
    put_memory(&c, r);
    put_spread(&c, r);
    for (int i = 0; i < st->n_scalar; i++) put(&c, st->scalar[i].name, st->scalar[i].value);
    progress(r, st);
    return reel_track_scalars(r->track, st->step, c.name, c.value, c.n); /* rank 0 alone: the loop agrees */
}

/* What callbacks take of the host beside the arenas; bytes. */
static double print_beside(const struct reel_run *r)
{
    double sum = 0;

    for (int i = 0; i < r->n_cb; i++) {
        const struct reel_cb *c = &r->cb[i];
        if (c->beside)
            printf("  beside them %-10s %12.1f MiB of host memory and codec%s%s\n", c->name, (double)c->beside / MIB, c->beside_lacks ? ", without " : "",
                   c->beside_lacks ? c->beside_lacks : "");
        sum += (double)c->beside;
    }
    return sum;
}

static void print_arenas(struct reel_run *r, int on_host)
{
    struct reel_arena *a[REEL_RUN_ARENAS];
    int n = reel_run_memory(r, on_host, a);
    double total = 0;

    for (int i = 0; i < n; i++) {
        double planned = (double)(a[i]->base ? a[i]->cap : a[i]->peak);
        if (planned > 0) printf("  %-22s %12.1f MiB\n", a[i]->name, planned / MIB);
        total += planned;
    }
    if (on_host) total += print_beside(r);
    printf("  %-22s %12.1f MiB per rank\n", "total", total / MIB);
    if (reel_estimate_before(r) > 0)
        printf("  %-22s %12.1f MiB per rank, given back before these are taken%s\n", "text encoder", reel_estimate_before(r) / MIB,
               reel_estimate_before(r) > total ? ": the run's peak" : "");
    if (on_host) return;
    print_beside(r);
    if (r->save_mem.peak)
        printf("  %-22s %12.1f MiB of the host's memory beside these: the copy that a save writes\n", r->save_mem.name, (double)r->save_mem.peak / MIB);
}

void reel_report_plan(struct reel_run *r, int on_host)
{
    const struct reel_mesh_dims *d = &r->mesh.dims;

    printf("plan: %d ranks = replicate %d x shard %d x tp %d, sp %d; micro-batch %ld x %d rounds\n", d->world,
           d->replicate, d->shard, d->tp, d->sp, (long)r->batch.b_global,
           (int)r->cfg->training.loop.gradient_accumulation_steps);
    print_arenas(r, on_host);
    for (int i = 0; i < REEL_NROLE; i++)
        if (r->stand_in & REEL_ROLE(i))
            printf("  %s: %s is not at hand; its shapes are those of the built-in config.json\n", r->role[i].role,
                   reel_config_role(r->cfg, r->role[i].role)->init_from);
}

static int64_t parameters(const struct reel_model *m, int trained)
{
    int64_t n = 0;

    for (int i = 0; i < m->n_def; i++) {
        int64_t k = 1;
        if (trained && m->def[i].frozen) continue;
        for (int d = 0; d < m->def[i].nd; d++) k *= m->def[i].n[d];
        n += k;
    }
    return n;
}

/* What of a role is trained, behind a comma. */
static const char *trained_part(const struct reel_model *m, char *buf, size_t size)
{
    int n = reel_adapters_count(m);

    if (!m->trainable) return "";
    if (!n) return ", trainable";
    snprintf(buf, size, ", %.2f M of them trained: adapters of rank %d beside %d layers", (double)parameters(m, 1) * 1e-6,
             (int)m->opts.lora.rank, n);
    return buf;
}

/* Ranks that run otherwise than was wanted: the first of each kind, and how many there are. */
static void judge_hosts(struct reel_run *r, const struct reel_host *h)
{
    int refused = 0, crowded = 0, n_refused = 0, n_crowded = 0;

    for (int i = r->world->size - 1; i >= 0; i--) {
        if (h[i].refused) refused = i, n_refused++;
        if (h[i].threads > h[i].n_cores) crowded = i, n_crowded++;
    }
    if (n_refused)
        reel_note_warning(r, "%d of %d ranks could not be bound to cores, the first is rank %d on %s: %s; they run unbound (training.bind: never does "
                          "not try)", n_refused, r->world->size, refused, h[refused].node, strerror(h[refused].refused));
    if (n_crowded)
        reel_note_warning(r, "training.threads: %d ranks of %d have more threads than cores, the first is rank %d with %d threads on its share of %d "
                          "core%s of %s; threads take turns (0: one per core)", n_crowded, r->world->size, crowded, h[crowded].threads,
                          h[crowded].n_cores, h[crowded].n_cores > 1 ? "s" : "", h[crowded].node);
}

/* Who runs where. Collective(world). */
static void print_mesh(struct reel_run *r)
{
    struct reel_host mine, *all = NULL;

    reel_host_here(&mine, r->be, &r->seat.place);
    if (r->world->rank == 0) all = calloc((size_t)r->world->size, sizeof *all);
    REEL_BUG_IF(r->world->rank == 0 && !all, "no memory for the table of ranks");
    reel_comm_gather(r->world, &mine, sizeof mine, all, 0);
    if (all) {
        reel_mesh_print(&r->mesh.dims, all, stdout);
        reel_note_ranks(r, all);
        judge_hosts(r, all);
    }
    free(all);
}

void reel_report_start(struct reel_run *r)
{
    const int64_t *x = r->method.shape;
    char part[128];

    if (r->flags.quiet) return;
    print_mesh(r);
    if (r->world->rank) return;
    printf("reel: %d rank%s, %s\n", r->world->size, r->world->size > 1 ? "s" : "", reel_backend_describe(r->be));
    for (int i = 0; i < REEL_NROLE; i++)
        if (r->roles & REEL_ROLE(i))
            printf("reel: %s: %s, %.2f M parameters, %s%s\n", r->role[i].role, r->role[i].ops->name,
                   (double)parameters(&r->role[i], 0) * 1e-6, r->role[i].compute == REEL_BF16 ? "bf16" : "f32",
                   trained_part(&r->role[i], part, sizeof part));
    printf("reel: latents [%ld,%ld,%ld,%ld,%ld] a rank, global micro-batch %ld, %d round%s a step\n", (long)x[0],
           (long)x[1], (long)x[2], (long)x[3], (long)x[4], (long)r->batch.b_global,
           (int)r->cfg->training.loop.gradient_accumulation_steps,
           r->cfg->training.loop.gradient_accumulation_steps > 1 ? "s" : "");
    reel_report_plan(r, !reel_backend_on_device(r->be));
    if (r->first) printf("reel: resumed at step %ld%s\n", r->first,
                         r->first < r->last ? "" : ": nothing to do, training.loop.max_train_steps are done");
    fflush(stdout);
}

static void print_phases(struct reel_run *r)
{
    double min[REEL_NPROF], avg[REEL_NPROF], max[REEL_NPROF], total = 0;

    reel_comm_minavgmax(r->world, r->prof.seconds, REEL_NPROF, min, avg, max);
    for (int i = 0; i < REEL_NPROF; i++) total += avg[i];
    if (r->world->rank) return;
    printf("\n%-18s %10s %10s %10s %7s\n", "phase", "min s", "avg s", "max s", "share");
    for (int i = 0; i < REEL_NPROF; i++)
        printf("%-18s %10.3f %10.3f %10.3f %6.1f%%\n", phase[i].title, min[i], avg[i], max[i],
               total > 0 ? 100 * avg[i] / total : 0);
    printf("%-18s %10s %10.3f\n", "total", "", total);
}

/* The rank that the others waited for. Collective(world). */
static void print_slowest(struct reel_run *r)
{
    struct at_work { double seconds; char node[64]; } mine = { .seconds = reel_profile_work(&r->prof) }, *all = NULL, *worst;
    double mean = 0;

    if (r->world->size == 1) return;
    gethostname(mine.node, sizeof mine.node - 1);
    if (r->world->rank == 0) all = calloc((size_t)r->world->size, sizeof *all);
    REEL_BUG_IF(r->world->rank == 0 && !all, "no memory for the table of ranks");
    reel_comm_gather(r->world, &mine, sizeof mine, all, 0);
    if (!all) return;
    worst = all;
    for (int i = 0; i < r->world->size; i++) {
        mean += all[i].seconds / r->world->size;
        if (all[i].seconds > worst->seconds) worst = &all[i];
    }
    printf("%-18s %10d on %s: %.3f s beside waiting, %.2f times the mean\n", "slowest rank", (int)(worst - all), worst->node, worst->seconds,
           mean > 0 ? worst->seconds / mean : 1);
    free(all);
}

/* Seconds in which the model's operations ran. On a GPU the phases say when the host gave them out. */
static double compute_seconds(const struct reel_run *r)
{
    double s = 0;

    if (!reel_backend_on_device(r->be))
        return r->prof.seconds[REEL_PROF_FORWARD] + r->prof.seconds[REEL_PROF_BACKWARD] + r->prof.seconds[REEL_PROF_WAIT];
    for (int i = 0; i < REEL_NPROF; i++) s += i == REEL_PROF_SAVE || i == REEL_PROF_VALIDATE ? 0 : r->prof.seconds[i];
    return s;
}

static void print_rates(struct reel_run *r, double peak)
{
    double v[2] = { r->prof.flops / fmax(compute_seconds(r), 1e-9), peak };
    double read = reel_loader_stats(r->loader).bytes;

    reel_comm_sum(r->world, v, 2);
    reel_comm_sum(r->world, &read, 1);
    if (r->world->rank) return;
    printf("model FLOP/s       %10.1f GFLOP/s over %.1f GFLOP/s of %s, %.1f%%\n", v[0] * 1e-9, v[1] * 1e-9,
           sheet(r) ? "the cards' data sheet (MFU)" : "GEMM", 100 * v[0] / v[1]);
    printf("%-18s %10.1f MiB\n", "data read", read / MIB);
    reel_mesh_print_traffic(&r->mesh, stdout);
}

static void print_memory(struct reel_run *r)
{
    struct reel_arena *a[REEL_RUN_ARENAS];
    int device = reel_backend_on_device(r->be), n = reel_run_memory(r, !device, a);

    for (int i = 0; i < n; i++) {
        double peak = (double)a[i]->peak, min, avg, max;
        reel_comm_minavgmax(r->world, &peak, 1, &min, &avg, &max);
        if (!r->world->rank && max > 0)
            printf("arena %-22s %10.1f MiB of %10.1f planned\n", a[i]->name, max / MIB, (double)a[i]->cap / MIB);
    }
    if (!r->world->rank && device && r->save_mem.cap)
        printf("arena %-22s %10.1f MiB of %10.1f planned, of the host's memory\n", r->save_mem.name, (double)r->save_mem.peak / MIB,
               (double)r->save_mem.cap / MIB);
}

void reel_report_table(struct reel_run *r)
{
    double peak;

    if (r->flags.quiet || r->prof.steps == 0) return;
    peak = sheet(r) ? sheet(r)->flops : reel_machine_gemm(r->be, r->world);
    print_phases(r);
    print_slowest(r);
    print_rates(r, peak);
    print_memory(r);
    fflush(stdout);
}
