/* The sparsity of a step, and which roles are sparse, from configurations. */
#include "cfg.h"
#include "methods/method.h"

#define HEAD "models:\n  student: {_target_: wan, init_from: x%s}\n  teacher: {_target_: wan, init_from: x, trainable: false%s}\n"           \
             "  critic: {_target_: wan, init_from: x}\nmethod: {_target_: %s%s}\ntraining:\n  data: {data_path: d, num_latent_t: 5, num_height: 64, num_width: 64}\n" \
             "  optimizer: {learning_rate: 1.0e-5}\n  loop: {max_train_steps: 10}\n  vsa: {%s}\n"

/* student and teacher keys, method, its keys, training.vsa */
static const struct reel_config *config(const char *student, const char *teacher, const char *method, const char *keys, const char *vsa)
{
    char *text = malloc(4096);
    struct reel_config *cfg;

    snprintf(text, 4096, HEAD, student, teacher, method, keys, vsa);
    cfg = cfg_parse(text, "vsa.yaml", 0, NULL, 0);
    if (!cfg) printf("Bail out! %s\n", reel_errrec()->msg), exit(1);
    return cfg;
}

static double at(const struct reel_config *cfg, long step)
{
    struct reel_method m = { .cfg = cfg };
    struct reel_step st = { .step = step };

    return reel_method_sparsity(&m, &st);
}

/* Exactly the doubles that a file would say. */
static void schedule(void)
{
    const struct reel_config *constant = config("", "", "sft", "", "sparsity: 0.9"),
                             *ramp = config("", "", "sft", "", "sparsity: 0.9, decay_rate: 0.03, decay_interval_steps: 50"),
                             *tenths = config("", "", "sft", "", "sparsity: 0.9, decay_rate: 0.1, decay_interval_steps: 1"),
                             *over = config("", "", "sft", "", "sparsity: 0.8, decay_rate: 0.03, decay_interval_steps: 1"),
                             *fine = config("", "", "sft", "", "sparsity: 0.95, decay_rate: 1.0e-9, decay_interval_steps: 1"),
                             *dense = config("", "", "sft", "", "sparsity: 0");

    TAP_OK(at(constant, 1) == 0.9 && at(constant, 1000000) == 0.9, "constant without the decay keys");
    TAP_OK(at(ramp, 1) == 0 && at(ramp, 49) == 0 && at(ramp, 50) == 0.03 && at(ramp, 149) == 0.06 && at(ramp, 150) == 0.09,
           "0.03 every 50 steps");
    TAP_OK(at(ramp, 1450) == 0.87 && at(ramp, 1499) == 0.87 && at(ramp, 1500) == 0.9 && at(ramp, 2000000000) == 0.9, "... to 0.9");
    TAP_OK(at(tenths, 3) == 0.3 && at(tenths, 7) == 0.7 && at(tenths, 9) == 0.9 && at(tenths, 10) == 0.9, "tenths are tenths");
    TAP_OK(at(over, 26) == 0.78 && at(over, 27) == 0.8, "a last step that is shorter");
    TAP_OK(at(fine, 3) == 3e-9 && at(fine, 2000000000) == 0.95, "a billionth a step");
    TAP_OK(at(dense, 5) == 0, "sparsity 0");
}

static unsigned sparse_roles(const struct reel_config *cfg)
{
    unsigned r = 0;

    for (int i = 0; i < REEL_NROLE; i++) r |= (unsigned)reel_method_sparse(cfg, (enum reel_role)i) << i;
    return r;
}

static void roles(void)
{
    const char *dmd = ", rollout_mode: simulate, dmd_denoising_steps: [1000, 500], fake_score_learning_rate: 1.0e-5, "
                      "fake_score_betas: \"0.0,0.999\", fake_score_lr_scheduler: constant";
    char dense[512];
    unsigned all = REEL_ROLE(REEL_STUDENT) | REEL_ROLE(REEL_TEACHER) | REEL_ROLE(REEL_CRITIC);

    snprintf(dense, sizeof dense, "%s, attn_kind: dense", dmd);
    TAP_OK(sparse_roles(config("", "", "dmd2", dmd, "sparsity: 0.9")) == all, "training.vsa makes every role's blocks sparse");
    TAP_OK(sparse_roles(config("", ", disable_custom_init_weights: true", "dmd2", dmd, "sparsity: 0.9")) == (all & ~REEL_ROLE(REEL_TEACHER)),
           "but a teacher that is marked dense");
    TAP_OK(sparse_roles(config("", "", "dmd2", dense, "sparsity: 0.9")) == (all & ~REEL_ROLE(REEL_STUDENT)) &&
               at(config("", "", "dmd2", dense, "sparsity: 0.9"), 1) == 0, "attn_kind: dense is the student's");
    TAP_OK(sparse_roles(config(", attention_backend: FLASH_ATTN", "", "dmd2", dmd, "sparsity: 0.9")) == (all & ~REEL_ROLE(REEL_STUDENT)),
           "another backend is dense");
    TAP_OK(sparse_roles(config("", "", "sft", ", attn_kind: vsa", "sparsity: 0")) == REEL_ROLE(REEL_STUDENT), "attn_kind: vsa alone: all blocks and a gate");
    TAP_OK(sparse_roles(config(", attention_backend: VIDEO_SPARSE_ATTN", "", "sft", "", "sparsity: 0")) == REEL_ROLE(REEL_STUDENT), "the backend alone, likewise");
    TAP_OK(reel_method_target_sparsity(config("", "", "dmd2", dmd, "sparsity: 0.9, decay_rate: 0.1, decay_interval_steps: 1"), REEL_STUDENT) == 0.9 &&
               reel_method_target_sparsity(config("", "", "dmd2", dmd, "sparsity: 0.9"), REEL_TEACHER) == 0, "samples are taken at the schedule's end");
}

int main(void)
{
    schedule();
    roles();
    return tap_done();
}
