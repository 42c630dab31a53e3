/* Films, built-in clips or prompts -> latents and text vectors -> one set, in turn over the ranks. A sample's
 * key is (film, window) and every draw has a film's name, so neither the ranks nor an interruption leave a trace. */
#include "preprocess/preprocess.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "comm/pulse.h"
#include "comm/watch.h"
#include "config/config.h"
#include "data/demo_set.h"
#include "media/clips.h"
#include "preprocess/preprocess_priv.h"

enum { ROUND = 16 }; /* items of a rank between two calls of the text encoder, in which all take part */

/* ---- one item ------------------------------------------------------------------------------ */

reel_err reel_prep_sample(struct reel_prep *j, struct reel_set_sample *s, const struct reel_text_rows *text)
{
    if (j->codec) {
        REEL_TRY(reel_codec_encode(j->codec, j->latent, j->rgb, j->F, j->H, j->W));
        REEL_TRY(reel_prep_show(j, s->key));
    }
    s->latent = j->latent;
    s->text = text->rows;
    s->rows = text->n;
    j->samples++;
    return reel_set_add(j->w, s);
}

static reel_err demo_clip(struct reel_prep *j, int64_t i, const struct reel_text_rows *text)
{
    struct reel_clip clip = { (uint64_t)j->a.demo_seed, i, 0, j->W, j->H, j->F };
    char id[48], caption[REEL_CLIP_CAPTION];
    struct reel_set_sample s = { .key = i, .id = id, .caption = caption, .width = j->W, .height = j->H, .frames = j->F,
                                 .fps = REEL_DEMO_FPS, .duration = j->F / REEL_DEMO_FPS };

    snprintf(id, sizeof id, "clip-%" PRId64 "-%" PRId64, j->a.demo_seed, i);
    reel_clip_draw(&clip, j->rgb);
    reel_clip_caption(reel_clip_what(clip.seed, i), caption);
    REEL_TRY(reel_prep_sample(j, &s, text));
    return reel_set_done(j->w, i, "");
}

static reel_err prompt(struct reel_prep *j, int64_t i, const struct reel_text_rows *text)
{
    char id[48];
    struct reel_set_sample s = { .key = i, .id = id, .caption = reel_film_caption(j, i) };

    snprintf(id, sizeof id, "prompt-%" PRId64, i);
    REEL_TRY(reel_prep_sample(j, &s, text));
    return reel_set_done(j->w, i, "");
}

static reel_err item(struct reel_prep *j, int64_t i, const struct reel_text_rows *text)
{
    reel_fault_stall();
    if (reel_fault("preprocess")) return REEL_FAIL(REEL_EIO, "item %" PRId64 ": injected fault", i);
    if (j->a.demo_clips || j->a.prompts) reel_phase(j->a.prompts ? "prompt" : "built-in clip", (long)i);
    if (j->a.demo_clips) return demo_clip(j, i, text);
    return j->a.prompts ? prompt(j, i, text) : reel_film_clips(j, i, text);
}

/* ---- all of them --------------------------------------------------------------------------- */

int reel_prep_ends(struct reel_prep *j)
{
    double now = reel_now();

    reel_pulse(j->c);
    if (!j->stop || j->left) return j->left;
    if (j->asked > 0 && now - j->asked > j->stop->step) j->stop->step = now - j->asked; /* the longest that nobody could end */
    j->asked = now;
    return j->left = reel_stop_asked(j->stop);
}

/* Between two rounds, and after the last. Collective. */
static int all_end(struct reel_prep *j, int more)
{
    int64_t wish = j->left || (more && reel_prep_ends(j));

    reel_phase("a round", -1);
    reel_comm_sum_i64(j->c, &wish, 1);
    return j->ended = wish > 0;
}

static void progress(struct reel_prep *j, int64_t now) /* items of this run so far, all ranks as far as rank 0 */
{
    double t = reel_now(), rate = (double)now / (t - j->began);
    int64_t left = j->items - j->finished - now;
    int tty = isatty(2), s = rate > 0 ? (int)fmin((double)left / rate, 1e8) : 0;

    if (j->c->rank || j->a.quiet || t - j->said < (tty ? 0.5 : 10)) return;
    j->said = t;
    fprintf(stderr, "%spreprocess: %" PRId64 " of %" PRId64 " (%d%%), %.3g/s, %d:%02d:%02d left%s", tty ? "\r" : "", j->finished + now, j->items,
            (int)(100 * (j->finished + now) / j->items), rate, s / 3600, s / 60 % 60, s % 60, tty ? "\033[K" : "\n");
}

