#ifndef REEL_CKPT_CKPT_PRIV_H
#define REEL_CKPT_CKPT_PRIV_H

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/json.h"
#include "ckpt/ckpt.h"
#include "ckpt/dcp.h"

#define CKPT_MARKER "commit.json"

/* ---- file work in a thread, waited for by short reductions: no rank sits in a collective while another is busy with
 * its disk, so the watchdog sees a slow disk for what it is (ckpt_task.c) ---- */

struct ckpt_task {
    pthread_t thread;
    int started;
    atomic_int done;
    reel_err (*run)(void *ctx);
    void *ctx;
    reel_err err;
    struct reel_errrec rec;
};

/* What the looks at one task have seen. */
struct ckpt_wait {
    const char *what;         /* for the warning of no progress */
    atomic_ullong *progress;  /* bytes written by this rank, or NULL */
    int64_t bytes;            /* by all */
    double seen;              /* reel_now() of the last change */
    int said, failed;         /* warnings; 1: some rank's task has ended with an error */
};

void ckpt_task_start(struct ckpt_task *t, reel_err (*run)(void *ctx), void *ctx); /* Local */
void ckpt_task_none(struct ckpt_task *t);                                         /* nothing to do here. Local */
reel_err ckpt_task_end(struct ckpt_task *t); /* joins; the thread's error becomes the caller's. Local */
/** ckpt_task_look - 1 if no rank is busy. Collective(world); one small reduction. */
int ckpt_task_look(struct ckpt_task *t, struct reel_comm *world, struct ckpt_wait *w);
void ckpt_nap(unsigned *us); /* between looks; an eighth of the time waited so far, up to 0.1 s. Local */
/** ckpt_task_wait - until no rank is busy; any rank's error, agreed. Collective(world). */
reel_err ckpt_task_wait(struct ckpt_task *t, struct reel_comm *world);

/* ---- plan: who writes what where (ckpt_plan.c) ---- */

/* A part as ranks exchange it. */
struct ckpt_part { int64_t row0, rows, col0, cols; };

struct ckpt_plan {
    int n_t, n_o, n_ranks;
    unsigned char *own; /* [n_ranks][n_t]: this rank writes this tensor's part */
    struct ckpt_part *part; /* rank 0: [n_ranks][n_t]; others: NULL */
};

/** ckpt_plan_open - exchange parts, choose one writer per part (the one with the least bytes so far). Collective. */
reel_err ckpt_plan_open(struct ckpt_plan *p, const struct reel_ckpt_set *set, struct reel_comm *world);
void ckpt_plan_close(struct ckpt_plan *p);

/** ckpt_plan_metadata - the bytes of .metadata; every length is known before anything is written. Local, rank 0. */
reel_err ckpt_plan_metadata(const struct ckpt_plan *p, const struct reel_ckpt_set *set, struct reel_pw *w);

/** ckpt_key_hash - of keys and sizes. Local. */
uint64_t ckpt_key_hash(const struct reel_ckpt_set *set);

void ckpt_chunk(const struct reel_ckpt_tensor *t, const struct ckpt_part *p, int64_t *off, int64_t *n);
void ckpt_put_val(struct reel_pw *w, const struct reel_val *v); /* a whole archive */
reel_err ckpt_get_val(struct reel_val *v, const struct reel_pv *p, const char *key);

/* ---- the commit marker (ckpt_marker.c); everything Local ---- */

struct ckpt_written { uint64_t bytes; uint32_t crc, there; };

struct ckpt_marker { json_t *files; int version, bad; }; /* name -> {size, checksum} */

void ckpt_marker_add(struct ckpt_marker *m, const char *name, const struct ckpt_written *w);
reel_err ckpt_marker_write(struct ckpt_marker *m, const char *dir);
/** ckpt_marker_read - files NULL without an error: there is none. REEL_EDATA, REEL_EIO. */
reel_err ckpt_marker_read(struct ckpt_marker *m, const char *dir);
void ckpt_marker_free(struct ckpt_marker *m);
/** ckpt_marker_sizes - every file is there in its size. REEL_EIO, REEL_EDATA with the file. */
reel_err ckpt_marker_sizes(const struct ckpt_marker *m, const char *dir);
/** ckpt_marker_compare - the checksum of a file with the one that was committed. REEL_EDATA as for sums. */
reel_err ckpt_marker_compare(const struct ckpt_marker *m, const char *dir, const char *name, uint32_t crc);
/** ckpt_sum - checksum of bytes [at, at+bytes) of a file, of the kind of markers of this version. REEL_EIO, REEL_ENOMEM. */
reel_err ckpt_sum(int version, const char *path, uint64_t at, uint64_t bytes, uint32_t *crc);
int ckpt_is_shard(const char *name); /* 1 if a file of a marker holds tensors and values, not text. Local. */
/** ckpt_marker_sums - sizes and checksums of every size-th file, beginning with the rank-th; texts: of those that hold no
 * tensors. REEL_EIO; REEL_EDATA with the file and the record that is damaged. */
