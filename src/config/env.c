#include "config/env.h"

#include <stdlib.h>

const struct reel_env_help reel_env_help[REEL_ENV_N] = {
#define X(name, help) { #name, help },
    REEL_ENV_LIST(X)
#undef X
};

void reel_env_read(struct reel_env *env)
{
    for (int i = 0; i < REEL_ENV_N; i++) env->v[i] = getenv(reel_env_help[i].name);
}

const char *reel_env_get(const struct reel_env *env, enum reel_env_name name) { return env->v[name]; }

void reel_env_dump(const struct reel_env *env, FILE *f)
{
    for (int i = 0; i < REEL_ENV_N; i++) {
        if (!env->v[i]) continue;
        fprintf(f, "# environment: %s=", reel_env_help[i].name);
        for (const char *s = env->v[i]; *s; s++) fputc((unsigned char)*s < ' ' ? ' ' : *s, f);
        fputc('\n', f);
    }
}
