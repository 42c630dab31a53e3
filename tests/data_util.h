#ifndef REEL_TESTS_DATA_UTIL_H
#define REEL_TESTS_DATA_UTIL_H

/* What the tests of data and media share: golden files, a scratch folder, whole files as bytes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "comm/comm.h"
#include "tap.h"
#include "tensor/safetensors.h"

__attribute__((unused)) static const char *golden(const char *name)
{
    static char path[4096];

    snprintf(path, sizeof path, "%s/tests/golden/%s", getenv("REEL_SRC"), name);
    return path;
}

/* A file of this run of the test, of all its ranks; mpirun.sh gives it a TMPDIR of its own. Four names live at a time. */
__attribute__((unused)) static const char *scratch(const char *test, const char *name)
{
    static char path[4][1024];
    static int k;
    char dir[900];
    int n;

    k = (k + 1) % 4;
    n = snprintf(dir, sizeof dir, "%s/%s", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp", test);
    if (n >= (int)sizeof dir || reel_mkdirs(dir)) exit(99);
    snprintf(path[k], sizeof path[k], "%s/%s", dir, name);
    return path[k];
}

__attribute__((unused)) static int same_files(const char *a, const char *b)
{
    char *x = NULL, *y = NULL;
    size_t nx = 0, ny = 0;
    int ok = !reel_file_read(a, &x, &nx) && !reel_file_read(b, &y, &ny) && nx == ny && !memcmp(x, y, nx);

    free(x), free(y);
    reel_err_clear();
    return ok;
}

/* A whole tensor as f32, or its raw bytes with raw != 0; NULL if it is not there. */
__attribute__((unused)) static void *tensor(struct reel_st *st, const char *name, int raw, const struct reel_st_entry **out)
{
    const struct reel_st_entry *e = reel_st_find(st, name);
    int64_t n = 1;
    void *p;

    if (out) *out = e;
    if (!e) return NULL;
    for (int i = 0; i < e->nd; i++) n *= e->n[i];
    p = malloc((size_t)n * 8 + 8);
    if (raw ? reel_st_read(st, e, 0, e->bytes, p) : reel_st_read_f32(st, e, 0, e->nd ? e->n[0] : 1, p)) exit(99);
    return p;
}

#endif
