/* Diffusers folders and the Hugging Face cache: which folder, which files, which names, and the
 * right rows on every rank */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "ckpt/hf.h"
#include "ckpt/names.h"
#include "role_rig.h"
#include "tap.h"
#include "tensor/half.h"

static char tmp[PATH_MAX - 128]; /* a folder of this run, made by rank 0 */

static const char *golden(const char *name)
{
    static char p[16][PATH_MAX];
    static int k;

    k = (k + 1) % 16;
    snprintf(p[k], sizeof p[k], "%s/tests/golden/hf-layout/%s", getenv("REEL_SRC"), name);
    return p[k];
}

static const char *in_tmp(const char *name)
{
    static char p[16][PATH_MAX];
    static int k;

    k = (k + 1) % 16;
    snprintf(p[k], sizeof p[k], "%s/%s", tmp, name);
    return p[k];
}

static int says(reel_err e, reel_err want, const char *part)
{
    int ok = e == want && strstr(reel_errrec()->msg, part);

    if (!ok) printf("# %d: %s\n", (int)e, reel_errrec()->msg);
    reel_err_clear();
    return ok;
}

/* ---- names ---- */

static void names(void)
{
    static const char *const row[][3] = { /* Diffusers, FastVideo, original */
        { "patch_embedding.weight", "patch_embedding.proj.weight", "patch_embedding.weight" },
        { "condition_embedder.text_embedder.linear_1.bias", "condition_embedder.text_embedder.fc_in.bias", "text_embedding.0.bias" },
        { "condition_embedder.time_embedder.linear_2.weight", "condition_embedder.time_embedder.mlp.fc_out.weight", "time_embedding.2.weight" },
        { "condition_embedder.time_proj.bias", "condition_embedder.time_modulation.linear.bias", "time_projection.1.bias" },
        { "scale_shift_table", "scale_shift_table", "head.modulation" },
        { "proj_out.weight", "proj_out.weight", "head.head.weight" },
        { "blocks.17.scale_shift_table", "blocks.17.scale_shift_table", "blocks.17.modulation" },
        { "blocks.0.attn1.to_q.weight", "blocks.0.to_q.weight", "blocks.0.self_attn.q.weight" },
        { "blocks.0.attn1.to_out.0.bias", "blocks.0.to_out.bias", "blocks.0.self_attn.o.bias" },
        { "blocks.0.attn1.norm_k.weight", "blocks.0.norm_k.weight", "blocks.0.self_attn.norm_k.weight" },
        { "blocks.3.attn2.to_v.weight", "blocks.3.attn2.to_v.weight", "blocks.3.cross_attn.v.weight" },
        { "blocks.3.attn2.to_out.0.weight", "blocks.3.attn2.to_out.weight", "blocks.3.cross_attn.o.weight" },
        { "blocks.3.attn2.norm_q.weight", "blocks.3.attn2.norm_q.weight", "blocks.3.cross_attn.norm_q.weight" },
        { "blocks.3.norm2.weight", "blocks.3.self_attn_residual_norm.norm.weight", "blocks.3.norm3.weight" },
        { "blocks.29.ffn.net.0.proj.bias", "blocks.29.ffn.fc_in.bias", "blocks.29.ffn.0.bias" },
        { "blocks.29.ffn.net.2.weight", "blocks.29.ffn.fc_out.weight", "blocks.29.ffn.2.weight" },
        { "blocks.2.to_gate_compress.weight", "blocks.2.to_gate_compress.weight", "blocks.2.to_gate_compress.weight" },
        { "something.else", "something.else", "something.else" },
    };
    char out[REEL_NAME_MAX];
    int bad = 0;

    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        for (int k = 0; k < 3; k++) {
            reel_name_own(reel_model_wan.naming, out, row[i][k]);
            bad += strcmp(out, row[i][0]) != 0;
            if (strcmp(out, row[i][0]) != 0) printf("# %s -> %s\n", row[i][k], out);
        }
        reel_name_ckpt(reel_model_wan.naming, out, row[i][0]);
        bad += strcmp(out, row[i][1]) != 0;
    }
    TAP_OK(bad == 0, "names of the three namings");
    reel_name_own(reel_model_wan.naming, out, "blocks.0._checkpoint_wrapped_module.to_q.weight");
    TAP_OK(strcmp(out, "blocks.0.attn1.to_q.weight") == 0, "wrapper components are dropped");
}

