#ifndef REEL_CONFIG_CONFIG_H
#define REEL_CONFIG_CONFIG_H

/* A run as typed structs. Text in, structs out; nothing here touches a file, a rank or a device. */

#include "base/opt.h"
#include "config/env.h"
#include "config/node.h"
#include "config/schema.h"

enum reel_binding { REEL_BINDING_AUTO, REEL_BINDING_ALWAYS, REEL_BINDING_NEVER };
enum reel_device { REEL_DEVICE_AUTO, REEL_DEVICE_CPU, REEL_DEVICE_CUDA };
enum reel_compute { REEL_COMPUTE_AUTO, REEL_COMPUTE_F32, REEL_COMPUTE_BF16 };
enum reel_repro { REEL_REPRO_LAYOUT, REEL_REPRO_RESUME };
enum reel_on_nonfinite { REEL_NONFINITE_STOP, REEL_NONFINITE_SKIP };
enum reel_data_type { REEL_DATA_T2V, REEL_DATA_TEXT_ONLY };
enum reel_lr_name { REEL_LR_CONSTANT, REEL_LR_CONSTANT_WITH_WARMUP, REEL_LR_LINEAR, REEL_LR_COSINE,
                    REEL_LR_COSINE_WITH_RESTARTS, REEL_LR_COSINE_WITH_MIN_LR, REEL_LR_POLYNOMIAL };
#define REEL_LR_CHOICES                                                                            \
    "constant|constant_with_warmup|linear|cosine|cosine_with_restarts|cosine_with_min_lr|polynomial"
enum reel_checkpointing { REEL_CKPTING_NONE, REEL_CKPTING_FULL, REEL_CKPTING_OPS, REEL_CKPTING_BLOCK_SKIP };
#define REEL_CKPTING_CHOICES "none|full|ops|block_skip"
enum reel_precision { REEL_PREC_FP32, REEL_PREC_FP16, REEL_PREC_BF16 };
#define REEL_PREC_CHOICES "fp32|fp16|bf16"
enum reel_parity { REEL_PARITY_NONE, REEL_PARITY_FASTVIDEO };
#define REEL_PARITY_CHOICES "none|fastvideo"
enum reel_init_from { REEL_INIT_LOAD, REEL_INIT_RANDOM };
enum reel_save { REEL_SAVE_ASYNC, REEL_SAVE_SYNC };
enum reel_attn_backend { REEL_ATTN_DEFAULT, REEL_ATTN_FLASH, REEL_ATTN_TORCH_SDPA, REEL_ATTN_SAGE,
                         REEL_ATTN_SAGE_THREE, REEL_ATTN_VSA, REEL_ATTN_VMOBA, REEL_ATTN_SLA,
                         REEL_ATTN_STA, REEL_ATTN_QAT_TRAIN, REEL_ATTN_QAT_INFER };
enum reel_attn_kind { REEL_ATTN_KIND_DEFAULT, REEL_ATTN_KIND_DENSE, REEL_ATTN_KIND_VSA };

/* ---- models.<role> ---- */
struct reel_cfg_role {
    const char *name;             /* "student", "teacher", ...: the key below models */
    const struct reel_kind *kind; /* registry entry, or a plugin's */
    const char *target;           /* _target_ as written */
    const struct reel_node *node;
    const char *init_from;
    int init; /* enum reel_init_from */
    int trainable;
    int disable_custom_init_weights; /* marks a teacher or critic: dense, no override weights */
    double flow_shift;
    int checkpointing; /* enum reel_checkpointing; resolved: the role's, else training.model's, none when frozen */
    const char *transformer_override_safetensor;
    int attention_backend;        /* enum reel_attn_backend */
    int64_t num_frames_per_block; /* REEL_INT_UNSET: the model's config.json decides */
    struct reel_cfg_lora {
        int enable;
        int64_t rank; /* REEL_INT_UNSET unless given */
        double alpha; /* resolved: rank when absent */
        struct reel_strs target_modules;
        const char *init_from; /* NULL: none */
    } lora;
};

/* ---- method ---- */
struct reel_cfg_method {
    const struct reel_kind *kind;
    const char *target;
    const struct reel_node *node;
    void *priv; /* kind->priv_size bytes, filled from kind->opts; the run's method uses them as its own */
    int parity; /* enum reel_parity */
    int attn_kind; /* enum reel_attn_kind, of the student */
};

