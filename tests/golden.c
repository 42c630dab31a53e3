/* golden DIR... [--generate] [--section.key value ...]: run golden folders, also under mpiexec -n N.
 * A folder that only holds golden folders stands for these. Prints one line per tensor or series, then
 * `hash` of losses and final weights, then `N passed, N failed`. Exit 1 on a failure. */
#include "golden.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

static const struct { const char *kind; golden_fn *run; } kinds[] = { /* run NULL: for a later version */
    { "method", golden_method },
    { "wan-dit", golden_wan_dit },
    { "wan-dit-filled", golden_wan_dit_filled },
    { "draws", golden_draws },
    { "schedules", golden_schedules },
    { "schedulers", golden_schedulers },
    { "adamw", golden_adamw },
    { "hf-layout", golden_hf_layout },
    { "media", golden_media },
    { "demo", golden_demo },
    { "dcp", golden_dcp },
    { "wan-causal", golden_wan_causal },
    { "vsa", golden_vsa },
    { "umt5", golden_umt5 },
    { "wan-vae", golden_wan_vae },
    { "lora", golden_lora },
};

/* The word in the folder's file `kind`; without one, a folder with a config.yaml is a run. */
static void read_kind(const char *dir, char *kind, size_t size)
{
    char path[4200], *text = NULL;
    size_t n;

    kind[0] = 0;
    snprintf(path, sizeof path, "%s/kind", dir);
    if (reel_is_file(path) && reel_file_read(path, &text, &n) == REEL_OK) {
        text[strcspn(text, " \r\n")] = 0;
        snprintf(kind, size, "%s", text);
        free(text);
        return;
    }
    reel_err_clear();
    snprintf(path, sizeof path, "%s/config.yaml", dir);
    if (reel_is_file(path)) snprintf(kind, size, "method");
}

static void refuse(struct golden *g, const char *dir, const char *why)
{
    g->failed++;
    if (g->world->rank == 0) printf("%-72s %s FAIL\n", dir, why);
}

static void run_kind(struct golden *g, const char *dir, const char *kind)
{
    size_t i = 0;
    int rc;

    while (i < sizeof kinds / sizeof *kinds && strcmp(kinds[i].kind, kind) != 0) i++;
    if (g->world->rank == 0) printf("# %s (%s)\n", dir, kind);
    if (i == sizeof kinds / sizeof *kinds) return refuse(g, dir, "no such kind of folder");
    rc = kinds[i].run ? kinds[i].run(g, dir) : GOLDEN_LATER;
    if (rc) refuse(g, dir, rc == GOLDEN_LATER ? "not in this version" : "could not run, see above");
}

/* The golden folders inside a folder that is none itself, by name; how many. */
static int run_inside(struct golden *g, const char *dir)
{
    struct dirent **list;
    int n = scandir(dir, &list, NULL, alphasort), found = 0;

    for (int i = 0; i < n; i++) {
        char path[4096], kind[64];
        if (list[i]->d_name[0] != '.' && snprintf(path, sizeof path, "%s/%s", dir, list[i]->d_name) < (int)sizeof path) {
            read_kind(path, kind, sizeof kind);
            if (*kind) run_kind(g, path, kind), found++;
        }
        free(list[i]);
    }
    if (n >= 0) free(list);
    return found;
}

static void run_folder(struct golden *g, const char *dir)
{
    char kind[64];

    read_kind(dir, kind, sizeof kind);
    if (*kind) run_kind(g, dir, kind);
    else if (!run_inside(g, dir)) refuse(g, dir, "no golden folder: it has neither `kind` nor config.yaml");
}

/* A check that fails on one rank alone fails the run. Collective(world). */
static void finish(struct golden *g)
{
    double failed = g->failed, min, avg, max;

    reel_comm_minavgmax(g->world, &failed, 1, &min, &avg, &max);
    g->failed = (int)max;
    if (g->world->rank == 0) {
        printf("hash %016llx\n", (unsigned long long)g->hash);
        printf("%d passed, %d failed\n", g->passed, g->failed);
    }
    fflush(stdout);
}

int main(int argc, char **argv)
{
    struct reel_comm world;
    struct reel_env env;
    struct golden g = { .world = &world, .env = &env, .hash = 0xcbf29ce484222325u };
    int n_dir = 1;

    while (n_dir < argc && strncmp(argv[n_dir], "--", 2) != 0) n_dir++;
    if (n_dir == 1) {
        fprintf(stderr, "usage: golden DIR... [--generate] [--section.key value ...]\n");
        return 2;
    }
    if (reel_comm_start(&world, &argc, &argv) != REEL_OK) return 1;
    reel_env_read(&env);
    g.arg = (const char *const *)argv + n_dir;
    g.n_arg = argc - n_dir;
    if (g.n_arg && !strcmp(g.arg[0], "--generate")) g.generate = 1, g.arg++, g.n_arg--;
    for (int i = 1; i < n_dir; i++) run_folder(&g, argv[i]);
    finish(&g);
    reel_comm_stop();
    return g.failed != 0;
}
