/* Teacher forcing: diffusion forcing whose noisy chunks attend to clean earlier ones. The network gets the clean clip
 * beside the noisy one; its mask does the rest.
 * Source: FastVideo fastvideo/train/methods/fine_tuning/tfsft.py @2f3d4074; formulas in README.md. */
#include "methods/dfsft.h"

static const struct reel_opt tfsft_opts[] = { REEL_DFSFT_OPTS, { .type = REEL_OPT_END } };

static reel_err tfsft_check(const struct reel_config *cfg, const void *priv)
{
    int64_t window = cfg->pipeline.dit.local_attn_size;

    REEL_TRY(reel_check_causal(cfg, "teacher forcing masks clean and noisy chunks"));
    if (window != REEL_INT_UNSET && window != -1)
        return reel_config_fail(cfg, "pipeline.dit_config.local_attn_size",
                                "%lld: teacher forcing has no window; it must be -1", (long long)window);
    return reel_dfsft_check(cfg, priv);
}

static reel_err tfsft_init(struct reel_method *m)
{
    const struct reel_model *student = m->role[REEL_STUDENT];

    if (student->window > 0)
        return reel_config_fail(m->cfg, "models.student.init_from", "its local_attn_size is %lld; teacher forcing has no window: "
                                "set pipeline.dit_config.local_attn_size to -1", (long long)student->window);
    return reel_dfsft_init(m);
}

static void tfsft_step(struct reel_method *m, const struct reel_batch *b, struct reel_step *st)
{
    reel_dfsft_step(m, b, st, 1);
}

const struct reel_method_ops reel_method_tfsft = {
    .name = "tfsft",
    .help = "teacher forcing: diffusion forcing with the clean earlier frames as context",
    .targets = "fastvideo.train.methods.fine_tuning.tfsft.TeacherForcingSFTMethod|"
               "fastvideo.train.methods.fine_tuning.TeacherForcingSFTMethod",
    .opts = tfsft_opts,
    .priv_size = sizeof(struct reel_dfsft),
    .roles_needed = REEL_ROLE(REEL_STUDENT),
    .roles_trained = REEL_ROLE(REEL_STUDENT),
    .check = tfsft_check,
    .init = tfsft_init,
    .step = tfsft_step,
};

REEL_EXPORT(REEL_KIND_METHOD, tfsft);
