/* What generating takes: said, and refused where it does not fit, before anything is computed. */
#include <math.h>
#include <stdio.h>

#include "base/bytes.h"
#include "train/estimate.h"
#include "train/generate_priv.h"
#include "train/report.h"

/* Operations of which nobody wants to know how long they take: some seconds of a few cores. Measuring takes half a second. */
#define MOMENT 5e11

/* Bytes that this node can still give, for each of its ranks; 0: it does not say. Collective(world). */
static double room_of(struct reel_comm *world)
{
    FILE *f = fopen("/proc/meminfo", "r");
    char line[128];
    long long kib = 0;
    struct reel_comm node;

    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "MemAvailable: %lld kB", &kib) == 1) break;
    if (f) fclose(f);
    reel_comm_node(&node, world);
    reel_comm_close(&node);
    return 1024.0 * (double)kib / node.size;
}

/* Of the codec, and of the text encoder, which is closed before the model takes its memory: their config.json is read alone.
 * Collective(world). */
static reel_err encoder_bytes(const struct reel_gen *j, struct reel_run *r, double *codec, double *text)
{
    struct reel_encode_opts o = j->enc;
    struct reel_stream s = { 0 };
    struct reel_arena scratch = { .name = "scratch" };
    struct reel_codec *c;
    size_t n = 0;
    reel_err e;

    reel_stream_init(&s, r->be, 1, &scratch);
    o.s = &s;
    e = reel_codec_open(&c, &o);
    if (!e) *codec = (double)reel_codec_bytes(c, (int)(8 * j->shape[3]), (int)(8 * j->shape[4])), reel_codec_close(c);
    REEL_TRY(reel_agree(j->world, e));
    REEL_TRY(reel_text_bytes(&o, j->world->size, &n));
    *text = (double)n;
    return REEL_OK;
}

/* What the system would only notice by killing a rank. A device says it itself, when its memory is taken. Collective(world). */
static reel_err has_room(struct reel_gen *j, struct reel_run *r, double *need)
{
    struct reel_arena *a[REEL_RUN_ARENAS], *most;
    int n = reel_run_arenas(r, a);
    double room = room_of(j->world), codec = 0, text = 0, out = reel_gen_out_bytes(j), on_host;
    reel_err e;

    REEL_TRY(encoder_bytes(j, r, &codec, &text));
    most = a[0];
    *need = codec + out;
    for (int i = 0; i < n; i++) {
        *need += (double)a[i]->peak;
        if (a[i]->peak > most->peak) most = a[i];
    }
    if (text > *need) *need = text;
    on_host = reel_backend_on_device(r->be) ? out : *need;
    if (room <= 0 || on_host <= room) e = REEL_OK;
    else if (on_host == text)
        e = REEL_FAIL(REEL_ECONFIG, "generate: a rank needs %s for the text encoder, and has %s: use more ranks on more nodes, which share it",
                      reel_bytes_text(text).s, reel_bytes_text(room).s);
    else if (out > (double)most->peak)
        e = REEL_FAIL(REEL_ECONFIG, "generate: a rank needs %s, the most for films (%s), and has %s: make --clips, --height, --width or --frames "
                      "smaller", reel_bytes_text(on_host).s, reel_bytes_text(out).s, reel_bytes_text(room).s);
    else
        e = REEL_FAIL(REEL_ECONFIG, "generate: a rank needs %s, the most for %s (%s), and has %s: make --height, --width, --frames or "
                      "--batch smaller, or share a film between more ranks (training.distributed.sp_size)",
                      reel_bytes_text(on_host).s, most->name, reel_bytes_text((double)most->peak).s, reel_bytes_text(room).s);
    return reel_agree(j->world, e);
}

/* Of a group's films by the planned operations of a batch; NAN where that is a moment. Collective(world). */
static double seconds(const struct reel_gen *j, struct reel_run *r, double part)
{
    double batches = part * (double)(j->per_group / j->g.batch), attention = batches * r->s.attention_flops, all = batches * r->s.flops;
    struct reel_machine m = { 0 };

    if (j->sampler == REEL_GEN_REAL || all < MOMENT) return (double)NAN;
    reel_machine_compute(&m, r->be, r->role[REEL_STUDENT].compute, j->world);
    return m.gemm_flops > 0 ? (all - attention) / m.gemm_flops + attention / m.attention_flops : (double)NAN;
}

reel_err reel_gen_plan(struct reel_gen *j, struct reel_run *r, double part)
{
    double need = 0, s;
    char time[48] = "";

    REEL_TRY(has_room(j, r, &need));
    s = seconds(j, r, part);
    if (j->world->rank) return REEL_OK;
    if (s < 360000) reel_report_hms(time, sizeof time, s);
    else if (s >= 360000) snprintf(time, sizeof time, "%.3g hours", s / 3600);
    fprintf(stderr, "generate: %ld film%s of %d pictures of %d x %d, %d steps: %s a rank%s%s%s\n", (long)j->n, j->n > 1 ? "s" : "", j->frames,
            j->width, j->height, j->g.sampler.steps, reel_bytes_text(need).s,
            *time ? ", about " : "", time, *time ? " of computing" : "");
    return REEL_OK;
}
