#include "media/clips.h"

#include <math.h>
#include <stdio.h>

#include "base/rng.h"

const struct reel_clip_colour reel_clip_colour[REEL_CLIP_COLOURS] = {
    { "red", { 220, 40, 40 } },     { "green", { 40, 170, 60 } },   { "blue", { 50, 80, 220 } },
    { "yellow", { 235, 205, 50 } }, { "white", { 240, 240, 240 } }, { "black", { 20, 20, 20 } },
};
const struct reel_clip_direction reel_clip_direction[REEL_CLIP_DIRECTIONS] = {
    { "right", 1, 0 }, { "left", -1, 0 }, { "down", 0, 1 }, { "up", 0, -1 }, /* y points down */
};
static const struct { const char *name; double low, high; } speeds[REEL_CLIP_SPEEDS] = {
    { "slowly", 0.14, 0.20 }, { "quickly", 0.36, 0.44 }, /* distance over the clip, of min(W,H) */
};

#define SQRT3 1.7320508075688772
static const struct reel_clip_shape shapes[REEL_CLIP_SHAPES] = {
    { "circle", 1, 1, 1, 3.141592653589793 },
    { "square", 0.9, 0.9, 0.9, 3.24 },
    { "triangle", 0.7 * SQRT3, 1.4, 0.7, 1.47 * SQRT3 },
};
const struct reel_clip_shape *reel_clip_shape(int shape) { return &shapes[shape]; }

/* words of the draw `demo/clip` at step 0, a = variant, b = index */
static uint32_t word(uint64_t seed, int64_t index, int variant, int i)
{
    return reel_rng_word(reel_rng_key(seed, "demo/clip"), 0, (uint32_t)variant, (uint32_t)index, (uint64_t)i);
}

struct reel_clip_what reel_clip_what(uint64_t seed, int64_t index)
{
    static const uint32_t of[5] = { REEL_CLIP_SHAPES, REEL_CLIP_COLOURS, REEL_CLIP_COLOURS - 1, REEL_CLIP_DIRECTIONS, REEL_CLIP_SPEEDS };
    int v[5];

    for (int i = 0; i < 5; i++) v[i] = (int)reel_rng_below(word(seed, index, 0, i), of[i]);
    return (struct reel_clip_what){ v[0], v[1], v[2] + (v[2] >= v[1]), v[3], v[4] };
}

/* First centre along one axis: the middle of the way lies near the middle of the picture, and the
 * shape stays inside with a pixel to spare. */
static double first(double size, double before, double after, double d, double m, double u)
{
    double lo = before + 1.0 - fmin(d, 0.0), hi = size - after - 1.0 - fmax(d, 0.0);

    if (!(hi > lo)) return 0.5 * (lo + hi);
    return fmin(fmax(0.5 * size - 0.5 * d + 0.2 * m * (u - 0.5), lo), hi);
}

struct reel_clip_path reel_clip_path(const struct reel_clip *c)
{
    struct reel_clip_what w = reel_clip_what(c->seed, c->index);
    const struct reel_clip_shape *s = &shapes[w.shape];
    double m = c->width < c->height ? c->width : c->height, u[4], d;
    struct reel_clip_path p;

    for (int i = 0; i < 4; i++) u[i] = (double)(word(c->seed, c->index, c->variant, 5 + i) >> 8) * 0x1p-24;
    p.radius = m * (0.16 + 0.04 * u[0]);
    d = m * (speeds[w.speed].low + (speeds[w.speed].high - speeds[w.speed].low) * u[1]);
    p.dx = reel_clip_direction[w.direction].x * d;
    p.dy = reel_clip_direction[w.direction].y * d;
    p.x0 = first(c->width, s->side * p.radius, s->side * p.radius, p.dx, m, u[2]);
    p.y0 = first(c->height, s->up * p.radius, s->down * p.radius, p.dy, m, u[3]);
    return p;
}

void reel_clip_centre(const struct reel_clip *c, const struct reel_clip_path *p, int f, double xy[2])
{
    double part = (double)f / (double)(c->frames > 1 ? c->frames - 1 : 1);

    xy[0] = p->x0 + p->dx * part;
    xy[1] = p->y0 + p->dy * part;
}

double reel_clip_coverage(int shape, double cx, double cy, double r, int x, int y)
{
    double X = x + 0.5 - cx, Y = y + 0.5 - cy, d;

    if (shape == 0) d = sqrt(X * X + Y * Y) - r;
    else if (shape == 1) d = fmax(fabs(X), fabs(Y)) - 0.9 * r;
    else d = fmax(Y, 0.5 * SQRT3 * fabs(X) - 0.5 * Y) - 0.7 * r;
    return fmin(fmax(0.5 - d, 0.0), 1.0);
}

void reel_clip_draw(const struct reel_clip *c, uint8_t *rgb)
{
    struct reel_clip_what w = reel_clip_what(c->seed, c->index);
    struct reel_clip_path p = reel_clip_path(c);
    const double *fg = reel_clip_colour[w.colour].rgb, *bg = reel_clip_colour[w.ground].rgb;

    for (int f = 0; f < c->frames; f++) {
        double xy[2];
        reel_clip_centre(c, &p, f, xy);
        for (int y = 0; y < c->height; y++)
            for (int x = 0; x < c->width; x++, rgb += 3) {
                double k = reel_clip_coverage(w.shape, xy[0], xy[1], p.radius, x, y);
                for (int i = 0; i < 3; i++) rgb[i] = (uint8_t)(bg[i] + (fg[i] - bg[i]) * k + 0.5); /* positive: this is floor */
            }
    }
}

void reel_clip_caption(struct reel_clip_what w, char caption[REEL_CLIP_CAPTION])
{
    snprintf(caption, REEL_CLIP_CAPTION, "a %s %s moves %s %s on a %s background", reel_clip_colour[w.colour].name,
             shapes[w.shape].name, speeds[w.speed].name, reel_clip_direction[w.direction].name, reel_clip_colour[w.ground].name);
}
