/* Teacher forcing: diffusion forcing whose noisy chunks attend to clean earlier ones. */
#include "methods/dfsft.h"
#include "methods/method.h"

static const struct reel_opt tfsft_opts[] = { REEL_DFSFT_OPTS, { .type = REEL_OPT_END } };

static reel_err tfsft_check(const struct reel_config *cfg, const void *priv)
{
    const struct reel_dfsft_opts *o = priv;
    int64_t window = cfg->pipeline.dit.local_attn_size;

    REEL_TRY(reel_check_rate(cfg));
    REEL_TRY(reel_check_causal(cfg, "teacher forcing masks clean and noisy chunks"));
    REEL_TRY(reel_check_ratios(cfg, o->min_ratio, o->max_ratio));
    REEL_TRY(reel_check_chunk(cfg, o->chunk_size));
    if (window != REEL_INT_UNSET && window != -1)
        return reel_config_fail(cfg, "pipeline.dit_config.local_attn_size",
                                "%lld: teacher forcing has no window; it must be -1", (long long)window);
    return reel_check_latents(cfg, 0);
}

const struct reel_method_ops reel_method_tfsft = {
    .name = "tfsft",
    .help = "teacher forcing: diffusion forcing with the clean earlier frames as context",
    .targets = "fastvideo.train.methods.fine_tuning.tfsft.TeacherForcingSFTMethod|"
               "fastvideo.train.methods.fine_tuning.TeacherForcingSFTMethod",
    .opts = tfsft_opts,
    .priv_size = sizeof(struct reel_dfsft_opts),
    .roles_needed = REEL_ROLE(REEL_STUDENT),
    .roles_trained = REEL_ROLE(REEL_STUDENT),
    .check = tfsft_check,
};
