#ifndef REEL_CKPT_NAMES_H
#define REEL_CKPT_NAMES_H

#include <stddef.h>

#include "nn/params.h"

/* Names of one parameter: ours (Diffusers'), of checkpoints (FastVideo's modules), of the authors' files. What they
 * are is the model's table (struct reel_naming; NULL: all the same). Local. */

#define REEL_NAME_MAX 160

/** reel_name_own - ours, from any of the three; wrapper components ("_checkpoint_wrapped_module.",
 * "_orig_mod.") and a leading "model.diffusion_model." are dropped; unknown names pass as they are. */
void reel_name_own(const struct reel_naming *w, char out[REEL_NAME_MAX], const char *name);

/** reel_name_ckpt - that of checkpoints, from ours; unknown names pass as they are. */
void reel_name_ckpt(const struct reel_naming *w, char out[REEL_NAME_MAX], const char *name);

/** reel_name_wrapped - a checkpoint's name as FastVideo's averages have it under activation checkpointing:
 * blocks.<i>._checkpoint_wrapped_module.<rest>; names outside of blocks pass as they are. */
void reel_name_wrapped(char out[REEL_NAME_MAX], const char *fastvideo);

#endif
