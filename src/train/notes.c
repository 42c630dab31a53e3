/* notes of a run */
#include "train/notes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

json_t *reel_json_text(const char *s)
{
    json_t *j = json_string(s);
    char *plain = j ? NULL : strdup(s);

    if (!plain) return j;
    for (char *c = plain; *c; c++)
        if (*c & 0x80) *c = '?';
    j = json_string(plain);
    free(plain);
    return j;
}

static json_t *variable(const struct reel_run *r, enum reel_env_name key)
{
    const char *v = r->flags.env ? reel_env_get(r->flags.env, key) : NULL;

    return v ? reel_json_text(v) : json_null();
}

static void note_warning(struct reel_run *r, const char *text)
{
    if (r->track) reel_track_note(r->track, r->step, "warning", json_pack("{s:o}", "text", reel_json_text(text)));
}

#define ASSUMED "%s leaves out sizes of the %s, so these are taken: %s"

void reel_note_assumed(const struct reel_run *r, const struct reel_model *m, const char *where)
{
    if (*m->assumed && r->world->rank == 0) fprintf(stderr, "reel: warning: " ASSUMED "\n", where, m->role, m->assumed);
}

static void note_assumed(struct reel_run *r, const struct reel_model *m)
{
    char text[REEL_ASSUMED + 96];

    snprintf(text, sizeof text, ASSUMED, "config.json", m->role, m->assumed);
    if (*m->assumed) note_warning(r, text);
}

void reel_note_start(struct reel_run *r, const char *config)
{
    const struct reel_mesh_dims *d = &r->mesh.dims;
    char host[64] = "";
    json_t *cfg;

    if (!r->track) return;
    cfg = json_loads(config, 0, NULL);
    gethostname(host, sizeof host - 1);
    reel_track_note(r->track, r->first, "start",
                    json_pack("{s:s, s:o, s:i, s:o, s:o, s:i, s:{s:i, s:i, s:i, s:i}, s:s, s:i, s:i, s:o}", "version", PACKAGE_VERSION,
                              "host", reel_json_text(host), "pid", (int)getpid(), "job", variable(r, REEL_ENV_SLURM_JOB_ID),
                              "restarts", variable(r, REEL_ENV_SLURM_RESTART_COUNT), "ranks", d->world, "mesh", "replicate",
                              d->replicate, "shard", d->shard, "tp", d->tp, "sp", d->sp, "method", r->cfg->method.kind->name,
                              "steps", (int)r->last, "samples_per_step",
                              (int)(r->batch.b_global * r->cfg->training.loop.gradient_accumulation_steps), "config", cfg ? cfg : json_null()));
    for (int i = 0; i < r->cfg->n_warnings; i++) note_warning(r, r->cfg->warning[i]); /* printed when it was read */
    for (int i = 0; i < REEL_NROLE; i++) note_assumed(r, &r->role[i]);
}

void reel_note_plan(struct reel_run *r)
{
    struct reel_arena *a[REEL_RUN_ARENAS];
    int n = reel_run_arenas(r, a);
    json_t *arena = json_object();

    if (!r->track) {
        json_decref(arena);
        return;
    }
    for (int i = 0; i < n; i++)
        if (a[i]->cap) json_object_set_new(arena, a[i]->name, json_integer((json_int_t)a[i]->cap));
    reel_track_note(r->track, r->first, "plan", json_pack("{s:o, s:o}", "device", reel_json_text(reel_backend_describe(r->be)), "arenas", arena));
}

void reel_note_ranks(struct reel_run *r, const struct reel_host *host)
{
    json_t *list = json_array();

    for (int i = 0; r->track && i < r->world->size; i++)
        json_array_append_new(list, json_pack("{s:o, s:s, s:s, s:s, s:i, s:s}", "node", reel_json_text(host[i].node), "cores", host[i].cores,
                                              "numa", host[i].numa, "bound", host[i].bound, "threads", host[i].threads, "gpu", host[i].gpu));
    reel_track_note(r->track, r->first, "ranks", json_pack("{s:o}", "rank", list));
}

void reel_note_warning(struct reel_run *r, const char *fmt, ...)
{
    char text[1024];
    va_list ap;

    if (r->world->rank) return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    fprintf(stderr, "reel: %s\n", text);
    note_warning(r, text);
}

void reel_note_pause(struct reel_run *r)
{
    const struct reel_spread *s = &r->spread[REEL_SPREAD_STOPPED];
    char who[32] = "this run", text[160];

    if (s->max <= 0) return;
    if (s->mean < 0.75 * s->max) snprintf(who, sizeof who, "rank %d", s->rank);
    snprintf(text, sizeof text, "%s was stopped for %.1f s (a suspended job, or SIGSTOP) and goes on; the run's times leave that out", who, s->max);
    fprintf(stderr, "reel: %s\n", text);
    if (r->track) reel_track_note(r->track, r->step, "pause", json_pack("{s:f, s:s}", "seconds", s->max, "text", text));
}

void reel_note_end(struct reel_run *r, reel_err e)
{
    const char *why = e ? reel_errrec()->msg : !r->stopped ? "done" : r->stopped & REEL_STOP_WALL ? "the wall clock" : "a signal";
    int code = e ? 1 : r->stopped ? REEL_EXIT_REQUEUE : 0, rank = e ? reel_errrec()->rank : -1;

    if (!r->track) return;
    reel_track_note(r->track, r->step, "end", json_pack("{s:i, s:o, s:i}", "code", code, "why", reel_json_text(why), "rank", rank));
}
