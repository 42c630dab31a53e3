/* Tiny transformers whose forward pass and every gradient were computed in float64 by another
 * implementation, in files: tests/golden/wan-dit. The same source runs on 1, 2 and 4 ranks. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "golden.h"
#include "tap.h"

/* What golden_wan.c wants of the golden runner; here only failures are printed. */
static double worst;
static char worst_name[160];

void golden_diff(struct golden_diff *d, const float *got, const float *want, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        double w = (double)want[i], e = fabs((double)got[i] - w);

        if (!(e <= d->max_abs)) d->max_abs = e;
        d->max_want = fmax(d->max_want, fabs(w));
        d->diff2 += e * e;
        d->want2 += w * w;
    }
}

int golden_line(struct golden *g, const char *name, double max_abs, double rel, double tol)
{
    int ok = rel <= tol;

    ok ? g->passed++ : g->failed++;
    if (!(rel <= worst * tol)) {
        worst = rel / tol;
        snprintf(worst_name, sizeof worst_name, "%s", name);
    }
    if (!ok && g->world->rank == 0)
        printf("# %-58s max abs %.2e, error %.2e, bound %.2e\n", name, max_abs, rel, tol);
    return ok;
}

static void run(struct reel_comm *world, golden_fn *fn, const char *name, int checkpointing)
{
    static const char *const arg[] = { "--checkpointing" };
    struct golden g = { .world = world, .arg = arg, .n_arg = checkpointing };
    char dir[4096];
    int broken;

    worst = 0;
    snprintf(dir, sizeof dir, "%s/tests/golden/wan-dit/%s", getenv("REEL_SRC"), name);
    broken = fn(&g, dir);
    TAP_OK(!broken && !g.failed && g.passed, "%s%s on %d: %d tensors, %d wrong; worst at %.2f of its bound: %s", name,
           checkpointing ? ", activations made again" : "", world->size, g.passed + g.failed, g.failed, worst,
           worst_name);
}

int main(int argc, char **argv)
{
    struct reel_comm world;
    int bad;

    if (reel_comm_start(&world, &argc, &argv)) return 1;
    tap_quiet = world.rank != 0;
    for (int ckpt = 0; ckpt < 2; ckpt++) {
        run(&world, golden_wan_dit, "a", ckpt);
        run(&world, golden_wan_dit, "b", ckpt);
        run(&world, golden_wan_dit, "c", ckpt);
    }
    if (world.size == 1) run(&world, golden_wan_dit_filled, "wide13", 1);
    bad = tap_done();
    reel_comm_stop();
    return bad;
}