/* The texts of one round. Items with the same caption are encoded once. @of out, which of `rows` is item k's */
static reel_err round_texts(struct reel_prep *j, const int64_t *mine, int n, struct reel_text_rows *rows, int *of, int *n_rows)
{
    char clip[ROUND][REEL_CLIP_CAPTION];
    const char *caption[ROUND];

    *n_rows = 0;
    for (int k = 0; k < n; k++) {
        const char *c = clip[k];
        if (j->a.demo_clips) reel_clip_caption(reel_clip_what((uint64_t)j->a.demo_seed, mine[k]), clip[k]);
        else c = reel_film_caption(j, mine[k]);
        for (of[k] = 0; of[k] < *n_rows && strcmp(caption[of[k]], c) != 0;) of[k]++;
        caption[of[k]] = c;
        if (of[k] == *n_rows) ++*n_rows;
    }
    return reel_text_encode(j->text, caption, *n_rows, rows);
}

/* todo[base + k*size + rank] are a rank's; the round ends together, whoever had fewer. */
static reel_err one_round(struct reel_prep *j, const int64_t *todo, int64_t n_todo, int64_t base)
{
    struct reel_text_rows rows[ROUND];
    int64_t mine[ROUND];
    int of[ROUND], n = 0, n_rows;
    reel_err e;

    for (int64_t at = base + j->c->rank; n < ROUND && at < n_todo; at += j->c->size) mine[n++] = todo[at];
    reel_phase("texts of a round", -1);
    e = round_texts(j, mine, n, rows, of, &n_rows);
    for (int k = 0; k < n && !e && !reel_prep_ends(j); k++) {
        int64_t now = base + (int64_t)(k + 1) * j->c->size;
        e = item(j, mine[k], &rows[of[k]]);
        if (!e && !j->left) progress(j, now < n_todo ? now : n_todo);
    }
    for (int k = 0; k < n_rows; k++) free(rows[k].rows);
    reel_phase("the end of a round", -1);
    reel_pulse_rest(j->c);
    return reel_agree(j->c, e);
}

static reel_err all_items(struct reel_prep *j)
{
    int64_t n = 0, *todo = malloc((size_t)j->items * sizeof *todo + 1);
    reel_err e = reel_agree(j->c, todo ? REEL_OK : REEL_FAIL(REEL_ENOMEM, "no memory for a list of %" PRId64 " films", j->items));

    for (int64_t i = 0; i < j->items && !e; i++)
        if (j->done[i] < REEL_PREP_CLOSED) todo[n++] = i;
    for (int64_t base = 0; !e && !all_end(j, base < n) && base < n; base += (int64_t)ROUND * j->c->size) e = one_round(j, todo, n, base);
    if (j->ended) e = REEL_FAIL(REEL_EIO, "a signal or the wall clock ends this run"); /* for the set, which is not whole */
    free(todo);
    return e;
}

/* ---- start --------------------------------------------------------------------------------- */

static reel_err found(void *ctx, int64_t i, int64_t samples, const char *note)
{
    struct reel_prep *j = ctx;
    char *why;
    long kind = strtol(note, &why, 10); /* "kind reason" */

    if (i < 0 || i >= j->items) return REEL_FAIL(REEL_EDATA, "%s: item %" PRId64 " of %" PRId64, j->dir, i, j->items);
    j->samples += samples;
    j->done[i] += samples;
    if (!strcmp(note, REEL_PREP_MORE)) return REEL_OK;
    j->done[i] += REEL_PREP_CLOSED;
    return *note ? reel_prep_skip(j, i, (enum reel_skip)kind, why + 1) : REEL_OK;
}

static reel_err take_over(struct reel_prep *j)
{
    int64_t before;

    REEL_TRY(reel_set_resume(&j->w, j->a.output, &j->d, j->dir, found, j, j->c));
    reel_comm_sum_i64(j->c, j->done, (int)j->items);
    for (int64_t i = 0; i < j->items; i++) j->finished += j->done[i] >= REEL_PREP_CLOSED;
    before = j->samples;
    reel_comm_sum_i64(j->c, &before, 1);
    if (before && j->c->rank == 0 && !j->a.quiet)
        fprintf(stderr, "preprocess: %" PRId64 " samples of an earlier run are kept, %" PRId64 " of %" PRId64 " are done; going on\n", before,
                j->finished, j->items);
    return REEL_OK;
}

