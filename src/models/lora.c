/* Adapters in a model's parameter table.
 * Source: FastVideo fastvideo/layers/lora/linear.py @2f3d4074 (names, initial values); Hu et al., LoRA (2021). */
#include "models/lora.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The layer of a linear layer's weight, a matrix named <layer>.weight; 0 for other parameters. */
static int layer_name(const struct reel_param_def *d, char *layer, size_t size)
{
    size_t n = strlen(d->name), k = strlen(".weight");

    if (d->nd != 2 || n <= k || strcmp(d->name + n - k, ".weight") != 0) return 0;
    snprintf(layer, size, "%.*s", (int)(n - k), d->name);
    return 1;
}

static int wanted(const struct reel_model *m, const struct reel_param_def *d)
{
    const struct reel_lora_opts *o = &m->opts.lora;
    char layer[sizeof d->name];

    return layer_name(d, layer, sizeof layer) && o->wants(o->ctx, layer);
}

static struct reel_param_def adapter(const struct reel_param_def *w, enum reel_param_part part, int64_t rank)
{
    struct reel_param_def d = { .nd = 2, .unit = w->unit, .keep_f32 = w->keep_f32, .part = part };
    char layer[sizeof w->name];

    layer_name(w, layer, sizeof layer);
    if (part == REEL_PARAM_LORA_A) {
        d.n[0] = rank, d.n[1] = w->n[1];
        if (w->split == REEL_SPLIT_COLS) d.split = REEL_SPLIT_COLS;
        d.init = REEL_INIT_UNIFORM;
        d.init_scale = (float)(1 / sqrt((double)w->n[1])); /* Kaiming's bound with a = sqrt(5) */
    } else {
        d.n[0] = w->n[0], d.n[1] = rank;
        if (w->split == REEL_SPLIT_ROWS) d.split = REEL_SPLIT_ROWS;
        d.init = REEL_INIT_ZERO;
    }
    REEL_BUG_IF(strlen(layer) + strlen(".lora_A") >= sizeof d.name, "the name %s is too long for an adapter", layer);
    snprintf(d.name, sizeof d.name, "%.100s.%s", layer, part == REEL_PARAM_LORA_A ? "lora_A" : "lora_B");
    return d;
}

reel_err reel_lora_define(struct reel_model *m, int *n)
{
    struct reel_param_def *def;
    int own = m->n_def;

    *n = 0;
    for (int i = 0; i < own; i++) *n += wanted(m, &m->def[i]);
    def = realloc(m->def, (size_t)(own + 2 * *n) * sizeof *def);
    if (!def) return REEL_FAIL(REEL_ENOMEM, "no memory for the adapters of %d layers", *n);
    m->def = def;
    for (int i = 0; i < own; i++) {
        def[i].frozen = 1;
        if (!wanted(m, &def[i])) continue;
        def[i].adapter = m->n_def;
        def[m->n_def++] = adapter(&def[i], REEL_PARAM_LORA_A, m->opts.lora.rank);
        def[m->n_def++] = adapter(&def[i], REEL_PARAM_LORA_B, m->opts.lora.rank);
    }
    return REEL_OK;
}

struct reel_lora reel_lora_of(const struct reel_model *m, int i, int grad)
{
    struct reel_lora l = { .scale = m->opts.lora.scale };
    int a = m->def[i].adapter;

    if (!a) return l;
    l.a = reel_param(m->ps, a);
    l.b = reel_param(m->ps, a + 1);
    if (!grad) return l;
    l.da = reel_param_grad(m->ps, a);
    l.db = reel_param_grad(m->ps, a + 1);
    return l;
}
