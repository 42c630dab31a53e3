#ifndef REEL_KERNELS_CUDA_ATTN_H
#define REEL_KERNELS_CUDA_ATTN_H

/* What the kernels of attention share: one call's arguments, and the walks that say which blocks of queries
 * and keys meet. Dense attention under a mask and sparse attention over tiles differ here alone. */

#include "kernels/cuda/cuda.h"
#include "kernels/cuda/simt.h"

#define STEP 32 /* keys (queries, for dk and dv) that a walk yields at a time */
#define TILE 64 /* most tokens of a tile of sparse attention */
#define FULL 0xffffffffu
#define LOG2E 1.4426950408889634

/* What several queries see of a range of keys: the hull over the queries, hi 0 if none of them sees any, and the
 * part that all of them see. */
struct alignas(16) hull {
    int lo, hi, all_lo, all_hi;
};

/* One call, of all samples and heads. Rows are ld elements apart. */
struct attn {
    const void *q, *k, *v, *dout;
    void *o, *dq, *dk, *dv;
    float *lse;         /* [b,heads,sq] */
    const float2 *stat; /* backward, [b,heads,slots]: base-2 lse and dout.o; where there is no query +inf and 0 */
    int64_t ld, slots;
    int hd, heads, sq, sk;
    int blocks;     /* thread blocks of a head */
    float scale, c; /* 1/sqrt(hd), and the same for powers of 2 */
    const float *rel; /* forward: NULL, or of head 0 rel[query - key], added to the score, which is not scaled */
    int64_t rel_ld;   /* from head to head */
    /* dense */
    struct reel_mask mask;
    const int4 *sight;       /* [sq] the two ranges of keys that a query sees: lo, hi, lo, hi */
    const struct hull *hull; /* [sq/STEP up][2] of STEP queries, of either range */
    int dk0, dkn;            /* rows of dk and dv: keys [dk0,dk0+dkn) */
    int runs, run_tok;       /* queries of a sample are cut into these, ... */
    int run_slots, partial;  /* ... each with whole steps of slots; partial: dk, dv are f32 [b,runs,dkn,ld] */
    /* sparse */
    const int32_t *start, *order; /* struct reel_tiles; NULL: dense */
    const int32_t *sel;           /* [b,heads,n,topk] in increasing order, then -1 */
    const uint32_t *chose;        /* backward, [b,heads,n,n/32 up]: bit i of row j: block i of queries chose block j */
    const void *dqc, *dkc, *dvc;  /* [b,n,ld] or NULL */
    int n, topk;
};

/* Up to STEP rows from `first` (tokens, or places in `order`), of which [lo,hi) are there. */
struct block {
    int first, lo, hi;
    int all;   /* every pair of these rows and the thread block's own is seen */
    int range; /* dense: which of the query's two ranges of keys this is */
    int slot;  /* of the first row's stat */
};

__device__ __forceinline__ int64_t token(const struct attn &a, int place) { return a.order ? a.order[place] : place; }

/* Where the stat of dense query i is */
__device__ __forceinline__ int slot_of(const struct attn &a, int i) { return i / a.run_tok * a.run_slots + i % a.run_tok; }

/* The thread block's place: pair bh = sample * heads + head, and its block of rows. The later blocks of a causal
 * mask have more to do and go first; blocks of a head run side by side, so that they share its keys in the cache. */
struct place {
    int bh, sample, head, index;

    __device__ place(const struct attn &a)
        : bh(blockIdx.x / a.blocks), sample(bh / a.heads), head(bh % a.heads), index(a.blocks - 1 - blockIdx.x % a.blocks)
    {
    }
    /* element offset of this head in a tensor of `rows` rows per sample */
    __device__ int64_t in(const struct attn &a, int64_t rows) const { return sample * rows * a.ld + (int64_t)head * a.hd; }
};

/* Rows that the thread block owns: a tile, or dense `rows` queries, or 64 keys with gradients. */
struct own {
    int first, n;

    __device__ own(const struct attn &a, int index, int rows)
    {
        first = a.order ? a.start[index] : index * rows;
        n = a.order ? a.start[index + 1] - first : min(rows, a.sq - first);
    }
    __device__ own(const struct attn &a, int index)
    {
        first = a.order ? a.start[index] : a.dk0 + index * 64;
        n = a.order ? a.start[index + 1] - first : min(64, a.dk0 + a.dkn - first);
    }
};

/* ---- which keys a block of queries meets ---- */

struct key_walk {
    const struct attn &a;
    const struct own &q;
    const int32_t *sel;
    int next, at, begin;      /* the segment after this one; where the next block is cut, this one's first row */
    int end, all_lo, all_hi;

    __device__ key_walk(const struct attn &call, const struct place &p, const struct own &queries)
        : a(call), q(queries), sel(NULL), next(0), at(0), begin(0), end(0), all_lo(0), all_hi(0)
    {
        if (a.order) sel = a.sel + ((int64_t)p.bh * a.n + p.index) * a.topk;
    }

    /* A range of keys, cut where STEP divides a key's index; in a cache where it divides the place within the range,
     * so that it does not show where the cache keeps it. */
    __device__ bool range(int r)
    {
        if (r == 2) return false;
        begin = end = all_lo = 0, all_hi = a.sk;
        for (int i = q.first / STEP; i * STEP < q.first + q.n; i++) {
            struct hull h = ld_vec<struct hull>(a.hull + 2 * i + r);
            all_lo = max(all_lo, h.all_lo);
            all_hi = min(all_hi, h.all_hi);
            if (h.hi) begin = end ? min(begin, h.lo) : h.lo;
            end = max(end, h.hi);
        }
        at = reel_mask_alike(a.mask) ? begin : begin / STEP * STEP;
        return true;
    }

