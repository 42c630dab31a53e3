#ifndef REEL_BASE_ERR_H
#define REEL_BASE_ERR_H

/* The error vocabulary. A bug or a fault dies at once on one rank; everything else is an
 * error code that travels up to the next agreement (comm/agree.h). See src/base/README.md. */

typedef enum {
    REEL_OK,
    REEL_ENOMEM,
    REEL_EIO,
    REEL_ECONFIG,
    REEL_EDATA,
    REEL_EPLUGIN,
    REEL_ENUMERIC,
} reel_err;

#define REEL_ERR_MSG    1024
#define REEL_ERR_FRAMES 8

/* One rank's first error, plain old data so that it can be broadcast whole. */
struct reel_errrec {
    reel_err code;
    int rank;     /* who failed first (lowest rank); set by reel_agree, -1 before */
    int n_failed; /* how many ranks failed; set by reel_agree */
    int n_ranks;  /* out of how many */
    char msg[REEL_ERR_MSG];
    int n_frames;
    struct reel_errframe {
        char file[48], expr[80];
        int line;
    } frame[REEL_ERR_FRAMES];
};

/** reel_errrec - this thread's record. Local. Never NULL. */
struct reel_errrec *reel_errrec(void);

/** reel_err_clear - forget this thread's error, so that the next one is "first" again. Local. */
void reel_err_clear(void);

/** reel_err_print - the record as a user sees it: one line, then the trace. Local. */
void reel_err_print(const struct reel_errrec *r);

/* First message on this rank wins; REEL_TRY adds one file:line frame and returns. Both Local. */
#define REEL_FAIL(code, ...) reel_fail_((code), __FILE__, __LINE__, __VA_ARGS__)
#define REEL_TRY(expr)                                                                             \
    do {                                                                                           \
        reel_err e_ = (expr);                                                                      \
        if (e_) return reel_trace_(e_, __FILE__, __LINE__, #expr);                                 \
    } while (0)

/* Broken invariant, or a fault inside a kernel or collective. Never returns. */
#define REEL_BUG_IF(cond, ...) ((cond) ? reel_die_(__FILE__, __LINE__, __VA_ARGS__) : (void)0)

reel_err reel_fail_(reel_err code, const char *file, int line, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
reel_err reel_trace_(reel_err code, const char *file, int line, const char *expr);
void reel_die_(const char *file, int line, const char *fmt, ...)
    __attribute__((format(printf, 3, 4), noreturn));

/* What ends the process after reel_die_ has printed; comm installs MPI_Abort here. Exit code 70. */
extern void (*reel_die_hook)(int exit_code);

/* The rank shown in messages and the phase and step shown when a rank dies: the only mutable
 * globals of the program besides the error record. */
void reel_set_rank(int rank, int size);
int reel_rank(void);
void reel_phase(const char *phase, long step);
/** reel_phase_of - a phase that is about a file of the user's, with its number. The string is the caller's until the next phase. Local. */
void reel_phase_of(const char *phase, long number, const char *of);
/** reel_phase_show - keep a copy of phase and step in *w, where others can read it; NULL: no longer. Local. */
struct reel_doing { char phase[32], of[160]; long step; };
void reel_phase_show(struct reel_doing *w);
/** reel_doing_text - "forward/backward (step 3)", "decoding film 17, clips/a.mp4", "start"; returns buf. Local. */
#define REEL_DOING_TEXT 256
const char *reel_doing_text(const struct reel_doing *d, char buf[REEL_DOING_TEXT]);

/* Test hook: REEL_FAULT=site:rank:nth makes the nth pass of that rank through that site fail.
 * Returns 1 when it is time. reel_fault_set parses the variable (config reads the environment). */
int reel_fault(const char *site);
/** reel_fault_stall - the site "stall": the process stops itself there (SIGSTOP), so that a test knows where it is; the site "late": it
 * goes on three seconds later. Local. */
void reel_fault_stall(void);
reel_err reel_fault_set(const char *spec);

#endif
