/* The text encoder's files: config.json, names and shapes of weights, their way into shards, and the hash over all of it. */
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/json.h"
#include "encode/umt5_priv.h"
#include "tensor/half.h"

/* ---- config.json ---- */

static reel_err get_text(const json_t *o, const char *key, const char *want, const char *where)
{
    const json_t *x = json_object_get(o, key);
    const char *s = json_string_value(x);

    if (!x || (s && !strcmp(s, want))) return REEL_OK;
    return REEL_FAIL(REEL_EDATA, "%s: %s is \"%s\"; the text encoder must be \"%s\"", where, key, s ? s : "", want);
}

static reel_err read_dims(struct reel_umt5_dims *d, const json_t *o, const char *where)
{
    const json_t *eps = json_object_get(o, "layer_norm_epsilon");

    REEL_TRY(get_text(o, "model_type", "umt5", where));
    REEL_TRY(get_text(o, "feed_forward_proj", "gated-gelu", where));
    REEL_TRY(reel_json_int(&d->d, o, "d_model", 1, INT32_MAX, 0, where));
    REEL_TRY(reel_json_int(&d->kv, o, "d_kv", 1, INT32_MAX, 0, where));
    REEL_TRY(reel_json_int(&d->heads, o, "num_heads", 1, INT32_MAX, 0, where));
    REEL_TRY(reel_json_int(&d->ff, o, "d_ff", 1, INT32_MAX, 0, where));
    REEL_TRY(reel_json_int(&d->layers, o, "num_layers", 1, INT32_MAX, 0, where));
    REEL_TRY(reel_json_int(&d->vocab, o, "vocab_size", 2, INT32_MAX, 0, where));
    REEL_TRY(reel_json_int(&d->buckets, o, "relative_attention_num_buckets", 4, INT32_MAX, 32, where));
    REEL_TRY(reel_json_int(&d->reach, o, "relative_attention_max_distance", d->buckets / 4 + 1, INT32_MAX, 128, where));
    d->eps = eps ? json_number_value(eps) : 1e-6;
    if (d->buckets % 4)
        return REEL_FAIL(REEL_EDATA, "%s: relative_attention_num_buckets is %" PRId64 ", wanted a multiple of 4", where, d->buckets);
    if (!(d->eps > 0) || !isfinite(d->eps)) return REEL_FAIL(REEL_EDATA, "%s: layer_norm_epsilon is not a positive number", where);
    return REEL_OK;
}

reel_err reel_umt5_config(struct reel_umt5_dims *d, const char *json, const char *where)
{
    json_t *o = NULL;
    reel_err e = reel_json_parse(&o, json, strlen(json), where);

    if (!e) e = read_dims(d, o, where);
    json_decref(o);
    return e;
}

/* Each operation rounded to f32, as there: at a bucket's border the last place decides. */
int reel_umt5_bucket(const struct reel_umt5_dims *d, int64_t relative)
{
    int64_t half = d->buckets / 2, exact = half / 2, m = relative < 0 ? -relative : relative, base = relative > 0 ? half : 0, far;
    float ratio;

    if (m < exact) return (int)(base + m);
    ratio = (float)log((double)((float)m / (float)exact)) / (float)log((double)d->reach / (double)exact);
    far = exact + (int64_t)(ratio * (float)(half - exact));
    return (int)(base + (far < half - 1 ? far : half - 1));
}

/* ---- names and shapes ---- */

