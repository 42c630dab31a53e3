#include "base/err.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

static _Thread_local struct reel_errrec rec_ = { .rank = -1 };
static int rank_, size_ = 1;
static const char *phase_ = "start", *of_;
static long step_ = -1;
static struct reel_doing *shown_;
static struct { char site[64]; int rank; long nth, seen; } fault_;
void (*reel_die_hook)(int exit_code);

struct reel_errrec *reel_errrec(void) { return &rec_; }

void reel_err_clear(void) { rec_ = (struct reel_errrec){ .rank = -1 }; }

void reel_set_rank(int rank, int size)
{
    rank_ = rank;
    size_ = size;
}

int reel_rank(void) { return rank_; }

static void describe(struct reel_doing *d)
{
    size_t n = of_ ? strlen(of_) : 0;
    int long_ = n >= sizeof d->of; /* the end of a path tells more than its begin */

    d->step = step_;
    snprintf(d->phase, sizeof d->phase, "%s", phase_);
    snprintf(d->of, sizeof d->of, "%s%s", long_ ? "..." : "", !of_ ? "" : long_ ? of_ + n - sizeof d->of + 4 : of_);
}

void reel_phase_of(const char *phase, long number, const char *of)
{
    phase_ = phase;
    step_ = number;
    of_ = of;
    if (shown_) describe(shown_);
}

void reel_phase(const char *phase, long step) { reel_phase_of(phase, step, NULL); }

void reel_phase_show(struct reel_doing *w)
{
    shown_ = w;
    if (w) describe(w);
}

const char *reel_doing_text(const struct reel_doing *d, char buf[REEL_DOING_TEXT])
{
    if (d->of[0]) snprintf(buf, REEL_DOING_TEXT, "%s %ld, %s", d->phase, d->step, d->of);
    else if (d->step < 0) snprintf(buf, REEL_DOING_TEXT, "%s", d->phase);
    else snprintf(buf, REEL_DOING_TEXT, "%s (step %ld)", d->phase, d->step);
    return buf;
}

static void add_frame(const char *file, int line, const char *expr)
{
    struct reel_errframe *f;

    if (rec_.n_frames >= REEL_ERR_FRAMES) return;
    f = &rec_.frame[rec_.n_frames++];
    snprintf(f->file, sizeof f->file, "%s", file);
    snprintf(f->expr, sizeof f->expr, "%s", expr);
    f->line = line;
}

reel_err reel_fail_(reel_err code, const char *file, int line, const char *fmt, ...)
{
    va_list ap;

    if (rec_.code != REEL_OK) return code; /* the first message wins */
    rec_ = (struct reel_errrec){ .code = code, .rank = -1, .n_ranks = size_ };
    va_start(ap, fmt);
    vsnprintf(rec_.msg, sizeof rec_.msg, fmt, ap);
    va_end(ap);
    add_frame(file, line, "");
    return code;
}

reel_err reel_trace_(reel_err code, const char *file, int line, const char *expr)
{
    add_frame(file, line, expr);
    return code;
}

void reel_err_print(const struct reel_errrec *r)
{
    if (r->rank >= 0 && r->n_ranks > 1 && r->n_failed < r->n_ranks)
        fprintf(stderr, "reel: rank %d: %s (%d of %d ranks failed)\n", r->rank, r->msg, r->n_failed,
                r->n_ranks);
    else
        fprintf(stderr, "reel: %s\n", r->msg);
    if (r->code == REEL_ECONFIG || r->code == REEL_EPLUGIN) return; /* the user's file is at fault: no trace through ours */
    for (int i = 0; i < r->n_frames; i++)
        fprintf(stderr, "  at %s:%d %s\n", r->frame[i].file, r->frame[i].line, r->frame[i].expr);
}

/* A launcher may read of an abort before it reads the pipe with the message, and then ends the job without it: let it read.
 * At most 8 s, for a reader that is stuck: the watchdog gives its message 10. */
static void await_reader(int fd)
{
    struct stat st;
    int unread;

    if (fstat(fd, &st) || !S_ISFIFO(st.st_mode)) return;
    for (int ms = 0; ms < 8000 && ioctl(fd, FIONREAD, &unread) == 0 && unread > 0; ms++) usleep(1000);
}

void reel_die_(const char *file, int line, const char *fmt, ...)
{
    char msg[REEL_ERR_MSG], doing[REEL_DOING_TEXT];
    struct reel_doing d;
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(msg, sizeof msg, fmt, ap);
    va_end(ap);
    describe(&d);
    fprintf(stderr, "reel: rank %d died in %s: %s\n", rank_, reel_doing_text(&d, doing), msg);
    if (line > 0) fprintf(stderr, "  at %s:%d\n", file, line);
    fflush(stderr);
    await_reader(STDERR_FILENO);
    if (reel_die_hook) reel_die_hook(70);
    exit(70);
}

reel_err reel_fault_set(const char *spec)
{
    if (!spec || !*spec) return REEL_OK;
    fault_.seen = 0;
    if (sscanf(spec, "%63[^:]:%d:%ld", fault_.site, &fault_.rank, &fault_.nth) != 3)
        return REEL_FAIL(REEL_ECONFIG, "REEL_FAULT=%s: expected site:rank:nth, e.g. data_read:1:3", spec);
    return REEL_OK;
}

int reel_fault(const char *site)
{
    if (!fault_.nth || (fault_.rank >= 0 && rank_ != fault_.rank) || strcmp(site, fault_.site) != 0) return 0;
    return ++fault_.seen == fault_.nth;
}

void reel_fault_stall(void)
{
    if (reel_fault("stall")) raise(SIGSTOP);
    if (reel_fault("late")) sleep(3);
}
