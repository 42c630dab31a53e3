#ifndef REEL_CKPT_CKPT_H
#define REEL_CKPT_CKPT_H

/* Checkpoints of a run: `<output_dir>/checkpoint-<step>/` with
 *     metadata.json            {"step", "config", "found"}
 *     dcp/.metadata            which chunk of which tensor lies where
 *     dcp/__<rank>_0.distcp    one file per rank that holds something
 *     commit.json              sizes and CRC-32 of all of these; written last
 * A save works in `checkpoint-<step>.tmp` and renames it when every rank has synced its file. */

#include <stdio.h>

#include "base/err.h"
#include "comm/comm.h"
#include "tensor/tensor.h"

/* This rank's part of a global tensor: rows [row0, row0+rows) of dim 0 and, if cols > 0, columns
 * [col0, col0+cols) of dim 1. Replicas say the same part on several ranks; one of them writes it.
 * rows 0: nothing here. nd 0: one element, rows 1. */
struct reel_ckpt_tensor {
    const char *key;
    reel_dtype dt;
    int nd;
    int64_t n[REEL_MAXDIM]; /* global sizes */
    int64_t row0, rows, col0, cols;
    void *host;   /* the part, row-major */
    int optional; /* load: absent or of another shape is no error */
    int found;    /* load: out */
};

enum reel_val_kind { REEL_VAL_NONE, REEL_VAL_BOOL, REEL_VAL_INT, REEL_VAL_FLOAT, REEL_VAL_STR, REEL_VAL_LIST, REEL_VAL_TUPLE };

#define REEL_VAL_ITEMS 4

/* A small value. Scalars stand in element 0; lists and tuples have n elements of one kind. */
struct reel_val {
    enum reel_val_kind kind, item;
    int n;
    union { int64_t i[REEL_VAL_ITEMS]; double f[REEL_VAL_ITEMS]; char s[64]; } u;
};

struct reel_val reel_val_none(void);
struct reel_val reel_val_bool(int v);
struct reel_val reel_val_int(int64_t v);
struct reel_val reel_val_float(double v);
struct reel_val reel_val_str(const char *s); /* cut at 63 bytes */
struct reel_val reel_val_seq(enum reel_val_kind kind, struct reel_val v0, struct reel_val v1, int n); /* n <= 2 */

struct reel_ckpt_object {
    const char *key;
    struct reel_val v;
    int optional, found; /* as above */
};

struct reel_ckpt_set {
    struct reel_ckpt_tensor *t;
    int n_t;
    struct reel_ckpt_object *o; /* the same on every rank */
    int n_o;
};

struct reel_ckpt_job; /* a save that is under way, or what saves of one set share */

struct reel_ckpt_req {
    const char *output_dir;
    long step;
    struct reel_ckpt_set set; /* the same keys in the same order on every rank */
    const char *config_json;  /* goes into metadata.json; NULL: {} */
    int keep;                 /* checkpoints_total_limit; 0: all */
    struct reel_ckpt_job *pool; /* of reel_ckpt_pool_open, for one save at a time; NULL: this save takes its own */
    const char *found_json;     /* goes into metadata.json, too: what keys came to mean on this machine; NULL: nothing */
};

/**
 * reel_ckpt_pool_open - agree who writes what of `set`, and take the memory that saving it needs besides the host's copy, so
 * that saves with this pool exchange no plan and allocate nothing on the calling thread. Collective(world).
 * Errors, agreed: REEL_ENOMEM, REEL_ECONFIG.
 */
reel_err reel_ckpt_pool_open(struct reel_ckpt_job **pool, const struct reel_ckpt_set *set, struct reel_comm *world);
void reel_ckpt_pool_close(struct reel_ckpt_job *pool); /* Local; no save may be under way */

/**
 * reel_ckpt_begin - make the temporary folder, start a thread that writes. Collective(world).
 * What `req` points to must not change until the job is NULL. The thread does file input and output only, no MPI.
 * Errors, agreed: REEL_EIO, REEL_ENOMEM, REEL_ECONFIG; then *job is NULL.
 */
reel_err reel_ckpt_begin(struct reel_ckpt_job **job, const struct reel_ckpt_req *req, struct reel_comm *world);

/**
 * reel_ckpt_poll - look at a save and take it one stage on: files, then marker, name and retention, in rank 0's thread. *job
 * is NULL when done. Collective(world); one small reduction. Once any rank has failed, the others stop writing
 * and the error comes back now. Errors as for finish.
 */
reel_err reel_ckpt_poll(struct reel_ckpt_job **job);