/* ---- training ---- */
struct reel_cfg_distributed {
    int64_t num_gpus, tp_size, sp_size, replicate, shard; /* all resolved, all >= 1 */
    int pin_cpu_memory;
};
struct reel_cfg_data {
    struct reel_repeats data_path; /* entries with times <= 0 are dropped */
    int type;                      /* enum reel_data_type: preprocessed_data_type */
    int64_t train_batch_size;      /* samples per data-parallel group */
    int64_t dataloader_num_workers;
    double training_cfg_rate;
    int cfg_dropout; /* zero, empty_prompt, negative_prompt */
    int64_t seed;
    int64_t num_height, num_width; /* pixels; 0: as in the data */
    int64_t num_latent_t;          /* latent frames; 0: as in the data; resolved from num_frames */
    int64_t num_frames;            /* pixel frames; resolved from num_latent_t */
    int parity;
    int64_t demo_seed, demo_clips; /* demo_clips > 0: make the data set if data_path does not exist */
};
struct reel_cfg_optimizer {
    double learning_rate, betas[2], weight_decay;
    int lr_scheduler; /* enum reel_lr_name */
    int64_t lr_warmup_steps;
    int64_t lr_num_cycles;
    double lr_power, min_lr_ratio;
};
struct reel_cfg_loop { int64_t max_train_steps, gradient_accumulation_steps; };
struct reel_cfg_checkpoint {
    const char *output_dir, *resume_from_checkpoint; /* NULL when absent; resume may be "latest" */
    int64_t every_steps; /* training_state_checkpointing_steps; 0 = only at the end */
    int64_t keep;        /* checkpoints_total_limit; 0 = all */
    int save;            /* enum reel_save */
    int save_frozen;
    double max_wall; /* seconds; 0 = none */
};
struct reel_cfg_tracker {
    struct reel_strs trackers;
    const char *entity, *project_name, *run_name;
};
struct reel_cfg_model {
    int weighting_scheme; /* uniform, logit_normal, mode */
    double logit_mean, logit_std, mode_scale;
    int precondition_outputs;
    const struct reel_node *moba_config;
    int checkpointing; /* enum reel_checkpointing */
    int parity;
};
struct reel_cfg_vsa {
    double sparsity, decay_rate;
    int64_t decay_interval_steps;
    int cache_tile_buf;
};
struct reel_cfg_training {
    struct reel_cfg_distributed distributed;
    struct reel_cfg_data data;
    struct reel_cfg_optimizer optimizer;
    struct reel_cfg_loop loop;
    struct reel_cfg_checkpoint checkpoint;
    struct reel_cfg_tracker tracker;
    struct reel_cfg_model model;
    struct reel_cfg_vsa vsa;
    int dit_precision; /* enum reel_precision: master weights */
    const char *model_path; /* resolved: student's init_from */
    int device, compute_dtype, reproducibility, on_nonfinite; /* the enums above */
    int64_t threads; /* per rank; 0 = the rank's cores */
    int bind; /* enum reel_binding */
    double watchdog_s;
};

/* ---- callbacks, in file order ---- */
struct reel_cfg_callback {
    const char *name;
    const struct reel_kind *kind;
    const char *target; /* NULL when the name chose the kind */
    const struct reel_node *node;
    void *priv; /* as in method */
};

/* ---- pipeline: fields absent from the file come from the preset that init_from names ---- */
struct reel_preset {
    const char *name, *ids; /* Hugging Face ids, '|' between */
    double flow_shift;
    const char *dmd_denoising_steps; /* YAML list or NULL */
    int is_causal;
    double guidance_scale; /* of validation, unless given */
    int fps;
    const char *negative_prompt; /* what guidance moves away from */
    const char *arch; /* folder of configs/ whose transformer/config.json is these repositories' */
};
struct reel_cfg_pipeline {
    const struct reel_preset *preset;
    double flow_shift, flow_shift_sr;
    struct reel_ints dmd_denoising_steps;
    int warp_denoising_step, is_causal;
    double embedded_cfg_scale, context_noise, boundary_ratio;
    int vae_tiling, vae_sp, vae_precision, vae_decode_precision, dit_precision;
    int text_encoder_cpu_offload, vae_cpu_offload, dit_cpu_offload;
    int disable_autocast, scheduler_step_in_fp32, ti2v_task;
    struct {
        int64_t local_attn_size, sink_size; /* REEL_INT_UNSET: the model's config.json decides */
        const char *quant_config;
    } dit;
};

#define REEL_CFG_MAX_ROLES     8
#define REEL_CFG_MAX_CALLBACKS 16
#define REEL_CFG_MAX_NOTES     32
#define REEL_CFG_MAX_PLUGINS   (REEL_CFG_MAX_ROLES + 1 + REEL_CFG_MAX_CALLBACKS)

struct reel_config {
    const char *name; /* file name in messages */
    struct reel_pool pool;
    struct reel_node *root; /* after overrides */
    const struct reel_schema *schema;
    int n_roles, n_callbacks;
    struct reel_cfg_role role[REEL_CFG_MAX_ROLES]; /* file order */
    struct reel_cfg_method method;
    struct reel_cfg_training training;
    struct reel_cfg_callback callback[REEL_CFG_MAX_CALLBACKS];
    struct reel_cfg_pipeline pipeline;
    int lenient, parity;                                      /* parity: any of the three keys */
    int n_warnings, n_later;
    const char *warning[REEL_CFG_MAX_NOTES]; /* unknown keys under --lenient, unused roles; rank 0 prints */
    const char *later[REEL_CFG_MAX_NOTES];   /* keys that are set and have no effect in this version */
};

