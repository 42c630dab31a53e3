/* what both views say in the same words */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "report/report_priv.h"

const struct unit unit_s[] = { { 1, "s" }, { 1e3, "ms" }, { 1e6, "\xc2\xb5s" }, { 0, NULL } };
const struct unit unit_gib[] = { { 1, "GiB" }, { 1024, "MiB" }, { 1048576, "KiB" }, { 0, NULL } };
const struct unit unit_flops[] = { { 1e-15, "PFLOP/s" }, { 1e-12, "TFLOP/s" }, { 1e-9, "GFLOP/s" }, { 1e-6, "MFLOP/s" }, { 0, NULL } };
const struct unit unit_percent[] = { { 100, "%" }, { 0, NULL } };

const struct group groups[] = {
    { "Loss", "", "_loss", NULL, 1 },
    { "Validation", "", "validation/loss", NULL, 1 },
    { "Gradient norm", "", "grad_norm/", NULL, 1 },
    { "Learning rate", "", "lr/", NULL, 0 },
    { "Time per phase", " a step", "time/", unit_s, 0 },
    { "Work of a rank", " a step", "ranks/work_", unit_s, 0 },
    { "Wait for data of a rank", " a step", "ranks/data_", unit_s, 0 },
    { "Samples per second", "", "samples_per_sec", NULL, 0 },
    { "Model operations", "", "flops_per_sec", unit_flops, 0 },
    { "Share of the cards' peak", " MFU", "mfu", unit_percent, 0 },
    { "Memory of rank 0", "", "memory/", unit_gib, 0 },
    { NULL, NULL, NULL, NULL, 0 },
};

const char *say_times(const struct event *e, char *buf, size_t size)
{
    *buf = 0;
    if (e->times > 1) snprintf(buf, size, " (%ld times, the last at step %ld)", e->times, e->newest);
    return buf;
}

const struct unit *fit_unit(const struct unit *of, double v)
{
    while (of[1].name && v * of->scale < 1) of++;
    return of;
}

int is_detail(const char *name)
{
    return (!strncmp(name, "grad_norm/", 10) && strchr(name + 10, '/')) || !strcmp(name, "update_student") || !strncmp(name, "ranks/memory_", 13) ||
           !strncmp(name, "ranks/host_", 11) || (!strncmp(name, "ranks/", 6) && strstr(name, "_rank")) || strstr(name, "_video_count");
}

int in_group(const struct group *g, const char *name)
{
    size_t n = strlen(name), m = strlen(g->prefix);

    if (is_detail(name)) return 0;
    if (*g->prefix == '_') return n >= m && !strcmp(name + n - m, g->prefix) && !strchr(name, '/');
    return strchr("/_", g->prefix[m - 1]) ? !strncmp(name, g->prefix, m) : !strcmp(name, g->prefix);
}

const char *say_number(double v, char *buf, size_t size)
{
    if (fabs(v) >= 1000 && fabs(v) < 1e9) snprintf(buf, size, "%.0f", v);
    else snprintf(buf, size, isfinite(v) ? "%.4g" : isnan(v) ? "NaN" : "infinite", v);
    return buf;
}

