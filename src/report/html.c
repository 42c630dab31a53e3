/* the page: one file, no other is fetched */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "report/report_priv.h"

static const char style[] =
    ":root{color-scheme:light dark;--bg:#fff;--fg:#1c2024;--dim:#60646c;--line:#e3e5e8;--card:#f8f9fa;--bad:#c62a2f;--good:#18794e;"
    "--c0:#0b68cb;--c1:#d9480f;--c2:#2b8a3e;--c3:#9c36b5;--c4:#b08000;--c5:#0c8599;--c6:#c2255c;--c7:#5f6b7a;--c8:#5c3ec8;--c9:#7a5230}\n"
    "@media(prefers-color-scheme:dark){:root{--bg:#111315;--fg:#e6e8ea;--dim:#9ba1a8;--line:#2c3035;--card:#191c1f;--bad:#ff8589;--good:#5fd39a;"
    "--c0:#5eb1ff;--c1:#ff9a5c;--c2:#69db7c;--c3:#da8cf0;--c4:#ffd43b;--c5:#3bc9db;--c6:#f783ac;--c7:#adb5bd;--c8:#a594ff;--c9:#d0a77f}}\n"
    "*{box-sizing:border-box}body{margin:0;background:var(--bg);color:var(--fg);font:15px/1.5 system-ui,sans-serif}"
    "main{max-width:1360px;margin:0 auto;padding:24px}h1{font-size:22px;margin:0 0 2px;overflow-wrap:anywhere}h2{font-size:17px;margin:32px 0 10px}"
    "h3{font-size:14px;margin:0 0 4px}small{color:var(--dim);font-weight:400}p{margin:0 0 8px}.dim{color:var(--dim)}.says{margin-top:8px}.bad{color:var(--bad)}.good{color:var(--good)}\n"
    ".cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px;margin:18px 0}"
    ".card{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:10px 14px}.card b{display:block;font-size:19px;font-weight:600;white-space:nowrap}.card b small{font-size:12.5px}"
    ".plots{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,540px),1fr));gap:16px}"
    "figure{margin:0;background:var(--card);border:1px solid var(--line);border-radius:8px;padding:12px 14px}svg{display:block;width:100%;height:auto}"
    "figcaption{font-size:13px;color:var(--dim);display:flex;flex-wrap:wrap;gap:2px 16px}figcaption>span{white-space:nowrap}figcaption b{color:var(--fg);font-weight:600}\n"
    "svg text{font:11.5px system-ui,sans-serif;fill:var(--dim)}.grid{stroke:var(--line)}.axis,.tick{stroke:var(--dim)}.start{stroke:var(--dim);stroke-dasharray:4 3}"
    ".line{fill:none;stroke:var(--k);stroke-width:1.8;stroke-linejoin:round;stroke-linecap:round}.band{stroke:none;opacity:.18}\n"
    ".c0{--k:var(--c0)}.c1{--k:var(--c1)}.c2{--k:var(--c2)}.c3{--k:var(--c3)}.c4{--k:var(--c4)}.c5{--k:var(--c5)}.c6{--k:var(--c6)}.c7{--k:var(--c7)}.c8{--k:var(--c8)}.c9{--k:var(--c9)}"
    ".band{fill:var(--k)}.key{display:inline-block;width:11px;height:11px;border-radius:3px;background:var(--k)}\n"
    ".bar{display:flex;height:26px;border-radius:6px;overflow:hidden;margin:4px 0 8px}.bar span{background:var(--k);min-width:1px}"
    ".wide{overflow-x:auto}table{border-collapse:collapse;font-size:13.5px;width:100%}th{text-align:left;color:var(--dim);font-weight:500}"
    "td,th{padding:4px 14px 4px 0;border-bottom:1px solid var(--line);vertical-align:top}td.n,th.n,.t{white-space:nowrap}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}"
    "pre{font:12.5px/1.45 ui-monospace,monospace;background:var(--card);border:1px solid var(--line);border-radius:8px;padding:12px;overflow:auto;max-height:560px}"
    "summary{cursor:pointer;font-weight:600;margin:26px 0 8px}li{margin:2px 0}\n"
    "@media(max-width:680px){.wide table{min-width:820px}main{padding:14px}svg text{font-size:18px}figure{padding:10px 8px}.cards{grid-template-columns:repeat(auto-fit,minmax(130px,1fr));gap:8px}}\n"
    "@media print{body{background:#fff}figure,.card{break-inside:avoid}}\n";

