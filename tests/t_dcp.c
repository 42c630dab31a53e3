/* PyTorch checkpoints: every layout bit equal to what torch holds; damaged and hostile ones refused */
#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/crc.h"
#include "base/json.h"
#include "ckpt/dcp.h"
#include "tap.h"
#include "tensor/safetensors.h"

static const char *golden(const char *a, const char *b)
{
    static char p[4096];

    snprintf(p, sizeof p, "%s/tests/golden/dcp/%s%s", getenv("REEL_SRC"), a, b);
    return p;
}

/* ---- values against JSON: {"tuple": []}, {"dict": [[k,v]]}, {"bytes": hex}, {"float": hex}, plain rest ---- */

static int same(const struct reel_pv *v, json_t *j);

static int same_seq(const struct reel_pv *v, json_t *a, int kind)
{
    if (v->kind != kind || v->u.seq.n != json_array_size(a)) return 0;
    for (size_t i = 0; i < v->u.seq.n; i++)
        if (!same(v->u.seq.v[i], json_array_get(a, i))) return 0;
    return 1;
}

static int same_dict(const struct reel_pv *v, json_t *pairs)
{
    if (v->kind != REEL_PV_DICT || v->u.seq.n != 2 * json_array_size(pairs)) return 0;
    for (size_t i = 0; i < json_array_size(pairs); i++)
        for (size_t k = 0; k < 2; k++)
            if (!same(v->u.seq.v[2 * i + k], json_array_get(json_array_get(pairs, i), k))) return 0;
    return 1;
}

static int same_bytes(const struct reel_pv *v, const char *hex)
{
    unsigned b;

    if (v->kind != REEL_PV_BYTES || strlen(hex) != 2 * v->u.str.n) return 0;
    for (size_t i = 0; i < v->u.str.n; i++)
        if (sscanf(hex + 2 * i, "%2x", &b) != 1 || b != (unsigned char)v->u.str.p[i]) return 0;
    return 1;
}

static int same_float(const struct reel_pv *v, const char *hex)
{
    double f = strtod(hex, NULL);

    return v->kind == REEL_PV_FLOAT && memcmp(&f, &v->u.f, 8) == 0;
}

static int same(const struct reel_pv *v, json_t *j)
{
    json_t *x;

    if (json_is_null(j)) return v->kind == REEL_PV_NONE;
    if (json_is_boolean(j)) return v->kind == REEL_PV_BOOL && v->u.i == json_is_true(j);
    if (json_is_integer(j)) return v->kind == REEL_PV_INT && v->u.i == json_integer_value(j);
    if (json_is_string(j)) return v->kind == REEL_PV_STR && strcmp(v->u.str.p, json_string_value(j)) == 0;
    if (json_is_array(j)) return same_seq(v, j, REEL_PV_LIST);
    if ((x = json_object_get(j, "tuple"))) return same_seq(v, x, REEL_PV_TUPLE);
    if ((x = json_object_get(j, "dict"))) return same_dict(v, x);
    if ((x = json_object_get(j, "bytes"))) return same_bytes(v, json_string_value(x));
    if ((x = json_object_get(j, "float"))) return same_float(v, json_string_value(x));
    return 0;
}

/* ---- every key of a folder against its truth ---- */

struct truth { struct reel_st *st; json_t *js; };

static int tensor_equal(struct reel_dcp *d, const struct reel_dcp_entry *e, const struct reel_st *st)
{
    const struct reel_st_entry *t = reel_st_find(st, e->key);
    size_t bytes = (size_t)reel_pt_numel(e->n, e->nd) * (size_t)e->type->size;
    int64_t zero[REEL_PT_MAXDIM] = { 0 };
    char *a = malloc(bytes + 1), *b = malloc(bytes + 1);
    int ok = t && t->bytes == bytes && t->nd == e->nd && memcmp(t->n, e->n, (size_t)e->nd * 8) == 0 &&
             !reel_dcp_read(d, e, zero, e->n, a) && !reel_st_read(st, t, 0, bytes, b) && memcmp(a, b, bytes) == 0;

    free(a), free(b);
    return ok;
}

