#ifndef REEL_TRAIN_RUN_H
#define REEL_TRAIN_RUN_H

/* A training run: config -> objects (build.c), one step and the loop (loop.c), what it reports
 * (report.c), what it saves (save.c), and the plan that counts memory before any is taken. */

#include <limits.h>

#include "callbacks/callback.h"
#include "ckpt/hf.h"
#include "comm/stop.h"
#include "config/config.h"
#include "data/loader.h"
#include "methods/method.h"
#include "models/sampler.h"
#include "optim/optim.h"
#include "track/track.h"
#include "train/device.h"
#include "train/profile.h"
#include "train/spread.h"

struct reel_role_mem {
    struct reel_arena params, optim, work;
};

struct reel_run_flags {
    const char *replay, *record; /* files or NULL */
    int replay_strict;
    int plan;   /* nothing is wanted but a plan: weights need not be at hand */
    int quiet;  /* no progress, no table, no files but checkpoints (tests) */
    const struct reel_env *env; /* where models may be cached; NULL: folders only */
};

struct reel_run {
    const struct reel_config *cfg;
    struct reel_run_flags flags;
    struct reel_comm *world;
    struct reel_watch *watch;
    json_t *drift; /* rank 0: what the configuration of a resumed run changes, until it has resumed; or NULL */
    struct reel_mesh mesh;
    struct reel_seat seat; /* where this rank runs */
    struct reel_backend *be;
    struct reel_stream s;

    struct reel_model role[REEL_NROLE];
    struct reel_role_mem mem[REEL_NROLE];
    unsigned roles; /* REEL_ROLE bits of those that exist */
    unsigned stand_in; /* REEL_ROLE bits of those whose config.json is the built-in one: the model is not at hand */
    struct reel_optim optim[REEL_NROLE];

    struct reel_method method;
    struct reel_cb *cb;
    int n_cb;
    struct reel_hf_env hf; /* where repositories are */
    struct reel_cb_run cb_run; /* what they see of the run */

    struct reel_arena io;      /* device: the batch, constants */
    struct reel_arena cb_mem;  /* device: what callbacks keep */
    struct reel_arena step_mem; /* device: one micro-batch */
    struct reel_arena scratch; /* device: inside ops */
    struct reel_arena host;    /* host: one micro-batch */
    struct reel_arena save_mem; /* host: the copy that a save writes behind the steps; page-locked for a device */

    struct reel_set *set;
    struct reel_loader *loader;
    reel_err held; /* this rank's failure since the last agreement */
    struct reel_draws *draws;
    struct reel_batch batch;
    reel_tensor raw, mean, istd; /* raw latents as read; normalisation constants */
    reel_tensor probe;           /* i64 [REEL_EXACT_LIMBS]: where finite.c looks for NaN */

    struct reel_track *track;
    int lock; /* rank 0: descriptor that keeps other runs out of the output folder, or -1 */
    struct reel_profile prof;
    struct reel_spread spread[REEL_NSPREAD]; /* of the last step that was reduced */
    struct reel_saver *saver;
    struct reel_stop stop;
    int stopped; /* REEL_STOP bits of who ended the run before its last step; a requeue goes on */
    char from[PATH_MAX];      /* the checkpoint that the run goes on from */
    long from_step;           /* its step; -1: there is none */
    long step, first, last;   /* running, resumed from, max_train_steps */

    /* who wants to see whole gradients before callbacks touch them (tests); NULL normally */
    void (*on_grads)(void *ctx, const struct reel_step *st);
    void *on_grads_ctx;
};

/** reel_run_plan - build everything on planning arenas: afterwards each arena's `peak` is what a rank
 * of this layout needs. No weights, no data, no memory. Symmetric. */
reel_err reel_run_plan(struct reel_run *r, const struct reel_config *cfg, const struct reel_env *env,
                       struct reel_comm *world);

/** reel_run_unplan - give back what such a plan took, also one that was refused half-way. Local. */
void reel_run_unplan(struct reel_run *r);

/** reel_run_open - plan, take memory, load or draw weights, open data, resume. Collective(world). REEL_OK with `stopped` set: a
 * signal or the clock came while data were made for the run, and nothing is open. */
reel_err reel_run_open(struct reel_run *r, const struct reel_config *cfg, const struct reel_run_flags *flags,
                       struct reel_comm *world);

/* What sampling needs of a run: one role alone, without gradients, and one batch of noise and text. */
struct reel_sampling {
    enum reel_role role;    /* who samples */
    const struct reel_set_info *info; /* the data set whose size is meant where the configuration is silent, or NULL */
    int64_t batch;          /* clips sampled at once by a data-parallel group */
    const char *checkpoint; /* where the weights come from; NULL: init_from */
    int ema;                /* the average of the checkpoint instead of its weights */
    uint64_t seed;          /* of the noise */
    struct reel_sampler sampler; /* in: kind, steps, sigma, guidance; out: the rest, unless `noise` is given */
    struct reel_sampling_io io;  /* out */
    struct reel_draws *draws;    /* out */
    struct reel_where where;     /* which clips a batch is: its noise; set before sampling */
    /* Between planning and taking memory, when the model's shape is known; NULL: nothing to do. Collective(world) */
    reel_err (*planned)(void *ctx, struct reel_run *r);
    void *planned_ctx;
};

/** reel_run_open_sampling - mesh, device and the role for sampling. Close with reel_run_close.
 * Collective(world). */
reel_err reel_run_open_sampling(struct reel_run *r, const struct reel_config *cfg, struct reel_sampling *g,
                                const struct reel_env *env, struct reel_comm *world);

/** reel_run_plan_sampling - the memory of such a run, as reel_run_plan does. Symmetric. */
reel_err reel_run_plan_sampling(struct reel_run *r, const struct reel_config *cfg, struct reel_sampling *g,
                                const struct reel_env *env, struct reel_comm *world);

/** reel_run_first - start reading the first micro-batch; before the first reel_run_step. Local. */
void reel_run_first(struct reel_run *r);

/** reel_run_step - one optimiser step; on REEL_OK its metrics are in *st. Collective(world). */
reel_err reel_run_step(struct reel_run *r, long step, struct reel_step *st);

/** reel_run_loop - steps first+1..last with log, checkpoints and the closing table. Collective(world). */
reel_err reel_run_loop(struct reel_run *r);

/** reel_run_fail - after an error of reel_run_open or reel_run_loop, before the process ends: a checkpoint that is being
 * written ends, trackers say why. The error record stays. Collective(world). */
void reel_run_fail(struct reel_run *r);

/** reel_run_close - release everything; a first error of closing files is returned. Collective(world). */
reel_err reel_run_close(struct reel_run *r);

/** reel_run_arenas - the run's arenas in the order of reports; returns their number. Local. */
#define REEL_RUN_ARENAS (3 * REEL_NROLE + 5)
int reel_run_arenas(struct reel_run *r, struct reel_arena *list[REEL_RUN_ARENAS]);

/** reel_run_memory - the arenas that one memory must hold: the device's, or on_host: those and the copy that a save writes. Local. */
int reel_run_memory(struct reel_run *r, int on_host, struct reel_arena *list[REEL_RUN_ARENAS]);

#endif
