/* The visitor over the state of methods and callbacks: saved and loaded by one function, in another
 * split of rows; a checkpoint that lacks an owner, or a part of one; a FastVideo average. */
#include <limits.h>
#include <unistd.h>

#include "base/file.h"
#include "be/ops.h"
#include "ckpt/dcp.h"
#include "ckpt/io.h"
#include "ckpt/names.h"
#include "ckpt/tree.h"
#include "role_rig.h"
#include "tap.h"

static char tmp[PATH_MAX - 128];

static const char *path(const char *a, const char *b)
{
    static char p[8][PATH_MAX];
    static int k;

    k = (k + 1) % 8;
    snprintf(p[k], sizeof p[k], "%s/%s", a, b);
    return p[k];
}

static const char *golden(const char *name) { return path(path(getenv("REEL_SRC"), "tests/golden"), name); }

static int everyone(int ok)
{
    int64_t bad = !ok;

    reel_comm_sum_i64(&W, &bad, 1);
    return bad == 0;
}

/* What an owner has: one of everything. */
struct state {
    int64_t count, list[5];
    double share, pair[2];
    int flag, extra; /* extra: names one value more */
    int64_t row0;
    reel_tensor rows; /* of [7,3] */
};

static void visit(struct state *x, struct reel_io *io)
{
    reel_io_i64(io, "count", &x->count, 1);
    reel_io_i64(io, "list", x->list, 5);
    reel_io_f64(io, "share", &x->share, 1);
    reel_io_f64(io, "pair", x->pair, 2);
    reel_io_flag(io, "flag", &x->flag);
    reel_io_rows(io, "rows", (const int64_t[]){ 7, 3 }, 2, x->row0, x->rows);
    if (x->extra) reel_io_i64(io, "extra", &x->count, 1);
}

/* Rows [row0, row0+rows) of a tensor whose element k is k + 0.5. */
static void make(struct state *x, float *mem, int64_t row0, int64_t rows)
{
    *x = (struct state){ .count = (int64_t)1 << 40, .list = { 1, -2, 3, INT64_MIN, 5 }, .share = 0.1, .pair = { 1e300, -0.0 },
                         .flag = 1, .row0 = row0, .rows = reel_view(mem, REEL_F32, REEL_DIMS(rows, 3)) };
    for (int64_t k = 0; k < rows * 3; k++) mem[k] = (float)(row0 * 3 + k) + 0.5f;
}

static reel_err save(struct state *x, const char *dir, struct reel_stream *s)
{
    struct reel_io *io = reel_io_open(NULL);
    struct reel_tree t = { 0 };
    reel_err e;

    for (int twice = 0; twice < 2; twice++) { /* memory is reused */
        reel_tree_free(&t);
        reel_io_begin(io, REEL_IO_SAVE, &t, s);
        reel_io_owner(io, "callbacks.mine", NULL);
        visit(x, io);
    }
    e = reel_io_end(io);
    if (!e) e = reel_ckpt_save(&(struct reel_ckpt_req){ dir, 1, t.set, NULL, 0, NULL, NULL }, &W);
    reel_tree_free(&t);
    reel_io_close(io);
    return e;
}

struct loaded { reel_err e; enum reel_io_have first, second; const char *lacks; char key[160]; };

/* Two owners ask; the checkpoint has (at most) the second. */
static struct loaded load(struct state *x, const char *dir, struct reel_stream *s)
{
    struct reel_io *io = reel_io_open(NULL);
    struct reel_tree t = { 0 };
    struct state other = *x;
    struct loaded l = { .lacks = "" };

    reel_io_begin(io, REEL_IO_ASK, &t, s);
    reel_io_owner(io, "method", NULL);
    visit(&other, io);
    reel_io_owner(io, "callbacks.mine", NULL);
    visit(x, io);
    l.e = reel_io_end(io);
    if (!l.e) l.e = reel_ckpt_load(dir, &t.set, &W);
    if (!l.e) {
        reel_io_begin(io, REEL_IO_TAKE, &t, s);
        l.first = reel_io_owner(io, "method", &l.lacks);
        l.second = reel_io_owner(io, "callbacks.mine", &l.lacks);
        if (l.second == REEL_IO_ALL) visit(x, io);
        l.e = reel_io_end(io);
    }
    snprintf(l.key, sizeof l.key, "%s", l.lacks);
    reel_tree_free(&t);
    reel_io_close(io);
    return l;
}

