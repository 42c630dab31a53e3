#ifndef REEL_CALLBACKS_VALIDATION_PRIV_H
#define REEL_CALLBACKS_VALIDATION_PRIV_H

/* Validation: when and what (validation.c), films of prompts (films.c), loss on held-out data (held_out.c). */

#include "callbacks/callback.h"
#include "callbacks/prompts.h"
#include "data/set.h"
#include "encode/encode.h"
#include "models/sampler.h"
#include "nn/schedule.h"

enum reel_val_pipeline { REEL_VAL_WAN, REEL_VAL_WAN_DMD, REEL_VAL_CAUSAL, REEL_VAL_CAUSAL_DMD };
enum { REEL_VAL_BY_PIPELINE, REEL_VAL_PARALLEL, REEL_VAL_STREAMING };
enum reel_val_scheduler { REEL_VAL_UNIPC, REEL_VAL_UNIPC_DIFFUSERS, REEL_VAL_EULER };

#define REEL_VAL_STEPS 1000 /* most sampling steps */

struct reel_val_film { /* what sampling and decoding need */
    struct reel_sampler sampler;
    struct reel_sampling_io io;
    struct reel_where where;       /* of the batch that is sampled */
    int64_t shape[5];              /* of a batch, B,T,C,H,W */
    struct reel_codec *codec;
    float sigma[REEL_VAL_STEPS + 1], t[REEL_VAL_STEPS];
    /* host memory, taken once */
    float *latent;                 /* [videos][B] clips [T,C,h,w], normalised */
    float *raw;                    /* [C,1,h,w]: one latent frame before decoding */
    float *rows;                   /* [B,L,D]: padded texts */
    uint8_t *rgb, *grid;           /* pictures: of all films of a prompt, or of one latent frame; side by side */
    int64_t *written;              /* [n] 1: the prompt's file is there */
};

struct reel_held_out {
    struct reel_set *set;
    reel_tensor x0, text;          /* one batch */
    float *raw, *latent, *rows;    /* host: one sample [C,T,H,W], a batch [B,T,C,H,W], texts [B,L,D] */
    double *loss;                  /* [samples] */
};

struct reel_validation {
    /* keys */
    int pipeline, rollout_mode, scheduler;
    const char *dataset_file, *output_dir, *validation_data, *negative_prompt;
    int64_t every_steps, num_frames, num_videos_per_prompt, validation_loss;
    int run_at_start;
    struct reel_ints sampling_steps, sampling_timesteps;
    double guidance_scale, keyboard_value_scale;
    int use_media, overlay_actions, offload_training_state, unload_pipeline, attn_qat_infer;
    int text_encoder_cpu_offload, vae_cpu_offload, dit_cpu_offload;
    const struct reel_node *metrics;

    /* made by init */
    struct reel_prompts prompts;
    struct reel_stream stream;     /* the encoders' own, with nothing in it: they bring their memory */
    struct reel_arena scratch;
    char lacks[REEL_ERR_MSG + 16]; /* why a plan does without the codec */
    struct reel_encode_opts encoders;
    char text_id[64], codec_id[64]; /* of their weights */
    int64_t n, per_group, batch;   /* prompts, those of a group (the last are padding), those sampled at once */
    struct reel_val_film film;
    struct reel_held_out held_out;
    struct reel_text_rows *text, negative; /* [per_group] of this group's prompts */
};

/** reel_val_levels - the sampler of one entry of sampling_steps. Symmetric: few-step lists have their own length. REEL_ECONFIG. */
reel_err reel_val_levels(struct reel_cb *c, int64_t steps);

/** reel_val_where - the batch at `at` of this group's run of per_group, of n in all: coordinates of its draws. Local. What is past
 * the last is padding, which nb does not count. */
struct reel_where reel_val_where(const struct reel_cb *c, int64_t per_group, int64_t at, int64_t batch, int64_t n);

/** reel_val_films_plan, _layout, _open - the sampling pass on a planning stream; its tensors; host memory and codec. Local. */
void reel_val_films_plan(struct reel_cb *c);
void reel_val_films_layout(struct reel_cb *c, struct reel_arena *a);
reel_err reel_val_films_open(struct reel_cb *c);
reel_err reel_val_films_codec(struct reel_cb *c); /* Local: open the codec, if it is not; REEL_ECONFIG it does not fit the student */
void reel_val_films_close(struct reel_cb *c);
/** reel_val_films_run - every prompt with the levels that are set, written and logged; *whole 0: the run ends, and what is left
 * was left out. Collective(world). */
reel_err reel_val_films_run(struct reel_cb *c, long step, int *whole);

void reel_held_out_plan(struct reel_cb *c);
void reel_held_out_layout(struct reel_cb *c, struct reel_arena *a);
reel_err reel_held_out_open(struct reel_cb *c); /* Collective(world) */
void reel_held_out_close(struct reel_cb *c);
/** reel_held_out_run - the mean loss, the same bits on every rank of every layout. Collective(world). */
reel_err reel_held_out_run(struct reel_cb *c, long step, double *loss);

#endif
