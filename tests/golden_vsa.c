/* Golden kind vsa: sparse attention. Inputs by rule, outputs and gradients in files; lists of blocks that are
 * given; ties; a whole transformer. Every rank computes everything. */
#include "golden_vsa.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "be/be.h"
#include "nn/nn.h"
#include "wan_rig.h"

#define LIMIT 3e-5 /* largest difference over the root mean square; the folder's README suggests it */

struct vcase {
    struct golden *out;
    const char *name;
    struct reel_st *st;
    struct reel_backend *be;
    struct reel_arena mem, scratch;
    struct reel_stream s;
    int64_t grid[3], S, n, heads, hd, topk;
    struct reel_tile_index index;
    reel_tensor q, k, v, gate, g, sel; /* [1,S,D]; [1,heads,n,topk] */
};

static reel_err open_case(struct vcase *c, const char *dir, const json_t *j)
{
    json_t *grid = json_object_get(j, "grid");

    REEL_TRY(golden_open(&c->st, dir, json_string_value(json_object_get(j, "file"))));
    REEL_TRY(reel_backend_open(&c->be, "cpu", 1));
    REEL_TRY(reel_arena_open(&c->mem, c->be, "case", (size_t)64 << 20));
    REEL_TRY(reel_arena_open(&c->scratch, c->be, "scratch", (size_t)64 << 20));
    reel_stream_init(&c->s, c->be, 0, &c->scratch);
    if (!grid) return REEL_OK;
    for (size_t i = 0; i < 3; i++) c->grid[i] = json_integer_value(json_array_get(grid, i));
    c->S = c->grid[0] * c->grid[1] * c->grid[2];
    c->n = reel_tiles_count(c->grid);
    c->heads = json_integer_value(json_object_get(j, "heads"));
    c->hd = json_integer_value(json_object_get(j, "head_dim"));
    c->index.start = reel_new(&c->mem, REEL_I32, REEL_DIMS(c->n + 1));
    c->index.order = reel_new(&c->mem, REEL_I32, REEL_DIMS(c->S));
    reel_tiles_fill(c->index.start.p, c->index.order.p, c->grid);
    return REEL_OK;
}

static void close_case(struct vcase *c)
{
    reel_arena_close(&c->scratch, c->be);
    reel_arena_close(&c->mem, c->be);
    reel_backend_close(c->be);
    reel_st_close(c->st);
}

static reel_tensor tokens(struct vcase *c)
{
    return reel_new(&c->mem, REEL_F32, REEL_DIMS(1, c->S, c->heads * c->hd));
}

static reel_tensor tiles(struct vcase *c)
{
    return reel_new(&c->mem, REEL_F32, REEL_DIMS(1, c->n, c->heads * c->hd));
}

static reel_tensor filled(struct vcase *c, int64_t no, double scale)
{
    reel_tensor t = tokens(c);

    for (int64_t i = 0; i < reel_numel(t); i++) ((float *)t.p)[i] = (float)(scale * rig_u(no, i));
    return t;
}

static const char *label(const struct vcase *c, const char *what)
{
    static char out[160];

    snprintf(out, sizeof out, "%s/%s", c->name, what);
    return out;
}

static void same(struct vcase *c, const char *what, reel_tensor got)
{
    float *want = golden_bytes(c->st, what, NULL);
    struct golden_diff d = { 0 };
    int64_t n = reel_numel(got);

    if (!want) {
        golden_true(c->out, label(c, what), 0);
        return;
    }
    golden_diff(&d, got.p, want, n);
    golden_line(c->out, label(c, what), d.max_abs, d.max_abs / sqrt(d.want2 / (double)n), LIMIT);
    free(want);
}