static reel_err allocate(struct reel_prep *j)
{
    size_t latent = (size_t)j->d.channels * (size_t)j->d.frames * (size_t)j->d.height * (size_t)j->d.width;

    j->done = calloc((size_t)j->items, sizeof *j->done);
    j->latent = malloc(latent * sizeof *j->latent + 1);
    j->rgb = malloc((size_t)j->F * j->frame + 1);
    j->back = malloc((size_t)j->F * j->frame + 1);
    return j->done && j->rgb && j->back && j->latent ? REEL_OK
                                                     : REEL_FAIL(REEL_ENOMEM, "no memory for one clip of %dx%dx%d", j->F, j->H, j->W);
}

/* What suits the encoders, where nothing is said. */
static void fill_in(struct reel_preprocess_args *a, const struct reel_encode_opts *enc)
{
    int wan = !reel_encode_builtin(enc);

    if (a->height == REEL_INT_UNSET) a->height = wan ? 480 : 48;
    if (a->width == REEL_INT_UNSET) a->width = wan ? 832 : 48;
    if (a->num_frames == REEL_INT_UNSET) a->num_frames = wan ? 81 : 13;
    if (isnan(a->train_fps)) a->train_fps = wan ? 16 : 8;
    if (!a->negative_prompt) a->negative_prompt = wan ? reel_presets->negative_prompt : "";
}

static reel_err judge(const struct reel_preprocess_args *a)
{
    if (a->windows && a->temporal_sample) return REEL_FAIL(REEL_ECONFIG, "--windows and --temporal-sample exclude each other");
    if (a->demo_clips && (a->videos || a->captions)) return REEL_FAIL(REEL_ECONFIG, "--demo-clips and --videos exclude each other");
    if (a->demo_clips && a->caption) return REEL_FAIL(REEL_ECONFIG, "--caption is for films; --demo-clips have captions of their own");
    if (a->negative_prompt) REEL_TRY(reel_utf8_check(a->negative_prompt, strlen(a->negative_prompt), "--negative-prompt"));
    if (a->tensors && (a->prompts || a->videos || a->captions || a->caption || a->demo_clips))
        return REEL_FAIL(REEL_ECONFIG, "--tensors are encoded already; --prompts, --videos, --captions, --caption and --demo-clips exclude it");
    if (a->prompts && (a->videos || a->captions || a->caption || a->demo_clips))
        return REEL_FAIL(REEL_ECONFIG, "--prompts makes a set of texts alone; --videos, --captions, --caption and --demo-clips exclude it");
    return REEL_OK;
}

/* What only Wan's encoders heed. */
static void note_idle(const struct reel_prep *j, const struct reel_encode_opts *enc)
{
    if (j->c->rank || !reel_encode_builtin(enc)) return;
    if (j->a.tile) fprintf(stderr, "reel: warning: --tile has no effect: the built-in codec transforms blocks of 8 x 8; --model names one that takes tiles\n");
    if (j->a.text_cache) fprintf(stderr, "reel: warning: --text-cache has no effect: built-in text vectors are not kept\n");
    if (j->a.encode_dtype) fprintf(stderr, "reel: warning: --encode-dtype has no effect: the built-in encoders compute in f32\n");
}

static reel_err names(struct reel_prep *j)
{
    const char *out = j->a.output, *sheet = j->a.sheet;
    size_t n = strlen(out);

    if (n > 1000) return REEL_FAIL(REEL_ECONFIG, "--output: the name is longer than 1000 bytes");
    snprintf(j->dir, sizeof j->dir, "%s.unfinished", out);
    snprintf(j->base, sizeof j->base, "%.*s", (int)(n > 3 && !strcmp(out + n - 3, ".h5") ? n - 3 : n), out);
    if (j->a.prompts || (sheet && !strcmp(sheet, "none"))) return REEL_OK;
    if ((sheet ? snprintf(j->sheet, sizeof j->sheet, "%s", sheet) : snprintf(j->sheet, sizeof j->sheet, "%s.png", j->base)) >= (int)sizeof j->sheet)
        return REEL_FAIL(REEL_ECONFIG, "--sheet: the name is too long");
    return REEL_OK;
}

static const char *source_of(const struct reel_preprocess_args *a)
{
    return a->prompts ? a->prompts : a->captions ? a->captions : a->videos ? a->videos : "";
}

