/* Tiny transformers whose forward pass and every gradient were computed in float64 by another
 * implementation, in files: tests/golden/wan-dit and wan-causal. The same source runs on 1, 2 and 4 ranks. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "golden.h"
#include "tap.h"

static void run(struct reel_comm *world, golden_fn *fn, const char *name, int checkpointing)
{
    static const char *const arg[] = { "--checkpointing" };
    struct golden g = { .world = world, .arg = arg, .n_arg = checkpointing, .quiet = 1 };
    char dir[4096];
    int broken;

    snprintf(dir, sizeof dir, "%s/tests/golden/%s", getenv("REEL_SRC"), name);
    broken = fn(&g, dir);
    TAP_OK(!broken && !g.failed && g.passed, "%s%s on %d: %d tensors, %d wrong", name,
           checkpointing ? ", activations made again" : "", world->size, g.passed + g.failed, g.failed);
}

int main(int argc, char **argv)
{
    struct reel_comm world;
    int bad;

    if (reel_comm_start(&world, &argc, &argv)) return 1;
    tap_quiet = world.rank != 0;
    for (int ckpt = 0; ckpt < 2; ckpt++) {
        run(&world, golden_wan_dit, "wan-dit/a", ckpt);
        run(&world, golden_wan_dit, "wan-dit/b", ckpt);
        run(&world, golden_wan_dit, "wan-dit/c", ckpt);
        run(&world, golden_wan_causal, "wan-causal", ckpt);
    }
    if (world.size == 1) run(&world, golden_wan_dit_filled, "wan-dit/wide13", 1);
    bad = tap_done();
    reel_comm_stop();
    return bad;
}
