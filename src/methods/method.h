#ifndef REEL_METHODS_METHOD_H
#define REEL_METHODS_METHOD_H

/* A method is its loss: it draws named noise, runs roles forward, forms the loss and its cotangent.
 * The loop owns optimisers, files and ranks. */

#include "base/opt.h"
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
struct reel_step { /* one optimiser step as it flows trainer -> method -> callbacks */
    long step;
    int round, rounds;  /* accumulation */
    unsigned trained;   /* roles whose gradients are fresh */
    int n_metric;
    struct reel_metric { const char *name; double sum; } metric[REEL_NMETRIC];
    /* sum: this rank's exact share, already divided by the global count; the loop adds ranks */
};

struct reel_method;
struct reel_method_ops {
    const char *name, *help;
    const char *targets;         /* FastVideo _target_ strings, '|' between */
    const struct reel_opt *opts; /* keys of the section `method` */
    size_t priv_size;            /* zeroed and filled from opts before init() */
    unsigned roles_needed, roles_trained;
    reel_err (*init)(struct reel_method *m); /* Symmetric: judge the config, not the machine */
    /* Collective. Forward and backward of one micro-batch; NULL: "not yet". */
    void (*step)(struct reel_method *m, const struct reel_batch *b, struct reel_step *st);
};

struct reel_method {
    const struct reel_method_ops *ops;
    void *priv;
    const struct reel_config *cfg;
    struct reel_model *role[REEL_NROLE];
    struct reel_draws *draws; /* named draws, replay, record */
    struct reel_arena *a;     /* step memory */
    struct reel_stream *s;
};

extern const struct reel_method_ops *const reel_methods[]; /* NULL-terminated, generated registry */

#endif
