#ifndef REEL_ENCODE_TEXT_CACHE_H
#define REEL_ENCODE_TEXT_CACHE_H

/* Text rows on disk, one file per encoder and prompt, shared by ranks and jobs. A file is whole or not there; what cannot
 * be used is as good as absent. All Local. */

#include "encode/encode.h"

/** reel_text_cache_get - 1: rows of `text` by encoder `id` with `dim` columns, malloc'ed; 0: not there, or damaged (a log line). */
int reel_text_cache_get(const char *dir, const char *id, const char *text, int dim, struct reel_text_rows *rows);
/** reel_text_cache_put - keep them. REEL_EIO, REEL_ENOMEM. */
reel_err reel_text_cache_put(const char *dir, const char *id, const char *text, int dim, const struct reel_text_rows *rows);

#endif
