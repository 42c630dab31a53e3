#ifndef REEL_ENCODE_UMT5_PRIV_H
#define REEL_ENCODE_UMT5_PRIV_H

/* What the files of the text encoder share: umt5.c (open, memory, prompts), umt5_load.c (files), umt5_run.c (a round). */

#include "encode/tokenizer.h"
#include "encode/umt5.h"
#include "nn/params.h"

#define REEL_UMT5_MOST  512  /* tokens of a prompt, the end included */
#define REEL_UMT5_ROUND 2048 /* most tokens of a rank in a round: bounds memory */
/* A round's tokens are filled up to whole units. On a card every product is of one unit of rows: a library's bits depend on
 * a product's shape, which a round's other prompts must not change. On a CPU units only keep the number of shapes small. */
#define REEL_UMT5_UNIT_CPU  16
#define REEL_UMT5_UNIT_CARD 512

/* config.json */
struct reel_umt5_dims {
    int64_t d, kv, heads, ff, layers, vocab;
    int64_t buckets, reach; /* of relative positions; distances from reach on share the last bucket */
    double eps;
};

/* The parameters of a layer, in the table's order; behind those of all layers comes the final norm. */
enum reel_umt5_param {
    REEL_UMT5_NORM1, REEL_UMT5_Q, REEL_UMT5_K, REEL_UMT5_V, REEL_UMT5_O, REEL_UMT5_BIAS,
    REEL_UMT5_NORM2, REEL_UMT5_GATE, REEL_UMT5_UP, REEL_UMT5_DOWN, REEL_UMT5_PER_LAYER
};

struct reel_umt5 {
    struct reel_umt5_dims dims;
    reel_dtype dt;
    struct reel_comm *comm;
    struct reel_mesh mesh;  /* everything over the shards of comm */
    struct reel_backend *be;
    struct reel_stream s;
    struct reel_arena shards, work, act, scratch;
    struct reel_params *ps; /* all but the embedding */
    struct reel_param_def *def;
    int n_def;
    int unit;               /* of this backend */
    struct reel_tokenizer *tokenizer;
    char id[48];

    /* The embedding is held by columns: every rank has its part of each token, whatever the prompts. */
    int64_t cols, table_rows, chunk; /* columns of a rank; rows with those that fill up the last chunk of loading */
    reel_tensor table;      /* dt [table_rows, cols] */

    reel_tensor bucket;     /* i32 [2 MOST - 1], of distances query - key from 1 - MOST on */
    reel_tensor near, rel;  /* f32 [2 MOST - 1, heads], [heads, 2 MOST - 1] of a layer */
    reel_tensor ids;        /* i32 [ranks, ROUND] */
    reel_tensor send, recv; /* dt [ranks, ROUND, cols] */
    reel_tensor x, norm;    /* f32 [ROUND, d]; norm is the sum's other term too */
    reel_tensor rstd, h;    /* f32 [ROUND]; dt [ROUND, d], norm itself in f32 */
    reel_tensor q, k, v, o; /* dt [ROUND, heads kv] */
    reel_tensor a, b;       /* dt [ROUND, ff] */
    int32_t *host_ids;      /* [ranks + 1][ROUND]: of every rank, then this one's own */
    float *host_rows;       /* [ROUND, d] */

    void (*look)(void *ctx, int layer, const float *rows, int n); /* tests: states of this rank's round before layer i, and the last */
    void *look_ctx;
};

/* umt5_load.c. config: Symmetric; table: Local; load: Collective(comm), fills id. */
reel_err reel_umt5_config(struct reel_umt5_dims *d, const char *json, const char *where);
reel_err reel_umt5_table(struct reel_umt5 *u);
reel_err reel_umt5_load(struct reel_umt5 *u, const struct reel_hf_source *src, uint64_t tokenizer);
size_t reel_umt5_load_bytes(const struct reel_umt5 *u); /* that loading takes of the host beside the arenas. Local, once they are laid out */
/** reel_umt5_bucket - of key position - query position. Local. Source: transformers models/umt5/modeling_umt5.py. */
int reel_umt5_bucket(const struct reel_umt5_dims *d, int64_t relative);

/* umt5_run.c */
/** reel_umt5_plan - everything that reel_umt5_round may ask of scratch. Local, on a planning stream. */
void reel_umt5_plan(struct reel_umt5 *u);
/**
 * reel_umt5_round - states of this rank's prompts, one behind the other, in host_rows [m,d]. Collective(comm).
 * @len   tokens of n prompts; together at most ROUND, or n 0
 * @m, @most  tokens of this rank in whole units, and of the rank with the most; host_ids is filled
 */
void reel_umt5_round(struct reel_umt5 *u, const int *len, int n, int m, int most);
/** reel_umt5_encode_ids - as reel_text_encode, of tokens. Collective(comm). @id  [n] of len[i] ids each, 1 to MOST */
reel_err reel_umt5_encode_ids(struct reel_umt5 *u, const int32_t *const *id, const int *len, int n, struct reel_text_rows *out);

#endif
