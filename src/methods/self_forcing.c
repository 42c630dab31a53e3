/* Self-Forcing: distribution matching on the student's own streaming rollout. */
#include "methods/distill.h"

struct self_forcing {
    struct reel_dmd dmd; /* first: its options' offsets hold here */
    int64_t chunk_size;
    int sample_ode, same_step, last_step_only, grad_in_rollout, attn_kind;
    double context_noise;
    int64_t start_gradient_frame;
};

#define F(field) offsetof(struct self_forcing, field)
static const struct reel_opt self_forcing_opts[] = {
    REEL_DMD_OPTS,
    { "chunk_size", REEL_OPT_INT, F(chunk_size), .dflt = 3, .min = 1, .max = 65536, .unit = "latent frames",
      .help = "frames denoised together; a remainder joins the first block" },
    { "student_sample_type", REEL_OPT_ENUM, F(sample_ode), .choices = "sde|ode",
      .help = "sde: fresh noise between steps; ode: the noise that the prediction implies" },
    { "same_step_across_blocks", REEL_OPT_BOOL, F(same_step), .help = "all blocks exit at one drawn step" },
    { "last_step_only", REEL_OPT_BOOL, F(last_step_only), .help = "always exit at the last step" },
    { "context_noise", REEL_OPT_F64, F(context_noise), .min = 0, .max = 1000, .unit = "timesteps",
      .help = "noise of the clean frames written back to the cache" },
    { "enable_gradient_in_rollout", REEL_OPT_BOOL, F(grad_in_rollout), .dflt = 1,
      .help = "the student's exit step carries the gradient" },
    { "start_gradient_frame", REEL_OPT_INT, F(start_gradient_frame), .min = 0, .max = 65536,
      .unit = "latent frames", .help = "blocks that start before it carry none" },
    { "attn_kind", REEL_OPT_ENUM, F(attn_kind), .choices = REEL_ATTN_KIND_CHOICES,
      .help = "accepted; causal attention is dense" },
    { .type = REEL_OPT_END },
};

/* Some block must start at or after start_gradient_frame: otherwise the student never learns. */
static reel_err check_gradient(const struct reel_config *cfg, const struct self_forcing *o)
{
    int64_t frames = cfg->training.data.num_latent_t;
    int64_t last = frames / o->chunk_size > 1 ? frames - o->chunk_size : 0;

    if (!o->grad_in_rollout)
        return reel_config_fail(cfg, "method.enable_gradient_in_rollout", "false leaves the student without a gradient");
    if (o->start_gradient_frame > last)
        return reel_config_fail(cfg, "method.start_gradient_frame",
                                "%lld is beyond the last block, which starts at frame %lld: no block would carry a gradient",
                                (long long)o->start_gradient_frame, (long long)last);
    return REEL_OK;
}

static reel_err self_forcing_check(const struct reel_config *cfg, const void *priv)
{
    const struct self_forcing *o = priv;

    REEL_TRY(reel_check_causal(cfg, "Self-Forcing streams frame by frame"));
    if (o->dmd.rollout_mode != REEL_ROLLOUT_SIMULATE)
        return reel_config_fail(cfg, "method.rollout_mode", "Self-Forcing always simulates: use simulate");
    REEL_TRY(reel_dmd_check(cfg, &o->dmd));
    REEL_TRY(reel_check_chunk(cfg, o->chunk_size));
    REEL_TRY(reel_check_latents(cfg, 1));
    return check_gradient(cfg, o);
}

const struct reel_method_ops reel_method_self_forcing = {
    .name = "self_forcing",
    .help = "distribution matching on the causal student's own streaming rollout",
    .targets = "fastvideo.train.methods.distribution_matching.self_forcing.SelfForcingMethod|"
               "fastvideo.train.methods.distribution_matching.SelfForcingMethod",
    .opts = self_forcing_opts,
    .priv_size = sizeof(struct self_forcing),
    .roles_needed = REEL_ROLE(REEL_STUDENT) | REEL_ROLE(REEL_TEACHER) | REEL_ROLE(REEL_CRITIC),
    .roles_trained = REEL_ROLE(REEL_STUDENT) | REEL_ROLE(REEL_CRITIC),
    .check = self_forcing_check,
};
