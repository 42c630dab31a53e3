#ifndef REEL_TESTS_TAP_H
#define REEL_TESTS_TAP_H

/* Test Anything Protocol for C tests: TAP_OK lines, then `return tap_done();`. Under MPI set
 * tap_quiet on ranks other than 0: they report what fails alone. */
#include <stdarg.h>
#include <stdio.h>

static int tap_n, tap_failed, tap_quiet;

__attribute__((format(printf, 2, 3), unused)) static int tap_ok(int ok, const char *fmt, ...)
{
    va_list ap;

    tap_n++;
    tap_failed += !ok;
    if (tap_quiet && ok) return ok;
    printf("%s %d - ", ok ? "ok" : "not ok", tap_n);
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    printf("\n");
    fflush(stdout);
    return ok;
}
#define TAP_OK(...) tap_ok(__VA_ARGS__)

__attribute__((unused)) static int tap_done(void)
{
    if (!tap_quiet) printf("1..%d\n", tap_n);
    fflush(stdout);
    return tap_failed != 0;
}

#endif
