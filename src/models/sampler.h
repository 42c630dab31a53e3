#ifndef REEL_MODELS_SAMPLER_H
#define REEL_MODELS_SAMPLER_H

/* From noise to latents with a trained model. */

#include "models/model.h"

enum reel_sampler_kind {
    REEL_SAMPLER_EULER, REEL_SAMPLER_FEWSTEP, REEL_SAMPLER_STREAMING, REEL_SAMPLER_UNIPC, REEL_SAMPLER_CAUSAL, REEL_NSAMPLER
};
#define REEL_SAMPLER_NAMES "euler|fewstep|streaming|unipc|causal" /* in the order of the enum */

struct reel_sampler {
    enum reel_sampler_kind kind;
    struct reel_model *model;
    struct reel_arena *a; /* caches, history, and one network call at a time; reset by the sampler */
    const float *sigma;   /* [steps+1] levels, falling; sigma[steps] is 0 for a finished clip */
    const float *t;       /* [steps] timesteps that the network is told; NULL: 1000 sigma */
    int steps;
    int ode;              /* fewstep, streaming: 1: go on with the noise that state and x0 imply instead of fresh noise */
    double sparsity;      /* of the passes over whole clips: struct reel_model_in */
    double guidance;      /* 1: one call per step with the prompt alone */
    double context_t;     /* streaming, causal: timestep at which a finished chunk enters the cache */
    /* Local: normals of frames lo.. of these clips of T for step k, [B,n,C,H,W] f32; 0 is what they start from */
    void (*noise)(void *ctx, struct reel_stream *s, reel_tensor eps, int64_t lo, int64_t T, int k);
    /* whole clips: sees the clips before step i, and after the last (i = steps); NULL: nobody looks. Local */
    void (*look)(void *ctx, int i, reel_tensor x);
    /* streaming, causal: sees frames lo.. of the clips when they are finished, [B,n,C,H,W]; NULL: nobody. Local */
    void (*chunk)(void *ctx, int64_t lo, reel_tensor x);
    void *ctx;
};

/* Device memory of one batch of clips, the caller's. */
struct reel_sampling_io {
    reel_tensor x;            /* out [B,T,C,H,W] f32   latents (normalised) */
    reel_tensor t;            /* scratch [B] f32 */
    reel_tensor text, uncond; /* in [B,L,D] f32   prompts; what guidance moves away from */
};

/** reel_sampling_io_make - tensors for clips of `shape` [B,T,C,H,W] in arena a. Local. */
struct reel_sampling_io reel_sampling_io_make(struct reel_arena *a, const struct reel_model *m, const int64_t shape[5]);

/** reel_sampler_streams - whether a kind goes chunk by chunk, which needs a model with a cache. Local. */
int reel_sampler_streams(enum reel_sampler_kind kind);
/** reel_sampler_guided - whether a kind can be guided. Local. */
int reel_sampler_guided(enum reel_sampler_kind kind);
/** reel_sampler_levels - the levels sigma [n+1] and timesteps t [n] that a kind takes unless told: unipc and causal those
 * of reel_sched_unipc, the others reel_even_sigmas. Local. */
void reel_sampler_levels(enum reel_sampler_kind kind, float *sigma, float *t, int n, float shift);

/**
 * reel_sample - noise to latents, v the network's velocity u + g (c - u), c and u: v with text and with uncond
 * euler      x <- x + (sigma_{i+1} - sigma_i) v
 * unipc      x0 = x - sigma_i v; the corrector and predictor of nn/schedule.h
 * fewstep    x0 = x - sigma_i v; x <- (1 - sigma_{i+1}) x0 + sigma_{i+1} eps_{i+1}; no guidance
 * streaming  fewstep chunk by chunk, the model's chunk of frames (the first also holds the remainder): a chunk sees
 *            earlier ones through the cache, which a last pass over its x0 at timestep context_t fills
 * causal     unipc chunk by chunk, alike; with guidance a second cache holds what uncond saw
 * The state is f32, its factors are made in double. On a planning stream it counts memory. Collective(hsdp) (the model
 * gathers); async on the model's stream. A model that cannot stream, or guidance where there is none, is a bug: the
 * caller has checked. Test: t_sampler, golden/schedulers.
 * Source: euler: the explicit Euler rule of flow matching (Lipman et al., 2023); unipc: FastVideo WanPipeline; fewstep: DMD2's
 * inference (Yin et al., 2024), FastVideo stages/denoising.py:DmdDenoisingStage; streaming, causal: FastVideo
 * stages/causal_denoising.py:CausalDMDDenosingStage, CausalDenoisingStage (which is not guided) @2f3d4074.
 */
void reel_sample(const struct reel_sampler *s, const struct reel_sampling_io *io);

#endif