static void round_trip(struct reel_stream *s)
{
    int64_t R = (7 + W.size - 1) / W.size, lo = W.rank * R < 7 ? W.rank * R : 7, hi = lo + R < 7 ? lo + R : 7;
    int last = W.rank == W.size - 1; /* it loads all rows, the others none */
    float a[21], b[21], want[21];
    struct state x, y = { 0 }, z;
    struct loaded l;
    reel_err e;

    make(&x, a, lo, hi - lo);
    e = save(&x, tmp, s);
    TAP_OK(everyone(!e), "saved %s", reel_errrec()->msg);
    y.rows = reel_view(b, REEL_F32, REEL_DIMS(last ? 7 : 0, 3));
    l = load(&y, path(tmp, "checkpoint-1"), s);
    make(&z, want, 0, 7);
    TAP_OK(everyone(!l.e && l.first == REEL_IO_NONE && l.second == REEL_IO_ALL), "one owner is there, one is not");
    TAP_OK(everyone(y.count == x.count && !memcmp(y.list, x.list, sizeof y.list) && y.share == x.share &&
                    !memcmp(y.pair, x.pair, sizeof y.pair) && y.flag == 1),
           "host values come back to the bit");
    TAP_OK(everyone(!last || !memcmp(b, want, sizeof want)), "rows come back in another split");
    y.extra = 1;
    l = load(&y, path(tmp, "checkpoint-1"), s);
    TAP_OK(everyone(!l.e && l.second == REEL_IO_SOME && strstr(l.key, "callbacks.mine.extra")), "a part is missing: %s", l.key);
}

/* A table of what a FastVideo checkpoint says the student has. */
static int student_of(const char *dir, struct reel_param_def *def)
{
    const char *prefix = "roles.student.transformer.";
    char own[REEL_NAME_MAX];
    struct reel_dcp *d;
    int n = 0;

    if (reel_dcp_open(&d, path(dir, "dcp"))) abort();
    for (int i = 0; i < reel_dcp_count(d); i++) {
        const struct reel_dcp_entry *e = reel_dcp_entry(d, i);
        const char *name = e->key + strlen(prefix);
        if (strncmp(e->key, prefix, strlen(prefix)) != 0) continue;
        def[n] = (struct reel_param_def){ .nd = e->nd, .unit = !strncmp(name, "blocks.", 7) };
        reel_name_own(reel_model_wan.naming, own, name);
        snprintf(def[n].name, sizeof def[n].name, "%.111s", own);
        memcpy(def[n++].n, e->n, sizeof def[n].n);
    }
    reel_dcp_close(d);
    return n;
}

static void visit_average(struct rig *r, int *started, struct reel_io *io)
{
    reel_io_flag(io, "ema_started", started);
    for (int i = 0; i < r->cfg.n; i++) reel_io_shadow(io, "student_ema", r->ps, i, reel_param_shard(r->ps, i).w);
}

/* The average in `dir` into the weights' shards. */
static enum reel_io_have load_average(struct rig *r, const char *dir, int *started, char lacks[160])
{
    struct reel_io *io = reel_io_open(NULL);
    struct reel_tree t = { 0 };
    const char *key = "";
    enum reel_io_have have;

    reel_io_begin(io, REEL_IO_ASK, &t, &r->s);
    reel_io_owner(io, "callbacks.ema", NULL);
    visit_average(r, started, io);
    if (reel_io_end(io) || reel_ckpt_load(dir, &t.set, &W)) abort();
    reel_io_begin(io, REEL_IO_TAKE, &t, &r->s);
    have = reel_io_owner(io, "callbacks.ema", &key);
    if (have == REEL_IO_ALL) visit_average(r, started, io);
    snprintf(lacks, 160, "%s", key);
    reel_tree_free(&t);
    reel_io_close(io);
    return have;
}

