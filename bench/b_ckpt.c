/* Checkpoints against the disk: saving over raw write + fsync of the same bytes, loading over raw read.
 * usage: mpiexec -n RANKS b_ckpt [MiB per rank [rounds [folder]]]
 * An asynchronous save holds the training thread up for the host's copy, begin and the looks between its steps; a synchronous one
 * for the copy and all the rest. Raw and ours alternate; medians. Raw reads and loads are warm (page cache), so that they compare the
 * programs and not the disk. */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/file.h"
#include "bench/bench.h"
#include "ckpt/ckpt.h"

#define MAX_ROUNDS 64
#define TENSORS    24 /* 3 per parameter, as a trained role has */

static struct reel_comm W;
static char dir[PATH_MAX - 256];
static float *host, *shards; /* the host's copy, of these */
static int64_t rows; /* per rank and tensor, of 1024 floats */

static double now(void)
{
    struct timeval t;

    reel_comm_barrier(&W);
    gettimeofday(&t, NULL);
    return (double)t.tv_sec + 1e-6 * (double)t.tv_usec;
}

static void need(reel_err e)
{
    if (!e) return;
    if (W.rank == 0) reel_err_print(reel_errrec());
    exit(1);
}

static size_t bytes(void) { return (size_t)TENSORS * (size_t)rows * 4096; }

static double raw_write(const char *path)
{
    double t = now();
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);

    need(reel_write(fd, host, bytes(), path));
    if (fsync(fd)) exit(1);
    close(fd);
    return now() - t;
}

static double raw_read(const char *path)
{
    double t = now();
    int fd = open(path, O_RDONLY);

    need(reel_pread(fd, host, bytes(), 0, path));
    close(fd);
    return now() - t;
}

static struct reel_ckpt_set make_set(struct reel_ckpt_tensor *x, char (*key)[32])
{
    for (int i = 0; i < TENSORS; i++) {
        snprintf(key[i], 32, "roles.student.w%d", i);
        x[i] = (struct reel_ckpt_tensor){ .key = key[i], .dt = REEL_F32, .nd = 2, .n = { rows * W.size, 1024 },
                                          .row0 = rows * W.rank, .rows = rows, .host = (char *)host + (size_t)i * (size_t)rows * 4096 };
    }
    return (struct reel_ckpt_set){ x, TENSORS, NULL, 0 };
}

static double ckpt_save(struct reel_ckpt_set set, long step)
{
    double t = now();

    need(reel_ckpt_save(&(struct reel_ckpt_req){ dir, step, set, NULL, 0, NULL, NULL }, &W));
    return now() - t;
}

static double ckpt_load(struct reel_ckpt_set set, long step)
{
    char path[PATH_MAX];
    double t = now();

    snprintf(path, sizeof path, "%s/checkpoint-%ld", dir, step);
    need(reel_ckpt_load(path, &set, &W));
    return now() - t;
}

static double copy(void)
{
    double t = now();

    memcpy(host, shards, bytes());
    return now() - t;
}

/* Seconds of the training thread that an asynchronous save takes, and of the whole save. */
static double ckpt_async(struct reel_ckpt_set set, long step, struct reel_ckpt_job *pool, double *whole)
{
    struct reel_ckpt_job *job;
    double began = now(), held = copy(), t = now();

    need(reel_ckpt_begin(&job, &(struct reel_ckpt_req){ dir, step, set, NULL, 0, pool, NULL }, &W));
    held += now() - t;
    while (job) {
        usleep(50000); /* a step */
        t = now();
        need(reel_ckpt_poll(&job));
        held += now() - t;
    }
    *whole = now() - began;
    return held;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(double *v, int n)
{
    qsort(v, (size_t)n, sizeof *v, by_value);
    return v[n / 2];
}

int main(int argc, char **argv)
{
    double t[7][MAX_ROUNDS], m[7], gib;
    struct reel_ckpt_tensor x[TENSORS];
    struct reel_ckpt_set set;
    struct reel_ckpt_job *pool;
    char key[TENSORS][32], raw[PATH_MAX];
    int rounds = 5;

    if (reel_comm_start(&W, &argc, &argv)) return 1;
    rows = (argc > 1 ? atol(argv[1]) : 512) * 256 / TENSORS;
    if (argc > 2) rounds = atoi(argv[2]);
    if (rounds > MAX_ROUNDS) rounds = MAX_ROUNDS;
    snprintf(dir, sizeof dir, "%s/b_ckpt.tmp", argc > 3 ? argv[3] : ".");
    snprintf(raw, sizeof raw, "%s/raw%d", dir, W.rank);
    host = malloc(bytes());
    shards = malloc(bytes());
    if (!host || !shards) return 1;
    for (size_t i = 0; i < bytes() / 4; i++) shards[i] = (float)(i * 2654435761u % 1000003);
    if (W.rank == 0) need(reel_mkdirs(dir));
    set = make_set(x, key);
    need(reel_ckpt_pool_open(&pool, &set, &W));
    copy(); /* pages that are there, as in a run */
    for (int r = 0; r < rounds; r++) {
        t[0][r] = raw_write(raw);
        t[1][r] = ckpt_save(set, 1);
        t[2][r] = raw_read(raw);
        t[3][r] = ckpt_load(set, 1);
        t[4][r] = ckpt_async(set, 2, pool, &t[5][r]);
        t[6][r] = copy();
        reel_comm_barrier(&W);
        if (W.rank == 0) for (long s = 1; s <= 2; s++) {
            char path[PATH_MAX];
            snprintf(path, sizeof path, "%s/checkpoint-%ld", dir, s);
            need(reel_rmtree(path));
        }
        reel_comm_barrier(&W);
    }
    gib = (double)bytes() * W.size / 0x1p30;
    for (int k = 0; k < 7; k++) m[k] = median(t[k], rounds);
    if (W.rank == 0) {
        printf("%s, %d ranks, %.2f GiB, median of %d\n", bench_processor(), W.size, gib, rounds);
        printf("write + fsync  raw %.3f s (%.2f GiB/s)  checkpoint %.3f s  raw/checkpoint %.2f\n", m[0], gib / m[0], m[1], m[0] / m[1]);
        printf("read (warm)    raw %.3f s (%.2f GiB/s)  checkpoint %.3f s  raw/checkpoint %.2f\n", m[2], gib / m[2], m[3], m[2] / m[3]);
        printf("stall          synchronous %.3f s  asynchronous %.4f s (copy %.4f s, whole save %.3f s)  asynchronous/synchronous %.3f\n", m[6] + m[1], m[4],
               m[6], m[5], m[4] / (m[6] + m[1]));
        need(reel_rmtree(dir));
    }
    reel_ckpt_pool_close(pool);
    reel_comm_stop();
    return 0;
}
