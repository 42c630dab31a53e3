/* Exponential moving average of the student's weights. */
#include <stddef.h>

#include "callbacks/callback.h"

struct ema {
    double decay;
    int64_t start_iter;
    int every_iteration;
};

static const struct reel_opt ema_opts[] = {
    { "decay", REEL_OPT_F64, offsetof(struct ema, decay), .dflt = 0.9999, .min = 0, .max = 1,
      .help = "d in shadow = d shadow + (1 - d) weights" },
    { "start_iter", REEL_OPT_INT, offsetof(struct ema, start_iter), .min = 0, .max = 9e18, .unit = "steps",
      .help = "first step that averages; the shadow starts from that step's weights" },
    { "every_iteration", REEL_OPT_BOOL, offsetof(struct ema, every_iteration),
      .help = "average in every step, also in those that did not update the student" },
    { .type = REEL_OPT_END },
};

const struct reel_callback_ops reel_callback_ema = {
    .name = "ema",
    .help = "keeps an exponential moving average of the student, which validation and export use",
    .targets = "fastvideo.train.callbacks.ema.EMACallback|fastvideo.train.callbacks.EMACallback",
    .opts = ema_opts,
    .priv_size = sizeof(struct ema),
    .later = 1,
};
