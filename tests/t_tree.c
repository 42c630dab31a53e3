/* a role's state as a key tree: from device to file to device on any number of ranks; the keys of a
 * FastVideo run; export to a Diffusers folder. With arguments DIR TP: leave a checkpoint there, written by
 * TP tensor parallel ranks. */
#include <limits.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "ckpt/dcp.h"
#include "ckpt/export.h"
#include "ckpt/hf.h"
#include "ckpt/tree.h"
#include "role_rig.h"
#include "tap.h"
#include "tensor/half.h"

static char tmp[PATH_MAX - 128];

static const char *path(const char *a, const char *b)
{
    static char p[8][PATH_MAX];
    static int k;

    k = (k + 1) % 8;
    snprintf(p[k], sizeof p[k], "%s/%s", a, b);
    return p[k];
}

static const char *golden(const char *name)
{
    static char p[4][PATH_MAX];
    static int k;

    k = (k + 1) % 4;
    snprintf(p[k], sizeof p[k], "%s/tests/golden/%s", getenv("REEL_SRC"), name);
    return p[k];
}

static int everyone(int ok)
{
    int64_t bad = !ok;

    if (!ok) printf("# rank %d: %s\n", W.rank, reel_errrec()->msg);
    reel_comm_sum_i64(&W, &bad, 1);
    return bad == 0;
}

static const struct reel_tree_optim optim = { 8e-6, 2e-5, 0.9, 0.999, 1e-8, 0.01, 3 };
enum { BOTH = REEL_TREE_WEIGHTS | REEL_TREE_OPTIM };

/* Moments that tell their place: m = 1000 + global element, v = its square root's neighbour. */
static void set_moments(struct rig *r)
{
    for (int i = 0; i < r->cfg.n; i++) {
        struct reel_shard sh = reel_param_shard(r->ps, i);
        int64_t n = reel_numel(sh.m);
        float *f = malloc((size_t)n * 4 + 4);
        for (int64_t k = 0; k < n; k++) f[k] = (float)(1000 + reel_shard_element(r->ps, i, k));
        if (n) reel_put(&r->s, sh.m, f);
        for (int64_t k = 0; k < n; k++) f[k] *= 0.5f;
        if (n) reel_put(&r->s, sh.v, f);
        reel_sync(&r->s);
        free(f);
    }
}

static void save(struct rig *r, const char *dir)
{
    struct reel_tree t = { 0 };
    size_t bytes = reel_tree_bytes(r->ps, BOTH);
    void *host = malloc(bytes);
    char config[PATH_MAX + 128];
    reel_err e;

    snprintf(config, sizeof config, "{\"models\": {\"student\": {\"init_from\": \"%s\"}}}", golden("hf-layout/pipeline"));
    reel_tree_get(r->ps, &r->s, BOTH, optim.k, host);
    e = reel_tree_role(&t, r->ps, BOTH, host, &optim);
    if (!e) e = reel_tree_shadow(&t, r->ps, "callbacks.ema.student_ema", host, 0);
    if (!e) e = reel_tree_object(&t, reel_val_bool(1), 0, "callbacks.ema.ema_started");
    if (!e) e = reel_tree_dataloader(&t, 0, 6);
    if (!e) e = reel_ckpt_save(&(struct reel_ckpt_req){ dir, 3, t.set, config, 0, NULL, NULL }, &W);
    TAP_OK(everyone(!e), "a role saved with tp %d: %d tensors, %d values", rig_tp, t.set.n_t, t.set.n_o);
    reel_tree_free(&t);
    free(host);
}

