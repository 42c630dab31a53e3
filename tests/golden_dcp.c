/* Golden kind dcp: PyTorch checkpoints in every layout, bit equal to what torch holds; damaged and hostile
 * ones refused. */
#include <dirent.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "ckpt/dcp.h"
#include "dcp_read.h"
#include "golden.h"

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

/* 2^63 and more, up to 64 bits: golden_json hands long integers on as strings */
static int same_big(const struct reel_pv *v, const char *digits)
{
    uint64_t x = 0;

    for (size_t i = v->u.str.n; i-- > 0;) x = x << 8 | (unsigned char)v->u.str.p[i];
    return v->u.str.n <= 9 && x == strtoull(digits, NULL, 10);
}

static int same(const struct reel_pv *v, json_t *j)
{
    json_t *x;

    if (json_is_null(j)) return v->kind == REEL_PV_NONE;
    if (json_is_boolean(j)) return v->kind == REEL_PV_BOOL && v->u.i == json_is_true(j);
    if (json_is_integer(j)) return v->kind == REEL_PV_INT && v->u.i == json_integer_value(j);
    if (json_is_string(j) && v->kind == REEL_PV_INT) return v->u.i == strtoll(json_string_value(j), NULL, 10);
    if (json_is_string(j) && v->kind == REEL_PV_BIGINT) return same_big(v, json_string_value(j));
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

static void open_truth(struct truth *t, const char *dir, const char *stem)
{
    char file[64], path[PATH_MAX];

    snprintf(file, sizeof file, "%s.safetensors", stem);
    if (!reel_join(path, sizeof path, dir, file) && reel_is_file(path)) (void)!golden_open(&t->st, dir, file);
    snprintf(file, sizeof file, "%s.json", stem);
    if (!reel_join(path, sizeof path, dir, file) && reel_is_file(path)) t->js = golden_json(dir, file);
    reel_err_clear(); /* either may be absent */
}

static void check_keys(struct golden *g, const char *name, struct reel_dcp *d, const struct truth *t)
{
    int bad = 0, n = reel_dcp_count(d);
    char line[PATH_MAX];

    for (int i = 0; i < n; i++) {
        const struct reel_dcp_entry *e = reel_dcp_entry(d, i);
        int ok = key_equal(d, e, t) && !reel_dcp_verify(d, e);
        snprintf(line, sizeof line, "%s: %s", name, e->key);
        if (!ok) golden_true(g, line, 0);
        bad += !ok;
        reel_err_clear();
    }
    snprintf(line, sizeof line, "%s: %d keys", name, n);
    golden_line(g, line, bad, n ? bad : 1, 0);
    snprintf(line, sizeof line, "%s: its files are complete", name);
    golden_true(g, line, !reel_dcp_check_files(d));
    reel_err_clear();
}

/* ---- state of random generators: other classes, bytes that differ from rank to rank ---- */

static int read_seed(const struct reel_pt *pt, const char *key, uint64_t seed[2])
{
    const struct reel_pv *v = reel_pv_get(reel_pickle_root(pt->pkl), key);
    struct reel_pt_tensor t;

    return v && !reel_pt_tensor_of(pt, v, &t) && t.numel == 16 && t.type->size == 1 && !reel_pt_data(pt, &t, seed);
}

static void check_rng(struct golden *g, const char *name, const char *path)
{
    FILE *f = fopen(path, "rb");
    struct reel_blob b = { .fd = f ? fileno(f) : -1, .path = path, .what = "rng" };
    struct reel_pt pt = { .pkl = NULL };
    uint64_t gen[2] = { 0 }, cuda[2] = { 1 };
    int ok;

    if (f) fseek(f, 0, SEEK_END), b.len = (uint64_t)ftell(f);
    ok = f && !reel_pt_open(&pt, &b) && read_seed(&pt, "gen_cuda", gen) && read_seed(&pt, "cuda_rng", cuda) && gen[0] == cuda[0];
    golden_true(g, name, ok);
    reel_pt_close(&pt);
    if (f) fclose(f);
    reel_err_clear();
}

/* ---- one checkpoint of one layout ---- */

static void check_checkpoint(struct golden *g, const char *dir, const char *layout, const char *checkpoint)
{
    char at[PATH_MAX], sub[PATH_MAX], name[PATH_MAX];
    struct truth t[2] = { { 0 } };
    struct reel_dcp *d = NULL;
    reel_err e;

    if (reel_join(at, sizeof at, dir, layout)) return;
    open_truth(&t[0], at, "other");
    open_truth(&t[1], dir, "truth");
    snprintf(sub, sizeof sub, "%s/dcp", checkpoint);
    e = reel_join(name, sizeof name, at, sub) ? REEL_EIO : reel_dcp_open(&d, name);
    if (e && g->world->rank == 0) reel_err_print(reel_errrec());
    reel_err_clear();
    if (e) golden_true(g, layout, 0);
    else check_keys(g, layout, d, t);
    for (int r = 0; !e; r++) {
        snprintf(sub, sizeof sub, "%s/rng_state_rank%d.pt", checkpoint, r);
        if (reel_join(name, sizeof name, at, sub) || !reel_is_file(name)) break;
        snprintf(sub, sizeof sub, "%s: generators of rank %d", layout, r);
        check_rng(g, sub, name);
    }
    for (int i = 0; i < 2; i++) reel_st_close(t[i].st), json_decref(t[i].js);
    reel_dcp_close(d);
}

/* ---- malformed ---- */

static int object_is(struct reel_dcp *d, const char *key, json_t *want)
{
    const struct reel_dcp_entry *e = reel_dcp_find(d, key);
    int ok = e && !e->type && object_equal(d, e, want);

    json_decref(want);
    return ok;
}

/* What every good checkpoint of the malformed set holds. */
static int good_content(struct reel_dcp *d)
{
    const struct reel_dcp_entry *e = reel_dcp_find(d, "roles.student.transformer.w"),
                                *k = reel_dcp_find(d, "optimizers.student.state.transformer.w.step");
    float w[24], step;
    int bad = !e || !e->type || e->n[0] != 6 || e->n[1] != 4 || reel_dcp_read(d, e, (int64_t[]){ 0, 0 }, e->n, w);

    for (int i = 0; i < 24 && !bad; i++) bad = fabsf(w[i] - ((float)i + 0.5f)) > 0;
    bad = bad || !k || !k->type || k->nd || reel_dcp_read(d, k, (int64_t[]){ 0 }, k->n, &step) || step != 3;
    return !bad && object_is(d, "schedulers.student.scheduler.last_epoch", json_integer(3)) &&
           object_is(d, "optimizers.student.param_groups.transformer.w.lr", json_pack("{s:s}", "float", "2e-5")) &&
           object_is(d, "optimizers.student.param_groups.transformer.w.betas",
                     json_pack("{s:[{s:s},{s:s}]}", "tuple", "float", "0.9", "float", "0.999"));
}

/* Which file, and where in it: a byte of the file or of its pickle, or the key whose entry is wrong. */
static int says_where(const char *msg, const char *folder)
{
    return strstr(msg, folder) && (strstr(msg, "byte") || strstr(msg, "roles.student") || strstr(msg, "no .metadata"));
}

static void check_damaged(struct golden *g, const char *dir, const char *name, const char *result)
{
    char at[PATH_MAX], line[256];
    struct reel_dcp *d = NULL;
    reel_err e;
    int ok;

    if (reel_join(at, sizeof at, dir, name)) return;
    e = reel_dcp_open(&d, at);
    if (!e) e = dcp_read_all(d, INT64_MAX);
    if (!strcmp(result, "ok")) ok = !e && good_content(d);
    else ok = !strcmp(result, "any") || (e && says_where(reel_errrec()->msg, name));
    snprintf(line, sizeof line, "malformed/%s: %s", name, result);
    golden_true(g, line, ok);
    if (!ok && g->world->rank == 0) printf("# %s\n", e ? reel_errrec()->msg : "accepted, or other content");
    reel_dcp_close(d);
    reel_err_clear();
}

static void check_malformed(struct golden *g, const char *dir)
{
    const char *name;
    char at[PATH_MAX];
    json_t *all, *v;

    if (reel_join(at, sizeof at, dir, "malformed") || !reel_is_dir(at)) return;
    all = golden_json(at, "expect.json");
    if (!all) golden_true(g, "malformed/expect.json", 0);
    json_object_foreach(all, name, v)
        check_damaged(g, at, name, json_string_value(json_object_get(v, "result")));
    json_decref(all);
}

/* Every <layout>/checkpoint-<step>. */
static int check_layout(struct golden *g, const char *dir, const char *layout)
{
    char at[PATH_MAX];
    struct dirent **list;
    int n, found = 0;

    if (layout[0] == '.' || reel_join(at, sizeof at, dir, layout)) return 0;
    n = scandir(at, &list, NULL, alphasort);
    for (int i = 0; i < n; i++) {
        if (!strncmp(list[i]->d_name, "checkpoint-", 11)) check_checkpoint(g, dir, layout, list[i]->d_name), found++;
        free(list[i]);
    }
    if (n >= 0) free(list);
    return found;
}

int golden_dcp(struct golden *g, const char *dir)
{
    struct dirent **list;
    int n = scandir(dir, &list, NULL, alphasort), found = 0;

    for (int i = 0; i < n; i++) {
        found += check_layout(g, dir, list[i]->d_name);
        free(list[i]);
    }
    if (n >= 0) free(list);
    check_malformed(g, dir);
    if (!found && g->world->rank == 0) printf("# %s: no <layout>/checkpoint-<step>\n", dir);
    return !found;
}
