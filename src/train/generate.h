#ifndef REEL_TRAIN_GENERATE_H
#define REEL_TRAIN_GENERATE_H

/* Films from a trained model: what is asked for (generate_what.c), sampling (generate.c), decoding and files
 * (generate_out.c), and how faithful clips are to the built-in captions. */

#include "callbacks/prompts.h"
#include "train/cli.h"
#include "train/run.h"

#define REEL_GENERATE_MAX_STEPS 1000
#define REEL_GENERATE_SAMPLERS  REEL_SAMPLER_NAMES "|real"

struct reel_generate_flags {
    const char *prompt, *prompts; /* one film of this text; a file of them */
    const char *negative;         /* NULL: the encoders' habit */
    const char *model;            /* Diffusers folder or repository; without --config it is the whole run */
    const char *checkpoint;       /* checkpoint folder, output folder or "latest"; NULL: init_from's weights */
    int ema;                      /* the checkpoint's average instead of its weights */
    const char *out;              /* x.mp4: one film; x.png: a contact sheet alone; else a folder of films and a sheet */
    int64_t seed, steps, height, width, frames, batch; /* REEL_INT_UNSET: the habit of what was chosen */
    double guidance, fps, shift;                       /* NAN: alike */
    int64_t clips;          /* > 0: that many captions of held-out built-in clips, and measures of the result */
    int64_t benchmark;      /* which held-out captions and which noise: 0, 1, 2, ... */
    int sampler;            /* 0: by the model, else 1 + enum reel_sampler_kind, or one more: no model, real clips */
};

/* What the command line asks for. */
struct reel_generation {
    const struct reel_generate_flags *f;
    struct reel_prompts prompts;
    struct reel_config_src src; /* the run that samples */
    char *text;                 /* of src, malloc'ed */
    const char **tokens;        /* overrides of src, malloc'ed */
};

/**
 * reel_generation_read - prompts, and the configuration: the file's, that of the run whose checkpoint is meant, or
 * one made for a Diffusers folder alone; flags become its last overrides. Without --config the ranks are laid out here.
 * Free in any case. Collective(world). REEL_ECONFIG, REEL_EIO, REEL_EDATA, REEL_ENOMEM.
 */
reel_err reel_generation_read(struct reel_generation *g, struct reel_cli *cli, const struct reel_env *env, struct reel_comm *world);
void reel_generation_free(struct reel_generation *g);

/** reel_generate - sample, decode, write films and sheet, print the measures. Collective(world).
 * Errors: REEL_ECONFIG (encoders that the model does not fit), REEL_EIO, REEL_EDATA, REEL_ENOMEM. */
reel_err reel_generate(const struct reel_config *cfg, const struct reel_generation *g, const struct reel_env *env, struct reel_comm *world);

#endif
