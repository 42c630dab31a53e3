/* Numbers that are not finite: found where they first appear, named, and never passed on silently. */
#include <math.h>
#include <stdio.h>

#include "be/ops.h"
#include "train/notes.h"
#include "train/report.h"

/* First metric or scalar that is not finite; equal on every rank, since the values are. */
static const char *bad_number(const struct reel_step *st, double *v)
{
    for (int i = 0; i < st->n_metric; i++)
        if (!isfinite(*v = st->metric[i].value)) return st->metric[i].name;
    for (int i = 0; i < st->n_scalar; i++)
        if (!isfinite(*v = st->scalar[i].value)) return st->scalar[i].name;
    return NULL;
}

static int shard_is_bad(struct reel_run *r, reel_tensor t)
{
    int64_t limb[REEL_EXACT_LIMBS];

    reel_fill(&r->s, r->probe, 0);
    reel_sumsq(&r->s, r->probe, t);
    reel_get(&r->s, limb, r->probe);
    return isnan(reel_exact_value(limb));
}

/* Name of the first parameter of a role whose weight (or gradient) is not finite on any rank. */
static const char *bad_param(struct reel_run *r, int role, int grad)
{
    struct reel_params *ps = r->role[role].ps;
    int n = reel_params_cfg(ps)->n, first = n;
    double mine, min, avg, max;

    for (int i = 0; i < n && first == n; i++) {
        struct reel_shard s = reel_param_shard(ps, i);
        if (s.rows && (!grad || s.g.nd) && shard_is_bad(r, grad ? s.g : s.w)) first = i;
    }
    mine = first;
    reel_comm_minavgmax(r->world, &mine, 1, &min, &avg, &max);
    return (int)min < n ? reel_params_cfg(ps)->def[(int)min].name : NULL;
}

/* A weight was there before the gradients it spoils, whatever its role. */
static void describe(struct reel_run *r, const struct reel_step *st, char *buf, size_t size)
{
    snprintf(buf, size, "no parameter and no gradient holds one: the batch or the forward pass made it");
    for (int grad = 0; grad < 2; grad++)
        for (int i = 0; i < REEL_NROLE; i++) {
            const char *name;
            if (!((grad ? st->trained : r->roles) & REEL_ROLE(i))) continue;
            name = bad_param(r, i, grad);
            if (!name) continue;
            snprintf(buf, size, "first in the %s of %s of the %s", grad ? "gradient" : "weight", name, r->role[i].role);
            return;
        }
}

reel_err reel_check_finite(struct reel_run *r, struct reel_step *st)
{
    char where[256];
    double v;
    const char *name = bad_number(st, &v);

    if (!name) return REEL_OK;
    describe(r, st, where, sizeof where);
    if (r->cfg->training.on_nonfinite == 0)
        return REEL_FAIL(REEL_ENUMERIC,
                         "step %ld: %s is %g (%s); lower training.optimizer.learning_rate, or set "
                         "training.on_nonfinite: skip to leave such steps out",
                         st->step, name, v, where);
    st->skip = 1;
    reel_note_warning(r, "step %ld: %s is %g (%s): update skipped", st->step, name, v, where);
    return REEL_OK;
}
