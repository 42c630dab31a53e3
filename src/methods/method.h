#ifndef REEL_METHODS_METHOD_H
#define REEL_METHODS_METHOD_H

/* A method is its loss: it draws named noise, runs roles forward, forms the loss and its cotangent.
 * The loop owns optimisers, files and ranks. */

#include "base/exact.h"
#include "base/opt.h"
#include "base/plugin.h"
#include "config/config.h"
#include "data/draws.h"
#include "models/model.h"

enum reel_role { REEL_STUDENT, REEL_TEACHER, REEL_CRITIC, REEL_NROLE };
#define REEL_ROLE(r) (1u << (r))

struct reel_batch {
    reel_tensor x0;   /* [B,T,C,H,W] f32, normalised latents */
    reel_tensor text; /* [B,L,text_dim] f32, padded, dropout applied */
    int64_t b0;       /* position of the first local sample in the global micro-batch */
    int64_t b_global; /* global micro-batch */
};

#define REEL_NMETRIC 8
#define REEL_NSCALAR 128
struct reel_metric {
    const char *name;
    double scale;                    /* the value is scale times the sum over samples, rounds and ranks */
    int64_t sum[REEL_EXACT_LIMBS];   /* exact, so that no order of ranks shows in it */
    double value;                    /* filled by the loop once ranks are added */
};
struct reel_step { /* one optimiser step as it flows trainer -> method -> callbacks */
    long step;
    int round, rounds; /* accumulation */
    unsigned trained;  /* roles whose gradients are fresh */
    int skip;          /* set by a callback or the numeric guard: no update in this step */
    int n_metric;
    struct reel_metric metric[REEL_NMETRIC];
    int n_scalar; /* what callbacks add to the log: host values, equal on every rank */
    struct reel_scalar {
        char name[64];
        double value;
    } scalar[REEL_NSCALAR];
};

/** reel_step_metric - the metric of that name, made at its first use in the step. Local. */
struct reel_metric *reel_step_metric(struct reel_step *st, const char *name, double scale);
/** reel_step_scalar - add one value to the step's log; more than REEL_NSCALAR are dropped. Local. */
void reel_step_scalar(struct reel_step *st, const char *name, double value);

/* How a few-step student samples: it is trained at these levels. */
struct reel_few_steps {
    int n;                  /* 0: the method trains no few steps */
    const float *t, *sigma; /* [n], falling */
    const struct reel_sched *table; /* nn/schedule.h: a list is mapped through it (warp) and looked up in it; NULL: it has no list */
    int warp, ode;          /* ode: no fresh noise between steps */
};

struct reel_method;
struct reel_sched;
struct reel_io; /* ckpt/io.h */
struct reel_kd_opts; /* methods/kd.h */
struct reel_method_ops {
    const char *name, *help;
    const char *targets;         /* FastVideo _target_ strings, '|' between */
    const struct reel_opt *opts; /* keys of the section `method` */
    size_t priv_size;            /* zeroed and filled from opts before init() */
    unsigned roles_needed, roles_trained;
    unsigned roles_optional; /* may be configured, frozen; a training run does not load them */
    /* Symmetric, without roles: cross-checks of its keys when the configuration is parsed. NULL: none */
    reel_err (*check)(const struct reel_config *cfg, const void *priv);
    reel_err (*init)(struct reel_method *m); /* Symmetric: judge the config, not the machine */
    /* Collective. Forward and backward of one micro-batch; marks st->trained. While planning it runs once
     * and must take every branch that a step can take, the largest memory first. */
    void (*step)(struct reel_method *m, const struct reel_batch *b, struct reel_step *st);

    /* Any of the following may be NULL; the default is said. */
    int (*makes_latents)(const void *priv); /* 1: reads no latents, only text. Default: reads them */
    /* The teacher's trajectories (methods/kd.h) that it reads instead of training.data.data_path; x0 of a batch has the
     * states of a sample back to back, [B,states*T,C,H,W]. Default: reads clips */
    const struct reel_kd_opts *(*trajectories)(const void *priv);
    struct reel_few_steps (*few_steps)(const struct reel_method *m); /* Symmetric, after init. Default: none */
    /* the optimizer of a trained role; *o comes in as training.optimizer, which is the default. Symmetric */
    void (*optimizer)(const struct reel_method *m, enum reel_role role, struct reel_cfg_optimizer *o);
    reel_err (*layout)(struct reel_method *m, struct reel_arena *a); /* Local: memory that outlives steps, planned too */
    reel_err (*prepare)(struct reel_method *m); /* Collective(world): weights are there, before the first step */
    /* Local: one visitor saves and loads what a resumed run needs beside weights and optimizers */
    void (*state)(struct reel_method *m, struct reel_io *io);
    void (*fini)(struct reel_method *m); /* gives back what it took, not priv */
};

struct reel_method {
    const struct reel_method_ops *ops;
    void *priv;
    const struct reel_config *cfg;
    struct reel_model *role[REEL_NROLE];
    struct reel_draws *draws; /* named draws, replay, record */
    struct reel_arena *a;     /* device memory of one micro-batch */
    struct reel_arena *host;  /* host memory of one micro-batch: never planned, always there */
    struct reel_stream *s;
    int64_t shape[5];         /* of a local micro-batch: B,T,C,H,W */
    reel_tensor negative;     /* [B,L,text_dim] f32: rows of the negative prompt, or nd 0: the data set has none */
    /* who wants to see intermediates (tests, tools); NULL normally. t's rows are samples b->b0... */
    void (*note)(void *ctx, const char *name, const struct reel_step *st, const struct reel_batch *b,
                 reel_tensor t);
    void *note_ctx;
};

/** reel_method_note - show an intermediate to whoever listens. Local. */
void reel_method_note(struct reel_method *m, const char *name, const struct reel_step *st,
                      const struct reel_batch *b, reel_tensor t);
/** reel_method_loss - add sums per frame, each times factor (and weight [B,T], unless NULL), to the step's
 * metrics of these names (NULL-terminated), which are scale times their sum. Local.
 * @sum  device [B,T] f64 */
void reel_method_loss(struct reel_method *m, struct reel_step *st, const char *const *names, reel_tensor sum,
                      const double *weight, double factor, double scale);
/** reel_method_share - 1 / elements of all latents of a step: what a mean over them gives to each. Local. */
double reel_method_share(const struct reel_batch *b, const struct reel_step *st);
/**
 * reel_method_sparsity - of the student's passes in this step: what training.vsa says, min(sparsity, decay_rate * (step div
 * decay_interval_steps)) in decimal arithmetic, or constant without the decay keys; 0 if the student is dense. Passes of
 * teacher and critic take 0. Local. Source: FastVideo's current_vsa_sparsity, fastvideo/training/ @2f3d4074, whose
 * floating-point floor division stops short of some values (0.9 by 0.1 ends at 0.8).
 */
double reel_method_sparsity(const struct reel_method *m, const struct reel_step *st);
/** reel_method_sparse - whether the role's model has sparse attention at all. Local. */
int reel_method_sparse(const struct reel_config *cfg, enum reel_role role);
/** reel_method_target_sparsity - of a role's passes when it samples: the schedule's end. Local. */
double reel_method_target_sparsity(const struct reel_config *cfg, enum reel_role role);
/** reel_where - coordinates of this micro-batch's draws. Local. */
struct reel_where reel_method_where(const struct reel_batch *b, const struct reel_step *st);

/* The registry, generated from METHODS of local.mk; NULL-terminated. */
extern const struct reel_method_ops *const reel_methods[];

#endif