/* A byte that XML has no character for, or that starts no whole UTF-8 sequence, becomes U+FFFD. */
static size_t sequence(const unsigned char *s)
{
    size_t n = s[0] < 0x80 ? 1 : s[0] >= 0xc2 && s[0] < 0xe0 ? 2 : s[0] >= 0xe0 && s[0] < 0xf0 ? 3 : s[0] >= 0xf0 && s[0] < 0xf5 ? 4 : 0;

    if (s[0] < 0x20 && !strchr("\t\n", s[0])) return 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80) return 0;
    return n;
}

void html_text(FILE *f, const char *s)
{
    while (*s) {
        size_t n = sequence((const unsigned char *)s);

        if (*s == '<') fputs("&lt;", f);
        else if (*s == '>') fputs("&gt;", f);
        else if (*s == '&') fputs("&amp;", f);
        else if (*s == '"') fputs("&quot;", f);
        else if (n) fwrite(s, 1, n, f);
        else fputs("\xef\xbf\xbd", f);
        s += n ? n : 1;
    }
}

static void card(FILE *f, const char *label, const char *value, const char *unit)
{
    fprintf(f, "<div class=\"card\"><small>%s</small><b>", label);
    html_text(f, value);
    fprintf(f, "%s%s%s</b></div>\n", *unit ? " <small>" : "", unit, *unit ? "</small>" : "");
}

/* The median of a series, in a fitting unit. */
static void number_card(const struct run *r, FILE *f, const char *name, const char *label, const struct unit *of)
{
    const struct series *s = run_series(r, name);
    char v[32];
    double m;

    if (!s || !series_extent(s).count) return;
    m = series_median(s);
    of = fit_unit(of, m);
    card(f, label, say_number(m * of->scale, v, sizeof v), of->name);
}

static void cards(const struct run *r, FILE *f)
{
    static const struct unit samples[] = { { 1, "samples/s" }, { 0, NULL } };
    const struct start *s = run_last(r);
    const struct series *loss = run_loss(r);
    char v[64], of[48] = "";
    double wall = 0;

    for (int i = 0; i < r->n_start; i++) wall += r->start[i].last_time - r->start[i].time;
    fputs("<div class=\"cards\">\n", f);
    snprintf(v, sizeof v, "%ld", s->last);
    if (s->note) snprintf(of, sizeof of, "of %ld", (long)json_integer_value(json_object_get(s->note, "steps")));
    card(f, "step", v, of);
    if (loss && series_extent(loss).count) card(f, "loss", say_number(series_extent(loss).last, v, sizeof v), "");
    card(f, "time", say_span(wall, v, sizeof v), "");
    number_card(r, f, "step_time_sec", "time of a step", unit_s);
    number_card(r, f, "samples_per_sec", "throughput", samples);
    number_card(r, f, "flops_per_sec", "model operations", unit_flops);
    number_card(r, f, "mfu", "MFU", unit_percent);
    number_card(r, f, "memory/planned_gib", "memory of a rank", unit_gib);
    fputs("</div>\n", f);
}

static int went_wrong(const struct run *r, int i)
{
    const json_t *end = r->start[i].end;

    return end ? json_integer_value(json_object_get(end, "code")) == 1 : !run_goes_on(r, i);
}