/* ---- which folder ---- */

static const char *vars(const char *name) { return strcmp(name, "STORE") == 0 ? golden("") : NULL; }

static int resolves(const char *init_from, struct reel_hf_env env, const char *end)
{
    struct reel_hf_source s = { .init_from = init_from, .env = env };
    char dir[PATH_MAX] = "";
    reel_err e = reel_hf_resolve(&s, dir, sizeof dir);
    size_t n = strlen(dir), k = strlen(end);

    if (e) printf("# %s\n", reel_errrec()->msg);
    reel_err_clear();
    return !e && n >= k && strcmp(dir + n - k, end) == 0 && reel_is_dir(dir);
}

static void cache(void)
{
    struct reel_hf_env hub = { .hf_hub_cache = golden("hub") }, e = { 0 };
    struct reel_hf_source src = { .env = hub };
    char id[256], at[300], dir[PATH_MAX];
    const char *main_, *v0;
    json_t *js;

    if (reel_json_file(&js, golden("cache.json"))) abort();
    snprintf(id, sizeof id, "%s", json_string_value(json_object_get(js, "repo")));
    main_ = json_string_value(json_object_get(js, "main"));
    v0 = json_string_value(json_object_get(js, "v0"));
    TAP_OK(resolves(id, hub, main_), "the default revision is main");
    snprintf(at, sizeof at, "%s@v0", id);
    TAP_OK(resolves(at, hub, v0), "a named revision");
    snprintf(at, sizeof at, "%s@%s", id, v0);
    TAP_OK(resolves(at, hub, v0), "a commit");
    e.hf_home = golden("");
    TAP_OK(resolves(id, e, main_), "HF_HOME/hub");
    e = (struct reel_hf_env){ .huggingface_hub_cache = golden("hub"), .hf_home = "/nonexistent" };
    TAP_OK(resolves(id, e, main_), "HUGGINGFACE_HUB_CACHE comes before HF_HOME");
    e = (struct reel_hf_env){ .hf_hub_cache = "~/hub", .home = golden("") };
    TAP_OK(resolves(id, e, main_), "~ is the home folder");
    e = (struct reel_hf_env){ .hf_hub_cache = "${STORE}/hub", .lookup = vars };
    TAP_OK(resolves(id, e, main_), "variables in the value");
    TAP_OK(resolves(golden("pipeline"), hub, "pipeline"), "a folder is used as it is");
    src.init_from = "owner/none";
    TAP_OK(says(reel_hf_resolve(&src, dir, sizeof dir), REEL_ECONFIG, "neither a folder nor"), "an unknown id");
    snprintf(at, sizeof at, "%s@v9", id);
    src.init_from = at;
    TAP_OK(says(reel_hf_resolve(&src, dir, sizeof dir), REEL_ECONFIG, "no revision \"v9\""), "an unknown revision");
    src.init_from = "/nonexistent/model";
    TAP_OK(says(reel_hf_resolve(&src, dir, sizeof dir), REEL_ECONFIG, "no folder /nonexistent"), "a folder that is not there");
    snprintf(at, sizeof at, "%s@v0", id);
    src = (struct reel_hf_source){ .init_from = at, .component = "vae", .env = hub };
    TAP_OK(says(reel_hf_component(&src, dir, sizeof dir), REEL_ECONFIG, "no vae folder"), "a partial snapshot");
    json_decref(js);
}

/* ---- which files ---- */

static void put_file(const char *name, const char *text)
{
    if (reel_file_write(in_tmp(name), text, strlen(text))) abort();
}

static void put_tensor(const char *file, const char *tensor)
{
    static const float one = 1;
    struct reel_st_item it = { .name = tensor, .dt = REEL_F32, .nd = 1, .n = { 1 }, .data = &one };

    if (reel_st_write(in_tmp(file), &it, 1, NULL, 0, NULL, NULL)) abort();
}

