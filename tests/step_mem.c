/* Preloaded into `reel train` (LD_PRELOAD, training.watchdog_s 0): who takes memory or makes communicators in which step.
 *     STEP_MEM   file; a rank adds its lines to it when it ends
 * A line a step, phase, thread, call and caller: "rank step phase main|thread object call count bytes function"; the last one is "rank end".
 * The caller is the first frame that is not of the C library, which works for whoever called it: "reel" is the program itself. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <mpi.h>

#include "base/err.h"

enum { LINES = 8192, DEPTH = 12, NAME = 64 };

static struct {
    int on;
    struct reel_doing doing;
    pthread_mutex_t lock;
    int n;
    struct line { long step; char phase[32], object[NAME], function[NAME]; const char *call; int main; long count; double bytes; } line[LINES];
} M = { .lock = PTHREAD_MUTEX_INITIALIZER };
static _Thread_local int inside __attribute__((tls_model("initial-exec")));

#define REAL(type, name, args) ((type(*) args)dlsym(RTLD_NEXT, name))

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

/* The C library, its loader and this file work for others. */
static int works_for_others(const char *object)
{
    return !strncmp(object, "libc.", 5) || !strncmp(object, "ld-linux", 8) || !strncmp(object, "step_mem", 8) || !strncmp(object, "libc-", 5);
}

static void caller(char object[NAME], char function[NAME])
{
    void *frame[DEPTH];
    int n = backtrace(frame, DEPTH);

    snprintf(object, NAME, "?"), snprintf(function, NAME, "?");
    for (int i = 0; i < n; i++) {
        Dl_info at;
        if (!dladdr(frame[i], &at) || !at.dli_fname || works_for_others(base_name(at.dli_fname))) continue;
        snprintf(object, NAME, "%s", base_name(at.dli_fname));
        if (at.dli_sname) snprintf(function, NAME, "%s", at.dli_sname);
        else snprintf(function, NAME, "+%#lx", (unsigned long)((char *)frame[i] - (char *)at.dli_fbase));
        return;
    }
}

static void note(const char *call, double bytes)
{
    char object[NAME], function[NAME];
    int i, main = getpid() == gettid();

    if (!M.on || inside || M.doing.step < 1) return;
    inside = 1;
    caller(object, function);
    pthread_mutex_lock(&M.lock);
    for (i = 0; i < M.n; i++)
        if (M.line[i].step == M.doing.step && !strcmp(M.line[i].phase, M.doing.phase) && M.line[i].call == call && M.line[i].main == main &&
            !strcmp(M.line[i].object, object) && !strcmp(M.line[i].function, function)) break;
    if (i == LINES) abort();
    if (i == M.n) {
        struct line *l = &M.line[M.n++];
        l->step = M.doing.step, l->call = call, l->main = main;
        memcpy(l->phase, M.doing.phase, sizeof l->phase);
        memcpy(l->object, object, NAME);
        memcpy(l->function, function, NAME);
    }
    M.line[i].count++;
    M.line[i].bytes += bytes;
    pthread_mutex_unlock(&M.lock);
    inside = 0;
}

__attribute__((constructor)) static void start(void)
{
    void (*show)(struct reel_doing *) = (void (*)(struct reel_doing *))dlsym(RTLD_DEFAULT, "reel_phase_show");
    void *frame[2];

    if (!show || !getenv("STEP_MEM")) return;
    backtrace(frame, 2); /* loads the unwinder now */
    show(&M.doing);
    M.on = 1;
}

__attribute__((destructor)) static void end(void)
{
    const char *rank = getenv("PMI_RANK");
    char *text = NULL;
    size_t n;
    FILE *f;
    int fd;

    if (!M.on) return;
    M.on = 0;
    f = open_memstream(&text, &n);
    if (!rank) rank = "0";
    for (const struct line *l = M.line; l < M.line + M.n; l++)
        fprintf(f, "%s %ld %s %s %s %s %ld %.0f %s\n", rank, l->step, l->phase, l->main ? "main" : "thread", l->object, l->call, l->count,
                l->bytes, l->function);
    fprintf(f, "%s end\n", rank);
    fclose(f);
    fd = open(getenv("STEP_MEM"), O_WRONLY | O_CREAT | O_APPEND, 0666); /* at once: ranks share it */
    if (fd < 0 || write(fd, text, n) != (ssize_t)n) abort();
    close(fd);
}

/* ---- what is counted ---- */

void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);

void *malloc(size_t n) { return note("malloc", (double)n), __libc_malloc(n); }
void *calloc(size_t n, size_t size) { return note("calloc", (double)n * (double)size), __libc_calloc(n, size); }
void *realloc(void *p, size_t n) { return note("realloc", (double)n), __libc_realloc(p, n); }
void *aligned_alloc(size_t align, size_t n) { return note("aligned_alloc", (double)n), __libc_memalign(align, n); }
int posix_memalign(void **p, size_t align, size_t n)
{
    note("posix_memalign", (double)n);
    *p = __libc_memalign(align, n);
    return *p ? 0 : ENOMEM;
}
void *mmap(void *at, size_t n, int prot, int flags, int fd, off_t off)
{
    note("mmap", (double)n);
    return REAL(void *, "mmap", (void *, size_t, int, int, int, off_t))(at, n, prot, flags, fd, off);
}

#define COMM(name, args, pass)                                     \
    int name args                                                  \
    {                                                              \
        note(#name, 0);                                            \
        return REAL(int, "P" #name, args) pass;                    \
    }
COMM(MPI_Comm_dup, (MPI_Comm c, MPI_Comm *out), (c, out))
COMM(MPI_Comm_split, (MPI_Comm c, int color, int key, MPI_Comm *out), (c, color, key, out))
COMM(MPI_Comm_split_type, (MPI_Comm c, int type, int key, MPI_Info info, MPI_Comm *out), (c, type, key, info, out))
COMM(MPI_Comm_create, (MPI_Comm c, MPI_Group g, MPI_Comm *out), (c, g, out))
COMM(MPI_Comm_create_group, (MPI_Comm c, MPI_Group g, int tag, MPI_Comm *out), (c, g, tag, out))
