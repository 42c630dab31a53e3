#ifndef REEL_TRACK_TRACK_H
#define REEL_TRACK_TRACK_H

/* What a run tells the world: JSON lines, TensorBoard event files, W&B offline runs. One rank
 * (world rank 0) opens a tracker; on the others it is NULL, and every call below takes NULL and
 * does nothing. Formats and folders: src/track/README.md. */

#include <jansson.h>
#include <stddef.h>

#include "base/err.h"
#include "base/opt.h"

struct reel_track;

struct reel_track_opts {
    const char *dir; /* <output_dir>/tracker; made if absent */
    struct reel_strs
        trackers; /* training.tracker.trackers: REEL_TRACK_NAMES; empty = jsonl, tensorboard */
    const char *project;     /* training.tracker.project_name; NULL or "" = "reel" */
    const char *entity;      /* W&B team; may be NULL */
    const char *run_name;    /* may be NULL */
    int goes_on;             /* from a checkpoint of the run that was tracked here, if one was */
    const char *config_json; /* the resolved configuration as one JSON object; may be NULL: the config of a W&B run */
};

/* jsonl is written whatever the list says; none adds nothing; swanlab is accepted with a warning. */
#define REEL_TRACK_NAMES "jsonl|tensorboard|wandb|swanlab|none"

/**
 * reel_track_open - begin or continue to write below o->dir. Local.
 * A resumed run appends to metrics.jsonl (a last line that a crash cut short is dropped) and begins
 * a new TensorBoard file and, if it goes on, a new fragment of its W&B run. Strings are copied.
 * Errors: REEL_ECONFIG a name outside REEL_TRACK_NAMES, REEL_EIO, REEL_ENOMEM; *t is then NULL.
 */
reel_err reel_track_open(struct reel_track **t, const struct reel_track_opts *o);

/**
 * reel_track_scalars - n named numbers of one step, as one record. Local.
 * Steps must not decrease. Memory grows with the widest record only, so a training step that logs
 * what it logged before allocates nothing. Errors: REEL_EIO (nothing half-written is left behind).
 */
reel_err reel_track_scalars(struct reel_track *t, long step, const char *const *names,
                            const double *values, int n);

/** reel_track_text - a text, e.g. the resolved configuration under the tag "run.yaml": a file of that name in a W&B run (which
 * keeps "config.yaml" for itself), a text of TensorBoard, a line of metrics.jsonl. Local. REEL_EIO. */
reel_err reel_track_text(struct reel_track *t, long step, const char *tag, const char *text);

/** reel_track_image - one PNG file held in memory. Local. REEL_EDATA if it is not one, REEL_EIO. */
reel_err reel_track_image(struct reel_track *t, long step, const char *tag, const void *png,
                          size_t bytes);

struct reel_track_film {
    const char *path, *caption; /* a video file; what it shows, NULL: not said */
    const void *gif;            /* the same as an animated GIF in memory; NULL: none */
    size_t gif_bytes;
};

/**
 * reel_track_videos - n films with captions under one tag. Local.
 * W&B gets copies of the files, TensorBoard, which has no films, the GIFs (tags <tag>/0, <tag>/1, ...) and a list of
 * paths and captions, metrics.jsonl that list. Errors: REEL_EDATA what is no GIF, REEL_EIO.
 */
reel_err reel_track_videos(struct reel_track *t, long step, const char *tag, const struct reel_track_film *film, int n);

/**
 * reel_track_note - an event of the run: the line {"step", "time", "<kind>": note} of metrics.jsonl. Local.
 * @note  an object, which this call releases; NULL: there was no memory to make it
 * What goes wrong is the error of the next reel_track_scalars or reel_track_close.
 */
void reel_track_note(struct reel_track *t, long step, const char *kind, json_t *note);

/** reel_track_wants_gif - whether a format shows films as GIFs alone. Local. */
int reel_track_wants_gif(const struct reel_track *t);

/** reel_track_close - end all records; exit_code is what the run will exit with. Local. REEL_EIO. */
reel_err reel_track_close(struct reel_track *t, int exit_code);

#endif
