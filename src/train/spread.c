/* what differs between ranks */
#include "train/spread.h"

#include <string.h>
#include <sys/resource.h>

#include "train/run.h"

static const double unit[REEL_NSPREAD] = { 1e-6, 1e-6, 1.0 / (1 << 30), 1.0 / (1 << 30), 1e-6 };

int reel_spread_slots(const struct reel_run *r) { return REEL_NSPREAD * r->world->size; }

/* Microseconds since the last call, of a sum of seconds. */
static int64_t since(double seconds, double *told)
{
    double d = seconds - *told;

    *told = seconds;
    return d > 0 ? (int64_t)(1e6 * d + 0.5) : 0;
}

static int64_t arenas(struct reel_run *r)
{
    struct reel_arena *a[REEL_RUN_ARENAS];
    int n = reel_run_memory(r, !reel_backend_on_device(r->be), a);
    int64_t peak = 0;

    for (int i = 0; i < n; i++) peak += (int64_t)a[i]->peak;
    return peak;
}

void reel_spread_put(struct reel_run *r, int64_t *v)
{
    struct reel_profile *p = &r->prof;
    int64_t *mine = v + REEL_NSPREAD * r->world->rank;
    struct rusage u = { 0 };

    memset(v, 0, (size_t)reel_spread_slots(r) * sizeof *v);
    getrusage(RUSAGE_SELF, &u);
    mine[REEL_SPREAD_WORK] = since(reel_profile_work(p), &p->reduced_work);
    mine[REEL_SPREAD_DATA] = since(p->seconds[REEL_PROF_DATA], &p->reduced_data);
    mine[REEL_SPREAD_ARENAS] = arenas(r);
    mine[REEL_SPREAD_HOST] = (int64_t)u.ru_maxrss * 1024;
    mine[REEL_SPREAD_STOPPED] = since(reel_clock_stopped(), &p->reduced_stopped);
}

void reel_spread_take(struct reel_run *r, const int64_t *v)
{
    for (int k = 0; k < REEL_NSPREAD; k++) {
        struct reel_spread *s = &r->spread[k];
        int64_t sum = 0, max = -1;

        for (int i = 0; i < r->world->size; i++) {
            int64_t x = v[REEL_NSPREAD * i + k];
            sum += x;
            if (x > max) max = x, s->rank = i;
        }
        s->mean = (double)sum * unit[k] / r->world->size;
        s->max = (double)max * unit[k];
    }
}