struct reel_config_src {
    const char *text; /* the YAML document, the same bytes on every rank */
    size_t len;
    const char *name;             /* file name, for messages */
    const char *const *overrides; /* tokens: "--a.b", "value", "--a.c=value" */
    int n_overrides;
    int lenient; /* unknown keys are warnings */
};

/**
 * reel_config_parse - text and overrides to a checked configuration. Symmetric: a function of its
 * arguments, so every rank gets the same verdict.
 * Errors: REEL_ECONFIG, one line "file:line:column: key: what is wrong; what is right".
 */
reel_err reel_config_parse(const struct reel_config_src *src, const struct reel_schema *schema,
                           struct reel_config **out);
void reel_config_free(struct reel_config *cfg);

/* The two halves of reel_config_parse, for who loads plugins in between: the tree with its overrides,
 * then the typed structs. Both Symmetric; free with reel_config_free after either. */
reel_err reel_config_read(const struct reel_config_src *src, struct reel_config **out);
reel_err reel_config_finish(struct reel_config *cfg, const struct reel_schema *schema);

/* A `_target_` of the form path.so:name. */
struct reel_cfg_plugin {
    enum reel_plugin_kind kind;
    const char *target, *path, *name;
    const char *key;              /* dotted section: "models.student" */
    const struct reel_node *node; /* the target's place */
};
/** reel_config_plugins - plugins that the tree names, in the order of sections; returns how many. More
 * roles or callbacks than a configuration may have are left to reel_config_finish. Symmetric. */
int reel_config_plugins(struct reel_config *cfg, struct reel_cfg_plugin list[REEL_CFG_MAX_PLUGINS]);

/** reel_config_ready - REEL_ECONFIG if the run asks for something this version does not do yet:
 * a key marked so that is not at its default. Symmetric. */
reel_err reel_config_ready(const struct reel_config *cfg);

/** reel_config_role - a role by name, NULL when the file has none. Local. */
const struct reel_cfg_role *reel_config_role(const struct reel_config *cfg, const char *name);
/** reel_config_callback - the first callback of a registry name, NULL when absent. Local. */
const struct reel_cfg_callback *reel_config_callback(const struct reel_config *cfg, const char *kind);

/**
 * reel_config_fail - REEL_ECONFIG at a dotted key: the message gets the key's file:line:column (or
 * its section's, when the key is absent). For checks of methods and callbacks too. Symmetric.
 */
reel_err reel_config_fail(const struct reel_config *cfg, const char *key, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/** reel_config_given - 1 if the file or the command line gives this dotted key a value. Local. */
int reel_config_given(const struct reel_config *cfg, const char *key);

/* Tables and the structs they fill; a section may be made of several parts (common and private keys). */
struct reel_part { const struct reel_opt *opts; void *dst; };

/**
 * reel_config_fill - any section from tables: defaults, then the section's values, bounds checked.
 * @section  a mapping, or NULL for "all absent"
 * @path     dotted place of the section, for messages: "callbacks.ema"
 * Unknown keys are errors with the nearest name (warnings when lenient). Symmetric.
 */
reel_err reel_config_fill(struct reel_config *cfg, const struct reel_node *section, const char *path,
                          const struct reel_part *parts, int n_parts);

/** reel_opt_set - one value by its option; `cfg` owns the memory. `where` is the key in messages. */
reel_err reel_opt_set(struct reel_config *cfg, const struct reel_opt *o, const struct reel_node *v,
                      const char *where, void *dst);
/** reel_opt_default - the option's default. Local. */
void reel_opt_default(struct reel_config *cfg, const struct reel_opt *o, void *dst);
/** reel_choice_name - canonical name number i of choices "a,alias|b" into buf, which is returned; "" beyond them. Local. */
const char *reel_choice_name(const char *choices, int i, char *buf, size_t size);
/** reel_opt_write - the value as YAML flow text that parses back to it. Local. */
void reel_opt_write(const struct reel_opt *o, const void *src, FILE *f);

/**
 * reel_config_dump - the resolved configuration: every key with its value, as YAML that parses to the
 * same configuration. env may be NULL; else the captured environment follows as comments. Local.
 */
void reel_config_dump(const struct reel_config *cfg, const struct reel_env *env, FILE *f);

/** reel_preset_find - the preset that the end of a model's path or id names; the first of reel_presets where none does. Local. */
const struct reel_preset *reel_preset_find(const char *init_from);
/** reel_preset_arch - `arch` of the preset that names exactly this repository (a revision behind '@' aside), else
 * NULL. Local. */
const char *reel_preset_arch(const char *init_from);

/* The tables of the sections that do not depend on a registry. */
extern const struct reel_opt reel_role_opts[];     /* struct reel_cfg_role */
extern const struct reel_opt reel_method_opts[];   /* struct reel_cfg_method: keys of every method */
extern const struct reel_opt reel_training_opts[]; /* struct reel_cfg_training */
extern const struct reel_opt reel_callback_opts[]; /* struct reel_cfg_callback */
extern const struct reel_opt reel_pipeline_opts[]; /* struct reel_cfg_pipeline */
extern const struct reel_preset reel_presets[];    /* ends with name NULL; the first is the fallback */

#endif
