/* values of environment variables that are known to hurt */
#include "config/audit.h"

#include <string.h>

enum when { SET, IS, NOT_IN }; /* at all; exactly `value`; a comma list without any of the words of `value` */

/* Sources: NCCL's and the CUDA runtime's documentation of their environment variables, UCX's of UCX_TLS. */
static const struct {
    enum reel_env_name name;
    enum when when;
    const char *value, *harm;
    int gpu; /* matters on GPUs only */
} rules[] = {
    { REEL_ENV_CUDA_LAUNCH_BLOCKING, IS, "1", "every kernel waits for the one before: nothing overlaps", 1 },
    { REEL_ENV_NVIDIA_TF32_OVERRIDE, IS, "1", "f32 products lose 13 bits: results differ from every other run", 1 },
    { REEL_ENV_CUDA_DEVICE_MAX_CONNECTIONS, IS, "1", "communication queues behind compute", 1 },
    { REEL_ENV_NCCL_P2P_DISABLE, IS, "1", "GPUs of a node talk through host memory", 1 },
    { REEL_ENV_NCCL_SHM_DISABLE, IS, "1", "GPUs of a node without peer access talk through the network", 1 },
    { REEL_ENV_NCCL_IB_DISABLE, IS, "1", "nodes talk through TCP", 1 },
    { REEL_ENV_NCCL_ALGO, SET, NULL, "the library's choice by size and topology is switched off", 1 },
    { REEL_ENV_NCCL_PROTO, SET, NULL, "the library's choice by size and topology is switched off", 1 },
    { REEL_ENV_UCX_TLS, NOT_IN, "all,shm,sm,sysv,posix,cma,knem,xpmem", "ranks of a node talk through the network", 0 },
    { REEL_ENV_MPIR_CVAR_ASYNC_PROGRESS, IS, "1", "a thread of the MPI library spins on a core of the rank", 0 },
    { REEL_ENV_MPICH_ASYNC_PROGRESS, IS, "1", "a thread of the MPI library spins on a core of the rank", 0 },
    { REEL_ENV_MALLOC_PERTURB_, SET, NULL, "every allocation is overwritten", 0 },
    { REEL_ENV_MALLOC_CHECK_, SET, NULL, "every allocation is checked", 0 },
};

static int word_of(const char *list, const char *word, size_t n)
{
    for (const char *p = list; *p; p += strcspn(p, ","), p += *p == ',')
        if (strcspn(p, ",") == n && !strncmp(p, word, n)) return 1;
    return 0;
}

static int any_of(const char *list, const char *words)
{
    for (const char *p = words; *p; p += strcspn(p, ","), p += *p == ',')
        if (word_of(list, p, strcspn(p, ","))) return 1;
    return 0;
}

static int hurts(enum when when, const char *wanted, const char *v)
{
    switch (when) {
    case SET: return *v != 0;
    case IS: return !strcmp(v, wanted);
    default: return *v && !any_of(v, wanted);
    }
}

int reel_env_audit(const struct reel_env *env, int gpu, FILE *f)
{
    int n = 0;

    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        const char *v = reel_env_get(env, rules[i].name);
        if (!v || (rules[i].gpu && !gpu) || !hurts(rules[i].when, rules[i].value, v)) continue;
        fprintf(f, "reel: warning: %s=%s: %s; unset it unless you know why\n", reel_env_help[rules[i].name].name, v, rules[i].harm);
        n++;
    }
    return n;
}
