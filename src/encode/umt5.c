/* The text encoder's life: files, memory, and prompts in rounds of bounded size. */
#include "encode/umt5.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/hash.h"
#include "be/be.h"
#include "encode/umt5_priv.h"

/* ---- tokenizer: rank 0 reads ---- */

static reel_err read_tokenizer(const struct reel_hf_source *src, char path[PATH_MAX], void **data, size_t *bytes)
{
    static const char *const files[] = { "tokenizer/spiece.model", "tokenizer/tokenizer.json" };
    char root[PATH_MAX];

    REEL_TRY(reel_hf_resolve(src, root, sizeof root));
    for (int i = 0; i < 2; i++) {
        REEL_TRY(reel_join(path, PATH_MAX, root, files[i]));
        if (reel_is_file(path)) return reel_file_read(path, (char **)data, bytes);
    }
    return REEL_FAIL(REEL_ECONFIG, "%s: no tokenizer: wanted %s or %s", root, files[0], files[1]);
}

static reel_err open_tokenizer(struct reel_umt5 *u, const struct reel_hf_source *src, uint64_t *hash)
{
    char path[PATH_MAX] = "";
    void *data = NULL;
    size_t bytes = 0;
    reel_err e = reel_agree(u->comm, u->comm->rank == 0 ? read_tokenizer(src, path, &data, &bytes) : REEL_OK);

    if (e) return e;
    reel_comm_bcast(u->comm, path, sizeof path, 0);
    REEL_TRY(reel_comm_bcast_blob(u->comm, &data, &bytes, 0));
    e = reel_tokenizer_open(&u->tokenizer, data, bytes, path);
    if (!e && reel_tokenizer_pieces(u->tokenizer) > u->dims.vocab)
        e = REEL_FAIL(REEL_EDATA, "%s: %d pieces, but the text encoder's vocab_size is %lld", path, reel_tokenizer_pieces(u->tokenizer),
                      (long long)u->dims.vocab);
    if (!e && u->comm->rank == 0 && reel_tokenizer_has_bytes(u->tokenizer))
        fprintf(stderr, "reel: note: %s has byte fallback: an unknown character becomes its bytes, where tokenizer.json gives one "
                        "unknown token\n", path);
    *hash = reel_fnv(REEL_FNV, data, bytes);
    free(data);
    return reel_agree(u->comm, e);
}

/* ---- memory ---- */

static void lay_activations(struct reel_umt5 *u)
{
    const struct reel_umt5_dims *d = &u->dims;
    int64_t R = REEL_UMT5_ROUND, ranks = u->comm->size, inner = d->heads * d->kv, w = 2 * REEL_UMT5_MOST - 1;
    struct reel_arena *a = &u->act;

    u->bucket = reel_new(a, REEL_I32, REEL_DIMS(w));
    u->near = reel_new(a, REEL_F32, REEL_DIMS(w, d->heads));
    u->rel = reel_new(a, REEL_F32, REEL_DIMS(d->heads, w));
    u->ids = reel_new(a, REEL_I32, REEL_DIMS(ranks, R));
    u->send = reel_new(a, u->dt, REEL_DIMS(ranks * R, u->cols));
    if (ranks > 1) u->recv = reel_new(a, u->dt, REEL_DIMS(ranks * R, u->cols));
    u->x = reel_new(a, REEL_F32, REEL_DIMS(R, d->d));
    u->norm = reel_new(a, REEL_F32, REEL_DIMS(R, d->d));
    u->rstd = reel_new(a, REEL_F32, REEL_DIMS(R));
    u->h = u->dt == REEL_F32 ? u->norm : reel_new(a, u->dt, REEL_DIMS(R, d->d));
    u->q = reel_new(a, u->dt, REEL_DIMS(R, inner));
    u->k = reel_new(a, u->dt, REEL_DIMS(R, inner));
    u->v = reel_new(a, u->dt, REEL_DIMS(R, inner));
    u->o = reel_new(a, u->dt, REEL_DIMS(R, inner));
    u->a = reel_new(a, u->dt, REEL_DIMS(R, d->ff));
    u->b = reel_new(a, u->dt, REEL_DIMS(R, d->ff));
}