static void starts(const struct run *r, FILE *f)
{
    char v[1024];

    fprintf(f, "<h2>Start%s</h2>\n<div class=\"wide\"><table><tr><th class=\"n\">#</th><th>when</th><th class=\"n\">lasted</th><th>layout</th><th class=\"n\">from step</th>"
               "<th class=\"n\">steps</th><th class=\"n\">saves</th><th>how it ended</th></tr>\n", r->n_start > 1 ? "s" : "");
    for (int i = 0; i < r->n_start; i++) {
        const struct start *s = &r->start[i];
        const char *job = json_string_value(json_object_get(s->note, "job")), *device = json_string_value(json_object_get(s->plan, "device"));
        int bad = went_wrong(r, i);
        fprintf(f, "<tr><td class=\"n\">%d</td><td class=\"t\">%s</td>", i + 1, say_time(s->time, v, sizeof v));
        fprintf(f, "<td class=\"n\">%s</td><td>", say_span(s->last_time - s->time, v, sizeof v));
        html_text(f, say_layout(s, v, sizeof v));
        if (device) fputs("<br/><small>", f), html_text(f, device), fputs("</small>", f);
        if (job) fputs("<br/><small>job ", f), html_text(f, job), fputs("</small>", f);
        fprintf(f, "</td><td class=\"n\">%ld</td><td class=\"n\">%ld</td><td class=\"n\">%ld</td><td%s>", s->first, s->steps, s->saves, bad ? " class=\"bad\"" : "");
        html_text(f, say_end(r, i, v, sizeof v));
        fputs("</td></tr>\n", f);
    }
    fputs("</table></div>\n", f);
}

static void phases(const struct run *r, FILE *f)
{
    double total = phase_seconds(r);
    int k = 0;

    if (total <= 0) return;
    fputs("<h2>Where the time went <small>rank 0, all starts</small></h2>\n<div class=\"bar\">", f);
    for (int i = 0; i < r->n_series; i++)
        if (!strncmp(r->series[i].name, "time/", 5)) fprintf(f, "<span class=\"c%d\" style=\"width:%.2f%%\"></span>", k++ % LINES, 100 * r->series[i].total / total);
    fputs("</div>\n<figcaption>", f);
    k = 0;
    for (int i = 0; i < r->n_series; i++) {
        const struct series *s = &r->series[i];
        char v[32];
        if (strncmp(s->name, "time/", 5) != 0) continue;
        fprintf(f, "<span><span class=\"key c%d\"></span> ", k++ % LINES);
        html_text(f, s->name + 5);
        fprintf(f, " <b>%.1f%%, %s</b></span> ", 100 * s->total / total, say_span(s->total, v, sizeof v));
    }
    fputs("</figcaption>\n", f);
}

static void sentences(const struct run *r, FILE *f)
{
    char v[512];

    fputs("<p class=\"dim says\">", f);
    html_text(f, say_ranks(r, v, sizeof v));
    if (*v) fputs("<br/>", f);
    html_text(f, say_memory(r, v, sizeof v));
    fputs("</p>\n", f);
}

static void hints(const struct run *r, FILE *f)
{
    char hint[HINTS][HINT_TEXT];
    int n = find_hints(r, hint);

    if (!n) return;
    fputs("<h2>Look at</h2>\n<ul>\n", f);
    for (int i = 0; i < n; i++) fputs("<li>", f), html_text(f, hint[i]), fputs("</li>\n", f);
    fputs("</ul>\n", f);
}

static void events(const struct run *r, FILE *f)
{
    const struct event *e;
    char v[64];

    if (!r->n_event) return;
    fprintf(f, "<h2>Warnings <small>%ld%s</small></h2>\n<div class=\"wide\"><table><tr><th>when</th><th class=\"n\">step</th><th>what</th></tr>\n", r->n_event,
            r->n_event > EVENTS ? ", the first and the newest" : "");
    for (int i = 0; (e = run_event(r, i)); i++) {
        fprintf(f, "<tr><td class=\"t\">%s</td><td class=\"n\">%ld</td><td>", say_time(e->time, v, sizeof v), e->step);
        if (strcmp(e->kind, "warning") != 0) html_text(f, e->kind), fputs(": ", f);
        html_text(f, e->text);
        fputs(say_times(e, v, sizeof v), f);
        fputs("</td></tr>\n", f);
    }
    fputs("</table></div>\n", f);
}

