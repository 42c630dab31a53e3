#ifndef REEL_CKPT_NAMES_H
#define REEL_CKPT_NAMES_H

#include <stddef.h>

/* Names of one parameter: Diffusers (ours), FastVideo modules, the original Wan files. Local. */

#define REEL_NAME_MAX 160

/** reel_name_diffusers - from any of the three; wrapper components ("_checkpoint_wrapped_module.",
 * "_orig_mod.") and a leading "model.diffusion_model." are dropped; unknown names pass as they are. */
void reel_name_diffusers(char out[REEL_NAME_MAX], const char *name);

/** reel_name_fastvideo - from a Diffusers name; unknown names pass as they are. */
void reel_name_fastvideo(char out[REEL_NAME_MAX], const char *name);

/** reel_name_wrapped - FastVideo's name as its averages have it under activation checkpointing:
 * blocks.<i>._checkpoint_wrapped_module.<rest>; names outside of blocks pass as they are. */
void reel_name_wrapped(char out[REEL_NAME_MAX], const char *fastvideo);

#endif
