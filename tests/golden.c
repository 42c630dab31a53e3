/* golden DIR... [--generate] [--section.key value ...]: run golden folders, also under mpiexec -n N.
 * Prints one line per tensor or series, then `hash` of losses and final weights, then
 * `N passed, N failed`. Exit 1 on a failure. */
#include "golden.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"

static const struct { const char *kind; golden_fn *run; } kinds[] = {
    { "method", golden_method },
    { "wan-dit", golden_wan_dit },
    { "wan-dit-filled", golden_wan_dit_filled },
};

void golden_diff(struct golden_diff *d, const float *got, const float *want, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        double g = (double)got[i], w = (double)want[i], e = fabs(g - w);
        if (!(e <= d->max_abs)) d->max_abs = e; /* a NaN shows */
        if (fabs(w) > d->max_want) d->max_want = fabs(w);
        d->diff2 += e * e;
        d->want2 += w * w;
    }
}

int golden_line(struct golden *g, const char *name, double max_abs, double rel, double tol)
{
    int ok = rel <= tol;

    ok ? g->passed++ : g->failed++;
    if (g->world->rank == 0)
        printf("%-72s %10.3e %10.3e <= %8.1e %s\n", name, max_abs, rel, tol, ok ? "pass" : "FAIL");
    return ok;
}

void golden_hash(struct golden *g, const void *p, size_t bytes)
{
    const unsigned char *c = p;

    for (size_t i = 0; i < bytes; i++) g->hash = (g->hash ^ c[i]) * 0x100000001b3u;
}

double golden_json_number(const char *path, const char *a, const char *b, const char *c, double dflt)
{
    json_t *root = json_load_file(path, 0, NULL), *at = json_object_get(root, a);
    double v;

    if (at && b) at = json_object_get(at, b);
    if (at && c) at = json_object_get(at, c);
    v = json_is_number(at) ? json_number_value(at) : dflt;
    json_decref(root);
    return v;
}

/* The word in the folder's file `kind`; without one, a folder with a config.yaml is a run. */
static void read_kind(const char *dir, char *kind, size_t size)
{
    char path[4096], *text = NULL;
    size_t n;

    snprintf(path, sizeof path, "%s/kind", dir);
    if (reel_file_read(path, &text, &n) == REEL_OK) {
        text[strcspn(text, " \r\n")] = 0;
        snprintf(kind, size, "%s", text);
        free(text);
        return;
    }
    reel_err_clear();
    snprintf(path, sizeof path, "%s/config.yaml", dir);
    if (reel_is_file(path)) snprintf(kind, size, "method");
}

static golden_fn *find_kind(const char *kind)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (!strcmp(kinds[i].kind, kind)) return kinds[i].run;
    return NULL;
}

static int usage(void)
{
    fprintf(stderr, "usage: golden DIR... [--generate] [--section.key value ...]\n");
    return 2;
}

int main(int argc, char **argv)
{
    struct reel_comm world;
    struct golden g = { .world = &world, .hash = 0xcbf29ce484222325u };
    int n_dir = 1;

    if (reel_comm_start(&world, &argc, &argv) != REEL_OK) return 1;
    while (n_dir < argc && strncmp(argv[n_dir], "--", 2) != 0) n_dir++;
    g.arg = (const char *const *)argv + n_dir;
    g.n_arg = argc - n_dir;
    if (g.n_arg && !strcmp(g.arg[0], "--generate")) g.generate = 1, g.arg++, g.n_arg--;
    if (n_dir == 1) return usage();
    for (int i = 1; i < n_dir; i++) {
        char kind[64] = "unknown";
        golden_fn *run;
        read_kind(argv[i], kind, sizeof kind);
        run = find_kind(kind);
        if (world.rank == 0) printf("# %s (%s)\n", argv[i], kind);
        if (!run || run(&g, argv[i])) {
            g.failed++;
            if (world.rank == 0) printf("%-72s could not run: %s FAIL\n", argv[i], run ? "see above" : "no such kind of folder");
        }
    }
    if (world.rank == 0) {
        printf("hash %016llx\n", (unsigned long long)g.hash);
        printf("%d passed, %d failed\n", g.passed, g.failed);
    }
    fflush(stdout);
    reel_comm_stop();
    return g.failed != 0;
}
