/* what is said where there is no module for GPUs, or a wrong one */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "be/device.h"
#include "tap.h"

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
    const struct reel_module *m;

    TAP_OK(reel_module_open(&m, "/nowhere/reel_cuda.so") == REEL_EPLUGIN && strstr(reel_errrec()->msg, "/nowhere/reel_cuda.so"),
           "a module that is not there: %s", reel_errrec()->msg);
    reel_err_clear();
    TAP_OK(reel_module_open(&m, "libm.so.6") == REEL_EPLUGIN && strstr(reel_errrec()->msg, "not a module"), "a library that is no module: %s",
           reel_errrec()->msg);
    reel_err_clear();
    the_module(getenv("REEL_BUILD"));
    return tap_done();
}
