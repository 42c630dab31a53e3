/* What a change of the configuration means for a run that is resumed: key by key. */
#include "config/drift.h"
#include "tests/cfg.h"

static const char base[] =
    "models: {student: {_target_: wan, init_from: x}, teacher: {_target_: wan, init_from: t, trainable: false},\n"
    "         critic: {_target_: wan, init_from: x}}\n"
    "method: {_target_: dmd2, rollout_mode: simulate, dmd_denoising_steps: [1000, 500], fake_score_learning_rate: 1e-5,\n"
    "         fake_score_betas: [0, 0.999], fake_score_lr_scheduler: constant}\n"
    "training: {data: {data_path: d, train_batch_size: 2, num_latent_t: 2, num_height: 32, num_width: 32}, optimizer: {learning_rate: 1e-4},\n"
    "           distributed: {num_gpus: 4}, loop: {max_train_steps: 9}, checkpoint: {output_dir: o}}\n"
    "callbacks: {ema: {decay: 0.9}, validation: {pipeline_target: wan, dataset_file: p.json}}\n";

struct want { const char *over[6]; const char *key; enum reel_drift_kind kind; int n; };

#define FREE REEL_DRIFT_FREE
#define RESULTS REEL_DRIFT_RESULTS
#define FIXED REEL_DRIFT_FIXED
static const struct want wants[] = {
    { { NULL }, NULL, FREE, 0 },
    { { "--training.checkpoint.resume_from_checkpoint=latest", "--training.checkpoint.max_wall=3h" }, NULL, FREE, 0 },
    { { "--method._target_=fastvideo.train.methods.distribution_matching.dmd2.DMD2Method" }, NULL, FREE, 0 },
    { { "--training.checkpoint.checkpoints_total_limit=3" }, "training.checkpoint.checkpoints_total_limit", FREE, 1 },
    { { "--training.loop.max_train_steps=12" }, "training.loop.max_train_steps", FREE, 1 },
    { { "--models.student.init_from=y", "--training.model_path=x" }, "models.student.init_from", FREE, 1 },
    { { "--models.teacher.init_from=y" }, "models.teacher.init_from", RESULTS, 1 },
    { { "--models.critic._target_=wan_causal" }, "models.critic._target_", FIXED, 1 },
    { { "--models.student.lora.alpha=3" }, "models.student.lora.alpha", RESULTS, 1 },
    { { "--models.student.lora.rank=3" }, "models.student.lora.rank", FIXED, 2 }, /* and alpha, which follows */
    { { "--callbacks.validation.every_steps=7" }, "callbacks.validation.every_steps", FREE, 1 },
    { { "--callbacks.validation=null" }, "callbacks.validation", FREE, 1 },
    { { "--callbacks.ema=null" }, "callbacks.ema", RESULTS, 1 },
    { { "--callbacks.ema.decay=0.8" }, "callbacks.ema.decay", RESULTS, 1 },
    { { "--callbacks.grad_clip.max_grad_norm=1" }, "callbacks.grad_clip", RESULTS, 1 },
    { { "--method.real_score_guidance_scale=3" }, "method.real_score_guidance_scale", RESULTS, 1 },
    { { "--training.data.seed=5" }, "training.data.seed", RESULTS, 1 },
    { { "--training.data.train_batch_size=3" }, "training.data.train_batch_size x data-parallel groups", RESULTS, 2 },
    { { "--training.distributed.num_gpus=8", "--training.data.train_batch_size=1" }, "training.distributed.num_gpus", FREE, 3 },
    { { "--training.distributed.num_gpus=8" }, "training.data.train_batch_size x data-parallel groups", RESULTS, 3 },
    { { "--training.reproducibility=resume", "--training.distributed.tp_size=2", "--training.data.train_batch_size=4" },
      "training.distributed.tp_size", RESULTS, 4 },
    { { "--pipeline.vae_tiling=true" }, "pipeline.vae_tiling", FREE, 1 },
    { { "--pipeline.flow_shift=7" }, "pipeline.flow_shift", RESULTS, 1 },
};

static void one(const struct want *w)
{
    int n_over = 0, n, hit = 0;
    const struct reel_drift *d;
    struct reel_config *was = cfg_parse(base, "was", 0, NULL, 0), *is;

    while (w->over[n_over]) n_over++;
    is = cfg_parse(base, "is", n_over, w->over, 0);
    if (!was || !is) {
        TAP_OK(0, "%s: %s", w->over[0], reel_errrec()->msg);
        return;
    }
    n = reel_config_drift(was, is, &d);
    for (int i = 0; i < n; i++) hit += w->key && !strcmp(d[i].key, w->key) && d[i].kind == w->kind;
    if (!TAP_OK(n == w->n && hit == (w->key != NULL), "%s", w->over[0] ? w->over[0] : "nothing changed"))
        for (int i = 0; i < n; i++) printf("# %s: %s, %s: %d\n", d[i].key, d[i].was, d[i].is, (int)d[i].kind);
    reel_config_free(is);
    reel_config_free(was);
}

int main(void)
{
    for (size_t i = 0; i < sizeof wants / sizeof *wants; i++) one(&wants[i]);
    return tap_done();
}