static reel_err describe(struct reel_prep *j, const struct reel_family *f, char *source, size_t room)
{
    const struct reel_preprocess_args *a = &j->a;
    reel_dtype dt = a->dtype ? REEL_BF16 : REEL_F32;

    if (a->prompts) j->d = (struct reel_set_desc){ .kind = "text_only", .dtype = dt };
    else REEL_TRY(reel_clip_desc(&j->d, f, (int)a->height, (int)a->width, (int)a->num_frames, a->demo_clips ? REEL_DEMO_FPS : a->train_fps, dt));
    if (!a->prompts) j->H = (int)a->height, j->W = (int)a->width, j->F = (int)a->num_frames;
    j->frame = (size_t)j->H * (size_t)j->W * 3;
    if (a->demo_clips) snprintf(source, room, "built-in clips, seed %" PRId64, a->demo_seed);
    else snprintf(source, room, "%s", source_of(a));
    j->d.source = source;
    return REEL_OK;
}

static reel_err may_write(const struct reel_prep *j) /* rank 0's view, agreed; the sheet comes last, and is tried first */
{
    const char *out = j->a.output;
    reel_err e = REEL_OK;

    if (j->c->rank == 0 && reel_is_dir(out)) e = REEL_FAIL(REEL_ECONFIG, "%s is a folder; --output names a file", out);
    else if (j->c->rank == 0 && reel_is_file(out) && !j->a.overwrite) e = REEL_FAIL(REEL_ECONFIG, "%s exists; --overwrite replaces it", out);
    return reel_agree(j->c, e);
}

static reel_err find_items(struct reel_prep *j)
{
    j->items = j->a.demo_clips;
    if (j->items) return REEL_OK;
    REEL_TRY(reel_films_open(&j->films, &j->a, j->c));
    j->items = j->films.n;
    return j->items <= INT32_MAX ? REEL_OK : REEL_FAIL(REEL_ECONFIG, "%s: more than %d films; make several sets", source_of(&j->a), INT32_MAX);
}

/* The negative and the empty prompt, on every rank. @rows [2] out, the caller frees */
static reel_err prompts(struct reel_prep *j, struct reel_text_rows *rows)
{
    const char *text[2] = { j->a.negative_prompt, "" };
    reel_err e = reel_text_encode(j->text, text, j->c->rank ? 0 : 2, rows);

    for (int i = 0; i < 2 && !e; i++) {
        void *v = rows[i].rows;
        size_t bytes = (size_t)rows[i].n * (size_t)j->d.text_dim * sizeof(float);
        e = reel_comm_bcast_blob(j->c, &v, &bytes, 0);
        rows[i] = (struct reel_text_rows){ (int)(bytes / sizeof(float) / (size_t)j->d.text_dim), v };
    }
    j->d.negative = rows[0].rows, j->d.negative_rows = rows[0].n, j->d.have_negative = 1, j->d.negative_prompt = text[0];
    j->d.empty = rows[1].rows, j->d.empty_rows = rows[1].n, j->d.have_empty = 1;
    return e;
}

static reel_err open_encoders(struct reel_prep *j, const struct reel_encode_opts *enc)
{
    const struct reel_family *f;

    if (!j->a.prompts) REEL_TRY(reel_agree(j->c, reel_codec_open(&j->codec, enc)));
    REEL_TRY(reel_text_open(&j->text, enc));
    j->d.text_dim = reel_text_dim(j->text), j->d.pad_to = reel_text_most(j->text);
    j->d.text_encoder = reel_text_id(j->text), j->d.tokenizer = reel_text_tokenizer(j->text);
    if (!j->codec) return REEL_OK;
    j->d.vae = reel_codec_id(j->codec);
    f = reel_codec_family(j->codec);
    j->d.family = f->name, j->d.channels = f->channels, j->d.mean = f->mean, j->d.std = f->std;
    return REEL_OK;
}

/* ---- the whole ----------------------------------------------------------------------------- */

static void summary(const struct reel_prep *j)
{
    char why[512], latents[128] = "";

    if (j->c->rank) return;
    if (isatty(2) && !j->a.quiet) fprintf(stderr, "\r\033[K");
    if (j->codec)
        snprintf(latents, sizeof latents, "latents [%d,%d,%d,%d] %s of %s, ", j->d.channels, j->d.frames, j->d.height, j->d.width,
                 reel_dtype_name(j->d.dtype), j->d.family);
    printf("%s: %" PRId64 " samples of %" PRId64 " %s (%s), %stext of %s, %.1f s%s%s\n", j->a.output, j->samples, j->items,
           j->a.demo_clips ? "clips" : j->a.prompts ? "prompts" : "films", reel_prep_reasons(j, why, sizeof why), latents, j->d.text_encoder,
           reel_now() - j->began, *j->sheet ? "; contact sheet " : "", j->sheet);
    fflush(stdout);
}

