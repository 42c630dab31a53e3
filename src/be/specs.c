/* what cards can do, from their maker's data sheets */
#include <string.h>

#include "be/backend.h"
#include "be/device.h"

#define TERA 1e12
#define GIGA 1e9

/* Matrix products of bf16 with f32 sums, without sparsity (data sheets print twice that); memory; one direction of
 * NVLink, of PCIe where there is no NVLink. First match wins.
 * Source: NVIDIA's data sheets of A100, H100 and H200, and of DGX B200 over its eight cards. */
static const struct reel_gpu_spec specs[] = {
    { "A100-SXM4-40GB", 312 * TERA, 1555 * GIGA, 300 * GIGA, 40 * GIGA },
    { "A100-SXM4-80GB", 312 * TERA, 2039 * GIGA, 300 * GIGA, 80 * GIGA },
    { "A100-PCIE-40GB", 312 * TERA, 1555 * GIGA, 32 * GIGA, 40 * GIGA },
    { "A100 80GB PCIe", 312 * TERA, 1935 * GIGA, 32 * GIGA, 80 * GIGA },
    { "H100 PCIe", 756 * TERA, 2000 * GIGA, 64 * GIGA, 80 * GIGA },
    { "H100 NVL", 835 * TERA, 3900 * GIGA, 300 * GIGA, 94 * GIGA },
    { "H100", 989 * TERA, 3350 * GIGA, 450 * GIGA, 80 * GIGA },
    { "H200", 989 * TERA, 4800 * GIGA, 450 * GIGA, 141 * GIGA },
    { "B200", 2250 * TERA, 8000 * GIGA, 900 * GIGA, 180 * GIGA },
};

const struct reel_gpu_spec *reel_gpu_spec(const char *name)
{
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++)
        if (strstr(name, specs[i].name)) return &specs[i];
    return NULL;
}

const struct reel_gpu_spec *reel_backend_spec(const struct reel_backend *be)
{
    return be->dev ? reel_gpu_spec(be->describe) : NULL;
}
