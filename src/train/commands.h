#ifndef REEL_TRAIN_COMMANDS_H
#define REEL_TRAIN_COMMANDS_H

#include "train/cli.h"

struct reel_preprocess_flags {
    const char *videos, *captions, *out, *codec;
    int64_t height, width, num_frames;
    double fps;
};

struct reel_generate_flags {
    const char *prompt, *out;
    int64_t steps;
    double guidance; /* NAN: the preset's */
};

#endif