/* Collective. */
static reel_err say_ended(const struct reel_prep *j)
{
    int64_t n = j->samples;

    reel_err_clear();
    reel_comm_sum_i64(j->c, &n, 1);
    if (j->c->rank == 0)
        fprintf(stderr, "reel: a signal or the wall clock ends this run after %" PRId64 " samples, which are kept in %s; the same command "
                        "goes on, and exit code %d asks for a requeue\n", n, j->dir, REEL_EXIT_REQUEUE);
    return REEL_OK;
}

/* From here on something may be kept for the next run. */
static reel_err make(struct reel_prep *j)
{
    reel_err e = all_items(j);

    reel_phase("the list of skipped films", -1);
    if (!e) e = reel_prep_tell(j);
    reel_phase("the contact sheet", -1);
    if (!e && *j->sheet) e = reel_agree(j->c, j->c->rank == 0 ? reel_prep_sheet(j) : REEL_OK);
    reel_phase("writing the set", -1);
    e = reel_set_commit(j->w, e, NULL); /* last: who finds the set finds all of it */
    if (j->ended) return say_ended(j);
    if (j->c->rank == 0 && (!e || j->useless)) {
        if (reel_rmtree(j->dir)) reel_err_clear(); /* a file system that hides files in use; the set is whole */
    } else if (j->c->rank == 0)
        fprintf(stderr, "reel: what is finished is kept in %s; the same command goes on\n", j->dir);
    return e;
}

static reel_err work(struct reel_prep *j, const struct reel_encode_opts *enc)
{
    struct reel_text_rows rows[2] = { { 0 } };
    reel_err e;

    REEL_TRY(may_write(j));
    reel_phase("the list of films", -1);
    REEL_TRY(find_items(j));
    REEL_TRY(reel_parent_folders(j->a.output, j->c));
    REEL_TRY(reel_agree(j->c, j->c->rank == 0 && *j->sheet ? reel_file_probe(j->sheet) : REEL_OK));
    reel_phase("opening the encoders", -1);
    REEL_TRY(open_encoders(j, enc));
    REEL_TRY(reel_agree(j->c, allocate(j)));
    REEL_TRY(reel_prep_hold(j));
    reel_phase("texts for guidance", -1);
    e = prompts(j, rows);
    reel_phase("what an earlier run finished", -1);
    if (!e) e = take_over(j);
    free(rows[0].rows), free(rows[1].rows); /* the writer has its own */
    if (e) return e;
    REEL_TRY(make(j));
    if (!j->ended) summary(j);
    return REEL_OK;
}

static reel_err import(const struct reel_prep *j)
{
    reel_phase("the import", -1);
    REEL_TRY(may_write(j));
    REEL_TRY(reel_parent_folders(j->a.output, j->c));
    REEL_TRY(reel_set_from_safetensors(j->a.tensors, j->a.output, j->c));
    return reel_set_check(j->a.output, j->c);
}

static reel_err watched(struct reel_prep *j, const struct reel_encode_opts *enc)
{
    struct reel_watch *w;
    reel_err e;

    REEL_TRY(reel_watch_open(&w, j->c, j->a.watchdog_s, "--watchdog-s"));
    e = reel_pulse_open(j->c);
    if (!e) e = j->a.tensors ? import(j) : work(j, enc);
    reel_phase("the end", -1); /* names of films go */
    reel_codec_close(j->codec);
    reel_text_close(j->text); /* with others, under the watch that its communicators have */
    reel_pulse_close(j->c);
    reel_watch_close(w, j->c);
    return e;
}

reel_err reel_preprocess(const struct reel_preprocess_args *a, const struct reel_encode_opts *enc, struct reel_stop *stop, int *ended)
{
    struct reel_prep j = { .a = *a, .c = enc->comm, .lock = -1, .began = reel_now(), .said = reel_now(), .stop = stop };
    char source[256];
    reel_err e = judge(a);

    note_idle(&j, enc);
    fill_in(&j.a, enc);
    if (!e) e = names(&j);
    if (!e && !a->tensors) e = describe(&j, reel_encode_builtin(enc) ? &reel_family_dct : &reel_family_wan, source, sizeof source);
    if (!e) e = watched(&j, enc);
    if (stop) *ended = j.ended;
    reel_films_close(&j.films);
    if (j.lock >= 0) close(j.lock);
    free(j.done), free(j.rgb), free(j.back), free(j.latent), free(j.skips);
    return e;
}