/* Sizes of tiles, and each token's place in a layout of 64 places a tile. */
static void check_tiles(struct vcase *c)
{
    const int32_t *start = c->index.start.p, *order = c->index.order.p;
    int32_t *size = golden_bytes(c->st, "block_sizes", NULL), *slot = golden_bytes(c->st, "slot", NULL);
    int ok = 1;

    for (int64_t i = 0; i < c->n; i++) {
        ok &= size[i] == start[i + 1] - start[i];
        for (int64_t p = start[i]; p < start[i + 1] && slot; p++) ok &= slot[order[p]] == 64 * i + p - start[i];
    }
    golden_true(c->out, label(c, "tiles"), ok);
    free(size), free(slot);
}

static void inputs(struct vcase *c, const json_t *j)
{
    int64_t base = json_integer_value(json_object_get(j, "fill_base"));

    c->q = filled(c, base, 4), c->k = filled(c, base + 1, 4), c->v = filled(c, base + 2, 4);
    c->gate = filled(c, base + 3, 4), c->g = filled(c, base + 4, 2);
    c->sel = reel_new(&c->mem, REEL_I32, REEL_DIMS(1, c->heads, c->n, c->topk));
}

/* Both branches. */
static void whole(struct vcase *c, const json_t *j)
{
    const struct reel_mask all = { 0 };
    int h = (int)c->heads;
    reel_tensor qc = tiles(c), kc = tiles(c), vc = tiles(c), oc = tiles(c), dc = tiles(c), dqc = tiles(c), dkc = tiles(c),
                dvc = tiles(c), fine = tokens(c), o = tokens(c), dq = tokens(c), dk = tokens(c), dv = tokens(c), dgate = tokens(c);
    reel_tensor lse = reel_new(&c->mem, REEL_F32, REEL_DIMS(1, h, c->S)), lse_c = reel_new(&c->mem, REEL_F32, REEL_DIMS(1, h, c->n));
    reel_tensor scores = reel_new(&c->mem, REEL_F32, REEL_DIMS(1, h, c->n, c->n));
    int32_t *blocks = golden_bytes(c->st, "blocks", NULL);

    c->topk = reel_vsa_topk(json_number_value(json_object_get(j, "sparsity")), c->n);
    golden_true(c->out, label(c, "topk"), c->topk == json_integer_value(json_object_get(j, "topk")));
    inputs(c, j);
    reel_tile_mean(&c->s, qc, c->q, c->index);
    reel_tile_mean(&c->s, kc, c->k, c->index);
    reel_tile_mean(&c->s, vc, c->v, c->index);
    reel_attn_fwd(&c->s, oc, lse_c, qc, kc, vc, h, all);
    reel_vsa_select(&c->s, c->sel, scores, qc, kc, h);
    reel_vsa_fwd(&c->s, fine, lse, c->q, c->k, c->v, c->sel, c->index, h);
    reel_tile_gate_fwd(&c->s, o, c->gate, oc, fine, c->index);
    reel_tile_gate_bwd(&c->s, dgate, dc, c->g, c->gate, oc, c->index);
    reel_attn_bwd(&c->s, dqc, dkc, dvc, dc, oc, lse_c, qc, kc, vc, h, all, 0);
    reel_vsa_bwd(&c->s, dq, dk, dv, c->g, fine, lse, c->q, c->k, c->v, c->sel, dqc, dkc, dvc, c->index, h);
    golden_equal(c->out, label(c, "blocks"), c->sel.p, blocks, 4, reel_numel(c->sel));
    same(c, "scores", scores), same(c, "lse", lse), same(c, "out", o);
    same(c, "dq", dq), same(c, "dk", dk), same(c, "dv", dv), same(c, "dgate", dgate);
    free(blocks);
}

