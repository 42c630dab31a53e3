/* Which values of environment variables are warned about. */
#include <stdlib.h>
#include <string.h>

#include "config/audit.h"
#include "tap.h"

static int warned(enum reel_env_name name, const char *value, int gpu, const char *words)
{
    struct reel_env env = { { 0 } };
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    int n, said;

    env.v[name] = value;
    n = reel_env_audit(&env, gpu, f);
    fclose(f);
    said = n == 1 && strstr(text, words);
    free(text);
    return n == 0 ? 0 : said ? 1 : -1;
}

int main(void)
{
    struct reel_env none = { { 0 } };

    TAP_OK(reel_env_audit(&none, 1, stdout) == 0, "an empty environment is fine");
    TAP_OK(warned(REEL_ENV_NCCL_P2P_DISABLE, "1", 1, "warning: NCCL_P2P_DISABLE=1: ") == 1, "NCCL_P2P_DISABLE=1 is named");
    TAP_OK(warned(REEL_ENV_NCCL_P2P_DISABLE, "0", 1, "") == 0, "NCCL_P2P_DISABLE=0 is fine");
    TAP_OK(warned(REEL_ENV_NCCL_P2P_DISABLE, "1", 0, "") == 0, "without GPUs it does not matter");
    TAP_OK(warned(REEL_ENV_UCX_TLS, "tcp,self", 0, "through the network") == 1, "UCX_TLS without shared memory is named");
    TAP_OK(warned(REEL_ENV_UCX_TLS, "self,sysv,cma", 0, "") == 0, "UCX_TLS with shared memory is fine");
    TAP_OK(warned(REEL_ENV_UCX_TLS, "", 0, "") == 0, "an empty value is none");
    TAP_OK(warned(REEL_ENV_NVIDIA_TF32_OVERRIDE, "1", 1, "13 bits") == 1, "TF32 by force is named");
    return tap_done();
}