/* The same code with and without memory behind the arenas. */
static reel_err lay_out(struct reel_umt5 *u, int planning)
{
    struct reel_params_cfg cfg = { .role = "text encoder", .def = u->def, .n = u->n_def, .n_units = (int)u->dims.layers + 1, .compute = u->dt };

    reel_stream_init(&u->s, u->be, planning, &u->scratch);
    REEL_TRY(reel_params_open(&u->ps, &cfg, &u->mesh, &u->s, &u->shards, NULL, &u->work));
    u->table = reel_new(&u->shards, u->dt, REEL_DIMS(u->table_rows, u->cols));
    lay_activations(u);
    if (planning) reel_umt5_plan(u);
    return REEL_OK;
}

static size_t ids_bytes(const struct reel_umt5 *u) { return (size_t)((u->comm->size + 1) * REEL_UMT5_ROUND) * sizeof *u->host_ids; }
static size_t rows_bytes(const struct reel_umt5 *u) { return (size_t)(REEL_UMT5_ROUND * u->dims.d) * sizeof *u->host_rows; }

static reel_err take_memory(struct reel_umt5 *u)
{
    struct reel_arena *a[] = { &u->shards, &u->work, &u->act, &u->scratch };
    static const char *const name[] = { "text.shards", "text.work", "text.acts", "text.scratch" };

    REEL_TRY(lay_out(u, 1));
    reel_params_close(u->ps);
    u->ps = NULL;
    for (int i = 0; i < 4; i++) REEL_TRY(reel_arena_open(a[i], u->be, name[i], a[i]->peak + 1));
    REEL_TRY(lay_out(u, 0));
    u->host_ids = malloc(ids_bytes(u));
    u->host_rows = malloc(rows_bytes(u));
    return u->host_ids && u->host_rows ? REEL_OK : REEL_FAIL(REEL_ENOMEM, "no memory for the rows of a text encoder");
}

static void put_buckets(struct reel_umt5 *u)
{
    int32_t b[2 * REEL_UMT5_MOST - 1];

    for (int i = 0; i < 2 * REEL_UMT5_MOST - 1; i++) b[i] = reel_umt5_bucket(&u->dims, REEL_UMT5_MOST - 1 - i);
    reel_put(&u->s, u->bucket, b);
}

/* ---- open and close ---- */

/* The embedding's part of a rank. */
static void share_table(struct reel_umt5 *u)
{
    int ranks = u->comm->size;

    u->cols = (u->dims.d + ranks - 1) / ranks;
    u->chunk = (u->dims.vocab + ranks - 1) / ranks;
    if (u->chunk > REEL_UMT5_ROUND) u->chunk = REEL_UMT5_ROUND;
    u->table_rows = (u->dims.vocab + ranks * u->chunk - 1) / (ranks * u->chunk) * (ranks * u->chunk);
}

/* A mesh of its own: a card's collectives want communicators that know its memory. Collective(comm). */
static reel_err place(struct reel_umt5 *u)
{
    int ranks = u->comm->size;
    struct reel_mesh_dims dims = { ranks, 1, ranks, 1, 1 };

    REEL_TRY(reel_mesh_open(&u->mesh, u->comm, &dims));
    u->comm = &u->mesh.shard;
    REEL_TRY(reel_mesh_attach(&u->mesh, u->be));
    share_table(u);
    return REEL_OK;
}

/* What it is, and for which backend. Collective(comm). */
static reel_err read_dims(struct reel_umt5 *u, const struct reel_hf_source *src, const struct reel_encode_opts *o)
{
    char *json = NULL, where[PATH_MAX];
    reel_err e;

    REEL_TRY(reel_hf_read_config(src, u->comm, &json, where));
    e = reel_umt5_config(&u->dims, json, where);
    free(json);
    REEL_BUG_IF(!o->s, "a text encoder with weights wants a stream");
    u->be = o->s->be;
    u->unit = reel_backend_on_device(u->be) ? REEL_UMT5_UNIT_CARD : REEL_UMT5_UNIT_CPU;
    return reel_agree(u->comm, e);
}

