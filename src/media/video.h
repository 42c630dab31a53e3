#ifndef REEL_MEDIA_VIDEO_H
#define REEL_MEDIA_VIDEO_H

/* Films of any container and codec that libav knows, frame by frame as upright RGB. */

#include <stdint.h>

#include "base/err.h"

struct reel_video;

struct reel_video_info {
    int width, height;  /* as shown: after rotation */
    int rotation;       /* degrees clockwise that were applied: 0, 90, 180, 270 */
    double fps, duration; /* seconds */
    int64_t frames;
    int variable;       /* 1: frames are not evenly spaced in time */
};

/** reel_video_open - open, read the time stamps of all packets, start the decoder. Local.
 * REEL_EIO missing; REEL_EDATA no film, no video stream, no decoder. The reason follows the path. */
reel_err reel_video_open(struct reel_video **v, const char *path);
void reel_video_close(struct reel_video *v); /* NULL is fine */
const struct reel_video_info *reel_video_info(const struct reel_video *v);

/** reel_video_count - pictures at train_fps. Local. */
int64_t reel_video_count(const struct reel_video *v, double train_fps);
/** reel_video_pick - frame of the k-th picture: int(k*(fps/train_fps)); with variable spacing the frame shown
 * at the time k/train_fps. Local. */
int64_t reel_video_pick(const struct reel_video *v, int64_t k, double train_fps);

/** reel_video_frame - frame `index`, not before the last one asked for. Local.
 * @rgb  out [height,width,3] u8
 * Errors: REEL_EDATA the frame is damaged or the film ends before it. */
reel_err reel_video_frame(struct reel_video *v, int64_t index, uint8_t *rgb);

#endif