static int as_in_truth(struct rig *r)
{
    struct reel_st *st;
    int good = 1;

    if (reel_st_open(&st, golden("dcp/truth.safetensors"))) abort();
    for (int i = 0; i < r->cfg.n; i++) {
        struct reel_shard sh = reel_param_shard(r->ps, i);
        char key[200], name[REEL_NAME_MAX];
        float *want = malloc(reel_bytes(sh.w) + 1);
        reel_name_ckpt(reel_model_wan.naming, name, r->cfg.def[i].name);
        snprintf(key, sizeof key, "callbacks.ema.student_ema.%s", name);
        if (reel_st_read_f32(st, reel_st_find(st, key), sh.row0, sh.rows, want)) abort();
        good &= !memcmp(want, sh.w.p, reel_bytes(sh.w));
        free(want);
    }
    reel_st_close(st);
    return good;
}

/* The same average under the names that activation checkpointing gives it. */
static void save_wrapped(struct rig *r)
{
    struct reel_tree t = { 0 };
    reel_err e = reel_tree_object(&t, reel_val_bool(1), 0, "callbacks.ema.ema_started");

    for (int i = 0; i < r->cfg.n && !e; i++) {
        struct reel_shard sh = reel_param_shard(r->ps, i);
        struct reel_ckpt_tensor x = { .dt = REEL_F32, .nd = sh.w.nd, .row0 = sh.row0, .rows = sh.rows, .host = sh.w.p };
        char name[REEL_NAME_MAX];
        int block = !strncmp(r->cfg.def[i].name, "blocks.0.", 9);
        reel_name_ckpt(reel_model_wan.naming, name, r->cfg.def[i].name);
        memcpy(x.n, r->cfg.def[i].n, sizeof x.n);
        e = reel_tree_tensor(&t, &x, "callbacks.ema.student_ema.%s%s", block ? "blocks.0._checkpoint_wrapped_module." : "",
                             name + (block ? 9 : 0));
    }
    if (e || reel_ckpt_save(&(struct reel_ckpt_req){ tmp, 2, t.set, NULL, 0, NULL, NULL }, &W)) abort();
    reel_tree_free(&t);
}

static void fastvideo(void)
{
    struct reel_param_def def[32];
    int started = 0, n = student_of(golden("dcp/ddp_4x1/checkpoint-3"), def);
    char lacks[160];
    struct rig r;

    rig_table(&r, def, n, 2, 0);
    TAP_OK(everyone(load_average(&r, golden("dcp/fsdp_1x4/checkpoint-3"), &started, lacks) == REEL_IO_SOME && !started),
           "an average of which FastVideo kept one rank's shard: %s", lacks);
    TAP_OK(everyone(load_average(&r, golden("dcp/ddp_4x1/checkpoint-3"), &started, lacks) == REEL_IO_ALL && started && as_in_truth(&r)),
           "a whole average of FastVideo's, %d parameters", n);
    save_wrapped(&r);
    for (int i = 0; i < n; i++)
        if (reel_param_shard(r.ps, i).rows) reel_fill(&r.s, reel_param_shard(r.ps, i).w, 0);
    started = 0;
    TAP_OK(everyone(load_average(&r, path(tmp, "checkpoint-2"), &started, lacks) == REEL_IO_ALL && started && as_in_truth(&r)),
           "with wrapper parts in its names");
    rig_close(&r);
}

int main(int argc, char **argv)
{
    struct reel_arena scratch = { .name = "t" };
    struct reel_stream s;

    if (reel_comm_start(&W, &argc, &argv)) return 1;
    tap_quiet = W.rank != 0;
    snprintf(tmp, sizeof tmp, "%s/reel_t_io_XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    if (W.rank == 0 && !mkdtemp(tmp)) return 1;
    reel_comm_bcast(&W, tmp, sizeof tmp, 0);
    if (reel_backend_open(&be, "cpu", 1)) return 1;
    reel_stream_init(&s, be, 0, &scratch);
    round_trip(&s);
    fastvideo();
    reel_backend_close(be);
    reel_comm_barrier(&W);
    if (W.rank == 0) (void)!reel_rmtree(tmp);
    reel_comm_stop();
    return tap_done();
}
