/* The folder of what is finished, and whether it is of this run: a text with everything that the set's bytes depend on. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/crc.h"
#include "base/file.h"
#include "config/config.h"
#include "preprocess/preprocess_priv.h"

static const char *const free_to_change[] = { "output", "threads", "sheet", "overwrite", "from-scratch", "watchdog-s", "quiet" };

static int may_change(const char *name)
{
    for (size_t i = 0; i < sizeof free_to_change / sizeof *free_to_change; i++)
        if (!strcmp(free_to_change[i], name)) return 1;
    return 0;
}

static reel_err recipe(const struct reel_prep *j, char **text, size_t *bytes)
{
    FILE *f = open_memstream(text, bytes);

    if (!f) return REEL_FAIL(REEL_ENOMEM, "no memory for the options");
    for (const struct reel_opt *o = reel_preprocess_opts; o->type != REEL_OPT_END; o++) {
        if (may_change(o->name)) continue;
        fprintf(f, "--%s: ", o->name);
        reel_opt_write(o, (const char *)&j->a + o->offset, f);
        fputc('\n', f);
    }
    fprintf(f, "text encoder: %s\nvideo encoder: %s\n", reel_text_id(j->text), j->codec ? reel_codec_id(j->codec) : "none");
    fprintf(f, "list of films and captions: %" PRId64 ", checksum %08x\n", j->items, reel_crc32c(0, j->films.bytes, j->films.n_bytes));
    return fclose(f) ? REEL_FAIL(REEL_ENOMEM, "no memory for the options") : REEL_OK;
}

/* The first line that is not the same says what changed. Both texts are cut up. */
static reel_err compare(const struct reel_prep *j, char *was, char *is)
{
    for (;;) {
        char *a = strsep(&was, "\n"), *b = strsep(&is, "\n"), *x, *y;
        if (a && b && !strcmp(a, b)) continue;
        if (!a && !b) return REEL_OK;
        x = a ? strstr(a, ": ") : NULL, y = b ? strstr(b, ": ") : NULL;
        if (!x || !y || x - a != y - b || strncmp(a, b, (size_t)(x - a)) != 0)
            return REEL_FAIL(REEL_ECONFIG, "%s is of another version of this program; --from-scratch forgets it", j->dir);
        *x = 0;
        return REEL_FAIL(REEL_ECONFIG, "%s holds what a run with other options has finished: %s was %s, now %s; go on with the old one, "
                         "or forget it with --from-scratch", j->dir, a, x + 2, y + 2);
    }
}

static reel_err judge(const struct reel_prep *j, const char *path)
{
    char *is = NULL, *was = NULL;
    size_t n, n_was;
    reel_err e = recipe(j, &is, &n);

    if (!e && reel_is_file(path)) {
        e = reel_file_read(path, &was, &n_was);
        if (!e) e = compare(j, was, is);
    } else if (!e)
        e = reel_file_write(path, is, n);
    free(is), free(was);
    return e;
}

static reel_err lock(struct reel_prep *j)
{
    char path[1200];

    REEL_TRY(reel_mkdirs(j->dir));
    REEL_TRY(reel_join(path, sizeof path, j->dir, "lock"));
    return reel_file_lock(path, 0, &j->lock);
}

static reel_err hold(struct reel_prep *j)
{
    char path[1200];

    REEL_TRY(lock(j));
    if (j->a.from_scratch) { /* nobody else is at it */
        REEL_TRY(reel_rmtree(j->dir));
        close(j->lock);
        REEL_TRY(lock(j));
    }
    REEL_TRY(reel_join(path, sizeof path, j->dir, "options"));
    return judge(j, path);
}

reel_err reel_prep_hold(struct reel_prep *j) { return reel_agree(j->c, j->c->rank == 0 ? hold(j) : REEL_OK); }
