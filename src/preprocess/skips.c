/* Why films are not in the set: told on the screen, all of them in a file beside the set. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "preprocess/preprocess_priv.h"

enum { TOLD = 8 };
static const char *const names[REEL_NSKIP] = { "without a caption", "missing", "damaged", "with odd metadata", "short", "long", "of another shape" };

struct line { int64_t item; int kind; const char *why; };

reel_err reel_prep_skip(struct reel_prep *j, int64_t item, enum reel_skip kind, const char *why)
{
    size_t room = strlen(why) + 48;
    char *at;

    if (j->skips_n + room > j->skips_room) {
        char *p = realloc(j->skips, 2 * (j->skips_room + room));
        if (!p) return REEL_FAIL(REEL_ENOMEM, "no memory for reasons to skip films");
        j->skips = p;
        j->skips_room = 2 * (j->skips_room + room);
    }
    at = j->skips + j->skips_n;
    j->skips_n += (size_t)snprintf(at, room, "%" PRId64 " %d %s\n", item, (int)kind, why);
    for (char *end = at + strlen(at) - 1; (at = strchr(at, '\n')) && at < end;) *at = ' ';
    return REEL_OK;
}

static void name_of(const struct reel_prep *j, int rank, char *path, size_t room) { snprintf(path, room, "%s/skips-%d", j->dir, rank); }

static int by_item(const void *a, const void *b)
{
    int64_t x = ((const struct line *)a)->item, y = ((const struct line *)b)->item;

    return (x > y) - (x < y);
}

/* The lines of all ranks in the order of the list. @all out, the bytes they point into; free both */
static reel_err collect(const struct reel_prep *j, char **all, struct line **lines, int64_t *n)
{
    char path[1200], *next;
    size_t total = 0, room = 0;

    *all = NULL, *lines = NULL, *n = 0;
    for (int r = 0; r < j->c->size; r++) {
        char *text, *more;
        size_t bytes;
        name_of(j, r, path, sizeof path);
        REEL_TRY(reel_file_read(path, &text, &bytes));
        more = realloc(*all, total + bytes + 1);
        if (more) memcpy(more + total, text, bytes + 1), *all = more;
        free(text);
        if (!more) return REEL_FAIL(REEL_ENOMEM, "no memory for reasons to skip films");
        total += bytes;
    }
    for (const char *p = *all; (p = strchr(p, '\n')); p++) room++;
    *lines = calloc(room + 1, sizeof **lines);
    if (!*lines) return REEL_FAIL(REEL_ENOMEM, "no memory for reasons to skip films");
    for (char *p = *all; *n < (int64_t)room; p = next, ++*n) {
        struct line *l = *lines + *n;
        int at = 0;
        next = strchr(p, '\n') + 1;
        next[-1] = 0;
        if (sscanf(p, "%" SCNd64 " %d %n", &l->item, &l->kind, &at) < 2 || l->kind < 0 || l->kind >= REEL_NSKIP)
            return REEL_FAIL(REEL_EIO, "%s: a line that was not written by this run: %s", j->dir, p);
        l->why = p + at;
    }
    qsort(*lines, (size_t)*n, sizeof **lines, by_item);
    return REEL_OK;
}

static reel_err report(const struct reel_prep *j, const struct line *l, int64_t n)
{
    char path[1200], *text = NULL;
    size_t bytes = 0;
    FILE *f;
    reel_err e = REEL_OK;

    snprintf(path, sizeof path, "%s.skipped.txt", j->base);
    if (!n) return unlink(path), REEL_OK; /* an earlier run's, if any */
    f = open_memstream(&text, &bytes);
    for (int64_t i = 0; f && i < n; i++) fprintf(f, "%s\t%s\n", names[l[i].kind], l[i].why);
    if (!f || fclose(f)) e = REEL_FAIL(REEL_ENOMEM, "no memory for reasons to skip films");
    if (!e) e = reel_file_write(path, text, bytes);
    free(text);
    return e;
}

static reel_err tell(struct reel_prep *j, char *first, size_t room) /* rank 0 */
{
    struct line *l;
    char *all;
    int64_t n;
    reel_err e = collect(j, &all, &l, &n);

    for (int64_t i = 0; i < n && !e; i++) {
        j->skipped[l[i].kind]++;
        if (!i) snprintf(first, room, "%s", l[i].why);
        if (i < TOLD) fprintf(stderr, "reel: skipped: %s\n", l[i].why);
    }
    if (!e && n > TOLD) fprintf(stderr, "reel: and %" PRId64 " more: %s.skipped.txt\n", n - TOLD, j->base);
    if (!e && j->samples) e = report(j, l, n);
    free(all), free(l);
    return e;
}

reel_err reel_prep_tell(struct reel_prep *j)
{
    char path[1200], first[512] = "";
    int64_t n = 0;
    reel_err e;

    name_of(j, j->c->rank, path, sizeof path);
    REEL_TRY(reel_agree(j->c, reel_file_write(path, j->skips ? j->skips : "", j->skips_n)));
    reel_comm_sum_i64(j->c, &j->samples, 1);
    e = reel_agree(j->c, j->c->rank == 0 ? tell(j, first, sizeof first) : REEL_OK);
    if (e) return e;
    reel_comm_bcast(j->c, j->skipped, sizeof j->skipped, 0);
    reel_comm_bcast(j->c, first, sizeof first, 0);
    for (int k = 0; k < REEL_NSKIP; k++) n += j->skipped[k];
    j->useless = !j->samples;
    return j->samples ? REEL_OK : REEL_FAIL(REEL_EDATA, "%s: no film is usable; the first of %" PRId64 " reasons: %s", j->a.output, n, first);
}

const char *reel_prep_reasons(const struct reel_prep *j, char *buf, size_t room)
{
    int64_t n = 0;
    size_t at;
    const char *sep = ": ";

    for (int k = 0; k < REEL_NSKIP; k++) n += j->skipped[k];
    at = (size_t)snprintf(buf, room, "%" PRId64 " skipped", n);
    for (int k = 0; k < REEL_NSKIP; k++) {
        if (!j->skipped[k] || at >= room) continue;
        at += (size_t)snprintf(buf + at, room - at, "%s%" PRId64 " %s", sep, j->skipped[k], names[k]);
        sep = ", ";
    }
    return buf;
}