/* Of layer %d: Hugging Face's and the authors'. */
static const char *const layer_name[REEL_UMT5_PER_LAYER][2] = {
    [REEL_UMT5_NORM1] = { "encoder.block.%d.layer.0.layer_norm.weight", "blocks.%d.norm1.weight" },
    [REEL_UMT5_Q] = { "encoder.block.%d.layer.0.SelfAttention.q.weight", "blocks.%d.attn.q.weight" },
    [REEL_UMT5_K] = { "encoder.block.%d.layer.0.SelfAttention.k.weight", "blocks.%d.attn.k.weight" },
    [REEL_UMT5_V] = { "encoder.block.%d.layer.0.SelfAttention.v.weight", "blocks.%d.attn.v.weight" },
    [REEL_UMT5_O] = { "encoder.block.%d.layer.0.SelfAttention.o.weight", "blocks.%d.attn.o.weight" },
    [REEL_UMT5_BIAS] = { "encoder.block.%d.layer.0.SelfAttention.relative_attention_bias.weight", "blocks.%d.pos_embedding.embedding.weight" },
    [REEL_UMT5_NORM2] = { "encoder.block.%d.layer.1.layer_norm.weight", "blocks.%d.norm2.weight" },
    [REEL_UMT5_GATE] = { "encoder.block.%d.layer.1.DenseReluDense.wi_0.weight", "blocks.%d.ffn.gate.0.weight" },
    [REEL_UMT5_UP] = { "encoder.block.%d.layer.1.DenseReluDense.wi_1.weight", "blocks.%d.ffn.fc1.weight" },
    [REEL_UMT5_DOWN] = { "encoder.block.%d.layer.1.DenseReluDense.wo.weight", "blocks.%d.ffn.fc2.weight" },
};
static const char *const final_name[2] = { "encoder.final_layer_norm.weight", "norm.weight" };
static const char *const table_name[3] = { "shared.weight", "encoder.embed_tokens.weight", "token_embedding.weight" };

static void define(struct reel_param_def *p, const struct reel_umt5_dims *d, int layer, enum reel_umt5_param which)
{
    int64_t inner = d->heads * d->kv;
    const int64_t shape[REEL_UMT5_PER_LAYER][2] = {
        [REEL_UMT5_NORM1] = { d->d, 0 }, [REEL_UMT5_Q] = { inner, d->d }, [REEL_UMT5_K] = { inner, d->d },
        [REEL_UMT5_V] = { inner, d->d }, [REEL_UMT5_O] = { d->d, inner }, [REEL_UMT5_BIAS] = { d->buckets, d->heads },
        [REEL_UMT5_NORM2] = { d->d, 0 }, [REEL_UMT5_GATE] = { d->ff, d->d }, [REEL_UMT5_UP] = { d->ff, d->d },
        [REEL_UMT5_DOWN] = { d->d, d->ff },
    };

    snprintf(p->name, sizeof p->name, layer_name[which][0], layer);
    p->nd = shape[which][1] ? 2 : 1;
    memcpy(p->n, shape[which], sizeof shape[which]);
    p->unit = layer + 1;
    p->keep_f32 = p->nd == 1 || which == REEL_UMT5_BIAS;
    p->frozen = 1;
}

reel_err reel_umt5_table(struct reel_umt5 *u)
{
    int layers = (int)u->dims.layers, n = layers * REEL_UMT5_PER_LAYER;
    struct reel_param_def *p = calloc((size_t)n + 1, sizeof *p);

    if (!p) return REEL_FAIL(REEL_ENOMEM, "no memory for the names of %d layers", layers);
    for (int i = 0; i < n; i++) define(&p[i], &u->dims, i / REEL_UMT5_PER_LAYER, i % REEL_UMT5_PER_LAYER);
    p[n] = (struct reel_param_def){ .nd = 1, .n = { u->dims.d }, .keep_f32 = 1, .frozen = 1 };
    snprintf(p[n].name, sizeof p[n].name, "%s", final_name[0]);
    u->def = p;
    u->n_def = n + 1;
    return REEL_OK;
}

/* ---- weights ---- */

struct source { const struct reel_st_entry *e; struct reel_st *file; };

/* What is wrong with the files: all of it in one message, the first few by name. */
struct faults { char missing[300], shape[300]; int n_missing, n_shape; };

static void note(char text[300], int *n, const char *name)
{
    size_t at = strlen(text);

    if ((*n)++ < 3) snprintf(text + at, 300 - at, "%s%s", at ? ", " : "", name);
}

static struct source find(const struct reel_weights *w, const struct reel_param_def *p, int i, int n_def)
{
    struct source s = { NULL, NULL };
    char other[112];

    s.e = reel_weights_find(w, p->name, &s.file);
    if (s.e) return s;
    if (i + 1 == n_def) snprintf(other, sizeof other, "%s", final_name[1]);
    else snprintf(other, sizeof other, layer_name[i % REEL_UMT5_PER_LAYER][1], i / REEL_UMT5_PER_LAYER);
    s.e = reel_weights_find(w, other, &s.file);
    return s;
}

