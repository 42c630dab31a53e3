/* what both views say in the same words */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "report/report_priv.h"

const struct group groups[] = {
    { "Loss", "", "_loss", 1 },
    { "Validation", "", "validation/loss", 1 },
    { "Gradient norm", "", "grad_norm/", 1 },
    { "Learning rate", "", "lr/", 0 },
    { "Time per phase", "s a step", "time/", 0 },
    { "Samples per second", "", "samples_per_sec", 0 },
    { "Model operations", "", "flops_per_sec", 0 },
    { "Share of the cards' peak", "MFU", "mfu", 0 },
    { "Memory of rank 0", "GiB", "memory/", 0 },
    { NULL, NULL, NULL, 0 },
};

double flops_unit(const struct run *r, const char **unit)
{
    static const char *const names[] = { "MFLOP/s", "GFLOP/s", "TFLOP/s", "PFLOP/s" };
    double v = series_median(run_series(r, "flops_per_sec")), scale = 1e-6;
    int i = 0;

    for (; i < 3 && v * scale >= 2000; i++) scale *= 1e-3;
    *unit = names[i];
    return scale;
}

int is_detail(const char *name)
{
    return !strncmp(name, "grad_norm/", 10) && strchr(name + 10, '/');
}

int in_group(const struct group *g, const char *name)
{
    size_t n = strlen(name), m = strlen(g->prefix);

    if (is_detail(name)) return 0;
    if (*g->prefix == '_') return n >= m && !strcmp(name + n - m, g->prefix) && !strchr(name, '/');
    return g->prefix[m - 1] == '/' ? !strncmp(name, g->prefix, m) : !strcmp(name, g->prefix);
}

const char *say_number(double v, char *buf, size_t size)
{
    snprintf(buf, size, isfinite(v) ? "%.4g" : isnan(v) ? "NaN" : "infinite", v);
    return buf;
}

const char *say_time(double t, char *buf, size_t size)
{
    time_t s = (time_t)t;
    struct tm tm;

    if (!localtime_r(&s, &tm) || !strftime(buf, size, "%Y-%m-%d %H:%M:%S", &tm)) snprintf(buf, size, "?");
    return buf;
}

const char *say_span(double s, char *buf, size_t size)
{
    long t = (long)(s + 0.5);

    if (s < 0.1) snprintf(buf, size, "%.2g ms", 1e3 * s);
    else if (s < 60) snprintf(buf, size, "%.3g s", s);
    else if (t >= 86400) snprintf(buf, size, "%ldd %ld:%02ld:%02ld", t / 86400, t / 3600 % 24, t / 60 % 60, t % 60);
    else if (t >= 3600) snprintf(buf, size, "%ld:%02ld:%02ld", t / 3600, t / 60 % 60, t % 60);
    else snprintf(buf, size, "%ld:%02ld min", t / 60, t % 60);
    return buf;
}

static int field(const json_t *j, const char *name) { return (int)json_integer_value(json_object_get(j, name)); }

const char *say_layout(const struct start *s, char *buf, size_t size)
{
    const json_t *m = json_object_get(s->note, "mesh");
    int ranks = field(s->note, "ranks");

    if (!s->note) snprintf(buf, size, "not noted");
    else
        snprintf(buf, size, "%d rank%s = replicate %d x shard %d x tp %d, sp %d", ranks, ranks == 1 ? "" : "s", field(m, "replicate"),
                 field(m, "shard"), field(m, "tp"), field(m, "sp"));
    return buf;
}

/* A run that holds its lock lives; one that is silent for very long may hang. */
static const char *say_alive(const struct run *r, const struct start *s, char *buf, size_t size)
{
    double step = series_median(run_series(r, "step_time_sec")), silent = r->now - s->last_time;
    char span[32];

    say_span(silent > 0 ? silent : 0, span, sizeof span);
    if (isfinite(step) && silent > 60 && silent > 20 * step)
        snprintf(buf, size, "still there, but silent for %s, the time of %.0f steps: it validates, saves, or hangs", span, silent / step);
    else
        snprintf(buf, size, "still running, after step %ld; last heard of %s ago", s->last, span);
    return buf;
}

