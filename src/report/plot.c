/* one plot as SVG: a line of means, in a band from smallest to largest where a point stands for several steps */
#include <math.h>
#include <string.h>

#include "report/report_priv.h"

enum { W = 640, H = 260, LEFT = 70, RIGHT = 26, TOP = 12, BOTTOM = 44 };

struct axes {
    double x0, x1, y0, y1; /* steps; values, or their logarithms */
    int log;
};

static double at_x(const struct axes *a, double x) { return LEFT + (x - a->x0) / (a->x1 - a->x0) * (W - LEFT - RIGHT); }

static double at_y(const struct axes *a, double y)
{
    double v = a->log ? log10(y) : y;

    return H - BOTTOM - (v - a->y0) / (a->y1 - a->y0) * (H - TOP - BOTTOM);
}

/* 1, 2 or 5 times a power of ten: about n of them in a range. */
static double tick_step(double range, int n)
{
    double p = pow(10, floor(log10(range / n))), m = range / n / p;

    return p * (m < 1.5 ? 1 : m < 3.5 ? 2 : m < 7.5 ? 5 : 10);
}

static double middle(const struct bucket *b) { return 0.5 * ((double)b->first + (double)b->last); }

static void frame_of(struct axes *a, const struct plot *p)
{
    double lo = (double)INFINITY, hi = -(double)INFINITY;

    *a = (struct axes){ .x0 = (double)INFINITY, .x1 = -(double)INFINITY };
    for (int k = 0; k < p->n; k++) {
        struct extent e = series_extent(p->series[k]);
        if (!e.count) continue;
        a->x0 = fmin(a->x0, (double)e.first_step);
        a->x1 = fmax(a->x1, (double)e.last_step);
        lo = fmin(lo, e.lo * p->scale);
        hi = fmax(hi, e.hi * p->scale);
    }
    a->log = p->may_log && lo > 0 && hi > 200 * lo;
    a->y0 = a->log ? log10(lo) : lo;
    a->y1 = a->log ? log10(hi) : hi;
    if (!a->log && a->y0 > 0 && a->y0 < 0.5 * a->y1) a->y0 = 0;
    if (!(a->y1 > a->y0)) {
        double half = lo != 0 ? 0.1 * fabs(a->y0) + 1e-12 : 1;
        a->y0 -= half;
        a->y1 += half;
    } else if (a->y0 != 0) a->y0 -= 0.04 * (a->y1 - a->y0);
    a->y1 += 0.04 * (a->y1 - a->y0);
    if (!(a->x1 > a->x0)) a->x0 -= 1, a->x1 += 1;
}

static void tick_y(FILE *f, double y, double value)
{
    fprintf(f, "<line class=\"grid\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/><text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.4g</text>\n", LEFT, W - RIGHT, y, y,
            LEFT - 6, y + 4, value);
}

static void log_ticks(FILE *f, const struct axes *a)
{
    int few = a->y1 - a->y0 < 2.5;

    for (int e = (int)floor(a->y0); e <= (int)ceil(a->y1); e++)
        for (int m = 1; m < 10; m = m == 1 ? 2 : m == 2 ? 5 : 10) {
            double v = m * pow(10, e);
            if (log10(v) < a->y0 || log10(v) > a->y1 || (m != 1 && !few)) continue;
            if (a->y1 - a->y0 > 8 && e % 2) continue;
            tick_y(f, at_y(a, v), v);
        }
}

static void axes_svg(FILE *f, const struct axes *a)
{
    double dx = fmax(1, tick_step(a->x1 - a->x0, 6)), dy = tick_step(a->y1 - a->y0, 5);

    if (a->log) log_ticks(f, a);
    for (double y = ceil(a->y0 / dy) * dy; !a->log && y <= a->y1; y += dy) tick_y(f, at_y(a, y), fabs(y) < 1e-9 * dy ? 0 : y);
    for (double x = ceil(a->x0 / dx) * dx; x <= a->x1; x += dx)
        fprintf(f, "<line class=\"tick\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\"/><text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%.7g</text>\n", at_x(a, x), at_x(a, x),
                H - BOTTOM, H - BOTTOM + 4, at_x(a, x), H - BOTTOM + 19, x);
    fprintf(f, "<line class=\"axis\" x1=\"%d\" x2=\"%d\" y1=\"%d\" y2=\"%d\"/><text x=\"%d\" y=\"%d\" text-anchor=\"middle\">step</text>\n", LEFT, W - RIGHT, H - BOTTOM, H - BOTTOM,
            (LEFT + W - RIGHT) / 2, H - 5);
}

