#include "be/backend.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "be/cores.h"
#include "be/device.h"
#include "kernels/cpu/pool.h"

/* ---- which instruction set ---- */

static int cpu_has(const char *isa)
{
#if defined(__x86_64__) && defined(__GNUC__)
    if (!strcmp(isa, "avx2")) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (!strcmp(isa, "avx512"))
        return cpu_has("avx2") && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
#endif
    return !strcmp(isa, "portable");
}

static const struct reel_backend_ops *const cpu_tables[] = { /* best first */
    &reel_cpu_ops_avx512,
    &reel_cpu_ops_avx2,
    &reel_cpu_ops_portable,
};

static const struct reel_backend_ops *cpu_table(const char *isa)
{
    for (size_t i = 0; i < sizeof cpu_tables / sizeof *cpu_tables; i++) {
        const struct reel_backend_ops *t = cpu_tables[i];
        if (t->name && (!isa || !strcmp(t->name, isa)) && cpu_has(t->name)) return t;
    }
    return NULL;
}

/* The processor's own name, or "cpu". */
static void cpu_model(char *out, size_t size)
{
    char line[256];
    FILE *f = fopen("/proc/cpuinfo", "r");

    snprintf(out, size, "cpu");
    while (f && fgets(line, sizeof line, f)) {
        char *v = strncmp(line, "model name", 10) ? NULL : strchr(line, ':');
        if (!v) continue;
        v[strcspn(v, "\n")] = 0;
        snprintf(out, size, "%s", v + 1 + (v[1] == ' '));
        break;
    }
    if (f) fclose(f);
}

/* ---- backends ---- */

reel_err reel_backend_open(struct reel_backend **be, const char *device, int threads)
{
    return reel_backend_open_isa(be, device, threads, NULL);
}

reel_err reel_backend_open_isa(struct reel_backend **be, const char *device, int threads, const char *isa)
{
    const struct reel_backend_ops *t;
    struct reel_backend *b;
    char model[80];

    *be = NULL;
    if (strcmp(device, "cpu")) return REEL_FAIL(REEL_ECONFIG, "device \"%s\": not one that is opened by name", device);
    if (threads < 0 || threads > 4096)
        return REEL_FAIL(REEL_ECONFIG, "threads %d: 0 (one per core) to 4096", threads);
    t = cpu_table(isa);
    if (!t) return REEL_FAIL(REEL_ECONFIG, "instruction set \"%s\": this processor lacks it", isa);
    b = calloc(1, sizeof *b);
    if (!b) return REEL_FAIL(REEL_ENOMEM, "no memory for the cpu backend");
    b->ops = *t;
    b->threads = threads ? threads : reel_cores_here();
    b->pool = reel_pool_open(b->threads);
    if (!b->pool) {
        int n = b->threads;
        free(b);
        return REEL_FAIL(REEL_ENOMEM, "cannot start %d threads for the cpu backend", n);
    }
    cpu_model(model, sizeof model);
    snprintf(b->describe, sizeof b->describe, "cpu: %s, %s, %d thread%s", model, t->name, b->threads,
             b->threads == 1 ? "" : "s");
    *be = b;
    return REEL_OK;
}

reel_err reel_backend_open_device(struct reel_backend **be, const struct reel_module *m, int i)
{
    struct reel_backend *b = calloc(1, sizeof *b);
    struct reel_device_info info = { .name = "no device" };
    reel_err e = b ? REEL_OK : REEL_FAIL(REEL_ENOMEM, "no memory for the cuda backend");

    *be = NULL;
    if (e == REEL_OK && i >= 0) e = m->device->info(i, &info);
    if (e == REEL_OK && i >= 0) e = m->device->open(&b->device, i);
    if (e) {
        free(b);
        return e;
    }
    b->ops = *m->ops;
    b->dev = m->device;
    b->threads = 1;
    snprintf(b->describe, sizeof b->describe, "%s: %s%s%s", m->ops->name, info.name, i < 0 ? "" : ", ", info.bus);
    snprintf(b->bus, sizeof b->bus, "%s", info.bus);
    *be = b;
    return REEL_OK;
}

void reel_backend_pin(struct reel_backend *be)
{
    if (be->pool) reel_cores_pin(be->pool);
}

void reel_backend_close(struct reel_backend *be)
{
    if (!be) return;
    if (be->device) be->dev->close(be->device);
    reel_pool_close(be->pool);
    free(be);
}

const char *reel_backend_bus(const struct reel_backend *be) { return be->bus; }

const char *reel_backend_describe(const struct reel_backend *be)
{
    return be->describe;
}

int reel_backend_on_device(const struct reel_backend *be)
{
    return be->dev != NULL;
}

int reel_backend_threads(const struct reel_backend *be)
{
    return be->threads;
}

void reel_stream_init(struct reel_stream *s, struct reel_backend *be, int planning, struct reel_arena *scratch)
{
    *s = (struct reel_stream){ .be = be, .ops = &be->ops, .planning = planning, .scratch = scratch, .pool = be->pool };
    REEL_BUG_IF(!planning && be->dev && !be->device, "a running stream on a backend that only plans");
    if (!planning && be->dev) be->dev->attach(be->device, s);
}
