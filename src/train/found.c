/* What keys came to mean on this machine. */
#include "train/found.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/json.h"
#include "train/device.h"
#include "train/init.h"
#include "train/trajectories.h"

#define CHUNK 65536 /* weights that are hashed at a time */

/* ---- weights ---- */

/* Whether a checkpoint's resume takes the parameter from where the run took it: nothing else has it. */
static int is_read_again(const struct reel_params_cfg *pc, int i) { return !pc->trainable || pc->def[i].frozen; }

/* This rank's part of a parameter; of what every tensor parallel rank holds, the first's. Local. */
static uint64_t hash_param(struct reel_run *r, const struct reel_params *ps, int i, float *buf)
{
    const struct reel_param_def *d = &reel_params_cfg(ps)->def[i];
    const uint64_t key = reel_fnv(REEL_FNV, d->name, strlen(d->name));
    reel_tensor w = reel_param_shard(ps, i).w;
    int64_t n = reel_numel(w), run = reel_shard_run(ps, i);
    uint64_t sum = 0;

    if (d->split == REEL_SPLIT_NONE && r->mesh.tp.rank > 0) return 0;
    for (int64_t at = 0; at < n; at += CHUNK) {
        int64_t k = n - at < CHUNK ? n - at : CHUNK;
        reel_get(&r->s, buf, reel_slice(reel_reshape(w, REEL_DIMS(n)), at, at + k));
        for (int64_t j = 0, m; j < k; j += m) {
            m = run - (at + j) % run < k - j ? run - (at + j) % run : k - j;
            sum += reel_hash_f32(key, (uint64_t)reel_shard_element(ps, i, at + j), buf + j, m);
        }
    }
    return sum;
}

/* How many weights of a role a resume reads again, and the hash of those that this replica has read. Collective(shard, tp). */
static int64_t hash_role(struct reel_run *r, int role, float *buf, uint64_t *hash)
{
    const struct reel_params *ps = r->role[role].ps;
    const struct reel_params_cfg *pc = reel_params_cfg(ps);
    uint64_t mine = 0;
    int64_t sum, n = 0;

    for (int i = 0; i < pc->n; i++) {
        if (!is_read_again(pc, i)) continue;
        mine += hash_param(r, ps, i, buf);
        n += reel_numel(reel_view(NULL, REEL_F32, pc->def[i].n, pc->def[i].nd));
    }
    sum = (int64_t)mine;
    reel_comm_sum_i64(&r->mesh.shard, &sum, 1);
    reel_comm_sum_i64(&r->mesh.tp, &sum, 1);
    *hash = (uint64_t)sum;
    return n;
}

/* The key that says where they are. */
static const char *source_of(const struct reel_cfg_role *c)
{
    if (c->init == REEL_INIT_RANDOM) return "init";
    return reel_role_override(c) ? "transformer_override_safetensor" : "init_from";
}

/* Collective(world). */
static reel_err add_role(json_t *j, struct reel_run *r, int role, float *buf)
{
    const struct reel_cfg_role *c = reel_config_role(r->cfg, r->role[role].role);
    char key[160], text[80];
    uint64_t hash;
    int64_t n = hash_role(r, role, buf, &hash);

    if (!n) return REEL_OK;
    snprintf(key, sizeof key, "models.%s.%s", c->name, source_of(c));
    REEL_TRY(reel_comm_same(r->world, key, hash));
    snprintf(text, sizeof text, "%lld weights of hash %016llx", (long long)n, (unsigned long long)hash);
    json_object_set_new(j, key, json_string(text));
    return REEL_OK;
}

static reel_err add_weights(json_t *j, struct reel_run *r)
{
    float *buf = malloc(CHUNK * sizeof *buf);
    reel_err e = reel_agree(r->world, buf ? REEL_OK : REEL_FAIL(REEL_ENOMEM, "no memory to hash weights"));

    for (int i = 0; i < REEL_NROLE && !e; i++)
        if (r->roles & REEL_ROLE(i)) e = add_role(j, r, i, buf);
    free(buf);
    return e;
}

/* ---- the rest ---- */

static void add_data(json_t *j, const struct reel_run *r)
{
    const struct reel_method *m = &r->method;
    int latents = !(m->ops->makes_latents && m->ops->makes_latents(m->priv));
    char text[64];

    snprintf(text, sizeof text, "%lld samples, CRC-32C %08x", (long long)reel_set_info(r->set)->n, reel_set_crc(r->set, latents));
    json_object_set_new(j, reel_trajectories_of(r->cfg) ? "method.teacher_path_cache" : "training.data.data_path", json_string(text));
}

/* A plugin's bytes: its path may hold another program by now. */
static void add_plugin(json_t *j, const struct reel_kind *k, const char *section, const char *name)
{
    char key[160], hash[32];

    if (!k || !k->plugin || k->observes) return;
    snprintf(key, sizeof key, "%s%s%s._target_", section, *name ? "." : "", name);
    snprintf(hash, sizeof hash, "a file of hash %016llx", (unsigned long long)k->hash);
    json_object_set_new(j, key, json_string(hash));
}

static void add_reads(json_t *j, const struct reel_cb *c)
{
    char key[160];

    for (int i = 0; i < REEL_CB_READS && c->reads[i].what; i++) {
        snprintf(key, sizeof key, "callbacks.%s.%s", c->name, c->reads[i].what);
        json_object_set_new(j, key, json_string(c->reads[i].is));
    }
}

reel_err reel_found(struct reel_run *r, char **text)
{
    json_t *j = json_pack("{s:s, s:s}", "training.device", reel_backend_on_device(r->be) ? "cuda" : "cpu", "training.compute_dtype",
                          reel_dtype_name(reel_compute_dtype(r->cfg, r->be)));
    reel_err e;

    add_data(j, r);
    add_plugin(j, r->cfg->method.kind, "method", "");
    for (int i = 0; i < r->cfg->n_roles; i++) add_plugin(j, r->cfg->role[i].kind, "models", r->cfg->role[i].name);
    for (int i = 0; i < r->cfg->n_callbacks; i++) add_plugin(j, r->cfg->callback[i].kind, "callbacks", r->cfg->callback[i].name);
    for (int i = 0; i < r->n_cb; i++) add_reads(j, &r->cb[i]);
    e = add_weights(j, r);
    *text = e ? NULL : json_dumps(j, 0);
    json_decref(j);
    return e ? e : reel_agree(r->world, *text ? REEL_OK : REEL_FAIL(REEL_ENOMEM, "no memory for what the configuration came to mean"));
}
