#ifndef REEL_CALLBACKS_PROMPTS_H
#define REEL_CALLBACKS_PROMPTS_H

/* Files of prompts. */

#include <stddef.h>

#include "comm/comm.h"

struct reel_prompts { int n; char **text; };

/** reel_prompts_known - whether the end of a file's name is that of a form below, or of one whose cure is known. Local. */
int reel_prompts_known(const char *path);

/**
 * reel_prompts_parse - the prompts of a file's text. Local.
 * .json  a list of strings, or of objects with a "caption", or an object with such a list as "data"; a comma
 *        behind a last entry is forgiven
 * .csv   RFC 4180 with a head line that names a column "caption"
 * .txt   one a line, without the blanks around it; empty lines are none
 * .parquet, .arrow are refused with the line that turns them into one of these.
 * Errors: REEL_EDATA with file, and line or entry; REEL_ENOMEM. *p is empty then.
 */
reel_err reel_prompts_parse(struct reel_prompts *p, const char *path, char *text, size_t bytes);
/** reel_prompts_read - rank 0's file on every rank, parsed. Collective(world). REEL_EIO too; agreed. */
reel_err reel_prompts_read(struct reel_prompts *p, const char *path, struct reel_comm *world);
void reel_prompts_free(struct reel_prompts *p);

#endif
