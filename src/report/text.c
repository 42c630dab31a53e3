/* the page for a terminal */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "report/report_priv.h"

enum { COLUMNS = 64, ROWS = 12 };

static void head(FILE *f, const char *label) { fprintf(f, "%-10s", label); }

static void print_starts(const struct run *r, FILE *f)
{
    char when[32], span[32], end[1024];

    for (int i = 0; i < r->n_start; i++) {
        const struct start *s = &r->start[i];
        if (i == 8 && r->n_start > 12) {
            head(f, "");
            fprintf(f, "... %d more starts ...\n", r->n_start - 12);
            i = r->n_start - 4;
            s = &r->start[i];
        }
        head(f, i ? "" : r->n_start > 1 ? "starts" : "started");
        fprintf(f, "%s  %s, %ld steps from step %ld: %s\n", say_time(s->time, when, sizeof when),
                say_span(s->last_time - s->time, span, sizeof span), s->steps, s->first, say_end(r, i, end, sizeof end));
    }
}

/* The means of the loss, and where they lie between its smallest and largest. */
static void print_curve(const struct series *s, FILE *f)
{
    struct extent e = series_extent(s);
    double column[COLUMNS], lo = (double)INFINITY, hi = -(double)INFINITY;
    int n = s->n < COLUMNS ? s->n : COLUMNS, row[COLUMNS];

    for (int c = 0; c < n; c++) {
        double sum = 0;
        long k = 0;
        for (int i = (int)((long)c * s->n / n); i < (int)((long)(c + 1) * s->n / n); i++) sum += s->b[i].sum, k += s->b[i].n;
        column[c] = k ? sum / (double)k : (double)NAN;
        if (k && column[c] < lo) lo = column[c];
        if (k && column[c] > hi) hi = column[c];
    }
    for (int c = 0; c < n; c++) row[c] = isnan(column[c]) ? -1 : hi > lo ? (int)((hi - column[c]) / (hi - lo) * (ROWS - 1) + 0.5) : ROWS / 2;
    for (int y = 0; e.count && y < ROWS; y++) {
        char line[COLUMNS + 1];
        for (int c = 0; c < n; c++) line[c] = row[c] == y ? '*' : ' ';
        line[n] = 0;
        if (y == 0 || y == ROWS - 1) fprintf(f, "%9.4g |%s\n", y && hi > lo ? lo : hi, line);
        else fprintf(f, "%9s |%s\n", "", line);
    }
    if (e.count) fprintf(f, "%9s +%.*s\n%10s step %ld%*ld\n", "", n, "----------------------------------------------------------------", "", e.first_step, n > 12 ? n - 6 : 6, e.last_step);
}

static void print_loss(const struct run *r, FILE *f)
{
    const struct series *s = run_loss(r);
    struct extent e;

    if (!s) return;
    e = series_extent(s);
    head(f, "loss");
    if (!e.count) {
        fprintf(f, "%s: no finite value\n", s->name);
        return;
    }
    fprintf(f, "%s: %.6g at step %ld, %.6g at step %ld; lowest %.6g at step %ld\n\n", s->name, e.first, e.first_step, e.last, e.last_step, e.lo, e.lo_step);
    print_curve(s, f);
    fputc('\n', f);
}

static double median(const struct run *r, const char *name) { return series_median(run_series(r, name)); }

static void print_speed(const struct run *r, FILE *f)
{
    double step = median(r, "step_time_sec"), samples = median(r, "samples_per_sec"), rate = median(r, "flops_per_sec"), mfu = median(r, "mfu");
    char span[32], v[48];

    if (isnan(step)) return;
    head(f, "speed");
    fprintf(f, "%s a step", say_span(step, span, sizeof span));
    if (isfinite(samples)) fprintf(f, ", %s samples/s", say_number(samples, v, sizeof v));
    if (isfinite(rate)) fprintf(f, ", %s of the model", say_in(unit_flops, rate, v, sizeof v));
    if (isfinite(mfu)) fprintf(f, ", MFU %.1f%%", 100 * mfu);
    fputs(" (medians)\n", f);
}

