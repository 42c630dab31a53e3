#ifndef REEL_TRAIN_REPORT_H
#define REEL_TRAIN_REPORT_H

/* What a run says: the progress line and metrics of a step, the closing table, the plan. */

#include "train/run.h"

/** reel_report_step - progress on rank 0's terminal, one JSONL line, trackers. Collective(world). */
reel_err reel_report_step(struct reel_run *r, const struct reel_step *st, double seconds);

/** reel_report_start - mesh, device, model, data, memory, before the first step. Collective(world). */
void reel_report_start(struct reel_run *r);

/** reel_report_table - phase x min/avg/max over ranks, FLOP/s over the measured GEMM peak, bytes moved,
 * memory per arena against the plan. Collective(world). */
void reel_report_table(struct reel_run *r);

/** reel_report_hms - seconds as "1:02:03" or "2:03". Local. */
void reel_report_hms(char *buf, size_t size, double s);

/** reel_report_plan - the arenas of a planned run with totals; on_host: their memory is the host's, which holds more. Local. */
void reel_report_plan(struct reel_run *r, int on_host);

/** reel_check_finite - a loss or gradient norm that is not finite stops the run (or skips the update,
 * as training.on_nonfinite says) with its name, step and the first parameter concerned. Collective(world). */
reel_err reel_check_finite(struct reel_run *r, struct reel_step *st);

#endif