static void load(struct rig *r, const char *dir)
{
    struct reel_tree t = { 0 };
    size_t bytes = reel_tree_bytes(r->ps, BOTH);
    char *before = malloc(bytes), *host = calloc(bytes, 1);
    int uneven;
    reel_err e;

    reel_tree_get(r->ps, &r->s, BOTH, optim.k, before);
    e = reel_tree_role(&t, r->ps, BOTH, host, NULL);
    if (!e) e = reel_tree_object(&t, reel_val_none(), 0, "schedulers.student.scheduler.last_epoch");
    if (!e) e = reel_ckpt_load(dir, &t.set, &W);
    TAP_OK(everyone(!e && memcmp(before, host, bytes) == 0 && t.set.o[0].v.u.i[0] == 3 && reel_tree_found(&t, "roles.")),
           "loaded with tp %d, bit equal", rig_tp);
    TAP_OK(everyone(reel_tree_k(r->ps, host, &uneven) == 3 && !uneven), "the step count of the optimizer");
    for (int i = 0; i < r->cfg.n; i++) { /* then to the device and back */
        struct reel_shard sh = reel_param_shard(r->ps, i);
        float zero[64] = { 0 };
        if (sh.rows) reel_put(&r->s, reel_view(sh.m.p, REEL_F32, (int64_t[]){ 1 }, 1), zero);
    }
    reel_tree_put(r->ps, &r->s, BOTH, host);
    memset(host, 0, bytes);
    reel_tree_get(r->ps, &r->s, BOTH, optim.k, host);
    TAP_OK(everyone(memcmp(before, host, bytes) == 0), "and on the device");
    reel_tree_free(&t);
    free(before), free(host);
}

/* Every key that a FastVideo run of this parameter has, we have, with equal values where they say the same. */
static void keys(const char *dir)
{
    struct reel_dcp *a, *b;
    int bad = 0, n = 0, plain = 0;

    if (reel_dcp_open(&a, golden("dcp/fsdp_1x4/checkpoint-3/dcp")) || reel_dcp_open(&b, path(dir, "dcp"))) abort();
    for (int i = 0; i < reel_dcp_count(a); i++) {
        const char *key = reel_dcp_entry(a, i)->key;
        int here = strstr(key, "blocks.0.to_q.weight") || strncmp(key, "schedulers.", 11) == 0 ||
                   strncmp(key, "dataloader.", 11) == 0 || strcmp(key, "callbacks.ema.ema_started") == 0;
        const struct reel_dcp_entry *e = reel_dcp_find(b, key);
        struct reel_pt x, y;
        if (!here) continue;
        n++;
        bad += !e || !e->type != !reel_dcp_entry(a, i)->type;
        if (!e) printf("# missing %s\n", key);
        if (!e || e->type) continue;
        if (reel_dcp_read_object(a, reel_dcp_entry(a, i), &x) || reel_dcp_read_object(b, e, &y)) abort();
        const struct reel_pv *u = reel_pickle_root(x.pkl), *v = reel_pickle_root(y.pkl);
        if (u->kind != v->kind && !strstr(key, "foreach")) printf("# %s: kind %d, %d\n", key, u->kind, v->kind), bad++;
        if (u->kind == v->kind && u->kind <= REEL_PV_FLOAT && u->u.i == v->u.i) plain++;
        reel_pt_close(&x), reel_pt_close(&y);
    }
    TAP_OK(everyone(!bad && n > 25 && plain > 10), "%d keys as in a FastVideo run, %d scalars equal", n, plain);
    reel_dcp_close(a), reel_dcp_close(b);
}

static int same_file(const char *a, const char *b)
{
    char *x, *y;
    size_t n, m;
    int same;

    if (reel_file_read(a, &x, &n) || reel_file_read(b, &y, &m)) return 0;
    same = n == m && memcmp(x, y, n) == 0;
    free(x), free(y);
    return same;
}

