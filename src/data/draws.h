#ifndef REEL_DATA_DRAWS_H
#define REEL_DATA_DRAWS_H

/* Named draws of a run with replay and record. A draw covers samples b0..b0+nb-1 of the global
 * micro-batch; a replay file may supply it instead of the generator (`<draw>:<step>:<round>`). */

#include "be/ops.h"

struct reel_draws;
struct reel_comm;

/** reel_draws_open - replay and record are paths or NULL. Collective(world): rank 0 reads the file
 * and broadcasts it. Errors: REEL_EIO, REEL_EDATA (not safetensors, wrong dtype). */
reel_err reel_draws_open(struct reel_draws **d, uint64_t seed, const char *replay, int strict,
                         const char *record, struct reel_comm *world);
/** reel_draws_close - writes the record file; REEL_EDATA if the replay file held a tensor that nobody
 * asked for (but for steps before the first one drawn, and rollout noise of steps that were not
 * reached). Frees d in any case. Collective(world). */
reel_err reel_draws_close(struct reel_draws *d, struct reel_comm *world);

/* Samples b0..b0+nb-1 of a global micro-batch of b_global, at a step (from 1; 0: before training) and
 * accumulation round (from 0). */
struct reel_where { uint32_t step, round; int64_t b0, nb, b_global; };

/* The draw fails (strict replay without the tensor, wrong shape) into the run's pending error, which
 * reel_draws_status returns at the next agreement; values are then zero. Local. */
reel_err reel_draws_status(struct reel_draws *d);
/* Device normals out [nb, ...] f32. With five dimensions out is a latent [nb,T,C,H,W]; the element
 * index of a draw runs over [C,T,H,W], as in every file, and so do replayed and recorded values. */
void reel_draw_normal(struct reel_draws *d, struct reel_stream *s, reel_tensor out, const char *name,
                      struct reel_where w);
/* Frames lo.. of such a latent's draw, which covers T: out [nb,n,C,H,W]; the generator makes no others. A replay or record file
 * holds the whole draw. */
void reel_draw_frames(struct reel_draws *d, struct reel_stream *s, reel_tensor out, int64_t lo, int64_t T, const char *name,
                      struct reel_where w);
/* host values, n per sample: out[nb*n] */
void reel_draw_normal_host(struct reel_draws *d, float *out, int64_t n, const char *name, struct reel_where w);
void reel_draw_uniform(struct reel_draws *d, float *out, int64_t n, const char *name, struct reel_where w);
/* integers lo..hi, both included; a replayed value outside is an error */
void reel_draw_range(struct reel_draws *d, int64_t *out, int64_t n, int64_t lo, int64_t hi, const char *name,
                     struct reel_where w);
/* inout [nb*n] holds what the caller computed itself; a replay file may overrule it. */
void reel_draw_given(struct reel_draws *d, int64_t *inout, int64_t n, const char *name, struct reel_where w);

/** reel_order_sample - index of the sample at position i of epoch e: Feistel bijection of 0..N-1. Local. */
int64_t reel_order_sample(uint64_t seed, uint32_t epoch, int64_t N, int64_t i);

#endif
