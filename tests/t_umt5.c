/* The text encoder against its golden folder, on any number of ranks; what must not change a bit. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "golden.h"
#include "tap.h"

int main(int argc, char **argv)
{
    struct reel_comm world;
    struct golden g = { .world = &world, .quiet = 1 };
    char dir[PATH_MAX];
    int bad;

    if (reel_comm_start(&world, &argc, &argv)) return 1;
    tap_quiet = world.rank != 0;
    snprintf(dir, sizeof dir, "%s/tests/golden/umt5", getenv("REEL_SRC"));
    golden_umt5(&g, dir);
    TAP_OK(!g.failed && g.passed > 12, "golden/umt5 on %d: %d right, %d wrong", world.size, g.passed, g.failed);
    bad = tap_done();
    reel_comm_stop();
    return bad;
}
