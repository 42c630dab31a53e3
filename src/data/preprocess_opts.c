#include "data/preprocess.h"

#define AT(field) .offset = offsetof(struct reel_preprocess_args, field)
const struct reel_opt reel_preprocess_opts[] = {
    { "output", REEL_OPT_STR, AT(output), .unit = "FILE", .flags = REEL_OPT_REQUIRED, .help = "the data set to write" },
    { "videos", REEL_OPT_STR, AT(videos), .unit = "PATH", .help = "a film, or a folder of films" },
    { "captions", REEL_OPT_STR, AT(captions), .unit = "FILE",
      .help = "videos2caption.json (a list of {path, cap}), or lines of path<TAB>caption; paths are below --videos" },
    { "caption", REEL_OPT_STR, AT(caption), .unit = "TEXT", .help = "one caption for every film of --videos" },
    { "demo-clips", REEL_OPT_INT, AT(demo_clips), .dflt = 0, .min = 0, .max = 1 << 20, .help = "built-in clips instead of films" },
    { "demo-seed", REEL_OPT_INT, AT(demo_seed), .dflt = 1, .help = "seed of the built-in clips" },
    { "height", REEL_OPT_INT, AT(height), .dflt = 48, .min = 16, .max = 8192, .unit = "pixels", .help = "height of a clip, a multiple of 8" },
    { "width", REEL_OPT_INT, AT(width), .dflt = 48, .min = 16, .max = 8192, .unit = "pixels", .help = "width of a clip, a multiple of 8" },
    { "num-frames", REEL_OPT_INT, AT(num_frames), .dflt = 13, .min = 1, .max = 10001, .help = "frames of a clip, 4k+1" },
    { "train-fps", REEL_OPT_F64, AT(train_fps), .dflt = 8, .min = 0, .max = 1000, .unit = "1/s",
      .help = "pictures per second taken from a film; 0 = all of them" },
    { "windows", REEL_OPT_BOOL, AT(windows), .help = "every whole clip of a film, one after the other, not only the first" },
    { "temporal-sample", REEL_OPT_BOOL, AT(temporal_sample), .help = "one clip from a random place of the film" },
    { "tolerance", REEL_OPT_F64, AT(tolerance), .dflt = 0, .min = 0, .max = 1e9,
      .help = "skip films longer than this many clips; 0 = never" },
    { "dtype", REEL_OPT_ENUM, AT(dtype), .dflt = 0, .choices = "f32|bf16", .help = "how numbers are stored" },
    { "seed", REEL_OPT_INT, AT(seed), .dflt = 42, .help = "seed of --temporal-sample and of the choice among several captions" },
    { "sheet", REEL_OPT_STR, AT(sheet), .unit = "FILE", .help = "contact sheet, originals above decoded; default: the output's name with .png; none" },
    { "overwrite", REEL_OPT_BOOL, AT(overwrite), .help = "replace a set that exists" },
    { "quiet", REEL_OPT_BOOL, AT(quiet), .help = "no progress line" },
    { .type = REEL_OPT_END },
};
#undef AT
