#ifndef REEL_CKPT_DCP_PRIV_H
#define REEL_CKPT_DCP_PRIV_H

#include "ckpt/dcp.h"

#define REEL_DCP_FILES 16 /* open at once */

struct reel_dcp {
    char *dir;
    struct reel_pickle *pkl; /* owns keys and paths */
    struct reel_dcp_entry *e;
    int n;
    struct { char *full; int fd; } file[REEL_DCP_FILES]; /* full NULL: free */
    int turn;
    int sums; /* of what is read */
};

void reel_dcp_close_files(struct reel_dcp *d);

#endif
