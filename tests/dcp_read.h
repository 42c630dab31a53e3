#ifndef REEL_TESTS_DCP_READ_H
#define REEL_TESTS_DCP_READ_H

#include <stdlib.h>

#include "ckpt/dcp.h"

/* Everything that a DCP folder holds, read and thrown away; tensors of more than `largest` elements are passed over. */
static reel_err dcp_read_all(struct reel_dcp *d, int64_t largest)
{
    int64_t zero[REEL_PT_MAXDIM] = { 0 };
    reel_err e = reel_dcp_check_files(d);

    for (int i = 0; i < reel_dcp_count(d) && !e; i++) {
        const struct reel_dcp_entry *t = reel_dcp_entry(d, i);
        struct reel_pt pt;
        if (t->type && reel_pt_numel(t->n, t->nd) > largest) continue;
        if (t->type) {
            void *p = malloc((size_t)reel_pt_numel(t->n, t->nd) * (size_t)t->type->size + 1);
            e = reel_dcp_read(d, t, zero, t->n, p);
            free(p);
        } else {
            e = reel_dcp_read_object(d, t, &pt);
            reel_pt_close(&pt);
        }
    }
    return e;
}

#endif
