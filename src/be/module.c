/* finding and loading the CUDA module */
#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/abi.h"
#include "be/device.h"

#define NAME "reel_cuda.so"

enum { PLACES = 3 };

/* Where the module may be, best first. */
static void places(char out[PLACES][PATH_MAX])
{
    char self[PATH_MAX - 32] = "", *end;
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);

    self[n > 0 ? n : 0] = 0;
    end = strrchr(self, '/');
    if (end) *end = 0;
    snprintf(out[0], PATH_MAX, "%s/" NAME, self);
    snprintf(out[1], PATH_MAX, "%s/../" NAME, self);
    snprintf(out[2], PATH_MAX, "%s/" NAME, REEL_PKGLIBDIR);
}

static reel_err judge(const struct reel_module *m, const char *path)
{
    if (!m) return REEL_FAIL(REEL_EPLUGIN, "%s: not a module of reel: %s", path, dlerror());
    if (!strcmp(m->version, PACKAGE_VERSION) && m->abi == REEL_ABI && m->ops_size == sizeof *m->ops &&
        m->device_size == sizeof *m->device)
        return REEL_OK;
    return REEL_FAIL(REEL_EPLUGIN, "%s was built for another reel (version %s, headers %08x; this is %s, %08x): build and install both together",
                     path, m->version, m->abi, PACKAGE_VERSION, REEL_ABI);
}

static reel_err load(const struct reel_module **m, const char *path)
{
    void *h = dlopen(path, RTLD_NOW | RTLD_LOCAL);

    if (!h)
        return REEL_FAIL(REEL_EPLUGIN, "the CUDA module does not load: %s; load the cluster's CUDA module, or add the folders of "
                         "libcudart, libcublasLt and libnccl to LD_LIBRARY_PATH", dlerror());
    *m = dlsym(h, "reel_module");
    return judge(*m, path);
}

int reel_driver_there(void)
{
    void *h = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL);

    if (h) dlclose(h);
    return h != NULL;
}

reel_err reel_module_open(const struct reel_module **m, const char *path)
{
    char place[PLACES][PATH_MAX];

    *m = NULL;
    if (path) return load(m, path);
    places(place);
    for (int i = 0; i < PLACES; i++)
        if (access(place[i], F_OK) == 0) return load(m, place[i]);
    return REEL_FAIL(REEL_EPLUGIN, "no CUDA module: neither %s, %s nor %s is there; configure with --with-cuda=DIR and build again",
                     place[0], place[1], place[2]);
}