static int object_equal(struct reel_dcp *d, const struct reel_dcp_entry *e, json_t *want)
{
    struct reel_pt pt;
    int ok = want && !reel_dcp_read_object(d, e, &pt) && same(reel_pickle_root(pt.pkl), want);

    reel_pt_close(&pt);
    return ok;
}

static int key_equal(struct reel_dcp *d, const struct reel_dcp_entry *e, const struct truth *t)
{
    for (int i = 0; i < 2; i++) {
        if (e->type && t[i].st && reel_st_find(t[i].st, e->key)) return tensor_equal(d, e, t[i].st);
        if (!e->type && json_object_get(t[i].js, e->key)) return object_equal(d, e, json_object_get(t[i].js, e->key));
    }
    return 0;
}

static void open_truth(struct truth *t, const char *stem)
{
    (void)!reel_st_open(&t->st, golden(stem, ".safetensors"));
    (void)!reel_json_file(&t->js, golden(stem, ".json"));
    reel_err_clear(); /* either may be absent */
}

static void layout(const char *name)
{
    char other[256];
    struct truth t[2] = { { 0 } };
    struct reel_dcp *d;
    int bad = 0, n;
    reel_err e = reel_dcp_open(&d, golden(name, "/checkpoint-3/dcp"));

    TAP_OK(!e, "%s opens %s", name, e ? reel_errrec()->msg : "");
    if (e) return reel_err_clear();
    snprintf(other, sizeof other, "%s/other", name);
    open_truth(&t[0], other);
    open_truth(&t[1], "truth");
    n = reel_dcp_count(d);
    for (int i = 0; i < n; i++) {
        int ok = key_equal(d, reel_dcp_entry(d, i), t) && !reel_dcp_verify(d, reel_dcp_entry(d, i));
        if (!ok) printf("# %s: %s\n", reel_dcp_entry(d, i)->key, reel_errrec()->msg);
        bad += !ok;
        reel_err_clear();
    }
    TAP_OK(!bad && n >= 15 && !reel_dcp_check_files(d), "%s: %d keys bit equal", name, n);
    for (int i = 0; i < 2; i++) reel_st_close(t[i].st), json_decref(t[i].js);
    reel_dcp_close(d);
}

/* ---- malformed ---- */

