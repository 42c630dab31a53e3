#ifndef REEL_MEDIA_MOVIE_H
#define REEL_MEDIA_MOVIE_H

/* Films that we make: mp4 files that browsers, ffprobe and src/media/video.c open. */

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct reel_movie;

struct reel_movie_opts {
    const char *path;
    int width, height;
    double fps;
    const char *caption, *comment; /* title and comment of the file; NULL: none */
    const char *encoder; /* libav's name; NULL: reel_movie_encoder() */
};

/**
 * reel_movie_open - begin `path`.part. Local.
 * The part grows fragment by fragment and can be watched meanwhile. Pictures with an odd side get their last column
 * or row twice: the format wants even sides. The same pictures and options give the same bytes.
 * Errors: REEL_EIO cannot write there; REEL_ECONFIG no such encoder, or it refuses the size. *m is then NULL.
 */
reel_err reel_movie_open(struct reel_movie **m, const struct reel_movie_opts *o);

/** reel_movie_frame - the next picture. Local. REEL_EIO. @rgb in [height,width,3] u8 */
reel_err reel_movie_frame(struct reel_movie *m, const uint8_t *rgb);

/** reel_movie_flush - what was given so far is in the part, for those who watch it. Local. REEL_EIO. */
reel_err reel_movie_flush(struct reel_movie *m);

/**
 * reel_movie_close - the part becomes the film: its index in front, read back (size, rate, number of pictures),
 * synced, renamed. Local. Frees *m; NULL is fine. REEL_EIO, REEL_EDATA; nothing is left then.
 */
reel_err reel_movie_close(struct reel_movie **m);

/** reel_movie_drop - free *m and remove what it wrote. Local. NULL is fine. */
void reel_movie_drop(struct reel_movie **m);

/** reel_movie_encoder - the best that this libav has: libx264 (H.264), or what stands in for it. Local. NULL: none */
const char *reel_movie_encoder(void);
/** reel_movie_warning - a sentence for the log when that is not H.264, NULL when it is. Local. */
const char *reel_movie_warning(void);

/** reel_movie_gif - a film as a small animated GIF, malloc'ed: at most 256 pixels wide and 48 pictures, 256 fixed colours,
 * the film's speed. Local. REEL_EIO, REEL_EDATA, REEL_ENOMEM; REEL_ECONFIG: libav cannot. *gif is NULL then. */
reel_err reel_movie_gif(const char *path, void **gif, size_t *bytes);

#endif