static reel_err open_all(struct reel_umt5 *u, const struct reel_encode_opts *o)
{
    struct reel_hf_source src = { .init_from = o->model, .component = "text_encoder", .env = o->hf };
    uint64_t tokenizer = 0;
    reel_err e;

    REEL_TRY(read_dims(u, &src, o));
    REEL_TRY(open_tokenizer(u, &src, &tokenizer));
    REEL_TRY(place(u));
    e = reel_umt5_table(u);
    if (!e) e = take_memory(u);
    REEL_TRY(reel_agree(u->comm, e));
    put_buckets(u);
    return reel_umt5_load(u, &src, tokenizer);
}

reel_err reel_umt5_open(struct reel_umt5 **out, const struct reel_encode_opts *o)
{
    struct reel_umt5 *u = calloc(1, sizeof *u);
    reel_err e = reel_agree(o->comm, u ? REEL_OK : REEL_FAIL(REEL_ENOMEM, "no memory for a text encoder"));

    *out = NULL;
    if (e) return free(u), e;
    u->comm = o->comm;
    u->dt = (reel_dtype)o->dtype;
    e = open_all(u, o);
    if (e) return reel_umt5_close(u), e;
    *out = u;
    return REEL_OK;
}

/* What open takes on rank 0 of so many, who has the most: of the device's memory, or of the host's. Local. */
static reel_err plan_memory(struct reel_umt5 *u, int ranks, size_t *bytes)
{
    const struct reel_mesh_dims dims = { ranks, 1, ranks, 1, 1 };

    reel_mesh_place(&u->mesh, &dims, 0);
    u->comm = &u->mesh.shard;
    share_table(u);
    REEL_TRY(reel_umt5_table(u));
    REEL_TRY(lay_out(u, 1));
    *bytes = u->shards.peak + u->work.peak + u->act.peak + u->scratch.peak;
    if (!reel_backend_on_device(u->be)) *bytes += ids_bytes(u) + rows_bytes(u) + reel_umt5_load_bytes(u);
    return REEL_OK;
}

reel_err reel_umt5_bytes(const struct reel_encode_opts *o, int ranks, size_t *bytes)
{
    struct reel_hf_source src = { .init_from = o->model, .component = "text_encoder", .env = o->hf };
    struct reel_umt5 *u = calloc(1, sizeof *u);
    reel_err e = reel_agree(o->comm, u ? REEL_OK : REEL_FAIL(REEL_ENOMEM, "no memory to plan a text encoder"));

    if (e) return free(u), e;
    u->comm = o->comm;
    u->dt = (reel_dtype)o->dtype;
    e = read_dims(u, &src, o);
    if (!e) e = reel_agree(o->comm, plan_memory(u, ranks, bytes));
    reel_params_close(u->ps);
    free(u->def), free(u);
    return e;
}

void reel_umt5_close(struct reel_umt5 *u)
{
    struct reel_arena *a[] = { &u->shards, &u->work, &u->act, &u->scratch };

    reel_params_close(u->ps);
    if (u->comm == &u->mesh.shard) {
        reel_mesh_detach(&u->mesh, u->be);
        reel_mesh_close(&u->mesh);
    }
    for (int i = 0; i < 4; i++)
        if (a[i]->base) reel_arena_close(a[i], u->be);
    reel_tokenizer_close(u->tokenizer);
    free(u->def), free(u->host_ids), free(u->host_rows);
    free(u);
}

int reel_umt5_dim(const struct reel_umt5 *u) { return (int)u->dims.d; }

int reel_umt5_most(const struct reel_umt5 *u) { return (void)u, REEL_UMT5_MOST; }