/* Series that a common axis would flatten get plots of their own. */
static int flattens(const struct plot *p)
{
    double lo = (double)INFINITY, least = (double)INFINITY, most = 0;

    for (int k = 0; k < p->n; k++) {
        struct extent e = series_extent(p->series[k]);
        double size = fmax(fabs(e.lo), fabs(e.hi));
        if (!e.count) continue;
        lo = fmin(lo, e.lo);
        least = fmin(least, size);
        most = fmax(most, size);
    }
    return p->may_log && lo <= 0 && most > 10 * least;
}

static void draw(struct plot *p, const struct run *r, const struct unit *of, FILE *f)
{
    double size = 0;

    for (int k = 0; k < p->n; k++) size = fmax(size, fabs(series_extent(p->series[k]).mean));
    of = of ? fit_unit(of, size) : NULL;
    p->scale = of ? of->scale : 1;
    p->unit = of ? of->name : "";
    plot_svg(f, p, r);
}

static void draw_group(const struct run *r, const struct group *g, char *drawn, FILE *f)
{
    struct plot p = { .title = g->title, .per = g->per, .may_log = g->may_log };

    for (int i = 0; i < r->n_series && p.n < LINES; i++) {
        if (drawn[i] || !in_group(g, r->series[i].name)) continue;
        drawn[i] = 1;
        if (!strncmp(g->prefix, "time/", 5) && r->series[i].total <= 0) continue; /* phases that never were */
        p.series[p.n++] = &r->series[i];
    }
    if (!flattens(&p)) {
        if (p.n) draw(&p, r, g->unit, f);
        return;
    }
    for (int k = 0; k < p.n; k++)
        draw(&(struct plot){ .title = g->title, .per = g->per, .series = { p.series[k] }, .n = 1, .may_log = g->may_log }, r, g->unit, f);
}

static void plots(const struct run *r, FILE *f)
{
    char *drawn = calloc((size_t)r->n_series + 1, 1);

    fputs("<h2>Over the steps <small>the numbers are the newest values; a dashed line: the run was started again</small></h2>\n<div class=\"plots\">\n", f);
    for (const struct group *g = groups; drawn && g->title; g++) draw_group(r, g, drawn, f);
    for (int i = 0; drawn && i < r->n_series; i++) {
        const struct series *s = &r->series[i];
        if (!drawn[i] && !is_detail(s->name) && series_extent(s).count > 0 && strcmp(s->name, "step_time_sec") != 0)
            draw(&(struct plot){ .title = s->name, .per = "", .series = { s }, .n = 1, .may_log = 1 }, r, NULL, f);
    }
    fputs("</div>\n", f);
    free(drawn);
}

static void values(const struct run *r, FILE *f)
{
    fputs("<details><summary>All numbers</summary><div class=\"wide\"><table id=\"values\"><tr><th>name</th><th class=\"n\">records</th><th class=\"n\">first</th>"
          "<th class=\"n\">last</th><th class=\"n\">smallest</th><th class=\"n\">at step</th><th class=\"n\">largest</th><th class=\"n\">mean</th><th class=\"n\">not finite</th></tr>\n", f);
    for (int i = 0; i < r->n_series; i++) {
        struct extent e = series_extent(&r->series[i]);
        fputs("<tr><td>", f);
        html_text(f, r->series[i].name);
        fprintf(f, "</td><td class=\"n\">%ld</td>", e.count + e.bad);
        if (e.count)
            fprintf(f, "<td class=\"n\">%.9g</td><td class=\"n\">%.9g</td><td class=\"n\">%.9g</td><td class=\"n\">%ld</td><td class=\"n\">%.9g</td><td class=\"n\">%.9g</td>", e.first, e.last, e.lo,
                    e.lo_step, e.hi, e.mean);
        else fputs("<td></td><td></td><td></td><td></td><td></td><td></td>", f);
        fprintf(f, "<td class=\"n\">%ld</td></tr>\n", e.bad);
    }
    fputs("</table></div></details>\n", f);
}