reel_err ckpt_marker_sums(const struct ckpt_marker *m, const char *dir, int texts, int rank, int size);

/* ---- one that is open for loading ---- */

struct reel_ckpt { struct reel_comm *world; struct reel_dcp *d; struct ckpt_marker m; char dir[PATH_MAX]; };

/** ckpt_want_whole - before the reading of a checkpoint of which every byte is to be compared (ckpt_once.c). Collective(world).
 * REEL_EIO; REEL_EDATA names the file and the record. */
reel_err ckpt_want_whole(struct reel_ckpt *k);
/** ckpt_verify_rest - after it: what reading has not seen of the files, and all of it against the marker. Collective(world). As above. */
reel_err ckpt_verify_rest(struct reel_ckpt *k);

/* ---- a save that is under way ---- */

#define CKPT_SINK_BYTES ((size_t)1 << 20)

enum ckpt_phase { CKPT_WRITING, CKPT_COMMITTING, CKPT_DISCARDING };

struct ckpt_item { const struct reel_pt_type *type; int nd; int64_t n[REEL_MAXDIM]; const char *host; };

struct reel_ckpt_job {
    struct reel_comm *world;
    /* of every save of its set */
    struct ckpt_plan plan;
    uint64_t hash; /* of the set that was planned */
    struct ckpt_item *item;
    int n_item;
    char *buf;                      /* [CKPT_SINK_BYTES] */
    struct ckpt_written *all;       /* rank 0: every rank's file */
    struct reel_pw objects, meta;   /* rank 0: archives of the objects; .metadata */
    char *info;                     /* rank 0: metadata.json */
    /* of this one */
    struct reel_ckpt_req req;
    char tmp[PATH_MAX], final[PATH_MAX];
    enum ckpt_phase phase;
    struct ckpt_task task;
    struct ckpt_wait wait;
    atomic_int cancel;              /* another rank has failed */
    atomic_ullong progress;
    struct ckpt_written file, text[2]; /* this rank's; rank 0: metadata.json, .metadata */
    int in_doubt;                   /* rank 0: names were exchanged, perhaps not for good: no folder may go */
    reel_err err;                   /* agreed: the folder is being discarded */
    struct reel_errrec rec;
};

reel_err ckpt_write(void *job);   /* this rank's files (ckpt_write.c) */
reel_err ckpt_commit(void *job);  /* rank 0: marker, folders, name, retention (ckpt_commit.c) */
reel_err ckpt_discard(void *job); /* rank 0: the temporary folder of a save that failed */

/* ---- removing (ckpt_remove.c); Local, REEL_EIO ---- */

/** ckpt_remove - the files of a checkpoint and, if that was all, the folder; a link alone where it is one; nothing there is fine.
 * @rest  out: how much is left that is not a checkpoint's */
reel_err ckpt_remove(const char *dir, int *rest);

/** ckpt_forget - the same for a folder under a name that is no checkpoint's; what is left goes to `home`, its former name. */
reel_err ckpt_forget(const char *dir, const char *home);

/* ---- finding (ckpt_find.c) ---- */

/** ckpt_average - reel_ckpt_average on an open folder; `dir` is for the message. */
reel_err ckpt_average(const struct reel_dcp *d, const char *dir, const char *role, char *owner, size_t size);

/** ckpt_complete - REEL_OK if the folder can be resumed from; REEL_EDATA: why not; REEL_EIO: it cannot be known. Local. */
reel_err ckpt_complete(const char *dir);

/** ckpt_step_of - the step the run was at: metadata.json, else the folder's name; *step < 0 with an error. Local. */
reel_err ckpt_step_of(const char *dir, long *step);

void ckpt_strip(char *path); /* of slashes at its end, and of "/dcp" */

/** ckpt_list - steps of the `checkpoint-<digits>` folders, ascending, malloc'ed. Local. */
reel_err ckpt_list(const char *output_dir, long **step, int *n);

#endif
