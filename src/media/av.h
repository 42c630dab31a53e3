#ifndef REEL_MEDIA_AV_H
#define REEL_MEDIA_AV_H

/* libav's error codes as ours; for the files that include libav. */

#include "base/err.h"

/** reel_av_fail - "path: what: libav's words". Local. @code AVERROR  @kind what it is returned as */
reel_err reel_av_fail(reel_err kind, const char *path, const char *what, int code);

#endif
