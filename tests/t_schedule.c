/* Schedules: what the golden folders schedules and schedulers do not hold: draws, ranges, ends. */
#include <math.h>

#include "nn/schedule.h"
#include "tap.h"

static void weights(void)
{
    double w[REEL_SCHED_N], sum = 0;

    reel_index_weights(w);
    for (int i = 0; i < REEL_SCHED_N; i++) sum += w[i];
    TAP_OK(w[0] == 0 && fabs(sum - 1000) < 1e-9, "the weight of pure noise is 0, the mean 1");
}

static void draws(void)
{
    struct reel_density u = { REEL_WEIGHTING_UNIFORM, 0, 1, 1 }, n = { REEL_WEIGHTING_LOGIT_NORMAL, 0.5, 2, 1 },
                        m = { REEL_WEIGHTING_MODE, 0, 1, 1 };
    struct reel_sched tab;
    float t, sigma[5];
    int lo, hi;

    TAP_OK(reel_density_index(&u, 0) == 0 && reel_density_index(&u, 0.9999999) == 999, "uniform draws span the table");
    TAP_OK(reel_density_index(&n, 0) == 622 && reel_density_index(&n, 100) == 999 && reel_density_index(&n, -100) == 0,
           "logit-normal: sigmoid(mean + std n), the ends guarded");
    /* u = 1 - 1/4 - (cos^2(pi/8) - 1 + 1/4) = 0.6464 */
    TAP_OK(reel_density_index(&m, 0.25) == 646 && reel_density_index(&m, 0) == 999, "mode weighting");
    reel_index_range(0.02, 0.98, &lo, &hi);
    TAP_OK(lo == 20 && hi == 980, "ratios as indices");
    reel_index_range(0.5, 0.5, &lo, &hi);
    TAP_OK(lo == 500 && hi == 501, "an empty range gets one more index");
    reel_index_range(1, 1, &lo, &hi);
    TAP_OK(lo == 999 && hi == 999, "and stays inside the table");
    TAP_OK(reel_score_timestep(0, 5, 0.02, 0.98) == 20 && reel_score_timestep(999, 5, 0.02, 0.98) == 980,
           "score timesteps are held within the ratios");
    reel_sched_a(&tab, 3);
    reel_few_steps(&t, sigma, &tab, (int64_t[]){ 0 }, 1, 1);
    TAP_OK(t == 0, "a warped step of 0 is the clean end");
    reel_even_sigmas(sigma, 4, 3);
    TAP_OK(sigma[0] == 1 && sigma[1] == 0.9f && sigma[2] == 0.75f && sigma[3] == 0.5f && sigma[4] == 0,
           "four even steps with shift 3");
}

int main(void)
{
    weights();
    draws();
    return tap_done();
}