static void exports(const char *ckpt)
{
    char base[PATH_MAX], out[PATH_MAX], from[PATH_MAX], *list;
    struct reel_export x = { .checkpoint = from, .naming = reel_model_wan.naming, .base = base, .out = out };
    struct reel_weights w;
    struct reel_st *f;
    size_t n;
    int bad = 0;

    if (W.rank) return;
    snprintf(from, sizeof from, "%s", ckpt);
    TAP_OK(!reel_export_key(from, NULL, "init_from", base, sizeof base) && strstr(base, "hf-layout/pipeline"), "the base is in metadata.json");
    snprintf(out, sizeof out, "%s/out", tmp);
    TAP_OK(!reel_export(&x), "exported %s", reel_errrec()->msg);
    TAP_OK(same_file(path(out, "transformer/diffusion_pytorch_model.safetensors"),
                     path(base, "transformer/diffusion_pytorch_model.safetensors")) &&
               same_file(path(out, "transformer/config.json"), path(base, "transformer/config.json")) &&
               same_file(path(out, "model_index.json"), path(base, "model_index.json")) &&
               same_file(path(out, "vae/config.json"), path(base, "vae/config.json")),
           "untrained weights come back as the very file they came from");
    TAP_OK(reel_export(&x) == REEL_ECONFIG && strstr(reel_errrec()->msg, "exists"), "a folder that exists is not touched");
    reel_err_clear();
    snprintf(out, sizeof out, "%s/out2", tmp);
    x.dt = REEL_BF16, x.shard_bytes = 4000, x.ema = 1;
    TAP_OK(!reel_export(&x), "the average, bf16, in shards %s", reel_errrec()->msg);
    if (reel_weights_list(path(out, "transformer"), &list, &n) || reel_weights_open(&w, list, n)) abort();
    if (reel_st_open(&f, path(base, "transformer/diffusion_pytorch_model.safetensors"))) abort();
    for (int i = 0; i < reel_st_count(f); i++) {
        const struct reel_st_entry *a = reel_st_entry(f, i), *b;
        struct reel_st *file;
        float *p = malloc(a->bytes), *q = malloc(a->bytes);
        b = reel_weights_find(&w, a->name, &file);
        bad += !b || strcmp(b->dtype, "BF16") != 0 || reel_st_read_f32(f, a, 0, a->n[0], p) || reel_st_read_f32(file, b, 0, a->n[0], q);
        for (size_t k = 0; !bad && k < a->bytes / 4; k++) bad += reel_f32_bf16(p[k]) != reel_f32_bf16(q[k]);
        free(p), free(q);
    }
    TAP_OK(!bad && w.n_files > 3, "every tensor is there, %d files with an index", w.n_files);
    reel_weights_close(&w), reel_st_close(f), free(list);
    x.role = "critic", x.ema = 0;
    snprintf(out, sizeof out, "%s/out3", tmp);
    TAP_OK(reel_export(&x) == REEL_ECONFIG && strstr(reel_errrec()->msg, "roles.critic"), "a role that is not there");
    reel_err_clear();
}

/* The golden weights, and moments made up. */
static void role(struct rig *r)
{
    struct reel_hf_source src = { .init_from = golden("hf-layout/pipeline") };

    rig_open(r, golden("hf-layout/pipeline/transformer/diffusion_pytorch_model.safetensors"), 1);
    if (reel_hf_load(&src, r->ps, &r->s, &W)) abort();
    set_moments(r);
}

int main(int argc, char **argv)
{
    struct rig r;

    if (reel_comm_start(&W, &argc, &argv)) return 1;
    tap_quiet = W.rank != 0;
    if (argc > 1) snprintf(tmp, sizeof tmp, "%s", argv[1]);
    else snprintf(tmp, sizeof tmp, "%s/reel_t_tree_XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    if (argc < 2 && W.rank == 0 && !mkdtemp(tmp)) return 1;
    reel_comm_bcast(&W, tmp, sizeof tmp, 0);
    if (reel_backend_open(&be, "cpu", 1)) return 1;
    for (rig_tp = W.size; rig_tp >= 1; rig_tp--) { /* saved by the tensor parallel ranks last tried, loaded by these */
        if (W.size % rig_tp || (argc == 3 && rig_tp != atoi(argv[2]))) continue;
        role(&r);
        if (rig_tp < W.size && argc < 3) load(&r, path(tmp, "checkpoint-3"));
        save(&r, tmp);
        load(&r, path(tmp, "checkpoint-3"));
        rig_close(&r);
    }
    keys(path(tmp, "checkpoint-3"));
    if (argc < 2) exports(path(tmp, "checkpoint-3"));
    reel_backend_close(be);
    reel_comm_barrier(&W);
    if (W.rank == 0 && argc < 2) (void)!reel_rmtree(tmp);
    reel_comm_stop();
    return tap_done();
}
