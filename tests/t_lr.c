/* Learning rates against the reference's get_scheduler, 111 updates of every schedule. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "optim/lr.h"
#include "tap.h"
#include "tensor/safetensors.h"

static double setting(json_t *all, const char *run, const char *key)
{
    return json_number_value(json_object_get(json_object_get(all, run), key));
}

static void check(struct reel_st *st, json_t *all, const struct reel_st_entry *e)
{
    char run[2] = { e->name[0], 0 };
    const char *name = e->name + 2;
    struct reel_lr s = {
        .name = (enum reel_lr_name)reel_lr_find(name),
        .lr0 = setting(all, run, "learning_rate"),
        .horizon = (long)setting(all, run, "max_train_steps"),
        .warmup = (long)setting(all, run, "lr_warmup_steps"),
        .cycles = setting(all, run, "lr_num_cycles"),
        .power = setting(all, run, "lr_power"),
        .min_ratio = setting(all, run, "min_lr_ratio"),
    };
    double *want = malloc(e->bytes), worst = 0;

    if (reel_st_read(st, e, 0, e->bytes, want) != REEL_OK) exit(1);
    for (int64_t k = 0; k < e->n[0]; k++)
        worst = fmax(worst, fabs(reel_lr_at(&s, (long)k) - want[k]) / fmax(fabs(want[k]), 1e-12));
    TAP_OK(worst < 1e-13, "%s: %ld rates, worst relative difference %.1e", e->name, (long)e->n[0], worst);
    free(want);
}

int main(void)
{
    const char *src = getenv("REEL_SRC");
    char path[4096];
    struct reel_st *st;
    json_t *all;

    snprintf(path, sizeof path, "%s/tests/golden/schedulers/lr.json", src);
    all = json_load_file(path, 0, NULL);
    snprintf(path, sizeof path, "%s/tests/golden/schedulers/lr.safetensors", src);
    if (!all || reel_st_open(&st, path) != REEL_OK) return 1;
    for (int i = 0; i < reel_st_count(st); i++) check(st, all, reel_st_entry(st, i));
    TAP_OK(reel_lr_find("cosin") == -1 && reel_lr_find("linear") == REEL_LR_LINEAR, "names are found whole");
    reel_st_close(st);
    json_decref(all);
    return tap_done();
}