static void band(FILE *f, const struct axes *a, const struct series *s, double scale, int k)
{
    if (s->width < 2) return;
    fprintf(f, "<path class=\"band c%d\" d=\"", k);
    for (int i = 0, any = 0; i < s->n; i++)
        if (s->b[i].n) fprintf(f, "%c%.1f %.1f", any++ ? 'L' : 'M', at_x(a, middle(&s->b[i])), at_y(a, s->b[i].hi * scale));
    for (int i = s->n - 1; i >= 0; i--)
        if (s->b[i].n) fprintf(f, "L%.1f %.1f", at_x(a, middle(&s->b[i])), at_y(a, s->b[i].lo * scale));
    fputs("Z\"/>\n", f);
}

/* Values that are not finite are gaps; a value without neighbours is a dot. */
static void line(FILE *f, const struct axes *a, const struct series *s, double scale, int k)
{
    int pen = 0;

    fprintf(f, "<path class=\"line c%d\" d=\"", k);
    for (int i = 0; i < s->n; i++) {
        const struct bucket *b = &s->b[i];
        if (b->n) fprintf(f, "%c%.1f %.1f", pen ? 'L' : 'M', at_x(a, middle(b)), at_y(a, b->sum / (double)b->n * scale));
        if (b->n && !pen && (i + 1 == s->n || !s->b[i + 1].n)) fputs("h0", f); /* a round cap makes it visible */
        pen = b->n > 0;
    }
    fputs("\"/>\n", f);
}

static void starts_svg(FILE *f, const struct axes *a, const struct run *r)
{
    for (int i = 1; i < r->n_start; i++) {
        double x = (double)r->start[i].first;
        if (x >= a->x0 && x <= a->x1)
            fprintf(f, "<line class=\"start\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\"><title>start %d, from step %ld</title></line>\n", at_x(a, x), at_x(a, x), TOP, H - BOTTOM, i + 1,
                    r->start[i].first);
    }
}

/* Whether two series hold the same numbers: the later one would hide the earlier. */
static int equal(const struct series *a, const struct series *b)
{
    if (a->n != b->n) return 0;
    for (int i = 0; i < a->n; i++)
        if (a->b[i].first != b->b[i].first || a->b[i].sum != b->b[i].sum || a->b[i].n != b->b[i].n) return 0;
    return 1;
}

/* The first series that holds what the k-th does. */
static int original(const struct plot *p, int k)
{
    int i = 0;

    while (!equal(p->series[i], p->series[k])) i++;
    return i;
}

/* Without what the lines of a plot have in common, and without the log's unit: the plot names its own. */
static void name_of(FILE *f, const struct plot *p, int k)
{
    const char *slash = strchr(p->series[k]->name, '/'), *name = slash && p->n > 1 ? slash + 1 : p->series[k]->name;
    char buf[128];
    size_t n = (size_t)snprintf(buf, sizeof buf, "%s", name);
    const char *end = n > 4 && n < sizeof buf ? buf + n - 4 : "";
    int rate = n > 8 && !strcmp(name + n - 8, "_per_sec");

    if (*p->unit && !rate && (!strcmp(end, "_gib") || !strcmp(end, "_sec"))) buf[n - 4] = 0;
    html_text(f, buf);
}

static void legend(FILE *f, const struct plot *p)
{
    char v[32];

    fputs("<figcaption>", f);
    for (int k = 0; k < p->n; k++) {
        struct extent e = series_extent(p->series[k]);
        if (original(p, k) != k) continue;
        fprintf(f, "<span><span class=\"key c%d\"></span> ", k);
        name_of(f, p, k);
        for (int i = k + 1; i < p->n; i++)
            if (original(p, i) == k) fputs(" = ", f), name_of(f, p, i);
        if (e.count) fprintf(f, " <b>%s</b></span> ", say_number(e.last * p->scale, v, sizeof v));
        else fputs(" <b>no finite value</b></span> ", f);
    }
    fputs("</figcaption>\n", f);
}

void plot_svg(FILE *f, const struct plot *p, const struct run *r)
{
    struct axes a;

    frame_of(&a, p);
    fputs("<figure><h3>", f);
    html_text(f, p->title);
    if (*p->unit) fputs(" <small>", f), html_text(f, p->unit), html_text(f, p->per), fputs("</small>", f);
    fprintf(f, "%s</h3>\n", a.log ? " <small>logarithmic</small>" : "");
    if (isfinite(a.x0)) {
        fprintf(f, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"", W, H);
        html_text(f, p->title);
        fputs(" over steps\">\n", f);
        axes_svg(f, &a);
        starts_svg(f, &a, r);
        for (int k = 0; k < p->n; k++)
            if (original(p, k) == k) band(f, &a, p->series[k], p->scale, k);
        for (int k = p->n - 1; k >= 0; k--) /* the first, the total, on top */
            if (original(p, k) == k) line(f, &a, p->series[k], p->scale, k);
        fputs("</svg>\n", f);
    }
    legend(f, p);
    fputs("</figure>\n", f);
}