static int count_files(const char *where, const char *first)
{
    char *list = NULL;
    size_t n = 0, k = 0;

    if (reel_weights_list(where, &list, &n)) return -1;
    for (const char *p = list; p < list + n; p += strlen(p) + 1) k++;
    if (!strstr(list, first)) k = 0;
    free(list);
    return (int)k;
}

static void files(void)
{
    struct reel_weights w;
    char *list;
    size_t n;

    if (W.rank) return;
    TAP_OK(count_files(golden("pipeline/transformer"), "diffusion_pytorch_model.safetensors") == 1, "one file");
    TAP_OK(count_files(golden("pipeline/transformer/diffusion_pytorch_model.safetensors"), "diff") == 1, "a file by name");
    if (reel_mkdirs(in_tmp("w"))) abort();
    TAP_OK(says(reel_weights_list(in_tmp("w"), &list, &n), REEL_EIO, "no *.safetensors"), "an empty folder");
    put_tensor("w/model.safetensors", "a");
    put_file("w/diffusion_pytorch_model.safetensors.index.json", "{\"weight_map\":{\"a\":\"gone.safetensors\"}}");
    TAP_OK(count_files(in_tmp("w"), "model.safetensors") == 1, "an index whose files are missing is ignored");
    put_file("w/diffusion_pytorch_model.safetensors.index.json", "{\"weight_map\":{\"a\":\"s1.safetensors\"}}");
    put_tensor("w/s1.safetensors", "a");
    TAP_OK(count_files(in_tmp("w"), "s1.safetensors") == 1, "an index that is whole decides");
    unlink(in_tmp("w/diffusion_pytorch_model.safetensors.index.json"));
    TAP_OK(count_files(in_tmp("w"), "model.safetensors") == 2, "without it every file counts");
    if (reel_weights_list(in_tmp("w"), &list, &n)) abort();
    TAP_OK(says(reel_weights_open(&w, list, n), REEL_EDATA, "a: in two files"), "and a tensor in two of them is an error");
    free(list);
    put_file("w/model.safetensors.index.json", "{\"weight_map\":{\"a\":\"../x.safetensors\"}}");
    TAP_OK(says(reel_weights_list(in_tmp("w"), &list, &n), REEL_EDATA, "not a plain name"), "an index that leaves the folder");
}

/* ---- loading ---- */

/* This rank's rows against the files, read whole by other means. */
static int shards_are(struct rig *r, const struct reel_weights *w)
{
    int64_t bad = 0;

    for (int i = 0; i < r->cfg.n; i++) {
        struct reel_shard sh = reel_param_shard(r->ps, i);
        struct reel_st *file;
        const struct reel_st_entry *e = reel_weights_find(w, r->def[i].name, &file);
        size_t size = e->dt == REEL_BF16 ? 2 : 4, n = (size_t)reel_numel(sh.w);
        char *raw = malloc(e->bytes);
        float *have = malloc(reel_bytes(sh.w) + 4);
        if (reel_st_read(file, e, 0, e->bytes, raw)) abort();
        if (sh.rows) reel_get(&r->s, have, sh.w);
        for (size_t k = 0; k < n; k++) {
            size_t at = (size_t)reel_shard_element(r->ps, i, (int64_t)k) * size;
            uint16_t h;
            float f;
            memcpy(&h, raw + at, 2);
            if (size == 2) f = reel_bf16_f32(h);
            else memcpy(&f, raw + at, 4);
            bad += memcmp(&f, &have[k], 4) != 0;
        }
        free(raw), free(have);
    }
    reel_comm_sum_i64(&W, &bad, 1);
    return bad == 0;
}

static void loads(struct rig *r, const char *what, struct reel_hf_source src, const char *truth)
{
    struct reel_weights w;
    char *list;
    size_t n;
    reel_err e = reel_hf_load(&src, r->ps, &r->s, &W);

    if (e) printf("# %s\n", reel_errrec()->msg);
    reel_err_clear();
    if (reel_weights_list(truth, &list, &n) || reel_weights_open(&w, list, n)) abort();
    TAP_OK(!e && shards_are(r, &w), "%s", what);
    reel_weights_close(&w);
    free(list);
}