/* The fine branch alone, for the lists of the folder. */
static void lists(struct vcase *c, const json_t *j)
{
    const reel_tensor none = { 0 };
    int h = (int)c->heads;
    reel_tensor o = tokens(c), dq = tokens(c), dk = tokens(c), dv = tokens(c);
    reel_tensor lse = reel_new(&c->mem, REEL_F32, REEL_DIMS(1, h, c->S));
    int32_t *blocks = golden_bytes(c->st, "blocks", NULL);

    c->topk = c->n;
    inputs(c, j);
    memcpy(c->sel.p, blocks, reel_bytes(c->sel));
    c->g = filled(c, json_integer_value(json_object_get(j, "fill_base")) + 4, 2);
    reel_vsa_fwd(&c->s, o, lse, c->q, c->k, c->v, c->sel, c->index, h);
    reel_vsa_bwd(&c->s, dq, dk, dv, c->g, o, lse, c->q, c->k, c->v, c->sel, none, none, none, c->index, h);
    same(c, "out", o), same(c, "lse", lse), same(c, "dq", dq), same(c, "dk", dk), same(c, "dv", dv);
    free(blocks);
}

/* Scores that are given come out of q = 4 e_i and k = a column of scores each: 16 wide heads, so the scale is 1/4. */
static void ties(struct vcase *c, const json_t *j)
{
    const struct reel_st_entry *e;
    float *want = golden_bytes(c->st, "scores", &e);
    int64_t H = e->n[0], R = e->n[1], N = e->n[2];
    reel_tensor q = reel_new(&c->mem, REEL_F32, REEL_DIMS(1, N, H * 16)), k = reel_new(&c->mem, REEL_F32, REEL_DIMS(1, N, H * 16));
    reel_tensor scores = reel_new(&c->mem, REEL_F32, REEL_DIMS(1, H, N, N));
    size_t i;
    json_t *topk;

    for (int64_t x = 0; x < N * H * 16; x++) {
        int64_t row = x / (H * 16), h = x / 16 % H, f = x % 16;
        ((float *)q.p)[x] = f == row ? 4 : 0;
        ((float *)k.p)[x] = f < R ? want[(h * R + f) * N + row] : 0;
    }
    json_array_foreach(json_object_get(j, "topk"), i, topk) {
        int64_t n = json_integer_value(topk);
        reel_tensor sel = reel_new(&c->mem, REEL_I32, REEL_DIMS(1, H, N, n));
        char name[32];
        unsigned char *mask, *got = calloc((size_t)(H * R * N), 1);

        snprintf(name, sizeof name, "mask%ld", (long)n);
        mask = golden_bytes(c->st, name, NULL);
        reel_vsa_select(&c->s, sel, scores, q, k, (int)H);
        for (int64_t x = 0; x < H * R * n; x++)
            got[x / n * N + ((int32_t *)sel.p)[(x / n / R * N + x / n % R) * n + x % n]] = 1;
        golden_equal(c->out, label(c, name), got, mask, 1, H * R * N);
        free(mask), free(got);
    }
    free(want);
}

static reel_err run_case(struct golden *g, const char *dir, const json_t *j)
{
    const char *kind = json_string_value(json_object_get(j, "kind"));
    struct vcase c = { .out = g, .name = json_string_value(json_object_get(j, "name")) };

    if (!strcmp(kind, "model")) return golden_vsa_model(g, dir, j);
    REEL_TRY(open_case(&c, dir, j));
    if (reel_st_find(c.st, "block_sizes")) check_tiles(&c);
    if (!strcmp(kind, "vsa")) whole(&c, j);
    else if (!strcmp(kind, "fine_only")) lists(&c, j);
    else if (!strcmp(kind, "selection")) ties(&c, j);
    else golden_true(g, label(&c, "a kind of case that is known"), 0);
    close_case(&c);
    return REEL_OK;
}

int golden_vsa(struct golden *g, const char *dir)
{
    json_t *cases = golden_json(dir, "cases.json"), *j;
    reel_err e = cases ? REEL_OK : REEL_EDATA;
    size_t i;

    json_array_foreach(json_object_get(cases, "cases"), i, j)
        if (!e) e = run_case(g, dir, j);
    if (e && cases) reel_err_print(reel_errrec()), reel_err_clear();
    json_decref(cases);
    return e != REEL_OK;
}
