#ifndef REEL_BENCH_H
#define REEL_BENCH_H

/* What the programs of bench/ share: a clock, the processor's name, the best of several runs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* CLOCK_PROCESS_CPUTIME_ID: processor time, for one thread on a busy machine */
static clockid_t bench_clock = CLOCK_MONOTONIC;

static inline double bench_now(void)
{
    struct timespec t;

    clock_gettime(bench_clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static inline const char *bench_processor(void)
{
    static char name[256] = "unknown processor";
    FILE *f = fopen("/proc/cpuinfo", "r");
    char line[256], *p;
    int family = 0, model = 0;

    while (f && fgets(line, sizeof line, f)) {
        sscanf(line, "cpu family : %d", &family);
        sscanf(line, "model : %d", &model);
        if (!strncmp(line, "model name", 10) && (p = strchr(line, ':'))) {
            p[strcspn(p, "\n")] = 0;
            snprintf(name, sizeof name - 40, "%s", p + 2);
            break;
        }
    }
    if (f) fclose(f);
    snprintf(name + strlen(name), 40, " (family %d, model %d)", family, model);
    return name;
}

/* Seconds of the fastest of at least `n` runs and at least `min_s` seconds of them. */
#define BENCH_BEST(out, n, min_s, ...)                                                        \
    do {                                                                                      \
        double best_ = 1e30, began_ = bench_now();                                            \
        for (int i_ = 0; i_ < (n) || bench_now() - began_ < (min_s); i_++) {                  \
            double t_ = bench_now();                                                          \
            __VA_ARGS__;                                                                      \
            t_ = bench_now() - t_;                                                            \
            if (t_ < best_) best_ = t_;                                                       \
        }                                                                                     \
        (out) = best_;                                                                        \
    } while (0)

#endif
