#include "optim/lr.h"

#include <math.h>
#include <string.h>

#define POLYNOMIAL_END 1e-7 /* where the polynomial schedule ends, an absolute rate */

static double polynomial(const struct reel_lr *s, long k, double p)
{
    if (k > s->horizon) return POLYNOMIAL_END / s->lr0;
    return ((s->lr0 - POLYNOMIAL_END) * pow(1 - p, s->power) + POLYNOMIAL_END) / s->lr0;
}

static double factor(const struct reel_lr *s, long k)
{
    double span = (double)(s->horizon > s->warmup ? s->horizon - s->warmup : 1);
    double p = (double)(k - s->warmup) / span;

    if (s->name == REEL_LR_CONSTANT) return 1; /* ignores the warm-up, as the reference does */
    if (k < s->warmup) return (double)k / (double)(s->warmup > 1 ? s->warmup : 1);
    switch (s->name) {
    case REEL_LR_LINEAR: return fmax(0, (double)(s->horizon - k) / span);
    case REEL_LR_COSINE: return fmax(0, 0.5 * (1 + cos(M_PI * p)));
    case REEL_LR_COSINE_WITH_RESTARTS:
        return p >= 1 ? 0 : fmax(0, 0.5 * (1 + cos(M_PI * fmod(s->cycles * p, 1))));
    case REEL_LR_COSINE_WITH_MIN_LR: return fmax(s->min_ratio, 0.5 * (1 + cos(M_PI * p)));
    case REEL_LR_POLYNOMIAL: return polynomial(s, k, p);
    default: return 1;
    }
}

double reel_lr_at(const struct reel_lr *s, long k) { return s->lr0 * factor(s, k); }

int reel_lr_find(const char *name)
{
    const char *at = REEL_LR_CHOICES;

    for (int i = 0;; i++, at++) {
        size_t n = strcspn(at, "|");
        if (strlen(name) == n && !strncmp(name, at, n)) return i;
        at += n;
        if (!*at) return -1;
    }
}
