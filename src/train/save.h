#ifndef REEL_TRAIN_SAVE_H
#define REEL_TRAIN_SAVE_H

/* Checkpoints of a run: which tensors and scalars, when, and back again. */

#include "train/run.h"

/** reel_save_wanted - 1 if the run saves or resumes and so needs r->save_mem. Local. */
int reel_save_wanted(const struct reel_run *r);

/** reel_save_plan - count r->save_mem, the host's copy of what a save writes: shards of trained roles, state of the method and
 * of callbacks. Local. REEL_ENOMEM. reel_save_unplan gives back what that took. Local. */
reel_err reel_save_plan(struct reel_run *r);
void reel_save_unplan(struct reel_run *r);

/** reel_save_open - take that memory and agree who writes what; afterwards a save allocates nothing in the step.
 * Collective(world). REEL_ENOMEM, agreed. */
reel_err reel_save_open(struct reel_run *r);

/** reel_save_due - poll a save that is under way; start one if this step is due. Collective(world). */
reel_err reel_save_due(struct reel_run *r, long step);

/** reel_save_now - start a checkpoint of this step unless there is one. Collective(world). */
reel_err reel_save_now(struct reel_run *r);

/** reel_save_seconds - what a save from now on may take: as long as the longest one, from its copy to its commit, and what is left
 * of one that is under way. 0: there was none yet. Local. */
double reel_save_seconds(const struct reel_run *r);

/** reel_save_final - the last step's checkpoint unless it exists, then wait for it. Collective(world). */
reel_err reel_save_final(struct reel_run *r);

/** reel_resume_find - which checkpoint the configuration means, into r->from and r->from_step; `latest` with none: from scratch.
 * Collective(world). */
reel_err reel_resume_find(struct reel_run *r);
/** reel_resume - load it; r->first is its step. Collective(world). */
reel_err reel_resume(struct reel_run *r);

/** reel_load_student - the student's weights, or with `ema` their average, alone from a checkpoint folder, an output folder's newest,
 * or "latest" of the configured one. Collective(world). */
reel_err reel_load_student(struct reel_run *r, const char *from, int ema);

/** reel_save_close - wait for what is being written and release the saver. Collective(world). */
reel_err reel_save_close(struct reel_run *r);

/** reel_save_found - reel_found's text, from then on, too. Local. */
const char *reel_save_found(const struct reel_run *r);

/** reel_config_json - the configuration as JSON, malloc'ed; NULL: no memory. Local. */
char *reel_config_json(const struct reel_run *r);

/** reel_save_config - the configuration as JSON, once reel_save_open has taken its memory. Local. */
const char *reel_save_config(const struct reel_run *r);

/** reel_write_config - the resolved configuration into <output_dir>/config.yaml; its text, which the caller frees. Local.
 * REEL_EIO, REEL_ENOMEM. */
reel_err reel_write_config(struct reel_run *r, char **yaml);

#endif