static void print_phases(const struct run *r, FILE *f)
{
    double total = phase_seconds(r);
    int first = 1;

    if (total <= 0) return;
    head(f, "phases");
    for (int i = 0; i < r->n_series; i++) {
        const struct series *s = &r->series[i];
        if (strncmp(s->name, "time/", 5) != 0 || s->total < 0.0005 * total) continue;
        fprintf(f, "%s%s %.1f%%", first ? "" : ", ", s->name + 5, 100 * s->total / total);
        first = 0;
    }
    fputs("  (rank 0)\n", f);
}

static void print_sentence(FILE *f, const char *label, const char *text)
{
    if (!*text) return;
    head(f, label);
    fprintf(f, "%s\n", text);
}

static void print_saves(const struct run *r, FILE *f)
{
    long n = 0, step = 0;
    double sum = 0, longest = 0;
    char mean[32], most[32];

    for (int i = 0; i < r->n_start; i++) {
        const struct start *s = &r->start[i];
        n += s->saves;
        sum += s->save_s;
        if (s->saves) step = s->save_step;
        if (s->save_longest > longest) longest = s->save_longest;
    }
    head(f, "saves");
    if (!n) fputs("none\n", f);
    else fprintf(f, "%ld, the last at step %ld; %s each, the longest %s\n", n, step, say_span(sum / (double)n, mean, sizeof mean), say_span(longest, most, sizeof most));
}

static void print_events(const struct run *r, FILE *f)
{
    const struct event *e;
    char times[64];
    int kept = 0;

    head(f, "warnings");
    if (!r->n_event) fputs("none\n", f);
    while (run_event(r, kept)) kept++;
    for (int i = 0; (e = run_event(r, i)); i++) {
        if (i == 10 && kept > 20) {
            head(f, "");
            fprintf(f, "... %ld more ...\n", r->n_event - 20);
            i = kept - 10;
            e = run_event(r, i);
        }
        if (i) head(f, "");
        fprintf(f, "step %ld: %s%s%s%s\n", e->step, strcmp(e->kind, "warning") != 0 ? e->kind : "", strcmp(e->kind, "warning") != 0 ? ": " : "", e->text,
                say_times(e, times, sizeof times));
    }
}

void print_text(const struct run *r, FILE *f)
{
    const struct start *s = run_last(r);
    const char *method = json_string_value(json_object_get(s->note, "method")), *device = json_string_value(json_object_get(s->plan, "device"));
    const char *job = json_string_value(json_object_get(s->note, "job")), *host = json_string_value(json_object_get(s->note, "host"));
    char layout[160], say[512], hint[HINTS][HINT_TEXT];
    int hints = find_hints(r, hint);

    head(f, "run");
    fprintf(f, "%s: %s%sstep %ld", r->name, method ? method : "", method ? ", " : "", s->last);
    if (s->note) fprintf(f, " of %ld", (long)json_integer_value(json_object_get(s->note, "steps")));
    fputc('\n', f);
    head(f, "layout");
    fprintf(f, "%s%s%s%s%s%s%s\n", say_layout(s, layout, sizeof layout), device ? "; " : "", device ? device : "", host ? "; from " : "", host ? host : "",
            job ? ", job " : "", job ? job : "");
    print_sentence(f, "config", say_config(r, say, sizeof say));
    print_starts(r, f);
    print_loss(r, f);
    print_speed(r, f);
    print_phases(r, f);
    print_sentence(f, "ranks", say_ranks(r, say, sizeof say));
    print_sentence(f, "memory", say_memory(r, say, sizeof say));
    print_saves(r, f);
    print_events(r, f);
    for (int i = 0; i < hints; i++) {
        head(f, i ? "" : "look at");
        fprintf(f, "%s\n", hint[i]);
    }
}