static void judge(struct faults *f, struct source s, const char *name, int nd, const int64_t *n)
{
    char both[160];

    if (!s.e) {
        note(f->missing, &f->n_missing, name);
        return;
    }
    if (s.e->nd == nd && !memcmp(s.e->n, n, (size_t)nd * sizeof *n) && (s.e->dt == REEL_F32 || s.e->dt == REEL_BF16 || s.e->dt == REEL_F16))
        return;
    snprintf(both, sizeof both, "%s %s[%" PRId64 ",%" PRId64 "], not [%" PRId64 ",%" PRId64 "]", s.e->name, s.e->dtype, s.e->n[0],
             s.e->nd > 1 ? s.e->n[1] : 1, n[0], nd > 1 ? n[1] : 1);
    note(f->shape, &f->n_shape, both);
}

static reel_err judge_all(const struct reel_umt5 *u, const struct reel_weights *w, struct source *src, const char *where)
{
    const int64_t table[2] = { u->dims.vocab, u->dims.d };
    struct faults f = { "", "", 0, 0 };

    for (int i = 0; i < u->n_def; i++) {
        src[i] = find(w, &u->def[i], i, u->n_def);
        judge(&f, src[i], u->def[i].name, u->def[i].nd, u->def[i].n);
    }
    src[u->n_def].e = NULL;
    for (int i = 0; i < 3 && !src[u->n_def].e; i++) src[u->n_def].e = reel_weights_find(w, table_name[i], &src[u->n_def].file);
    judge(&f, src[u->n_def], table_name[0], 2, table);
    if (!f.n_missing && !f.n_shape) return REEL_OK;
    return REEL_FAIL(REEL_EDATA, "%s: not the weights of the text encoder that config.json describes:%s%.*d%s%s%s%.*d%s%s", where,
                     f.n_missing ? " missing " : "", f.n_missing > 0, f.n_missing, f.n_missing ? ": " : "", f.missing,
                     f.n_shape ? " mis-shaped " : "", f.n_shape > 0, f.n_shape, f.n_shape ? ": " : "", f.shape);
}

static uint64_t key_of(const char *name) { return reel_fnv(REEL_FNV, name, strlen(name)); }

static size_t largest_shard(const struct reel_umt5 *u)
{
    size_t most = 1;

    for (int i = 0; i < u->n_def; i++) {
        size_t bytes = reel_bytes(reel_param_shard(u->ps, i).w);
        if (bytes > most) most = bytes;
    }
    return most;
}

static reel_err load_shards(struct reel_umt5 *u, const struct source *src, uint64_t *hash)
{
    size_t most = largest_shard(u);
    float *buf = malloc(most);
    reel_err e = REEL_OK;

    if (!buf) return REEL_FAIL(REEL_ENOMEM, "no memory for a shard of %zu bytes", most);
    for (int i = 0; i < u->n_def && !e; i++) {
        struct reel_shard sh = reel_param_shard(u->ps, i);
        int64_t row = u->def[i].nd > 1 ? u->def[i].n[1] : 1;
        if (!sh.rows) continue;
        e = reel_weights_read(src[i].file, src[i].e, sh.row0, sh.rows, 0, 0, buf);
        if (e) break;
        *hash += reel_hash_f32(key_of(u->def[i].name), (uint64_t)(sh.row0 * row), buf, sh.rows * row);
        reel_put(&u->s, sh.w, buf);
    }
    free(buf);
    return e;
}

/* Rows of the table [n,d] as columns for each rank: [ranks][chunk][cols] of the table's dtype, zeros where there are none. */
static void deal_out(const struct reel_umt5 *u, void *to, const float *rows, int64_t n)
{
    int64_t d = u->dims.d, k = 0;

    for (int64_t first = 0; first < u->comm->size * u->cols; first += u->cols)
        for (int64_t row = 0; row < u->chunk; row++)
            for (int64_t col = first; col < first + u->cols; col++, k++) {
                float x = row < n && col < d ? rows[row * d + col] : 0;
                if (u->dt == REEL_BF16) ((uint16_t *)to)[k] = reel_f32_bf16(x);
                else ((float *)to)[k] = x;
            }
}

