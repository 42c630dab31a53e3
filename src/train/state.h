#ifndef REEL_TRAIN_STATE_H
#define REEL_TRAIN_STATE_H

/* A run's state under the keys of FastVideo's checkpoints, for saving and for loading:
 *     roles.<role>.transformer.<param>                                   weights
 *     optimizers.<role>.state.transformer.<param>.{step,exp_avg,exp_avg_sq}
 *     optimizers.<role>.param_groups.transformer.<param>.<option>        12 objects
 *     schedulers.<role>.scheduler.<field>, dataloader.<field>            objects
 * <param> is FastVideo's module name. Draws need no state: they are functions of seed and step. */

#include "ckpt/ckpt.h"
#include "train/run.h"

struct reel_state {
    struct reel_ckpt_set set;
    reel_tensor *at; /* [set.n_t] the part in backend memory; nd 0 with p NULL: the host scalar */
    float count[REEL_NROLE]; /* AdamW's step, one number under many keys */
    char *copy;              /* host memory of all parts; NULL: parts are used where they are */
    size_t copy_bytes;
    int room_t, room_o;
    reel_err failed;
};

/**
 * reel_state_open - list the state of every trainable role. Local. REEL_ENOMEM.
 * @weights_only  1: the student's weights alone (sampling)
 * @direct        1: backend memory is host memory and may be read while it rests (synchronous saves)
 */
reel_err reel_state_open(struct reel_state *st, struct reel_run *r, int weights_only, int direct);
void reel_state_close(struct reel_state *st);

/** reel_state_collect - parts to host memory, objects to the values of this step. Local. */
void reel_state_collect(struct reel_state *st, struct reel_run *r, long step);
/** reel_state_spread - host memory to the parts, counters to the optimisers. Local. */
void reel_state_spread(struct reel_state *st, struct reel_run *r);

#endif
