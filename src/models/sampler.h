#ifndef REEL_MODELS_SAMPLER_H
#define REEL_MODELS_SAMPLER_H

/* From noise to latents with a trained model. */

#include "models/model.h"

struct reel_sampler {
    struct reel_model *model;
    struct reel_arena *a; /* one network call; reset between calls */
    int steps;
    double guidance; /* 1: one call per step with the prompt alone */
    float shift;     /* of the noise levels: sigma_i = shift(s; (n-i)/n) */
};

/**
 * reel_sample_euler - x <- x + (sigma_{i+1} - sigma_i) v, i = 0..steps-1; v = u + g (c - u)
 * Collective(hsdp) (the model gathers); async on the model's stream.
 * @x     in/out [B,T,C,H,W] f32   noise, then latents (normalised)
 * @t     scratch [B] f32
 * @text  in [B,L,D] f32   prompts        @uncond in [B,L,D] f32   what guidance moves away from
 * Test: t_sampler. Source: the explicit Euler rule of flow matching (Lipman et al., 2023).
 */
void reel_sample_euler(const struct reel_sampler *s, reel_tensor x, reel_tensor t, reel_tensor text,
                       reel_tensor uncond);

#endif
