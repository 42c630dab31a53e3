#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "data/preprocess.h"

#define AT(field) .offset = offsetof(struct reel_preprocess_args, field)
const struct reel_opt reel_preprocess_opts[] = {
    { "output", REEL_OPT_STR, AT(output), .flags = REEL_OPT_REQUIRED, .help = "the data set to write" },
    { "videos", REEL_OPT_STR, AT(videos), .help = "a film, or a folder of films" },
    { "captions", REEL_OPT_STR, AT(captions),
      .help = "videos2caption.json (a list of {path, cap}), or lines of path<TAB>caption; paths are below --videos" },
    { "caption", REEL_OPT_STR, AT(caption), .help = "one caption for every film of --videos" },
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
    { "sheet", REEL_OPT_STR, AT(sheet), .help = "contact sheet, originals above decoded; default: the output's name with .png; none" },
    { "overwrite", REEL_OPT_BOOL, AT(overwrite), .help = "replace a set that exists" },
    { "quiet", REEL_OPT_BOOL, AT(quiet), .help = "no progress line" },
    { .type = REEL_OPT_END },
};

static void *field(struct reel_preprocess_args *a, const struct reel_opt *o) { return (char *)a + o->offset; }

static const struct reel_opt *find(const char *name, size_t len)
{
    for (const struct reel_opt *o = reel_preprocess_opts; o->type != REEL_OPT_END; o++) {
        size_t i = 0;
        while (i < len && o->name[i] && (o->name[i] == name[i] || (o->name[i] == '-' && name[i] == '_'))) i++;
        if (i == len && !o->name[i]) return o;
    }
    return NULL;
}

static reel_err bad(const struct reel_opt *o, const char *value, const char *want)
{
    return REEL_FAIL(REEL_ECONFIG, "--%s %s: expected %s (%s)", o->name, value, want, o->help);
}

static reel_err number(const struct reel_opt *o, const char *value, double *x)
{
    char *end, want[64];

    *x = strtod(value, &end);
    if (end == value || *end || !isfinite(*x)) return bad(o, value, "a number");
    snprintf(want, sizeof want, "%g to %g", o->min, o->max);
    if (o->min < o->max && (*x < o->min || *x > o->max)) return bad(o, value, want);
    return REEL_OK;
}

static reel_err choice(const struct reel_opt *o, const char *value, int *out)
{
    size_t n = strlen(value);
    int i = 0;

    for (const char *c = o->choices; c; i++, c = strchr(c, '|') ? strchr(c, '|') + 1 : NULL)
        if (strcspn(c, "|") == n && !strncmp(c, value, n)) return *out = i, REEL_OK;
    return bad(o, value, o->choices);
}

static reel_err set(struct reel_preprocess_args *a, const struct reel_opt *o, const char *value)
{
    double x = 0;
    char *end;

    switch (o->type) {
    case REEL_OPT_STR: *(const char **)field(a, o) = value; return REEL_OK;
    case REEL_OPT_ENUM: return choice(o, value, field(a, o));
    case REEL_OPT_F64: return number(o, value, field(a, o));
    case REEL_OPT_BOOL:
        if (!strcmp(value, "true") || !strcmp(value, "false")) return *(int *)field(a, o) = *value == 't', REEL_OK;
        return bad(o, value, "true or false");
    default: /* REEL_OPT_INT */
        REEL_TRY(number(o, value, &x));
        *(int64_t *)field(a, o) = strtoll(value, &end, 10);
        return *end ? bad(o, value, "a whole number") : REEL_OK;
    }
}

static void defaults(struct reel_preprocess_args *a)
{
    *a = (struct reel_preprocess_args){ 0 };
    for (const struct reel_opt *o = reel_preprocess_opts; o->type != REEL_OPT_END; o++) {
        if (o->type == REEL_OPT_INT) *(int64_t *)field(a, o) = (int64_t)o->dflt;
        if (o->type == REEL_OPT_F64) *(double *)field(a, o) = o->dflt;
        if (o->type == REEL_OPT_ENUM) *(int *)field(a, o) = (int)o->dflt;
    }
}

reel_err reel_preprocess_parse(struct reel_preprocess_args *a, int argc, char *const *argv)
{
    defaults(a);
    for (int i = 0; i < argc; i++) {
        const char *name = argv[i] + 2, *eq = strchr(argv[i], '=');
        const struct reel_opt *o;

        if (strncmp(argv[i], "--", 2) != 0)
            return REEL_FAIL(REEL_ECONFIG, "reel preprocess: \"%s\" is no option; options begin with --", argv[i]);
        o = find(name, eq ? (size_t)(eq - name) : strlen(name));
        if (!o) return REEL_FAIL(REEL_ECONFIG, "reel preprocess has no option %s; --help lists them", argv[i]);
        if (eq) REEL_TRY(set(a, o, eq + 1));
        else if (o->type == REEL_OPT_BOOL) *(int *)field(a, o) = 1;
        else if (i + 1 < argc) REEL_TRY(set(a, o, argv[++i]));
        else return REEL_FAIL(REEL_ECONFIG, "--%s needs a value: %s", o->name, o->help);
    }
    if (!a->output) return REEL_FAIL(REEL_ECONFIG, "reel preprocess needs --output: the data set to write");
    return REEL_OK;
}
