/* Which sampler, levels and guidance a configuration's validation takes. */
#include <math.h>

#include "callbacks/validation_priv.h"
#include "cfg.h"
#include "train/run.h"

static struct reel_comm world;

#define HEAD "training:\n  data: {data_path: d, num_latent_t: 4, num_height: 32, num_width: 32, train_batch_size: 2}\n  optimizer: {learning_rate: 1.0e-5}\n" \
             "  loop: {max_train_steps: 10}\n  checkpoint: {output_dir: o}\n" \
             "callbacks:\n  validation: {dataset_file: none.json, every_steps: 5, sampling_steps: [4, 10], pipeline_target: %s%s}\n" \
             "pipeline: {flow_shift: 5.0%s}\n"
#define ROLES "models:\n  student: {_target_: %s, init_from: %s, flow_shift: 3.0%s}\n" \
              "  teacher: {_target_: wan, init_from: %s, trainable: false}\n  critic: {_target_: wan, init_from: %s}\n"
#define DMD  "dmd2, rollout_mode: simulate, dmd_denoising_steps: [1000, 750, 250], fake_score_learning_rate: 1.0e-5, " \
             "fake_score_betas: \"0.0,0.999\", fake_score_lr_scheduler: constant"
#define SF   "self_forcing, rollout_mode: simulate, chunk_size: 2, dmd_denoising_steps: [1000, 750, 250], fake_score_learning_rate: 1.0e-5, " \
             "fake_score_betas: \"0.0,0.999\", fake_score_lr_scheduler: constant"

struct plan { struct reel_run run; struct reel_config *cfg; const struct reel_validation *v; };

/* The planned validation of a student ("wan", "wan_causal"), a method, a pipeline and keys of both sections; v NULL: refused. */
static struct plan *plan_of(const char *student, const char *method, const char *pipeline, const char *keys, const char *pipe_keys)
{
    struct plan *p = calloc(1, sizeof *p);
    char text[16384], tiny[4096];
    int n;

    snprintf(tiny, sizeof tiny, "%s", cfg_path("tests/tiny"));
    n = snprintf(text, sizeof text, strstr(method, "fake") ? ROLES : "models:\n  student: {_target_: %s, init_from: %s, flow_shift: 3.0%s}\n",
                 student, tiny, strstr(student, "causal") ? ", num_frames_per_block: 2" : "", tiny, tiny);
    n += snprintf(text + n, sizeof text - (size_t)n, "method: {_target_: %s}\n", method);
    snprintf(text + n, sizeof text - (size_t)n, HEAD, pipeline, keys, pipe_keys);
    p->cfg = cfg_parse(text, "v.yaml", 0, NULL, 0);
    if (p->cfg && reel_run_plan(&p->run, p->cfg, NULL, &world) == REEL_OK) p->v = p->run.cb[0].priv;
    return p;
}

static void drop(struct plan *p)
{
    if (p->cfg) reel_run_unplan(&p->run), reel_config_free(p->cfg);
    free(p);
}

static int near(const float *got, const double *want, int n)
{
    for (int i = 0; i < n; i++)
        if (fabs((double)got[i] - want[i]) > 1e-5 * (1 + want[i])) return 0;
    return 1;
}

/* sampler kind, timesteps and levels of a plan */
#define LEVELS(text, kind_, n, t_, sigma_, ...)                                                                          \
    do {                                                                                                               \
        struct plan *p = plan_of(__VA_ARGS__);                                                                         \
        int right = p->v && p->v->film.sampler.kind == (kind_) && p->v->film.sampler.steps == (n) && near(p->v->film.t, t_, n) && \
                    near(p->v->film.sigma, sigma_, n) && p->v->film.sigma[n] == 0;                                     \
        TAP_OK(right, "%s", text);                                                                                     \
        if (!p->v) printf("# %s\n", reel_errrec()->msg);                                                               \
        for (int i = 0; p->v && !right && i < p->v->film.sampler.steps; i++)                                           \
            printf("# %g %.7f\n", (double)p->v->film.t[i], (double)p->v->film.sigma[i]);                               \
        drop(p);                                                                                                       \
    } while (0)
#define LIST(...) ((const double[]){ __VA_ARGS__ })