const char *reel_umt5_id(const struct reel_umt5 *u) { return u->id; }

/* ---- prompts ---- */

/* How many of the prompts from `from` on fit into a round, and their tokens in whole units. */
static int take(const struct reel_umt5 *u, const int *len, int from, int n, int *m)
{
    int i = from, sum = 0;

    while (i < n && sum + len[i] <= REEL_UMT5_ROUND) sum += len[i++];
    *m = (sum + u->unit - 1) / u->unit * u->unit;
    return i - from;
}

/* Everyone's tokens for everyone; returns the most that a rank has, 0: there are none left. Collective(comm). */
static int share_ids(struct reel_umt5 *u, const int32_t *const *id, const int *len, int n, int m)
{
    int32_t *own = u->host_ids + (int64_t)u->comm->size * REEL_UMT5_ROUND, most = 0, at = 0;

    reel_comm_allgather(u->comm, &(int32_t){ m }, sizeof m, u->host_ids);
    for (int r = 0; r < u->comm->size; r++) most = u->host_ids[r] > most ? u->host_ids[r] : most;
    for (int i = 0; i < n; at += len[i++]) memcpy(own + at, id[i], (size_t)len[i] * sizeof *own);
    memset(own + at, 0, (size_t)(REEL_UMT5_ROUND - at) * sizeof *own);
    if (most) reel_comm_allgather(u->comm, own, (size_t)most * sizeof *own, u->host_ids);
    return most;
}

static reel_err hand_out(const struct reel_umt5 *u, const int *len, int n, struct reel_text_rows *out)
{
    const float *row = u->host_rows;

    for (int i = 0; i < n; row += len[i++] * u->dims.d) {
        size_t bytes = (size_t)(len[i] * u->dims.d) * sizeof *row;
        out[i] = (struct reel_text_rows){ .n = len[i], .rows = malloc(bytes) };
        if (!out[i].rows) return out[i].n = 0, REEL_FAIL(REEL_ENOMEM, "no memory for %zu bytes of text rows", bytes);
        memcpy(out[i].rows, row, bytes);
    }
    return REEL_OK;
}

reel_err reel_umt5_encode_ids(struct reel_umt5 *u, const int32_t *const *id, const int *len, int n, struct reel_text_rows *out)
{
    reel_err e = REEL_OK;

    for (int at = 0;;) {
        int m, k = take(u, len, at, n, &m), most = share_ids(u, id + at, len + at, k, m);
        if (!most) return reel_agree(u->comm, e);
        reel_umt5_round(u, len + at, k, m, most);
        if (!e) e = hand_out(u, len + at, k, out + at);
        at += k;
    }
}

/* Ids of all prompts side by side. */
static reel_err tokens(const struct reel_umt5 *u, const char *const *prompt, int n, int32_t *all, const int32_t **id, int *len)
{
    for (int i = 0; i < n; i++) {
        int32_t *to = all + (int64_t)i * REEL_UMT5_MOST;
        id[i] = to;
        REEL_TRY(reel_tokenizer_encode(u->tokenizer, prompt[i], to, REEL_UMT5_MOST, &len[i]));
    }
    return REEL_OK;
}

reel_err reel_umt5_encode(struct reel_umt5 *u, const char *const *prompt, int n, struct reel_text_rows *out)
{
    int32_t *all = malloc(((size_t)n * REEL_UMT5_MOST + 1) * sizeof *all);
    const int32_t **id = malloc(((size_t)n + 1) * sizeof *id);
    int *len = malloc(((size_t)n + 1) * sizeof *len);
    reel_err e = all && id && len ? REEL_OK : REEL_FAIL(REEL_ENOMEM, "no memory for the tokens of %d prompts", n);

    if (!e) e = tokens(u, prompt, n, all, id, len);
    e = reel_agree(u->comm, e);
    if (!e) e = reel_umt5_encode_ids(u, id, len, n, out);
    free(all), free(id), free(len);
    return e;
}
