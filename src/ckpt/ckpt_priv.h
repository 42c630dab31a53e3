#ifndef REEL_CKPT_CKPT_PRIV_H
#define REEL_CKPT_CKPT_PRIV_H

#include "ckpt/ckpt.h"
#include "ckpt/dcp.h"

#define CKPT_MARKER "commit.json"

/* ---- plan: who writes what where (ckpt_plan.c) ---- */

/* A part as ranks exchange it. */
struct ckpt_part { int64_t row0, rows, col0, cols; };

struct ckpt_plan {
    int n_t, n_o, n_ranks;
    unsigned char *own; /* [n_ranks][n_t]: this rank writes this tensor's part */
    struct ckpt_part *part; /* rank 0: [n_ranks][n_t]; others: NULL */
};

/** ckpt_plan_open - exchange parts, choose one writer per part (the one with the least bytes so far). Collective. */
reel_err ckpt_plan_open(struct ckpt_plan *p, const struct reel_ckpt_set *set, struct reel_comm *world);
void ckpt_plan_close(struct ckpt_plan *p);

/** ckpt_plan_metadata - the bytes of .metadata; every length is known before anything is written. Local, rank 0. */
reel_err ckpt_plan_metadata(const struct ckpt_plan *p, const struct reel_ckpt_set *set, struct reel_pw *w);

void ckpt_chunk(const struct reel_ckpt_tensor *t, const struct ckpt_part *p, int64_t *off, int64_t *n);
void ckpt_put_val(struct reel_pw *w, const struct reel_val *v); /* a whole archive */
reel_err ckpt_get_val(struct reel_val *v, const struct reel_pv *p, const char *key);

/* ---- finding (ckpt_find.c) ---- */

/** ckpt_average - reel_ckpt_average on an open folder; `dir` is for the message. */
reel_err ckpt_average(const struct reel_dcp *d, const char *dir, const char *role, char *owner, size_t size);

/** ckpt_complete - REEL_OK if the folder can be resumed from; else why not. Local. */
reel_err ckpt_complete(const char *dir);

/** ckpt_list - steps of the `checkpoint-<digits>` folders, ascending, malloc'ed. Local. */
reel_err ckpt_list(const char *output_dir, long **step, int *n);

/** ckpt_dcp_dir - the folder that holds .metadata: `dir`/dcp, or `dir`. Local. */
reel_err ckpt_dcp_dir(const char *dir, char *dcp, size_t size);

#endif