static void levels(void)
{
    LEVELS("wan: FastVideo's UniPC with pipeline.flow_shift, timesteps truncated", REEL_SAMPLER_UNIPC, 4, LIST(999, 937, 833, 624),
           LIST(0.99995995, 0.9374531, 0.8332777, 0.6249374), "wan", "sft", "wan", "", "");
    LEVELS("diffusers' levels", REEL_SAMPLER_UNIPC, 4, LIST(999, 937, 833, 625), LIST(0.999999, 0.9375781, 0.8336110, 0.6259361), "wan", "sft", "wan",
           ", scheduler: unipc_diffusers", "");
    LEVELS("Euler", REEL_SAMPLER_EULER, 4, LIST(1000, 909.7072, 717.3174, 24.41407), LIST(1, 0.9097072, 0.7173174, 0.02441407), "wan", "sft", "wan",
           ", scheduler: euler", "");
    LEVELS("wan_causal: UniPC in chunks", REEL_SAMPLER_CAUSAL, 4, LIST(999, 937, 833, 624), LIST(0.99995995, 0.9374531, 0.8332777, 0.6249374),
           "wan_causal", "dfsft, chunk_size: 2", "wan_causal", "", "");
    LEVELS("wan_dmd: the method's steps, of the student's table", REEL_SAMPLER_FEWSTEP, 3, LIST(1000, 750, 250), LIST(1, 0.75, 0.25), "wan", DMD,
           "wan_dmd", "", "");
    LEVELS("... warped as the method says", REEL_SAMPLER_FEWSTEP, 3, LIST(1000, 900, 500), LIST(1, 0.9, 0.5), "wan", DMD ", warp_denoising_step: true",
           "wan_dmd", "", "");
    LEVELS("a list of its own, mapped alike", REEL_SAMPLER_FEWSTEP, 2, LIST(1000, 750), LIST(1, 0.75), "wan", DMD ", warp_denoising_step: true", "wan_dmd",
           ", sampling_timesteps: [1000, 500]", ", dmd_denoising_steps: [900, 100]");
    LEVELS("parity: the pipeline's list, never warped, table of shift 8", REEL_SAMPLER_FEWSTEP, 3, LIST(1000, 757, 522), LIST(1, 0.7567567, 0.5217391),
           "wan", DMD ", warp_denoising_step: true, parity: fastvideo", "wan_dmd", ", sampling_timesteps: [1000, 500]",
           ", dmd_denoising_steps: [1000, 757, 522]");
    LEVELS("parity: ours where the pipeline has none", REEL_SAMPLER_FEWSTEP, 2, LIST(937, 20), LIST(0.9369370, 0.02350637), "wan", DMD ", parity: fastvideo",
           "wan_dmd", ", sampling_timesteps: [937, 20]", "");
    LEVELS("wan_causal_dmd: Self-Forcing's table, fractional", REEL_SAMPLER_STREAMING, 3, LIST(1000, 937.5, 625), LIST(1, 0.9375, 0.625), "wan_causal",
           SF ", warp_denoising_step: true", "wan_causal_dmd", "", "");
    LEVELS("parity: warped as the pipeline says", REEL_SAMPLER_STREAMING, 3, LIST(1000, 833.3333, 625), LIST(1, 0.8333333, 0.625), "wan_causal",
           SF ", parity: fastvideo", "wan_causal_dmd", ", sampling_timesteps: [1000, 500, 250]", "");
    LEVELS("a method without few steps: the pipeline's list and table", REEL_SAMPLER_STREAMING, 2, LIST(1000, 750), LIST(1, 0.75), "wan_causal",
           "dfsft, chunk_size: 2", "wan_causal_dmd", "", ", dmd_denoising_steps: [1000, 500]");
}

static double guided(const char *student, const char *method, const char *pipeline, const char *keys)
{
    struct plan *p = plan_of(student, method, pipeline, keys, "");
    double g = p->v ? p->v->film.sampler.guidance : (double)NAN;

    drop(p);
    return g;
}

static void guidance(void)
{
    TAP_OK(guided("wan", "sft", "wan", "") == 3, "the preset's guidance");
    TAP_OK(guided("wan", "sft", "wan", ", guidance_scale: 4.5") == 4.5, "that of the callback");
    TAP_OK(guided("wan", "sft", "wan", ", guidance_scale: 0.5") == 1, "1 or less is none");
    TAP_OK(guided("wan", DMD, "wan_dmd", ", guidance_scale: 4.5") == 1, "none with few steps");
    TAP_OK(guided("wan_causal", "dfsft, chunk_size: 2", "wan_causal", "") == 1, "a causal sampler is not guided");
    TAP_OK(guided("wan_causal", "dfsft, chunk_size: 2", "wan_causal", ", guidance_scale: 2") == 2, "unless it is said");
    TAP_OK(guided("wan_causal", "dfsft, chunk_size: 2, parity: fastvideo", "wan_causal", ", guidance_scale: 2") == 1, "under parity never");
}

static int refused(const char *what, const char *student, const char *method, const char *pipeline, const char *keys)
{
    struct plan *p = plan_of(student, method, pipeline, keys, "");
    int right = !p->v && strstr(reel_errrec()->msg, what);

    if (!right) printf("# %s\n", reel_errrec()->msg);
    drop(p);
    reel_err_clear();
    return right;
}

static void refusals(void)
{
    TAP_OK(refused("callbacks.validation.pipeline_target: it streams, which needs a causal student", "wan", "sft", "wan_causal", ""), "streaming a bidirectional student");
    TAP_OK(refused("callbacks.validation.sampling_timesteps: a few-step sampler needs a list", "wan", "sft", "wan_dmd", ""), "few steps, but which");
    TAP_OK(refused("callbacks.validation.scheduler: euler samples whole clips", "wan_causal", "dfsft, chunk_size: 2", "wan_causal", ", scheduler: euler"), "Euler in chunks");
    TAP_OK(refused("callbacks.validation.validation_loss: on which data?", "wan", "sft", "wan", ", validation_loss: 4"), "a loss without data");
}

int main(int argc, char **argv)
{
    if (reel_comm_start(&world, &argc, &argv) != REEL_OK) return 1;
    levels();
    guidance();
    refusals();
    reel_comm_stop();
    return tap_done();
}
