/* Who writes which part, and where it will lie: pure functions of the parts, so that .metadata can be
 * made before a byte is written. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc.h"
#include "ckpt/ckpt_priv.h"

/* ---- parts and chunks ---- */

static struct ckpt_part part_of(const struct reel_ckpt_tensor *t)
{
    struct ckpt_part p = { t->row0, t->rows, t->col0, t->cols };

    REEL_BUG_IF(t->rows < 0 || (t->nd && (t->row0 < 0 || t->row0 + t->rows > t->n[0])),
                "%s: rows [%lld,+%lld) of %lld", t->key, (long long)t->row0, (long long)t->rows, (long long)t->n[0]);
    if (t->nd > 1 && t->cols == 0) p.col0 = 0, p.cols = t->n[1];
    if (t->nd == 0) p.row0 = 0;
    return p;
}

void ckpt_chunk(const struct reel_ckpt_tensor *t, const struct ckpt_part *p, int64_t *off, int64_t *n)
{
    for (int i = 0; i < t->nd; i++) off[i] = 0, n[i] = t->n[i];
    if (t->nd > 0) off[0] = p->row0, n[0] = p->rows;
    if (t->nd > 1) off[1] = p->col0, n[1] = p->cols;
}

static int64_t part_bytes(const struct reel_ckpt_tensor *t, const struct ckpt_part *p)
{
    int64_t off[REEL_MAXDIM], n[REEL_MAXDIM];

    ckpt_chunk(t, p, off, n);
    return reel_pt_numel(n, t->nd) * (int64_t)reel_dtype_size(t->dt);
}

/* ---- one writer per part ---- */

struct cand { struct ckpt_part p; int rank; };

static int cand_cmp(const void *pa, const void *pb)
{
    const struct cand *a = pa, *b = pb;
    int c = memcmp(&a->p, &b->p, sizeof a->p); /* any order will do: equal parts must meet */

    return c ? c : a->rank - b->rank;
}

/* Equal parts stand together; the least loaded of their ranks gets them. */
static void choose(struct ckpt_plan *p, const struct reel_ckpt_tensor *t, int i, struct cand *c, int64_t *load)
{
    for (int r = 0; r < p->n_ranks; r++) c[r] = (struct cand){ p->part[(size_t)r * (size_t)p->n_t + (size_t)i], r };
    qsort(c, (size_t)p->n_ranks, sizeof *c, cand_cmp);
    for (int a = 0, b; a < p->n_ranks; a = b) {
        int best = c[a].rank;
        for (b = a + 1; b < p->n_ranks && memcmp(&c[a].p, &c[b].p, sizeof c[a].p) == 0; b++)
            if (load[c[b].rank] < load[best]) best = c[b].rank;
        if (c[a].p.rows == 0) continue;
        p->own[(size_t)best * (size_t)p->n_t + (size_t)i] = 1;
        load[best] += part_bytes(t, &c[a].p);
    }
}

static reel_err choose_all(struct ckpt_plan *p, const struct reel_ckpt_set *set)
{
    struct cand *c = malloc((size_t)p->n_ranks * sizeof *c);
    int64_t *load = calloc((size_t)p->n_ranks, sizeof *load);
    reel_err e = c && load ? REEL_OK : REEL_FAIL(REEL_ENOMEM, "checkpoint: no memory for the plan");

    for (int i = 0; i < p->n_t && !e; i++) choose(p, &set->t[i], i, c, load);
    free(c);
    free(load);
    return e;
}

uint64_t ckpt_key_hash(const struct reel_ckpt_set *set)
{
    uint32_t a = 0, b = 1;

    for (int i = 0; i < set->n_t; i++) {
        a = reel_crc32c(a, set->t[i].key, strlen(set->t[i].key) + 1);
        b = reel_crc32(b, set->t[i].n, (size_t)set->t[i].nd * sizeof *set->t[i].n);
    }
    for (int i = 0; i < set->n_o; i++) a = reel_crc32c(a, set->o[i].key, strlen(set->o[i].key) + 1);
    return (uint64_t)a << 32 | b;
}

reel_err ckpt_plan_open(struct ckpt_plan *p, const struct reel_ckpt_set *set, struct reel_comm *world)
{
    size_t n = (size_t)set->n_t, all = n * (size_t)world->size;
    struct ckpt_part *mine = malloc((n + 1) * sizeof *mine);
    reel_err e = REEL_OK;

    *p = (struct ckpt_plan){ set->n_t, set->n_o, world->size, calloc(all + 1, 1), NULL };
    if (world->rank == 0) p->part = malloc((all + 1) * sizeof *p->part);
    if (!mine || !p->own || (world->rank == 0 && !p->part)) e = REEL_FAIL(REEL_ENOMEM, "checkpoint: no memory for the plan");
    e = reel_agree(world, e);
    if (!e) e = reel_comm_same(world, "the list of tensors in the checkpoint", ckpt_key_hash(set));
    if (!e) {
        for (size_t i = 0; i < n; i++) mine[i] = part_of(&set->t[i]);
        reel_comm_gather(world, mine, n * sizeof *mine, p->part, 0);
        if (world->rank == 0) e = choose_all(p, set);
        e = reel_agree(world, e);
    }
    if (!e) reel_comm_bcast(world, p->own, all, 0);
    free(mine);
    if (e) ckpt_plan_close(p);
    return e;
}