static reel_err read_all(struct reel_dcp *d)
{
    int64_t zero[REEL_PT_MAXDIM] = { 0 };
    reel_err e = reel_dcp_check_files(d);

    for (int i = 0; i < reel_dcp_count(d) && !e; i++) {
        const struct reel_dcp_entry *t = reel_dcp_entry(d, i);
        struct reel_pt pt;
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

static int good_content(struct reel_dcp *d)
{
    const struct reel_dcp_entry *e = reel_dcp_find(d, "roles.student.transformer.w");
    float w[24];
    int bad = !e || e->n[0] != 6 || e->n[1] != 4 || reel_dcp_read(d, e, (int64_t[]){ 0, 0 }, e->n, w);

    for (int i = 0; i < 24 && !bad; i++) bad = fabsf(w[i] - ((float)i + 0.5f)) > 0;
    return !bad;
}

static void damaged(const char *name, const char *result)
{
    char dir[256];
    struct reel_dcp *d;
    reel_err e;

    snprintf(dir, sizeof dir, "malformed/%s", name);
    e = reel_dcp_open(&d, golden(dir, ""));
    if (!e) e = read_all(d);
    if (strcmp(result, "ok") == 0) TAP_OK(!e && good_content(d), "%s loads", name);
    else TAP_OK(strcmp(result, "any") == 0 || (e && *reel_errrec()->msg), "%s: %s", name,
                e ? strstr(reel_errrec()->msg, name) ? strstr(reel_errrec()->msg, name) : reel_errrec()->msg : "ACCEPTED");
    reel_dcp_close(d);
    reel_err_clear();
}

static void malformed(void)
{
    const char *name;
    json_t *all, *v;

    (void)!reel_json_file(&all, golden("malformed/expect.json", ""));
    json_object_foreach(all, name, v) damaged(name, json_string_value(json_object_get(v, "result")));
    json_decref(all);
}

/* ---- RNG files: other classes, protocol 2 bytes ---- */

static void rng_file(void)
{
    const char *path = golden("fsdp_1x4", "/checkpoint-3/rng_state_rank1.pt");
    FILE *f = fopen(path, "rb");
    struct reel_blob b = { .fd = f ? fileno(f) : -1, .path = path, .what = "rng" };
    struct reel_pt pt = { .pkl = NULL };
    struct reel_pt_tensor t;
    uint64_t seed[2] = { 0 };

    if (f) fseek(f, 0, SEEK_END), b.len = (uint64_t)ftell(f);
    TAP_OK(f && !reel_pt_open(&pt, &b), "an RNG file opens %s", reel_errrec()->msg);
    TAP_OK(!reel_pt_tensor_of(&pt, reel_pv_get(reel_pickle_root(pt.pkl), "gen_cuda"), &t) && t.numel == 16 &&
               !reel_pt_data(&pt, &t, seed) && seed[0] == 1001 && seed[1] == 16,
           "its generator state is read");
    reel_pt_close(&pt);
    if (f) fclose(f);
    reel_err_clear();
}

static void crc(void)
{
    static unsigned char b[4096];
    int bad = 0;

    for (size_t i = 0; i < sizeof b; i++) b[i] = (unsigned char)(i * i * 7 + (i >> 3));
    for (size_t n = 0; n < 700; n++)
        for (size_t at = 0; at < 3; at++) {
            bad += reel_crc32(0, b + at, n) != crc32(0, b + at, (unsigned)n);
            bad += reel_crc32_table(0, b + at, n) != crc32(0, b + at, (unsigned)n);
            bad += reel_crc32c(0, b + at, n) != reel_crc32c_table(0, b + at, n);
            bad += reel_crc32c(reel_crc32c(0, b, at), b + at, n) != reel_crc32c(0, b, at + n);
        }
    TAP_OK(bad == 0, "crc32 as in zlib, crc32c two ways, in pieces");
    TAP_OK(reel_crc32c(0, "123456789", 9) == 0xe3069283 && reel_crc32(0, "123456789", 9) == 0xcbf43926,
           "check values of both");
}

static void cuts(void)
{
    static const struct { const char *key; int n, len[5]; } want[] = {
        { "roles.student.transformer.blocks.0.to_q.weight", 2, { 25, 20 } },
        { "optimizers.student.state.transformer.a.step", 2, { 18, 24 } },
        { "schedulers.student.scheduler.last_epoch", 3, { 18, 9, 10 } },
        { "callbacks.ema.student_ema.blocks.0.x", 4, { 9, 3, 11, 10 } },
        { "callbacks.ema.ema_started", 3, { 9, 3, 11 } },
        { "callbacks.validation.validation_rng", 3, { 9, 10, 14 } },
        { "dataloader._snapshot._snapshot_step", 3, { 10, 9, 14 } },
        { "plain", 1, { 5 } },
    };
    int bad = 0, len[16];

    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++)
        bad += reel_dcp_path_parts(want[i].key, len, 16) != want[i].n || memcmp(len, want[i].len, (size_t)want[i].n * 4) != 0;
    TAP_OK(bad == 0, "keys are cut into the nested paths of the training state");
}

int main(void)
{
    static const char *const layouts[] = { "single", "fsdp_1x4", "hsdp_2x2", "ddp_4x1", "tp_fsdp_2x2", "fsdp_1x2_async",
                                           "fsdp_1x2_threads", "fsdp_1x2_filepertensor" };

    crc();
    cuts();
    for (size_t i = 0; i < sizeof layouts / sizeof layouts[0]; i++) layout(layouts[i]);
    malformed();
    rng_file();
    return tap_done();
}