/* The rows that a rank reads of the table, and what it sends of them. */
static size_t chunk_bytes(const struct reel_umt5 *u) { return (size_t)(u->chunk * u->dims.d) * sizeof(float); }
static reel_tensor chunk_sent(const struct reel_umt5 *u) { return reel_view(u->send.p, u->dt, REEL_DIMS(u->comm->size * u->chunk, u->cols)); }

size_t reel_umt5_load_bytes(const struct reel_umt5 *u)
{
    size_t shard = largest_shard(u), table = chunk_bytes(u) + reel_bytes(chunk_sent(u));

    return shard > table ? shard : table;
}

/* Every rank reads whole rows, and sends each of the others its columns. An error is held: the others wait. Collective(comm). */
static reel_err load_table(struct reel_umt5 *u, struct source src, uint64_t *hash)
{
    int64_t d = u->dims.d, ranks = u->comm->size, per = ranks * u->chunk;
    reel_tensor send = chunk_sent(u);
    float *rows = malloc(chunk_bytes(u));
    void *dealt = malloc(reel_bytes(send));
    reel_err e = rows && dealt ? REEL_OK : REEL_FAIL(REEL_ENOMEM, "no memory for %" PRId64 " rows of the embedding", u->chunk);
    struct reel_req req = { 0 };

    e = reel_agree(u->comm, e);
    if (e) return free(rows), free(dealt), e;
    for (int64_t at = 0; at < u->table_rows; at += per) {
        int64_t first = at + u->comm->rank * u->chunk, n = u->dims.vocab - first;
        n = n < 0 || e ? 0 : n < u->chunk ? n : u->chunk;
        if (n) e = reel_weights_read(src.file, src.e, first, n, 0, 0, rows);
        if (n && !e) *hash += reel_hash_f32(key_of(table_name[0]), (uint64_t)(first * d), rows, n * d);
        deal_out(u, dealt, rows, e ? 0 : n);
        reel_put(&u->s, send, dealt);
        reel_comm_alltoall_start(u->comm, &u->s, reel_slice(u->table, at, at + per), send, &req);
        reel_comm_wait(u->comm, &req);
    }
    free(rows), free(dealt);
    return e;
}

static void name_it(struct reel_umt5 *u, uint64_t weights, uint64_t tokenizer)
{
    const struct reel_umt5_dims *d = &u->dims;
    int64_t all[] = { (int64_t)weights, (int64_t)tokenizer, d->d, d->kv, d->heads, d->ff, d->layers, d->vocab, d->buckets, d->reach };
    uint64_t h = reel_fnv(REEL_FNV, all, sizeof all);

    h = reel_fnv(h, &d->eps, sizeof d->eps);
    snprintf(u->id, sizeof u->id, "umt5:%016" PRIx64 "%s", h, u->dt == REEL_BF16 ? "-bf16" : "");
}

reel_err reel_umt5_load(struct reel_umt5 *u, const struct reel_hf_source *hf, uint64_t tokenizer)
{
    struct source *src = calloc((size_t)u->n_def + 1, sizeof *src);
    struct reel_weights w = { 0 };
    void *list = NULL;
    size_t bytes = 0;
    uint64_t hash = 0;
    int64_t sum;
    reel_err e = reel_agree(u->comm, src ? REEL_OK : REEL_FAIL(REEL_ENOMEM, "no memory for a list of weights"));

    if (!e) e = reel_hf_list(hf, &list, &bytes, u->comm);
    if (!e) {
        e = reel_weights_open(&w, list, bytes);
        if (!e) e = judge_all(u, &w, src, list);
        e = reel_agree(u->comm, e);
    }
    if (!e) e = reel_agree(u->comm, load_shards(u, src, &hash));
    if (!e) e = reel_agree(u->comm, load_table(u, src[u->n_def], &hash));
    if (!e) {
        sum = (int64_t)hash;
        reel_comm_sum_i64(u->comm, &sum, 1);
        name_it(u, (uint64_t)sum, tokenizer);
    }
    reel_weights_close(&w);
    free(list), free(src);
    return e;
}
