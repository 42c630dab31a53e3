/* metrics.jsonl line by line: of a run that ended, crashed, or still writes */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "report/report_priv.h"

const struct series *run_series(const struct run *r, const char *name)
{
    for (int i = 0; i < r->n_series; i++)
        if (!strcmp(r->series[i].name, name)) return &r->series[i];
    return NULL;
}

const struct series *run_loss(const struct run *r)
{
    const struct series *s = run_series(r, "total_loss");

    for (int i = 0; !s && i < r->n_series; i++)
        if (in_group(&groups[0], r->series[i].name)) s = &r->series[i];
    return s;
}

const struct start *run_last(const struct run *r) { return &r->start[r->n_start - 1]; }

int run_goes_on(const struct run *r, int i) { return !r->start[i].end && i + 1 == r->n_start && r->running; }

/* The next element of a growing array of n, zeroed. */
static void *grow(void *array, int n, size_t size)
{
    char *p = n & (n - 1) ? array : realloc(array, (n ? 2 * (size_t)n : 1) * size);

    if (p) memset(p + (size_t)n * size, 0, size);
    return p;
}

/* Records of one kind name the same series in the same order: the search begins where the last one ended. */
static reel_err find(struct run *r, const char *name, int *hint, struct series **out)
{
    struct series *grown;

    for (int i = 0; i < r->n_series; i++) {
        int k = (*hint + i) % r->n_series;
        if (strcmp(r->series[k].name, name) != 0) continue;
        *hint = k + 1;
        *out = &r->series[k];
        return REEL_OK;
    }
    grown = grow(r->series, r->n_series, sizeof *grown);
    if (!grown) return REEL_FAIL(REEL_ENOMEM, "no memory for the series '%s'", name);
    r->series = grown;
    *out = &grown[r->n_series];
    (*out)->name = strdup(name);
    if (!(*out)->name) return REEL_FAIL(REEL_ENOMEM, "no memory for the series '%s'", name);
    *hint = ++r->n_series;
    return REEL_OK;
}

static reel_err begin_start(struct run *r, json_t *note, double time, long step)
{
    struct start *grown = grow(r->start, r->n_start, sizeof *grown);

    if (!grown) return REEL_FAIL(REEL_ENOMEM, "no memory for %d starts", r->n_start + 1);
    r->start = grown;
    r->n_rank = 0; /* they may be elsewhere now */
    r->ranks = (struct blame){ 0 };
    r->rank_s = r->rank_data_s = 0;
    grown[r->n_start++] = (struct start){ .note = json_incref(note), .time = time, .last_time = time, .first = step, .last = step };
    return REEL_OK;
}

static double lead(const json_t *line, const char *max, const char *mean)
{
    return json_number_value(json_object_get(line, max)) - json_number_value(json_object_get(line, mean));
}

/* The slowest rank of a step, and what the mean rank waited for it. */
static reel_err take_ranks(struct run *r, const json_t *line)
{
    json_t *slowest = json_object_get(line, "ranks/work_max_rank");
    double rank = json_number_value(slowest), lost;

    if (!json_is_number(slowest) || !(rank >= 0 && rank < 1e6)) return REEL_OK;
    while (r->n_rank <= (int)rank) {
        struct blame *grown = grow(r->rank, r->n_rank, sizeof *grown);
        if (!grown) return REEL_FAIL(REEL_ENOMEM, "no memory for %d ranks", r->n_rank + 1);
        r->rank = grown;
        r->n_rank++;
    }
    lost = lead(line, "ranks/work_max_sec", "ranks/work_mean_sec");
    r->rank_data_s += lead(line, "ranks/data_max_sec", "ranks/data_mean_sec");
    r->rank[(int)rank].steps++;
    r->rank[(int)rank].lost += lost;
    r->ranks.steps++;
    r->ranks.lost += lost;
    r->rank_s += json_number_value(json_object_get(line, "step_time_sec"));
    return REEL_OK;
}

static void cut(struct run *r, long step)
{
    for (int i = 0; i < r->n_series; i++) series_cut(&r->series[i], step);
}

static char *copy(const char *s) { return strdup(s ? s : ""); }

/* A run that restarts ten times says ten times what was changed before: once, with a count. */
static int add_again(struct run *r, long step, const char *kind, const char *text)
{
    int n = r->n_event < EVENTS ? (int)r->n_event : EVENTS;

    for (int i = 0; i < n; i++) {
        struct event *e = &r->event[i];
        if (strcmp(e->kind, kind) != 0 || strcmp(e->text, text) != 0) continue;
        e->times++;
        e->newest = step;
        return 1;
    }
    return 0;
}

