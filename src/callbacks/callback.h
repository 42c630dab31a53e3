#ifndef REEL_CALLBACKS_CALLBACK_H
#define REEL_CALLBACKS_CALLBACK_H

/* A callback acts around the optimiser step: clips, averages, validates. Hooks run in the order of the
 * configuration; each is Collective(world) and touches only the step and the method. */

#include "methods/method.h"

struct reel_cb;
struct reel_comm;
struct reel_hf_env; /* ckpt/hf.h */
struct reel_track; /* track/track.h */

struct reel_callback_ops {
    const char *name, *help;
    const char *targets;         /* FastVideo _target_ strings, '|' between */
    const struct reel_opt *opts; /* keys of the section callbacks.<name> */
    size_t priv_size;            /* filled from opts before init() */
    int observes;                /* 1: training is the same with and without it */
    /* Symmetric: cross-checks of its keys when the configuration is parsed; `section` is the dotted
     * place for reel_config_fail. NULL: none */
    reel_err (*check)(const struct reel_config *cfg, const void *priv, const char *section);

    /* Any hook may be NULL: nothing to do. */
    reel_err (*init)(struct reel_cb *c); /* Collective(world): judge the config; of the device nothing is taken yet */
    reel_err (*layout)(struct reel_cb *c, struct reel_arena *a);       /* Local: device memory, planned too */
    void (*rehearse)(struct reel_cb *c); /* Local, while planning: what after_step pushes on the method's arena, counted */
    reel_err (*prepare)(struct reel_cb *c); /* weights are there, initial or resumed, and so is state() if any */
    reel_err (*before_optim)(struct reel_cb *c, struct reel_step *st); /* gradients are whole */
    reel_err (*step_end)(struct reel_cb *c, struct reel_step *st);     /* weights are new */
    reel_err (*after_step)(struct reel_cb *c, long step); /* logged and saved; also once before the first step, with the step it starts from */
    void (*state)(struct reel_cb *c, struct reel_io *io);              /* Local: one visitor saves and loads */
    void (*fini)(struct reel_cb *c);                                   /* gives back what it took, not priv */
};

/* What a run lends to its callbacks. */
struct reel_cb_run {
    struct reel_comm *world;  /* also while planning, when the mesh has no communicators */
    struct reel_cb *cb;       /* all callbacks */
    int n_cb;
    struct reel_track *track; /* world rank 0's, from prepare on; NULL: nothing is logged */
    double fps;               /* pictures a second of the clips that it learns */
    const struct reel_hf_env *hf; /* where repositories are */
    int (*ends)(void *ctx);   /* whether the run has been asked to end, so that long work gives way. Collective(world) */
    void *ctx;
    int plan, quiet;          /* nothing is wanted but a plan; nothing is printed */
};

#define REEL_CB_READS 2

struct reel_cb {
    const struct reel_callback_ops *ops;
    const char *name; /* key in the configuration */
    void *priv;
    struct reel_method *method;
    struct reel_mesh *mesh;
    const struct reel_cb_run *run;
    size_t beside; /* bytes beside the arenas, the host's or a codec's, which layout counts for the plan */
    size_t before; /* bytes of a rank that a text encoder takes and gives back before the arenas are taken; counted for a plan alone */
    const char *beside_lacks; /* what that does not count, or NULL */
    struct { const char *what, *is; } reads[REEL_CB_READS]; /* files that a resumed run reads again, by init: a name and what tells their contents
                                                               apart; the first NULL ends them */
};

/* The registry, generated from CALLBACKS of local.mk; NULL-terminated. */
extern const struct reel_callback_ops *const reel_callbacks[];

/* One hook of a list of callbacks, in order; stops at the first error. Collective(world). */
reel_err reel_callbacks_init(struct reel_cb *cb, int n);
reel_err reel_callbacks_layout(struct reel_cb *cb, int n, struct reel_arena *a);
void reel_callbacks_rehearse(struct reel_cb *cb, int n); /* Local */
reel_err reel_callbacks_prepare(struct reel_cb *cb, int n);
reel_err reel_callbacks_before_optim(struct reel_cb *cb, int n, struct reel_step *st);
reel_err reel_callbacks_step_end(struct reel_cb *cb, int n, struct reel_step *st);
reel_err reel_callbacks_after_step(struct reel_cb *cb, int n, long step);
void reel_callbacks_fini(struct reel_cb *cb, int n); /* Local */

#endif
