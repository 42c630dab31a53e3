#ifndef REEL_MEDIA_FIT_H
#define REEL_MEDIA_FIT_H

/* From a film's frames to a clip's: which frames, which part of them, at which size. Integer
 * arithmetic; the same bytes as the reference preprocessing. */

#include <stdint.h>

#include "base/err.h"

/** reel_frame_index - frame of the k-th picture at train_fps: int(k*(fps/train_fps)) in double. Local. */
int64_t reel_frame_index(int64_t k, double fps, double train_fps);
/** reel_frame_count - pictures at train_fps in `frames` frames: ceil(frames/(fps/train_fps)). Local. */
int64_t reel_frame_count(int64_t frames, double fps, double train_fps);

struct reel_crop { int top, left, height, width; };
/** reel_crop - centre crop of h x w to the aspect of H x W; offsets round halves to even. Local. */
struct reel_crop reel_crop(int h, int w, int H, int W);

struct reel_fit; /* crop and resize of one pair of sizes: weights and a row buffer */

/** reel_fit_open - weights for h x w -> H x W, all >= 1. Local. REEL_ENOMEM. */
reel_err reel_fit_open(struct reel_fit **f, int h, int w, int H, int W);
void reel_fit_close(struct reel_fit *f);
/** reel_fit - crop, then resize width, round to u8, resize height. Local.
 * @dst out [H,W,3] u8   @src in [h,w,3] u8 */
void reel_fit(struct reel_fit *f, uint8_t *dst, const uint8_t *src);

#endif