/* The golden transformer again, under FastVideo's names; optionally without, with, or with a bent tensor. */
static void rewrite(const char *to, int damage)
{
    struct reel_st *st;
    struct reel_st_item *it;
    char (*name)[REEL_NAME_MAX];
    int n;

    if (W.rank) return;
    if (reel_st_open(&st, golden("pipeline/transformer/diffusion_pytorch_model.safetensors"))) abort();
    n = reel_st_count(st);
    it = calloc((size_t)n, sizeof *it);
    name = calloc((size_t)n, sizeof *name);
    for (int i = 0; i < n; i++) {
        const struct reel_st_entry *e = reel_st_entry(st, i);
        void *p = malloc(e->bytes);
        if (reel_st_read(st, e, 0, e->bytes, p)) abort();
        reel_name_ckpt(reel_model_wan.naming, name[i], e->name);
        it[i] = (struct reel_st_item){ .name = name[i], .dt = e->dt, .nd = e->nd, .data = p };
        memcpy(it[i].n, e->n, sizeof it[i].n);
        if (damage && !strcmp(e->name, "proj_out.bias")) it[i].name = "proj_in.bias";
        if (damage && !strcmp(e->name, "scale_shift_table")) it[i].nd = 2, it[i].n[0] = 2, it[i].n[1] = e->n[2];
    }
    if (reel_st_write(in_tmp(to), it, n, NULL, 0, NULL, NULL)) abort();
    for (int i = 0; i < n; i++) free((void *)it[i].data);
    free(it), free(name);
    reel_st_close(st);
}

static void loading(void)
{
    struct reel_hf_source src = { .init_from = golden("pipeline") }, hub = { .init_from = "reel-test/Wan2.1-T2V-Tiny-Diffusers@v0" };
    char v0[PATH_MAX], *json, where[PATH_MAX];
    struct rig r;
    reel_err e;

    hub.env.hf_hub_cache = golden("hub");
    rig_open(&r, golden("pipeline/transformer/diffusion_pytorch_model.safetensors"), 0);
    loads(&r, "a Diffusers folder", src, golden("pipeline/transformer"));
    if (reel_hf_component(&hub, v0, sizeof v0)) abort();
    loads(&r, "bf16 shards from the cache", hub, v0);
    rewrite("fv.safetensors", 0);
    rewrite("bad.safetensors", 1);
    reel_comm_barrier(&W);
    hub.override_from = in_tmp("fv.safetensors");
    loads(&r, "an override file with FastVideo's names", hub, golden("pipeline/transformer"));
    src.override_from = in_tmp("bad.safetensors");
    e = reel_hf_load(&src, r.ps, &r.s, &W);
    TAP_OK(says(e, REEL_EDATA, "missing 1: proj_out.bias unexpected 1: proj_in.bias mis-shaped 1: scale_shift_table "
                               "[2,24], the model has [1,2,24]"),
           "missing, unexpected and mis-shaped in one message");
    src.override_from = in_tmp("none.safetensors");
    TAP_OK(says(reel_hf_load(&src, r.ps, &r.s, &W), REEL_EIO, "none.safetensors"), "an override that is not there");
    TAP_OK(!reel_hf_read_config(&src, &W, &json, where) && strstr(json, "WanTransformer3DModel") && strstr(where, "config.json"),
           "config.json reaches every rank");
    free(json);
    rig_close(&r);
}

int main(int argc, char **argv)
{
    if (reel_comm_start(&W, &argc, &argv)) return 1;
    tap_quiet = W.rank != 0;
    if (W.rank == 0) {
        snprintf(tmp, sizeof tmp, "%s/reel_t_hf_XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
        if (!mkdtemp(tmp)) return 1;
    }
    reel_comm_bcast(&W, tmp, sizeof tmp, 0);
    if (reel_backend_open(&be, "cpu", 1)) return 1;
    names();
    cache();
    files();
    loading();
    reel_backend_close(be);
    reel_comm_barrier(&W);
    if (W.rank == 0) (void)!reel_rmtree(tmp);
    reel_comm_stop();
    return tap_done();
}