const char *say_end(const struct run *r, int i, char *buf, size_t size)
{
    const struct start *s = &r->start[i];
    const char *why = json_string_value(json_object_get(s->end, "why"));
    int code = field(s->end, "code"), rank = field(s->end, "rank");

    if (run_goes_on(r, i)) return say_alive(r, s, buf, size);
    if (!s->end)
        snprintf(buf, size, "killed, or died, after step %ld without another word (memory, a node, SIGKILL, a fault: see the job's log)", s->last);
    else if (code == 0) snprintf(buf, size, "done, after step %ld", s->last);
    else if (code == 75) snprintf(buf, size, "stopped by %s after step %ld, saved, to be requeued", why ? why : "a signal", s->last);
    else if (rank >= 0) snprintf(buf, size, "failed after step %ld: rank %d: %s", s->last, rank, why ? why : "?");
    else snprintf(buf, size, "failed after step %ld: %s", s->last, why ? why : "?");
    return buf;
}

double phase_seconds(const struct run *r)
{
    double total = 0;

    for (int i = 0; i < r->n_series; i++)
        if (!strncmp(r->series[i].name, "time/", 5)) total += r->series[i].total;
    return total;
}

static double share(const struct run *r, const char *phase, double total)
{
    const struct series *s = run_series(r, phase);

    return s && total > 0 ? s->total / total : 0;
}

/* Mean of a tenth of the buckets at one end. */
static double end_mean(const struct series *s, int last)
{
    int k = s->n / 10 > 0 ? s->n / 10 : 1;
    double sum = 0;
    long n = 0;

    for (int i = 0; i < k; i++) {
        const struct bucket *b = &s->b[last ? s->n - 1 - i : i];
        sum += b->sum;
        n += b->n;
    }
    return n ? sum / (double)n : (double)NAN;
}

int find_hints(const struct run *r, char hint[HINTS][HINT_TEXT])
{
    const struct series *rate = run_series(r, "samples_per_sec"), *loss = run_series(r, "total_loss");
    double total = phase_seconds(r), now, then;
    int n = 0, silent = 0;

    if (share(r, "time/data", total) > 0.1)
        snprintf(hint[n++], HINT_TEXT, "%.0f%% of the time goes to waiting for data: put the data set on faster storage (STAGE in jobscripts/lib.sh copies it to the nodes), or give a rank more samples a step",
                 100 * share(r, "time/data", total));
    if (share(r, "time/comm_wait", total) > 0.3)
        snprintf(hint[n++], HINT_TEXT, "%.0f%% of the time goes to waiting for other ranks: compare the speeds that the preflight printed, and the layouts that reel plan proposes",
                 100 * share(r, "time/comm_wait", total));
    if (share(r, "time/checkpoint", total) > 0.1)
        snprintf(hint[n++], HINT_TEXT, "%.0f%% of the time goes to checkpoints: save more rarely, or with save: async", 100 * share(r, "time/checkpoint", total));
    if (share(r, "time/validation", total) > 0.3)
        snprintf(hint[n++], HINT_TEXT, "%.0f%% of the time goes to validation: validate more rarely, or fewer prompts", 100 * share(r, "time/validation", total));
    if (rate && rate->n >= 20 && (now = end_mean(rate, 1)) < 0.8 * (then = end_mean(rate, 0)))
        snprintf(hint[n++], HINT_TEXT, "the last tenth of the steps runs at %.3g samples/s, the first ran at %.3g", now, then);
    if (loss && series_extent(loss).bad) snprintf(hint[n++], HINT_TEXT, "the loss was not finite in %ld step%s", series_extent(loss).bad, series_extent(loss).bad > 1 ? "s" : "");
    for (int i = 0; i < r->n_start; i++) silent += !r->start[i].end && !run_goes_on(r, i);
    if (silent > 1) snprintf(hint[n++], HINT_TEXT, "%d starts ended without a word: look for out-of-memory kills and node failures in their jobs' logs", silent);
    if (r->torn > 1) snprintf(hint[n++], HINT_TEXT, "%ld lines of the log are no records and were left out", r->torn);
    return n;
}
