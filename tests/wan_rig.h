#ifndef REEL_TESTS_WAN_RIG_H
#define REEL_TESTS_WAN_RIG_H

/* A Wan transformer with everything around it that a pass needs: mesh, backend, arenas sized by a
 * planning pass, weights. What a test would otherwise repeat. */

#include "models/model.h"

extern const struct reel_model_ops reel_model_wan, reel_model_wan_causal; /* of the registry */

struct rig_shape {
    int64_t B, T, H, W, L; /* of this rank */
    int per_frame;         /* timesteps [B,T] */
};

struct rig_io { reel_tensor x, t, text, dv, dx, dtext, v; };

/* Options of a causal model: frames of a chunk, of the window (-1: all), of the sink; FastVideo's behaviour. */
#define RIG_OPTS(chunk, window, sink, theirs) \
    { .num_frames_per_block = chunk, .local_attn_size = window, .sink_size = sink, .parity = theirs }

struct rig;

/* Which model, and what is done with it: `rehearse` runs once without memory, so that every arena knows its size; NULL:
 * a forward pass without and one with a backward pass. */
struct rig_plan {
    const struct reel_model_ops *ops;
    struct reel_model_opts opts;
    void (*rehearse)(struct rig *r, void *ctx);
    void *ctx;
};

struct rig {
    struct reel_comm *world;
    struct reel_mesh mesh;
    struct reel_backend *be;
    struct reel_stream s;
    struct reel_arena params, optim, work, mem, act, scratch;
    struct reel_model m;
    struct rig_shape shape;
    struct rig_io io;
    struct reel_model_in in; /* what rig_forward gives the model beside io's inputs */
};

/** rig_open - model of a config.json's text, sized for passes of `shape`. Collective(world). */
reel_err rig_open(struct rig *r, struct reel_comm *world, struct reel_mesh_dims dims, const char *config,
                  reel_dtype compute, int checkpointing, struct rig_shape shape);
/** rig_open_plan - the same of any model, sized by the plan. Collective(world). */
reel_err rig_open_plan(struct rig *r, struct reel_comm *world, struct reel_mesh_dims dims, const char *config,
                       reel_dtype compute, int checkpointing, struct rig_shape shape, const struct rig_plan *plan);
void rig_close(struct rig *r);

/** rig_fill - weights by rule: value(ctx, tensor, element); rows of this shard only. Local. */
void rig_fill(struct rig *r, double (*value)(void *ctx, int tensor, int64_t i), void *ctx);
/** rig_forward - host inputs (x [B,T,C,H,W]) in, host v out; keeps for a backward pass if `kept`. */
void rig_forward(struct rig *r, const float *x, const float *t, const float *text, float *v, struct reel_kept **kept);
/** rig_backward - gradients of sum(v*dv), accumulated in the shards; dx, dtext host or NULL. */
void rig_backward(struct rig *r, struct reel_kept *kept, const float *dv, float *dx, float *dtext);
/** rig_grad - this rank's rows of parameter i's gradient, host memory of *n elements, caller frees. */
float *rig_grad(struct rig *r, int i, int64_t *n, int64_t *first);
/** rig_step - forward and backward from fresh gradients. */
void rig_step(struct rig *r, const float *x, const float *t, const float *text, const float *dv, float *v, float *dx,
              float *dtext);

char *rig_read_text(const char *dir, const char *name); /* whole file, malloc'ed; NULL if absent */
/** rig_swap_tc - [B,C,T,hw] -> [B,T,C,hw] (and back with C and T exchanged). */
void rig_swap_tc(float *dst, const float *src, int64_t B, int64_t C, int64_t T, int64_t hw);
/** rig_u - the fill rule of pseudo-random golden tensors: uniform in [-0.5,0.5). */
double rig_u(int64_t tensor, int64_t i);
/** rig_fill_value - a weight of the rule by its table entry: norms 1 + 0.2u, tables 0.5u, biases 0.2u,
 * other weights u*3/sqrt(fan-in). */
double rig_fill_value(const struct reel_param_def *d, int64_t tensor, int64_t i);
/** rig_sorted - rank of each parameter's name in byte order, malloc'ed [n_def]. */
int *rig_sorted(const struct reel_model *m);

#endif
