#include "models/sampler.h"

#include "be/ops.h"
#include "nn/schedule.h"

#define MAX_STEPS 1000

static reel_tensor velocity(const struct reel_sampler *s, reel_tensor x, reel_tensor t, reel_tensor text)
{
    struct reel_model_in in = { .x = x, .t = t, .text = text };

    return s->model->ops->fwd(s->model, s->a, &in, NULL);
}

/* One network call (two with guidance) and the step from level `from` to level `to`. */
static void step(const struct reel_sampler *s, reel_tensor x, reel_tensor t, reel_tensor text, reel_tensor uncond,
                 float from, float to)
{
    reel_tensor c, u;

    reel_arena_reset(s->a, 0);
    reel_fill(s->model->s, t, (double)(1000.0f * from));
    c = velocity(s, x, t, text);
    if (s->guidance != 1) { /* c <- g c + (1-g) u */
        u = velocity(s, x, t, uncond);
        reel_axpby(s->model->s, c, 1 - s->guidance, u, s->guidance);
    }
    reel_axpby(s->model->s, x, (double)(to - from), c, 1);
}

void reel_sample_euler(const struct reel_sampler *s, reel_tensor x, reel_tensor t, reel_tensor text,
                       reel_tensor uncond)
{
    float sigma[MAX_STEPS + 1];

    REEL_BUG_IF(s->steps < 1 || s->steps > MAX_STEPS, "%d sampling steps", s->steps);
    reel_even_sigmas(sigma, s->steps, s->shift);
    for (int i = 0; i < s->steps; i++) step(s, x, t, text, uncond, sigma[i], sigma[i + 1]);
}
