#ifndef REEL_MEDIA_CLIPS_H
#define REEL_MEDIA_CLIPS_H

/* Built-in clips: one shape moves over a plain ground. A clip is a function of (seed, index, variant,
 * width, height, frames); all arithmetic is f64, each operation rounded, no libm but sqrt. */

#include <stddef.h>
#include <stdint.h>

#define REEL_CLIP_HELD_OUT (1 << 20) /* indices from here on are for measuring, never trained on */
#define REEL_CLIP_CAPTION  96        /* room for a caption */

enum { REEL_CLIP_SHAPES = 3, REEL_CLIP_COLOURS = 6, REEL_CLIP_DIRECTIONS = 4, REEL_CLIP_SPEEDS = 2 };

struct reel_clip {
    uint64_t seed;
    int64_t index;
    int variant; /* variants of an index have one caption, other sizes and places; 0 is the clip */
    int width, height, frames;
};

struct reel_clip_what { int shape, colour, ground, direction, speed; }; /* indices into the tables; -1: none */

struct reel_clip_path { double radius, x0, y0, dx, dy; }; /* first centre, way over the clip, pixels */

struct reel_clip_colour { const char *name; double rgb[3]; };
extern const struct reel_clip_colour reel_clip_colour[REEL_CLIP_COLOURS];
struct reel_clip_direction { const char *name; int x, y; };
extern const struct reel_clip_direction reel_clip_direction[REEL_CLIP_DIRECTIONS];
struct reel_clip_shape { const char *name; double side, up, down, area; }; /* extents times r, area times r*r */
const struct reel_clip_shape *reel_clip_shape(int shape);

/* All Local. */
struct reel_clip_what reel_clip_what(uint64_t seed, int64_t index);
struct reel_clip_path reel_clip_path(const struct reel_clip *c);
/** reel_clip_centre - centre of frame f in pixels. Local. @xy out [2] */
void reel_clip_centre(const struct reel_clip *c, const struct reel_clip_path *p, int f, double xy[2]);
/** reel_clip_coverage - share of the pixel (x,y) that a shape of radius r at (cx,cy) covers, in [0,1]. Local. */
double reel_clip_coverage(int shape, double cx, double cy, double r, int x, int y);
/** reel_clip_draw - the pixels. Local. @rgb out [frames,height,width,3] u8 */
void reel_clip_draw(const struct reel_clip *c, uint8_t *rgb);
/** reel_clip_caption - "a red circle moves slowly up on a white background". Local. */
void reel_clip_caption(struct reel_clip_what w, char caption[REEL_CLIP_CAPTION]);

#endif
