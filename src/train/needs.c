#include "train/needs.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "ckpt/ckpt.h"
#include "train/init.h"
#include "train/trajectories.h"

static void data_sets(const struct reel_config *cfg)
{
    const struct reel_cfg_data *d = &cfg->training.data;
    const struct reel_kd_opts *kd = reel_trajectories_of(cfg);

    if (d->demo_clips > 0 || (kd && reel_is_dir(kd->teacher_path_cache))) return; /* made, or not read */
    for (int i = 0; i < d->data_path.n; i++)
        if (access(d->data_path.v[i].path, F_OK)) printf("lacks: training.data.data_path: %s is not there\n", d->data_path.v[i].path);
}

static void models(const struct reel_config *cfg, const struct reel_env *env)
{
    char dir[PATH_MAX];

    for (int i = 0; i < REEL_NROLE; i++) {
        const struct reel_cfg_role *c = reel_config_role(cfg, reel_role_names[i]);
        struct reel_hf_source src;

        if (!c || !(cfg->method.kind->roles_needed & REEL_ROLE(i)) || c->init == REEL_INIT_RANDOM) continue;
        src = reel_model_source(c->init_from, env);
        if (reel_hf_component(&src, dir, sizeof dir) == REEL_OK) continue;
        printf("lacks: models.%s: %s\n", c->name, reel_errrec()->msg);
        reel_err_clear();
    }
}

void reel_needs_print(const struct reel_config *cfg, const struct reel_env *env, struct reel_comm *world)
{
    const struct reel_cfg_checkpoint *c = &cfg->training.checkpoint;
    char dir[PATH_MAX];
    long step = -1;
    reel_err e = REEL_OK;

    if (c->resume_from_checkpoint) e = reel_ckpt_resolve(c->output_dir, c->resume_from_checkpoint, dir, sizeof dir, &step, world);
    if (world->rank == 0) {
        data_sets(cfg);
        models(cfg, env);
        if (e) printf("lacks: %s\n", reel_errrec()->msg);
        else if (step >= 0) printf("resume: %s\n", dir);
    }
    reel_err_clear();
}