static void add_event(struct run *r, double time, long step, const char *kind, const char *text)
{
    if (add_again(r, step, kind, text)) return;
    int half = EVENTS / 2, i = r->n_event < EVENTS ? (int)r->n_event : half + (int)((r->n_event - half) % half);
    struct event *e = &r->event[i];

    free(e->kind);
    free(e->text);
    *e = (struct event){ time, step, copy(kind), copy(text), 1, step };
    r->n_event++;
}

const struct event *run_event(const struct run *r, int i)
{
    int half = EVENTS / 2;

    if (i >= EVENTS || i >= r->n_event) return NULL;
    return &r->event[r->n_event <= EVENTS || i < half ? i : half + (int)((r->n_event - half + i - half) % half)];
}

static void keep(json_t **slot, json_t *note)
{
    json_decref(*slot);
    *slot = json_incref(note);
}

static const char *string(const json_t *o, const char *name)
{
    const char *s = json_string_value(json_object_get(o, name));

    return s ? s : "?";
}

/* What a resume found changed in the configuration: a JSON list of {key, was, is, changes} as a text. */
static void take_drift(struct run *r, const char *text, double time, long step)
{
    json_t *list = json_loads(text, 0, NULL), *d;
    char say[1024];
    size_t i;

    json_array_foreach(list, i, d) {
        snprintf(say, sizeof say, "%s was %s, is %s%s", string(d, "key"), string(d, "was"), string(d, "is"),
                 strcmp(string(d, "changes"), "results") != 0 ? "" : ", which changes results");
        add_event(r, time, step, "drift", say);
    }
    json_decref(list);
}

/* Any other note with a text is something that happened: a warning, a drift of the configuration. */
static void take_note(struct run *r, const char *kind, json_t *note, double time, long step)
{
    struct start *s = &r->start[r->n_start - 1];
    const char *text = json_string_value(json_object_get(note, "text")), *drift = json_string_value(json_object_get(note, "config_drift"));
    double seconds = json_number_value(json_object_get(note, "seconds"));

    if (drift) take_drift(r, drift, time, step);
    else if (!strcmp(kind, "plan")) keep(&s->plan, note);
    else if (!strcmp(kind, "ranks")) keep(&s->ranks, note);
    else if (!strcmp(kind, "end")) keep(&s->end, note);
    else if (!strcmp(kind, "resume")) {
        free(s->resumed);
        s->resumed = copy(json_string_value(json_object_get(note, "from")));
        s->first = s->last = step;
        cut(r, step + 1);
    } else if (!strcmp(kind, "save")) {
        s->saves++;
        s->save_step = step;
        s->save_s += seconds;
        if (seconds > s->save_longest) s->save_longest = seconds;
    } else if (text) add_event(r, time, step, kind, text);
}

/* JSON has no word for numbers that are not finite: they stand there as strings. */
static int number(const json_t *j, double *v)
{
    const char *s = json_string_value(j);

    if (json_is_number(j)) *v = json_number_value(j);
    else if (s && !strcmp(s, "NaN")) *v = (double)NAN;
    else if (s && !strcmp(s, "Infinity")) *v = (double)INFINITY;
    else if (s && !strcmp(s, "-Infinity")) *v = -(double)INFINITY;
    else return 0;
    return 1;
}

/* Methods with a critic log the student's loss as 0 in steps that do not train it. */
static int is_idle(const json_t *line, const char *key)
{
    const json_t *updates = json_object_get(line, "update_student");

    return !strcmp(key, "generator_loss") && json_is_number(updates) && json_number_value(updates) == 0;
}

static reel_err take_numbers(struct run *r, json_t *line, long step)
{
    const char *key;
    json_t *j;
    int hint = 0, any = 0;
    double v;

    json_object_foreach(line, key, j) {
        struct series *s = NULL;
        if (!strcmp(key, "step") || !strcmp(key, "time") || !number(j, &v) || is_idle(line, key)) continue;
        REEL_TRY(find(r, key, &hint, &s));
        if (s->n && s->b[s->n - 1].last >= step) series_cut(s, step);
        REEL_TRY(series_add(s, step, v));
        any = 1;
    }
    if (any && json_object_get(line, "step_time_sec")) r->start[r->n_start - 1].steps++;
    if (any && step > r->start[r->n_start - 1].last) r->start[r->n_start - 1].last = step;
    return REEL_OK;
}