    __device__ bool chosen(int t)
    {
        if (t == a.topk || sel[t] < 0) return false;
        begin = at = a.start[sel[t]];
        end = a.start[sel[t] + 1];
        all_lo = begin, all_hi = end;
        return true;
    }

    __device__ bool step(struct block &b)
    {
        while (at >= end) {
            if (!(a.order ? chosen(next) : range(next))) return false;
            next++;
        }
        b.first = at;
        b.lo = max(begin - at, 0);
        b.hi = min(end - at, STEP);
        b.range = next - 1;
        b.all = all_lo <= at && at + STEP <= all_hi;
        at += STEP;
        return true;
    }
};

/* Keys of the block that query row `i` of the thread block sees: [x,y), counted from the block's first. */
__device__ __forceinline__ int2 keys_seen(const struct attn &a, const struct own &q, int i, const struct block &b)
{
    if (a.order) return make_int2(0, b.hi);
    int2 r = ld_vec<int2>((const int2 *)(a.sight + min(q.first + i, a.sq - 1)) + b.range);
    return make_int2(r.x - b.first, r.y - b.first);
}

/* What relative position adds to the score of two places of one sequence; of those past its end, anything. */
__device__ __forceinline__ float rel_of(const struct attn &a, const struct place &p, int query, int key)
{
    return a.rel[p.head * a.rel_ld + max(min(query - key, a.sq - 1), 1 - a.sk)];
}

/* ---- which queries a block of keys meets ---- */

/* Units are STEP queries of a run (dense; several runs only where all see everything) or tiles; 32 of them are looked at
 * together, one per lane. */
struct query_walk {
    const struct attn &a;
    const struct place &p;
    const struct own &keys;
    uint32_t word, all; /* of the last 32 units: those still to come, and those that see all the keys */
    int unit, at, end, slot;

    __device__ query_walk(const struct attn &call, const struct place &here, const struct own &mine)
        : a(call), p(here), keys(mine), word(0), all(FULL), unit(0), at(0), end(0), slot(0)
    {
    }

    __device__ int first_query() const { return (int)blockIdx.z * a.run_tok; } /* dense: of the run */
    __device__ int end_query() const { return min(first_query() + a.run_tok, a.sq); }

    __device__ void look(int units)
    {
        int i = unit + (int)(threadIdx.x & 31), meets = 0, whole = 0;

        if (a.order) {
            word = a.chose[((int64_t)p.bh * a.n + p.index) * ((a.n + 31) / 32) + unit / 32];
        } else {
            for (int r = 0; r < 2 && i < units; r++) {
                struct hull h = ld_vec<struct hull>(a.hull + 2 * i + r);
                meets |= h.lo < keys.first + keys.n && keys.first < h.hi;
                whole |= h.all_lo <= keys.first && keys.first + keys.n <= h.all_hi;
            }
            word = __ballot_sync(FULL, meets);
            all = __ballot_sync(FULL, whole);
        }
        unit += 32;
    }

    __device__ bool step(struct block &b)
    {
        b.all = 1;
        if (at >= end) {
            int units = a.order ? a.n : (end_query() - first_query() + STEP - 1) / STEP;
            while (!word) {
                if (unit >= units) return false;
                look(units);
            }
            int i = unit - 33 + __ffs((int)word);
            word &= word - 1;
            at = a.order ? a.start[i] : first_query() + i * STEP;
            end = a.order ? a.start[i + 1] : min(at + STEP, end_query());
            slot = a.order ? i * TILE : slot_of(a, at);
            b.all = all >> (i & 31) & 1;
        }
        b.first = at;
        b.lo = 0;
        b.hi = min(end - at, STEP);
        b.slot = slot;
        at += STEP;
        slot += STEP;
        return true;
    }
};

/* Whether query `i` sees `key` in one of its ranges. Dense. */
__device__ __forceinline__ bool sees(const struct attn &a, int i, int key)
{
    int4 r = ld_vec<int4>(a.sight + min(i, a.sq - 1));

    return (r.x <= key && key < r.y) || (r.z <= key && key < r.w);
}

/* Whether any query sees the key; rows of a cache that are not in use may hold anything and are not read. Dense. */
__device__ __forceinline__ bool in_use(const struct attn &a, int key)
{
    return a.mask.see != REEL_SEE_WINDOW || key < a.mask.sink || (a.mask.lo <= key && key < a.mask.hi);
}

/* ---- host side (attn_walk.cu) ---- */

size_t reel_attn_sight_bytes(int64_t sq);
/* Fills sight and hull from the mask, in tmp, and points a at them. Asynchronous. */
void reel_attn_look(cudaStream_t s, struct attn *a, void *tmp);

size_t reel_attn_chose_bytes(int64_t pairs, int64_t n);
/* Fills `chose` from sel for so many samples times heads, in tmp, and points a at it. Asynchronous. (vsa.cu) */
void reel_attn_chose(cudaStream_t s, struct attn *a, int64_t pairs, void *tmp);

/* The arguments that do not depend on the operator. */
static inline struct attn attn_call(int64_t sq, int64_t sk, int heads, int64_t hd)
{
    struct attn a = {};

    a.ld = heads * hd;
    a.hd = (int)hd;
    a.heads = heads;
    a.sq = (int)sq;
    a.sk = (int)sk;
    a.runs = 1;
    a.scale = (float)(1 / sqrt((double)hd));
    a.c = (float)(LOG2E / sqrt((double)hd));
    return a;
}

static inline int64_t attn_up(int64_t n, int64_t unit)
{
    return (n + unit - 1) / unit * unit;
}

#endif