/**
 * reel_ckpt_finish - look until it is done. Collective(world); waits in short reductions, which the watchdog does not take
 * for a stall. *job becomes NULL; NULL is fine.
 * Errors: any rank's failure (disk full, EIO) on all ranks; the temporary folder is removed and older
 * checkpoints stay.
 */
reel_err reel_ckpt_finish(struct reel_ckpt_job **job);

/** reel_ckpt_save - begin and finish. Collective(world). */
reel_err reel_ckpt_save(const struct reel_ckpt_req *req, struct reel_comm *world);

/**
 * reel_ckpt_resolve - which checkpoint to resume. Collective(world); rank 0 looks.
 * @what  "latest" (any case): the highest complete step below output_dir, incomplete ones are skipped with a
 *        warning; none: *step = -1 and no error; one whose name is not its step is an error. Otherwise a path: a checkpoint folder, its dcp subfolder, or
 *        an output folder (its newest).
 * Complete: commit.json names files that are there in these sizes, or (folders of other programs) dcp/.metadata
 * parses and its files are long enough.
 * @dir   out, the checkpoint folder, `size` bytes     @step  out
 * Errors: REEL_ECONFIG, REEL_EIO, REEL_EDATA, agreed.
 */
reel_err reel_ckpt_resolve(const char *output_dir, const char *what, char *dir, size_t size, long *step,
                           struct reel_comm *world);

struct reel_ckpt; /* a checkpoint that is open for loading */

/** reel_ckpt_open - its marker and .metadata, which every rank then knows. Collective(world). REEL_EIO, REEL_EDATA, agreed. */
reel_err reel_ckpt_open(struct reel_ckpt **k, const char *dir, struct reel_comm *world);
void reel_ckpt_close(struct reel_ckpt *k); /* Local; NULL is fine */

/** reel_ckpt_has_below - 1 if a key of the checkpoint begins so. Local, the same on every rank. */
int reel_ckpt_has_below(const struct reel_ckpt *k, const char *prefix);

/** reel_ckpt_average - who holds the average of a role: "callbacks.<key>", below which are `<role>_ema.<name>`.
 * Symmetric. REEL_ECONFIG if the checkpoint has none. */
reel_err reel_ckpt_average(const struct reel_ckpt *k, const char *role, char *owner, size_t size);

/**
 * reel_ckpt_read - fill the parts and objects of `set` from any layout. Collective(world).
 * 16-bit and 64-bit floats are converted to f32 where asked; keys beyond the set are ignored.
 * @whole  compare every byte of the checkpoint with its marker too: what the set does not need is read for that, once, shared
 *         out over the ranks; a checkpoint without a marker has no more checksums than its archives
 * Errors, agreed: REEL_EDATA with all missing keys and wrong shapes in one message, or file, key and offset of
 * damaged data; REEL_EIO.
 */
reel_err reel_ckpt_read(struct reel_ckpt *k, struct reel_ckpt_set *set, int whole);

/** reel_ckpt_load - open, read (not whole), close. Collective(world). */
reel_err reel_ckpt_load(const char *dir, struct reel_ckpt_set *set, struct reel_comm *world);

/** reel_ckpt_sweep - remove what killed runs left: folders of saves that did not end, and of removals that did not; one line on
 * stderr for each. Call it when no other run may write there. Collective(world); rank 0 works. REEL_EIO, agreed: it cannot be listed. */
reel_err reel_ckpt_sweep(const char *output_dir, struct reel_comm *world);

/** reel_ckpt_named - the checkpoint that a command is given: a checkpoint folder, also its dcp subfolder, looked at no further, or the
 * newest complete one of an output folder, which is said. Collective(world). @dir out, `size` bytes. REEL_ECONFIG, REEL_EDATA, agreed. */
reel_err reel_ckpt_named(const char *path, char *dir, size_t size, struct reel_comm *world);

/** reel_ckpt_of_run - 1 if the path is a checkpoint, whole or not, a folder with such, or a run's output folder, which may have none yet. Local. */
int reel_ckpt_of_run(const char *path);

/** reel_ckpt_step_in_name - N of a path that ends in checkpoint-N, else -1. Local. */
long reel_ckpt_step_in_name(const char *path);

/** reel_ckpt_check - read all of a checkpoint: the checksum of every file against the marker, every archive, every
 * CRC-32; rank 0 prints a summary to `out` (NULL: none). Collective(world). Errors as for load. */
reel_err reel_ckpt_check(const char *dir, FILE *out, struct reel_comm *world);

/** reel_ckpt_is_dir - 1 if the path looks like a checkpoint folder (or its dcp subfolder). Local. */
int reel_ckpt_is_dir(const char *path);

#endif
