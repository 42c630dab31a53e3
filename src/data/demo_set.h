#ifndef REEL_DATA_DEMO_SET_H
#define REEL_DATA_DEMO_SET_H

#include "comm/comm.h"
#include "data/set.h"
#include "media/family.h"

struct reel_demo_args {
    const char *path;
    uint64_t seed;
    int64_t clips;             /* clips 0..clips-1 of the generator, variant 0 */
    int height, width, frames; /* pixels: multiples of 8, at least 16; frames 4k+1 */
};

#define REEL_DEMO_FPS 8.0

/**
 * reel_set_make_demo - a set of built-in clips in the built-in codec, with built-in text vectors; sample i is
 * clip i, whatever the number of ranks. Collective(c). Missing folders of the path are made.
 * Errors: REEL_ECONFIG sizes, REEL_EIO.
 */
reel_err reel_set_make_demo(const struct reel_demo_args *a, struct reel_comm *c);

/** reel_clip_desc - what a set of clips says of itself, encoders and source apart. Local; judges the sizes. REEL_ECONFIG. */
reel_err reel_clip_desc(struct reel_set_desc *d, const struct reel_family *f, int height, int width, int frames, double fps, reel_dtype dtype);

/** reel_parent_folders - make the folders above `path` on rank 0. Collective(c). REEL_EIO. */
reel_err reel_parent_folders(const char *path, struct reel_comm *c);

#endif