const char *say_in(const struct unit *of, double v, char *buf, size_t size)
{
    const struct unit *u = fit_unit(of, v);
    char number[32];

    snprintf(buf, size, "%s %s", say_number(v * u->scale, number, sizeof number), u->name);
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

    if (s <= 0) snprintf(buf, size, "0 s");
    else if (s < 1e-3) snprintf(buf, size, "%.3g \xc2\xb5s", 1e6 * s);
    else if (s < 1) snprintf(buf, size, "%.3g ms", 1e3 * s);
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
        snprintf(buf, size, "still there, but silent for %s, the time of %.0f steps: it validates, saves, is suspended, or hangs", span, silent / step);
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

static int most_blamed(const struct run *r)
{
    int worst = 0;

    for (int i = 1; i < r->n_rank; i++)
        if (r->rank[i].lost > r->rank[worst].lost) worst = i;
    return worst;
}

static const char *node_of(const struct run *r, int rank)
{
    const json_t *all = json_object_get(run_last(r)->ranks, "rank");
    const char *node = json_string_value(json_object_get(json_array_get(all, (size_t)rank), "node"));

    return node ? node : "";
}

/* "rank 3 on node17", or without a node where the log names none. */
static const char *say_rank(const struct run *r, int rank, char *buf, size_t size)
{
    const char *node = node_of(r, rank);

    snprintf(buf, size, "rank %d%s%s", rank, *node ? " on " : "", node);
    return buf;
}

const char *say_ranks(const struct run *r, char *buf, size_t size)
{
    const struct series *mean = run_series(r, "ranks/work_mean_sec"), *max = run_series(r, "ranks/work_max_sec");
    char a[32], b[32], who[96];
    int worst = most_blamed(r);
    size_t n;

    *buf = 0;
    if (!r->ranks.steps || !mean || !max) return buf;
    n = (size_t)snprintf(buf, size, "a rank works %s a step on the mean, the slowest %s (medians)", say_span(series_median(mean), a, sizeof a),
                         say_span(series_median(max), b, sizeof b));
    if (r->ranks.lost > 0 && n < size)
        snprintf(buf + n, size - n, "; %s is the slowest in %.0f%% of the steps", say_rank(r, worst, who, sizeof who),
                 100.0 * (double)r->rank[worst].steps / (double)r->ranks.steps);
    return buf;
}

static const json_t *config_at(const struct run *r, const char *path)
{
    const json_t *j = json_object_get(run_last(r)->note, "config");
    char part[64];

    while (j && *path) {
        size_t n = strcspn(path, ".");
        snprintf(part, sizeof part, "%.*s", (int)n, path);
        j = json_object_get(j, part);
        path += n + (path[n] == '.');
    }
    return j;
}

const char *say_config(const struct run *r, char *buf, size_t size)
{
    static const char *const keys[] = { "models.student.init_from", "training.data.data_path", "training.data.train_batch_size",
        "training.loop.gradient_accumulation_steps", "training.optimizer.learning_rate", "training.optimizer.lr_scheduler", "training.compute_dtype" };
    size_t n = 0;

    *buf = 0;
    for (size_t i = 0; i < sizeof keys / sizeof *keys && n < size; i++) {
        const json_t *j = config_at(r, keys[i]);
        char v[64];
        const char *s = json_is_number(j) ? say_number(json_number_value(j), v, sizeof v) : json_string_value(j);
        if (s) n += (size_t)snprintf(buf + n, size - n, "%s%s %s", n ? ", " : "", strrchr(keys[i], '.') + 1, s);
    }
    return buf;
}

static double highest(const struct run *r, const char *name)
{
    const struct series *s = run_series(r, name);

    return s && s->n && series_extent(s).count ? series_extent(s).hi : (double)NAN;
}

const char *say_memory(const struct run *r, char *buf, size_t size)
{
    double planned = highest(r, "memory/planned_gib"), host = highest(r, "memory/host_peak_gib"), all = highest(r, "ranks/host_max_gib");
    char a[32], b[48] = "", c[64] = "", v[32];

    *buf = 0;
    if (isnan(planned)) return buf;
    if (!isnan(host)) snprintf(b, sizeof b, ", %s of the host at most", say_in(unit_gib, host, v, sizeof v));
    if (!isnan(all)) snprintf(c, sizeof c, "; %s of the host on the largest rank", say_in(unit_gib, all, v, sizeof v));
    snprintf(buf, size, "%s planned%s (rank 0)%s", say_in(unit_gib, planned, a, sizeof a), b, c);
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

/* Where the others wait: for one rank that is slower than they are, or for the network. */
static int hint_wait(const struct run *r, double total, char *hint)
{
    double waits = share(r, "time/comm_wait", total), lost = r->rank_s > 0 ? r->ranks.lost / r->rank_s : 0;
    int worst = most_blamed(r);
    char who[96];

    if (lost > 0.1 && r->rank_data_s > 0.5 * r->ranks.lost)
        snprintf(hint, HINT_TEXT, "%.0f%% of the time ranks wait for the data of another, mostly of %s: look at the storage that it reads from", 100 * lost,
                 say_rank(r, worst, who, sizeof who));
    else if (lost > 0.1 && r->rank[worst].lost > 0.5 * r->ranks.lost)
        snprintf(hint, HINT_TEXT, "%.0f%% of the time ranks wait for a slower one, mostly for %s: compare its processor, GPU, memory and disk with those of the others",
                 100 * lost, say_rank(r, worst, who, sizeof who));
    else if (lost > 0.1)
        snprintf(hint, HINT_TEXT, "%.0f%% of the time ranks wait for slower ones, now this one, now that one: other programs on their cores, or clips of different cost", 100 * lost);
    else if (waits > 0.3)
        snprintf(hint, HINT_TEXT, "%.0f%% of the time goes to waiting for other ranks: compare the speeds that the preflight printed, and the layouts that reel plan proposes",
                 100 * waits);
    else return 0;
    return 1;
}

int find_hints(const struct run *r, char hint[HINTS][HINT_TEXT])
{
    const struct series *rate = run_series(r, "samples_per_sec"), *loss = run_series(r, "total_loss");
    const struct series *step = run_series(r, "step_time_sec");
    double total = step && series_extent(step).count >= 5 ? phase_seconds(r) : 0, now, then; /* a few steps say nothing of speed */
    char a[32], b[32];
    int n = 0, silent = 0;

    if (share(r, "time/data", total) > 0.1)
        snprintf(hint[n++], HINT_TEXT, "%.0f%% of the time goes to waiting for data: put the data set on faster storage (STAGE in jobscripts/lib.sh copies it to the nodes), or give a rank more samples a step",
                 100 * share(r, "time/data", total));
    if (total > 0) n += hint_wait(r, total, hint[n]);
    if (share(r, "time/checkpoint", total) > 0.1)
        snprintf(hint[n++], HINT_TEXT, "%.0f%% of the time goes to checkpoints: save more rarely, or with save: async", 100 * share(r, "time/checkpoint", total));
    if (share(r, "time/validation", total) > 0.3)
        snprintf(hint[n++], HINT_TEXT, "%.0f%% of the time goes to validation: validate more rarely, or fewer prompts", 100 * share(r, "time/validation", total));
    if (rate && rate->n >= 20 && (now = end_mean(rate, 1)) < 0.8 * (then = end_mean(rate, 0)))
        snprintf(hint[n++], HINT_TEXT, "the last tenth of the steps runs at %s samples/s, the first ran at %s", say_number(now, a, sizeof a), say_number(then, b, sizeof b));
    if (loss && series_extent(loss).bad) snprintf(hint[n++], HINT_TEXT, "the loss was not finite in %ld step%s", series_extent(loss).bad, series_extent(loss).bad > 1 ? "s" : "");
    for (int i = 0; i < r->n_start; i++) silent += !r->start[i].end && !run_goes_on(r, i);
    if (silent > 1) snprintf(hint[n++], HINT_TEXT, "%d starts ended without a word: look for out-of-memory kills and node failures in their jobs' logs", silent);
    if (r->torn > 1) snprintf(hint[n++], HINT_TEXT, "%ld lines of the log are no records and were left out", r->torn);
    return n;
}
