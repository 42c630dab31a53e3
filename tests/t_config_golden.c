/* The reference's own example files: the tree equals PyYAML's, every key is known and typed, the
 * resolved dump parses back to itself. */
#include <jansson.h>

#include "tests/cfg.h"

#define EXAMPLES "tests/golden/configs/"

/* our JSON of the file against PyYAML's */
static int same_tree(const char *rel, const json_t *want)
{
    struct reel_pool pool = { 0 };
    struct reel_node *root;
    char *text, *json = NULL;
    size_t len, n;
    FILE *f = open_memstream(&json, &n);
    json_t *got;
    int same;

    text = cfg_read(rel, &len);
    if (reel_yaml_parse(&pool, text, len, rel, &root)) {
        printf("# %s\n", reel_errrec()->msg);
        return 0;
    }
    reel_node_json(root, f);
    fclose(f);
    got = json_loads(json, 0, NULL);
    same = got && json_equal(got, (json_t *)want);
    if (!same) printf("# %s\n", json);
    json_decref(got);
    free(json);
    free(text);
    reel_pool_free(&pool);
    return same;
}

static void round_trip(const char *rel)
{
    size_t len;
    char *text = cfg_read(rel, &len), *first, *second;
    struct reel_config *a = cfg_parse(text, rel, 0, NULL, 0), *b;

    TAP_OK(a != NULL, "%s parses and passes the checks%s%s", rel, a ? "" : ": ", a ? "" : reel_errrec()->msg);
    free(text);
    if (!a) return;
    first = cfg_dump(a);
    b = cfg_parse(first, "dump", 0, NULL, 0);
    TAP_OK(b != NULL, "its dump parses%s%s", b ? "" : ": ", b ? "" : reel_errrec()->msg);
    second = b ? cfg_dump(b) : strdup("");
    TAP_OK(!strcmp(first, second), "and dumps to the same text");
    reel_config_free(a);
    reel_config_free(b);
    free(first);
    free(second);
}

static struct reel_config *load(const char *rel)
{
    size_t len;
    char *text = cfg_read(rel, &len);
    struct reel_config *c = cfg_parse(text, rel, 0, NULL, 0);

    free(text);
    return c;
}

/* values read off the files by eye */
static void values(void)
{
    struct reel_config *c = load(EXAMPLES "examples/train/configs/fine_tuning/wan/t2v_lora.yaml");
    const struct reel_cfg_role *r;

    if (!TAP_OK(c != NULL, "t2v_lora.yaml for its values")) return;
    r = reel_config_role(c, "student");
    TAP_OK(!strcmp(r->kind->name, "wan") && r->trainable && r->flow_shift == 3.0 &&
               r->checkpointing == REEL_CKPTING_FULL, "student: kind, defaults, checkpointing from training.model");
    TAP_OK(r->lora.enable && r->lora.rank == 16 && r->lora.alpha == 32 && r->lora.target_modules.n == 4,
           "student: lora");
    TAP_OK(c->training.data.num_height == 480 && c->training.data.num_width == 832 &&
               c->training.data.num_latent_t == 20 && c->training.data.num_frames == 77 && c->training.data.seed == 42,
           "data: sizes and seed");
    TAP_OK(c->training.optimizer.learning_rate == 1e-5 && c->training.optimizer.betas[0] == 0.9 &&
               c->training.optimizer.betas[1] == 0.999 && c->training.optimizer.min_lr_ratio == 0.5,
           "optimizer: given and default values");
    TAP_OK(c->training.loop.max_train_steps == 10 && c->training.loop.gradient_accumulation_steps == 5, "loop");
    TAP_OK(c->n_callbacks == 2 && !strcmp(c->callback[0].name, "grad_clip"), "callbacks in file order");
    TAP_OK(c->pipeline.flow_shift == 3 && !strcmp(c->pipeline.preset->name, "wan-t2v-480p"), "pipeline");
    reel_config_free(c);

    c = load(EXAMPLES "examples/train/configs/distribution_matching/wan/self_forcing_causal_t2v_vsa.yaml");
    if (!TAP_OK(c != NULL, "self_forcing_causal_t2v_vsa.yaml for its values")) return;
    TAP_OK(c->training.optimizer.learning_rate == 1e-5, "the string 1e-5 is a number where one is wanted");
    TAP_OK(c->training.vsa.sparsity == 0.9 && c->training.vsa.decay_rate == 0.03 &&
               c->training.vsa.decay_interval_steps == 1, "vsa");
    TAP_OK(!strcmp(c->method.kind->name, "self_forcing") && reel_config_role(c, "student")->kind->causal,
           "method and causal student by class path");
    TAP_OK(!strcmp(c->pipeline.preset->name, "self-forcing-wan-t2v") && c->pipeline.flow_shift == 5 &&
               c->pipeline.is_causal && c->pipeline.dmd_denoising_steps.n == 4, "preset by init_from");
    TAP_OK(!strcmp(c->training.model_path, "wlsaidhi/SFWan2.1-T2V-1.3B-Diffusers"), "model_path from the student");
    reel_config_free(c);
}

/* every run of cases/, and a parity run's zeros */
static void cases(void)
{
    static const char *const name[] = { "dfsft", "dfsft-bidirectional", "tfsft", "dmd2-data", "dmd2-parity", "dmd2-simulate",
                                        "self-forcing", "self-forcing-ode", "self-forcing-window", "self-forcing-parity",
                                        "layout-dmd2", "layout-self-forcing" };
    struct reel_config *c;
    char path[512];

    for (size_t i = 0; i < sizeof name / sizeof *name; i++) {
        snprintf(path, sizeof path, EXAMPLES "cases/%s.yaml", name[i]);
        round_trip(path);
    }
    c = load(EXAMPLES "cases/dmd2-parity.yaml");
    TAP_OK(c && c->parity && c->training.optimizer.min_lr_ratio == 0.5 && c->training.optimizer.lr_num_cycles == 0,
           "method.parity: min_lr_ratio 0 is 0.5");
    reel_config_free(c);
    c = load(EXAMPLES "cases/dmd2-data.yaml");
    TAP_OK(c && c->training.optimizer.lr_scheduler == REEL_LR_POLYNOMIAL && c->training.optimizer.lr_power == 2 &&
               reel_config_role(c, "teacher")->flow_shift == 5 && !reel_config_role(c, "teacher")->trainable &&
               c->pipeline.flow_shift == 5, "dmd2-data: schedule and shifts");
    reel_config_free(c);
}

int main(void)
{
    size_t len;
    char *text = cfg_read(EXAMPLES "parsed.json", &len);
    json_t *all = json_loads(text, 0, NULL), *want;
    const char *rel;
    char path[512];

    TAP_OK(all && json_object_size(all) == 14, "the list of parsed examples");
    json_object_foreach(all, rel, want) {
        snprintf(path, sizeof path, EXAMPLES "%s", rel);
        TAP_OK(same_tree(path, want), "%s: the tree is PyYAML's", rel);
        round_trip(path);
    }
    values();
    cases();
    json_decref(all);
    free(text);
    return tap_done();
}
