#ifndef REEL_TRAIN_COMMANDS_H
#define REEL_TRAIN_COMMANDS_H

#include "preprocess/preprocess.h"
#include "train/cli.h"
#include "train/fit.h"
#include "train/generate.h"
#include "train/import.h"
#include "train/trajectories.h"

struct reel_report_flags {
    const char *html;
};
struct reel_export_flags {
    const char *role, *base;
    int ema, lora, merge;
    int dtype; /* f32, bf16 */
    int64_t shard_bytes;
};

#endif
