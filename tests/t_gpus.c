/* which GPU each rank of a node takes; what is said where there is no module */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "be/device.h"
#include "tap.h"

/* A rank that sees the cards whose numbers are the digits of `sees`; those in `near` are beside its cores. */
static struct reel_gpus rank_sees(const char *sees, const char *near)
{
    struct reel_gpus g = { .n = (int)strlen(sees) };

    for (int i = 0; i < g.n; i++) {
        snprintf(g.gpu[i].bus, sizeof g.gpu[i].bus, "0000:%c0:00.0", sees[i]);
        g.gpu[i].near = strchr(near, sees[i]) != NULL;
    }
    return g;
}

static void picks(const char *what, const struct reel_gpus *all, int n, const int *want)
{
    int same = 1;

    for (int r = 0; r < n; r++) {
        int mine = -1;
        same &= reel_gpus_pick(all, n, r, &mine) == REEL_OK && mine == want[r];
    }
    TAP_OK(same, "%s", what);
}

static void refused(const char *what, const struct reel_gpus *all, int n, const char *word)
{
    int mine, ok = 1;

    for (int r = 0; r < n; r++) {
        ok &= reel_gpus_pick(all, n, r, &mine) == REEL_ECONFIG && strstr(reel_errrec()->msg, word);
        if (r == 0) printf("# %s\n", reel_errrec()->msg);
        reel_err_clear();
    }
    TAP_OK(ok, "%s", what);
}

/* The one that was built, if configure found CUDA: all of its names are there. */
static void the_module(const char *build)
{
    const struct reel_module *m;
    char path[4096];

    snprintf(path, sizeof path, "%s/reel_cuda.so", build ? build : ".");
    if (access(path, R_OK)) return;
    /* it calls what every program of ours has; reel_dtype_name would not be in this one otherwise */
    TAP_OK(reel_module_open(&m, path) == REEL_OK, "reel_cuda.so loads, and has operators of %s: %s", reel_dtype_name(REEL_BF16),
           reel_errrec()->msg);
}

int main(void)
{
    const struct reel_gpus unbound[] = { rank_sees("0123", "0123"), rank_sees("0123", "0123"), rank_sees("0123", "0123"), rank_sees("0123", "0123") };
    const struct reel_gpus sockets[] = { rank_sees("0123", "23"), rank_sees("0123", "01"), rank_sees("0123", "23"), rank_sees("0123", "01") };
    const struct reel_gpus alone[] = { rank_sees("3", ""), rank_sees("1", ""), rank_sees("2", "") };
    const struct reel_gpus shared[] = { rank_sees("3", "3"), rank_sees("3", "3") };
    const struct reel_gpus few[] = { rank_sees("01", ""), rank_sees("01", ""), rank_sees("01", "") };
    const struct reel_gpus far[] = { rank_sees("01", "0"), rank_sees("01", "0") };
    struct reel_gpus none[] = { rank_sees("0", ""), rank_sees("", "") };
    const struct reel_module *m;

    picks("ranks on all cores take the cards in order", unbound, 4, (const int[]){ 0, 1, 2, 3 });
    picks("a rank takes a card beside its cores", sockets, 4, (const int[]){ 2, 0, 3, 1 });
    picks("ranks that see one card each take it", alone, 3, (const int[]){ 0, 0, 0 });
    picks("a far card is better than none", far, 2, (const int[]){ 0, 1 });
    refused("two ranks that see the same card alone", shared, 2, "--gpus-per-task=1");
    refused("more ranks than cards", few, 3, "--ntasks-per-node=2");
    snprintf(none[1].why, sizeof none[1].why, "no driver");
    refused("a rank that sees none says why", none, 2, "no driver");

    TAP_OK(reel_module_open(&m, "/nowhere/reel_cuda.so") == REEL_EPLUGIN && strstr(reel_errrec()->msg, "/nowhere/reel_cuda.so"),
           "a module that is not there: %s", reel_errrec()->msg);
    reel_err_clear();
    TAP_OK(reel_module_open(&m, "libm.so.6") == REEL_EPLUGIN && strstr(reel_errrec()->msg, "not a module"), "a library that is no module: %s",
           reel_errrec()->msg);
    reel_err_clear();
    the_module(getenv("REEL_BUILD"));
    return tap_done();
}
