#ifndef REEL_TRAIN_COMMANDS_H
#define REEL_TRAIN_COMMANDS_H

#include "train/cli.h"
#include "train/generate.h"

struct reel_preprocess_flags {
    const char *videos, *captions, *out, *codec;
    int64_t height, width, num_frames;
    double fps;
};

#endif
