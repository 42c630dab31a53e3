#ifndef REEL_MODELS_SAMPLER_H
#define REEL_MODELS_SAMPLER_H

/* From noise to latents with a trained model. */

#include "models/model.h"

enum reel_sampler_kind { REEL_SAMPLER_EULER, REEL_SAMPLER_FEWSTEP, REEL_SAMPLER_STREAMING };
#define REEL_SAMPLER_NAMES "euler|fewstep|streaming" /* in the order of the enum */

struct reel_sampler {
    enum reel_sampler_kind kind;
    struct reel_model *model;
    struct reel_arena *a; /* caches, and one network call at a time; reset by the sampler */
    const float *sigma;   /* [steps+1] levels, falling; sigma[steps] is 0 for a finished clip */
    int steps;
    double sparsity;      /* of the passes over whole clips: struct reel_model_in */
    double guidance;      /* euler: 1: one call per step with the prompt alone */
    /* Local: normals of these clips for step k, [B,T,C,H,W] f32; 0 is what they start from */
    void (*noise)(void *ctx, struct reel_stream *s, reel_tensor eps, int k);
    /* euler and fewstep: sees the clips before step i, and after the last (i = steps); NULL: nobody looks. Local */
    void (*look)(void *ctx, int i, reel_tensor x);
    void *ctx;
};

/* Device memory of one batch of clips, the caller's. */
struct reel_sampling_io {
    reel_tensor x;            /* out [B,T,C,H,W] f32   latents (normalised) */
    reel_tensor t;            /* scratch [B] f32 */
    reel_tensor text, uncond; /* in [B,L,D] f32   prompts; what guidance moves away from */
};

/**
 * reel_sample - noise to latents, v the network's velocity
 * euler      x <- x + (sigma_{i+1} - sigma_i) (u + g (c - u)), c and u: v with text and with uncond
 * fewstep    x0 = x - sigma_i v; x <- (1 - sigma_{i+1}) x0 + sigma_{i+1} eps_{i+1}; no guidance
 * streaming  fewstep chunk by chunk, the model's chunk of frames (the first also holds the remainder): a chunk sees
 *            earlier ones through the cache, which a last pass at timestep 0 fills from its x0
 * On a planning stream it counts memory. Collective(hsdp) (the model gathers); async on the model's stream.
 * A model that cannot stream, or streaming with guidance, is a bug: the caller has checked.
 * Test: t_sampler. Source: euler: the explicit Euler rule of flow matching (Lipman et al., 2023); fewstep: DMD2's
 * inference (Yin et al., 2024); streaming: FastVideo stages/causal_denoising.py:CausalDMDDenosingStage @2f3d4074.
 */
void reel_sample(const struct reel_sampler *s, const struct reel_sampling_io *io);

#endif
