/* Distribution matching distillation with a trained critic. */
#include "methods/dmd2.h"

#include "methods/method.h"

static const struct reel_opt dmd2_opts[] = { REEL_DMD2_OPTS, { .type = REEL_OPT_END } };

static reel_err check_steps(const struct reel_config *cfg, const struct reel_ints *s)
{
    const char *key = "method.dmd_denoising_steps";

    if (s->n == 0) return reel_config_fail(cfg, key, "an empty list; e.g. [1000, 750, 500, 250]");
    for (int i = 1; i < s->n; i++)
        if (s->v[i] >= s->v[i - 1])
            return reel_config_fail(cfg, key, "%lld after %lld: the list must be strictly decreasing",
                                    (long long)s->v[i], (long long)s->v[i - 1]);
    return REEL_OK;
}

static reel_err check_uncond(const struct reel_config *cfg, const struct reel_dmd2_opts *o)
{
    static const char *const key[] = { "method.cfg_uncond.image", "method.cfg_uncond.action" };
    const int channel[] = { o->uncond.image, o->uncond.action };

    if (o->uncond.text == REEL_UNCOND_DROP)
        return reel_config_fail(cfg, "method.cfg_uncond.text",
                                "drop: Wan cannot run without text; use negative_prompt, keep or zero");
    for (int i = 0; i < 2; i++)
        if (channel[i] && !o->uncond.ignore_missing)
            return reel_config_fail(cfg, key[i], "Wan has no such channel; use keep, or on_missing: ignore");
    return REEL_OK;
}

reel_err reel_dmd2_check(const struct reel_config *cfg, const struct reel_dmd2_opts *o)
{
    REEL_TRY(check_steps(cfg, &o->steps));
    REEL_TRY(check_uncond(cfg, o));
    if (!(o->critic_lr > 0))
        return reel_config_fail(cfg, "method.fake_score_learning_rate", "must be above 0; e.g. 8.0e-6");
    if (o->critic_lr_scheduler == REEL_LR_POLYNOMIAL && o->critic_lr <= 1e-7)
        return reel_config_fail(cfg, "method.fake_score_learning_rate",
                                "%g: polynomial decays to 1e-7 and needs a rate above it", o->critic_lr);
    return reel_check_ratios(cfg, o->min_ratio, o->max_ratio);
}

static reel_err dmd2_check(const struct reel_config *cfg, const void *priv)
{
    const struct reel_dmd2_opts *o = priv;

    REEL_TRY(reel_dmd2_check(cfg, o));
    return reel_check_latents(cfg, o->rollout_mode == REEL_ROLLOUT_SIMULATE);
}

const struct reel_method_ops reel_method_dmd2 = {
    .name = "dmd2",
    .help = "distribution matching: a few-step student against a frozen teacher and a trained critic",
    .targets = "fastvideo.train.methods.distribution_matching.dmd2.DMD2Method|"
               "fastvideo.train.methods.distribution_matching.DMD2Method",
    .opts = dmd2_opts,
    .priv_size = sizeof(struct reel_dmd2_opts),
    .roles_needed = REEL_ROLE(REEL_STUDENT) | REEL_ROLE(REEL_TEACHER) | REEL_ROLE(REEL_CRITIC),
    .roles_trained = REEL_ROLE(REEL_STUDENT) | REEL_ROLE(REEL_CRITIC),
    .check = dmd2_check,
};