static void ranks(const struct run *r, FILE *f)
{
    const json_t *list = json_object_get(run_last(r)->ranks, "rank"), *one, *v;
    const char *key;
    size_t i;

    if (!json_array_size(list)) return;
    fprintf(f, "<details><summary>Ranks</summary><div class=\"wide\"><table><tr><th class=\"n\">rank</th>");
    json_object_foreach((json_t *)json_array_get(list, 0), key, v) fputs("<th>", f), html_text(f, key), fputs("</th>", f);
    fputs("</tr>\n", f);
    json_array_foreach(list, i, one) {
        fprintf(f, "<tr><td class=\"n\">%zu</td>", i);
        json_object_foreach((json_t *)one, key, v) {
            fputs("<td>", f);
            if (json_is_string(v)) html_text(f, json_string_value(v));
            else if (json_is_integer(v)) fprintf(f, "%lld", (long long)json_integer_value(v));
            fputs("</td>", f);
        }
        fputs("</tr>\n", f);
    }
    fputs("</table></div></details>\n", f);
}

static void arenas(const struct run *r, FILE *f)
{
    json_t *all = json_object_get(run_last(r)->plan, "arenas"), *v;
    const char *key;

    if (!json_object_size(all)) return;
    fputs("<details><summary>Memory of a rank, as planned</summary><div class=\"wide\"><table><tr><th>arena</th><th class=\"n\">MiB</th></tr>\n", f);
    json_object_foreach(all, key, v) {
        fputs("<tr><td>", f);
        html_text(f, key);
        fprintf(f, "</td><td class=\"n\">%.3f</td></tr>\n", json_number_value(v) / 1048576);
    }
    fputs("</table></div></details>\n", f);
}

static void config(const struct run *r, FILE *f)
{
    json_t *given = json_object_get(run_last(r)->note, "config");
    char *text = r->yaml ? NULL : given ? json_dumps(given, JSON_INDENT(2)) : NULL;

    if (r->yaml || text) {
        fputs("<details><summary>Configuration</summary><pre>", f);
        html_text(f, r->yaml ? r->yaml : text);
        fputs("</pre></details>\n", f);
    }
    free(text);
}

void print_html(const struct run *r, FILE *f)
{
    const struct start *s = run_last(r);
    const char *method = json_string_value(json_object_get(s->note, "method"));
    char v[1024];

    fputs("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n<title>", f);
    html_text(f, method ? method : "run");
    fputs(": ", f);
    html_text(f, r->name);
    fprintf(f, "</title>\n<style>\n%s</style></head>\n<body><main>\n<h1>", style);
    html_text(f, r->name);
    fputs("</h1>\n<p class=\"dim\">", f);
    if (method) html_text(f, method), fputs(" \xc2\xb7 ", f);
    html_text(f, say_layout(s, v, sizeof v));
    fprintf(f, " \xc2\xb7 read %s</p>\n<p%s><b>", say_time(r->now, v, sizeof v), went_wrong(r, r->n_start - 1) ? " class=\"bad\"" : "");
    html_text(f, say_end(r, r->n_start - 1, v, sizeof v));
    fputs("</b></p>\n<p class=\"dim\">", f);
    html_text(f, say_config(r, v, sizeof v));
    fputs("</p>\n", f);
    cards(r, f);
    hints(r, f);
    phases(r, f);
    sentences(r, f);
    plots(r, f);
    starts(r, f);
    events(r, f);
    values(r, f);
    ranks(r, f);
    arenas(r, f);
    config(r, f);
    fputs("</main></body></html>\n", f);
}