static reel_err take_line(struct run *r, json_t *line)
{
    long step = (long)json_integer_value(json_object_get(line, "step"));
    double time = json_number_value(json_object_get(line, "time"));
    const char *key;
    json_t *j, *start = json_object_get(line, "start");

    if (start || !r->n_start) REEL_TRY(begin_start(r, start, time, step));
    r->start[r->n_start - 1].last_time = time;
    json_object_foreach(line, key, j)
        if (json_is_object(j) && strcmp(key, "start") != 0) take_note(r, key, j, time, step);
    REEL_TRY(take_ranks(r, line));
    return take_numbers(r, line, step);
}

/* The text of a configuration is written just before the note of the start it belongs to. */
static int is_preface(json_t *line) { return json_object_get(json_object_get(line, "text"), "run.yaml") != NULL; }

static reel_err read_lines(struct run *r, FILE *f)
{
    char *text = NULL;
    size_t room = 0;
    ssize_t n;
    reel_err e = REEL_OK;

    while (e == REEL_OK && (n = getline(&text, &room, f)) > 0) {
        json_t *line = json_loadb(text, (size_t)n, 0, NULL);
        if (!json_is_object(line) || !json_is_integer(json_object_get(line, "step"))) r->torn++;
        else if (is_preface(line)) {
            free(r->yaml);
            r->yaml = copy(json_string_value(json_object_get(json_object_get(line, "text"), "run.yaml")));
        } else {
            e = take_line(r, line);
            r->lines++;
        }
        json_decref(line);
    }
    if (e == REEL_OK && ferror(f)) e = REEL_FAIL(REEL_EIO, "%s: cannot read: %s", r->where, strerror(errno));
    free(text);
    return e;
}

/* A run holds tracker/lock as long as it lives, however it ends. */
static int is_held(const char *metrics)
{
    char path[4096];
    const char *slash = strrchr(metrics, '/');
    int fd, held;

    snprintf(path, sizeof path, "%.*slock", slash ? (int)(slash + 1 - metrics) : 0, metrics);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    held = flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    close(fd);
    return held;
}

static reel_err find_file(struct run *r, const char *where)
{
    static const char *const below[] = { "tracker/metrics.jsonl", "metrics.jsonl" };

    snprintf(r->name, sizeof r->name, "%s", where);
    for (size_t n = strlen(r->name); n > 1 && r->name[n - 1] == '/'; n--) r->name[n - 1] = 0;
    if (reel_is_file(where)) {
        snprintf(r->where, sizeof r->where, "%s", where);
        return REEL_OK;
    }
    for (int i = 0; i < 2; i++) {
        REEL_TRY(reel_join(r->where, sizeof r->where, where, below[i]));
        if (reel_is_file(r->where)) return REEL_OK;
    }
    if (!reel_is_dir(where)) return REEL_FAIL(REEL_EDATA, "report: %s is not there; name the output folder of a run", where);
    return REEL_FAIL(REEL_EDATA, "report: %s has no tracker/metrics.jsonl: it is no output folder of a run, or that run ended before it opened its log; see the output of the job",
                     where);
}

reel_err run_read(struct run *r, const char *where)
{
    FILE *f;
    reel_err e;

    REEL_TRY(find_file(r, where));
    r->now = (double)time(NULL);
    r->running = is_held(r->where);
    f = fopen(r->where, "re");
    if (!f) return REEL_FAIL(REEL_EIO, "%s: cannot open: %s", r->where, strerror(errno));
    e = read_lines(r, f);
    fclose(f);
    if (e == REEL_OK && !r->n_start)
        e = REEL_FAIL(REEL_EDATA, "report: %s holds no record%s", r->where, r->torn ? ", only lines that are none" : "");
    return e;
}

void run_free(struct run *r)
{
    for (int i = 0; i < r->n_series; i++) series_free(&r->series[i]);
    for (int i = 0; i < r->n_start; i++) {
        struct start *s = &r->start[i];
        json_decref(s->note);
        json_decref(s->plan);
        json_decref(s->ranks);
        json_decref(s->end);
        free(s->resumed);
    }
    for (int i = 0; i < EVENTS; i++) free(r->event[i].kind), free(r->event[i].text);
    free(r->series);
    free(r->rank);
    free(r->start);
    free(r->yaml);
}
