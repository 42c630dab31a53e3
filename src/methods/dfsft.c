/* Diffusion forcing: every chunk of frames has its own noise level. */
#include "methods/dfsft.h"
#include "methods/method.h"

static const struct reel_opt dfsft_opts[] = { REEL_DFSFT_OPTS, { .type = REEL_OPT_END } };

static reel_err dfsft_check(const struct reel_config *cfg, const void *priv)
{
    const struct reel_dfsft_opts *o = priv;

    REEL_TRY(reel_check_rate(cfg));
    REEL_TRY(reel_check_ratios(cfg, o->min_ratio, o->max_ratio));
    REEL_TRY(reel_check_chunk(cfg, o->chunk_size));
    return reel_check_latents(cfg, 0);
}

const struct reel_method_ops reel_method_dfsft = {
    .name = "dfsft",
    .help = "diffusion forcing: fine-tuning with one noise level per chunk of frames",
    .targets = "fastvideo.train.methods.fine_tuning.dfsft.DiffusionForcingSFTMethod|"
               "fastvideo.train.methods.fine_tuning.DiffusionForcingSFTMethod",
    .opts = dfsft_opts,
    .priv_size = sizeof(struct reel_dfsft_opts),
    .roles_needed = REEL_ROLE(REEL_STUDENT),
    .roles_trained = REEL_ROLE(REEL_STUDENT),
    .check = dfsft_check,
};
