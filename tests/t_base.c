/* base: arenas, exact sums, philox known answers, error record */
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/exact.h"
#include "base/rng.h"
#include "tap.h"

#if defined(REEL_POISON) && defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
static int usable(const void *p) { return !__asan_address_is_poisoned(p); }
#else
#define usable(p) 1
#endif

static void arenas(void)
{
    struct reel_arena plan = { .name = "planned" }, a = { .name = "real" };
    size_t mark;
    char *p, *q;

    TAP_OK(!reel_arena_push(&plan, 100) && !reel_arena_push(&plan, 512), "planning takes no memory");
    a.base = malloc(plan.peak), a.cap = plan.peak;
    if (!a.base) return;
    p = reel_arena_push(&a, 100), mark = a.used;
    q = reel_arena_push(&a, 512);
    TAP_OK(a.used == plan.used && p == a.base && q >= p + 256 && (q - p) % 256 == 0 && q + 512 <= a.base + a.cap, "what was planned fits");
    memset(p, 1, 100), memset(q, 2, 512);
    if (usable(p + 100)) {
        TAP_OK(1, "between two pieces # SKIP no address sanitizer");
    } else {
        TAP_OK(usable(p + 99) && !usable(q - 1) && usable(q) && usable(q + 511) && !usable(q + 512), "what is beside a piece is out of bounds");
        reel_arena_reset(&a, mark);
        TAP_OK(usable(p + 99) && !usable(q) && !usable(q + 511), "so is what was given back");
    }
    reel_arena_reset(&a, mark);
    TAP_OK(reel_arena_push(&a, 512) == q, "what was given back is given again");
    free(a.base);
}

static void exact_sums(void)
{
    int64_t a[REEL_EXACT_LIMBS] = { 0 }, b[REEL_EXACT_LIMBS] = { 0 };
    double x[200], s = 0;

    for (int i = 0; i < 200; i++)
        x[i] = ldexp((double)(int32_t)reel_rng_word(1, 0, 0, 0, (uint64_t)i), (int)(i * 7 % 300) - 150);
    for (int i = 0; i < 200; i++) reel_exact_add(a, x[i]), reel_exact_add(b, x[199 - i]);
    TAP_OK(reel_exact_value(a) == reel_exact_value(b), "exact sum does not depend on the order");
    for (int i = 0; i < 200; i++) reel_exact_add(a, -x[i]);
    TAP_OK(reel_exact_value(a) == 0, "exact sum of x and -x is zero");
    memset(a, 0, sizeof a);
    for (int i = 0; i < 1000; i++) reel_exact_add(a, 0.1), s += 0.1;
    TAP_OK(reel_exact_value(a) == 100.00000000000000555, "1000 times 0.1 is correctly rounded, %.17g (naive %.17g)",
           reel_exact_value(a), s);
    memset(a, 0, sizeof a);
    reel_exact_add(a, 1e300), reel_exact_add(a, 1), reel_exact_add(a, -1e300);
    TAP_OK(reel_exact_value(a) == 1, "1e300 + 1 - 1e300 = 1");
    reel_exact_add(a, -3);
    TAP_OK(reel_exact_value(a) == -2, "negative totals, %g", reel_exact_value(a));
    memset(a, 0, sizeof a);
    reel_exact_add(a, 0x1p-1074), reel_exact_add(a, 0x1.8p-1022);
    TAP_OK(reel_exact_value(a) == 0x1.8p-1022 + 0x1p-1074, "subnormals");
    reel_exact_add(a, (double)INFINITY);
    TAP_OK(isnan(reel_exact_value(a)), "a non-finite term makes NaN");
}

static void philox(void)
{
    struct reel_philox4 w = reel_philox(0, 0, 0, 0, 0);

    TAP_OK(w.w[0] == 0x6627e8d5 && w.w[3] == 0x9b00dbd8, "philox of zeros");
    w = reel_philox(0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0x299f31d0a4093822u);
    TAP_OK(w.w[0] == 0xd16cfe09 && w.w[1] == 0x94fdcceb && w.w[2] == 0x5001e420 && w.w[3] == 0x24126ea1,
           "philox of the digits of pi");
    TAP_OK(reel_rng_key(1234, "prepare/noise") == 0xb6085107a1349c9f, "key of a named draw");
    TAP_OK(reel_rng_word(0x8abf465c8eb0c375, 1, 0, 0, 1) == 0x3d1f058b, "word 1 of prepare/noise");
}

static void errors(void)
{
    reel_err e = REEL_FAIL(REEL_EIO, "first %d", 1);

    REEL_FAIL(REEL_EDATA, "second");
    TAP_OK(e == REEL_EIO && !strcmp(reel_errrec()->msg, "first 1"), "the first message wins");
    reel_err_clear();
    TAP_OK(reel_errrec()->code == REEL_OK, "cleared");
    TAP_OK(reel_fault_set("a:0:2") == REEL_OK && !reel_fault("a") && !reel_fault("b") && reel_fault("a") &&
               !reel_fault("a"),
           "a fault strikes at its nth pass");
    TAP_OK(reel_fault_set("nonsense") == REEL_ECONFIG, "a malformed fault is refused");
}

static void *read_late(void *fd)
{
    char part[64];

    usleep(50000);
    while (read(*(int *)fd, part, sizeof part) > 0) continue;
    return NULL;
}

static double died_at;

/* 0: the message has been read, or was waited for long enough. */
static void abort_now(int code)
{
    int unread = -1;

    ioctl(STDERR_FILENO, FIONREAD, &unread);
    _exit(code != 70 || (unread && reel_now() - died_at < 8));
}

/* A launcher that hears of an abort first does not read what was written before it. */
static void last_words(void)
{
    int fd[2], status = -1;
    pthread_t reader;
    pid_t child = fork();

    if (child == 0) {
        if (pipe(fd) || dup2(fd[1], STDERR_FILENO) < 0 || pthread_create(&reader, NULL, read_late, &fd[0])) _exit(2);
        reel_die_hook = abort_now;
        died_at = reel_now();
        reel_die_(__FILE__, __LINE__, "the last words");
    }
    waitpid(child, &status, 0);
    TAP_OK(status == 0, "who dies waits until its message is read (status %d)", status);
}

static double wall(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* 0: the clock left out what the parent stopped this process for. */
static int stop_here(double stopped_for)
{
    double begin = wall(), began, went, stopped;

    reel_clock_watch();
    began = reel_now();
    raise(SIGSTOP);
    went = reel_now() - began;
    stopped = reel_clock_stopped();
    return stopped < stopped_for || went < 0 || went + stopped > wall() - begin + 1e-6;
}

static void clock_stands_still(void)
{
    int status = -1;
    pid_t child = fork();

    if (child == 0) _exit(stop_here(3));
    waitpid(child, &status, WUNTRACED);
    TAP_OK(WIFSTOPPED(status), "a process is stopped");
    sleep(3);
    kill(child, SIGCONT);
    waitpid(child, &status, 0);
    TAP_OK(status == 0, "its clock stood still (status %d)", status);
}

int main(void)
{
    arenas();
    exact_sums();
    philox();
    errors();
    last_words();
    clock_stands_still();
    return tap_done();
}