void ckpt_plan_close(struct ckpt_plan *p)
{
    free(p->own);
    free(p->part);
    *p = (struct ckpt_plan){ 0 };
}

/* ---- .metadata ---- */

static uint64_t archive_bytes(const struct reel_ckpt_tensor *t, const int64_t *n)
{
    struct reel_zip_put rec[4];
    struct reel_pw w = { 0 };
    uint64_t bytes = (uint64_t)reel_pt_numel(n, t->nd) * reel_dtype_size(t->dt), len;

    reel_pt_put_tensor(&w, reel_pt_type_of(t->dt), n, t->nd, 0, rec);
    len = w.n + bytes;
    reel_pt_put_tail(&w, len, rec);
    len = w.n + bytes;
    reel_pw_free(&w);
    return len;
}

static uint64_t object_bytes(const struct reel_val *v)
{
    struct reel_pw w = { 0 };
    uint64_t n;

    ckpt_put_val(&w, v);
    n = w.n;
    reel_pw_free(&w);
    return n;
}

struct layout { struct reel_dcp_entry *e; struct reel_dcp_chunk *c; char (*path)[32]; uint64_t *at; };

static void lay_objects(const struct reel_ckpt_set *set, struct layout *l)
{
    for (int i = 0; i < set->n_o; i++, l->e++) {
        *l->c = (struct reel_dcp_chunk){ .path = l->path[0], .at = l->at[0], .len = object_bytes(&set->o[i].v) };
        *l->e = (struct reel_dcp_entry){ .key = set->o[i].key, .chunk = l->c++, .n_chunks = 1 };
        l->at[0] += l->e->chunk->len;
    }
}

static void lay_tensor(const struct ckpt_plan *p, const struct reel_ckpt_tensor *t, int i, struct layout *l)
{
    struct reel_dcp_entry *e = l->e++;

    *e = (struct reel_dcp_entry){ .key = t->key, .type = reel_pt_type_of(t->dt), .nd = t->nd, .chunk = l->c };
    memcpy(e->n, t->n, (size_t)t->nd * sizeof *t->n);
    for (int r = 0; r < p->n_ranks; r++) {
        struct reel_dcp_chunk *c = l->c, *last = c - 1;
        size_t k = (size_t)r * (size_t)p->n_t + (size_t)i;
        if (!p->own[k]) continue;
        *c = (struct reel_dcp_chunk){ .path = l->path[r], .at = l->at[r] };
        ckpt_chunk(t, &p->part[k], c->off, c->n);
        c->len = e->n_chunks && memcmp(last->n, c->n, sizeof c->n) == 0 ? last->len : archive_bytes(t, c->n);
        l->at[r] += c->len;
        e->n_chunks++;
        l->c++;
    }
}

/* A version-4 UUID's shape; the value only has to differ between saves. */
static void save_id(char id[37], const struct reel_ckpt_set *set, const uint64_t *at, int n)
{
    uint64_t h = ckpt_key_hash(set), g = (uint64_t)reel_crc32c(0, at, (size_t)n * sizeof *at) << 16 | (uint64_t)n;

    snprintf(id, 37, "%08x-%04x-4%03x-8%03x-%012llx", (unsigned)h, (unsigned)(h >> 32 & 0xffff), (unsigned)(h >> 48 & 0xfff),
             (unsigned)(g & 0xfff), (unsigned long long)(g >> 4 & 0xffffffffffff));
}

reel_err ckpt_plan_metadata(const struct ckpt_plan *p, const struct reel_ckpt_set *set, struct reel_pw *w)
{
    size_t n_e = (size_t)(p->n_t + p->n_o), n_c = (size_t)p->n_o;
    struct reel_dcp_entry *e = calloc(n_e + 1, sizeof *e);
    struct reel_dcp_chunk *c;
    struct layout l;
    char id[37];

    for (size_t k = 0; k < (size_t)p->n_t * (size_t)p->n_ranks; k++) n_c += p->own[k];
    c = calloc(n_c + 1, sizeof *c);
    l = (struct layout){ e, c, calloc((size_t)p->n_ranks, sizeof *l.path), calloc((size_t)p->n_ranks, sizeof *l.at) };
    if (e && c && l.path && l.at) {
        for (int r = 0; r < p->n_ranks; r++) snprintf(l.path[r], sizeof *l.path, "__%d_0.distcp", r);
        lay_objects(set, &l);
        for (int i = 0; i < p->n_t; i++) lay_tensor(p, &set->t[i], i, &l);
        save_id(id, set, l.at, p->n_ranks);
        reel_dcp_put_metadata(w, e, (int)n_e, id);
    } else {
        w->failed = 1;
    }
    free(e), free(c), free(l.path), free(l.at);
    return w->failed ? REEL_FAIL(REEL_ENOMEM, "checkpoint: no memory for .metadata") : REEL_OK;
}
