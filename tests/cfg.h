#ifndef REEL_TESTS_CFG_H
#define REEL_TESTS_CFG_H

/* Helpers of the configuration tests: read files below the source top, parse, dump, remember errors. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "tests/tap.h"
#include "train/schema.h"

static struct reel_all_kinds cfg_kinds;

__attribute__((unused)) static const char *cfg_path(const char *rel)
{
    static char buf[4096];
    const char *top = getenv("REEL_SRC");

    snprintf(buf, sizeof buf, "%s/%s", top ? top : ".", rel);
    return buf;
}

/* malloc'ed text of a file below the source top; exits when it is not there */
__attribute__((unused)) static char *cfg_read(const char *rel, size_t *len)
{
    FILE *f = fopen(cfg_path(rel), "rb");
    char *s = malloc(1 << 20);

    if (!f || !s) {
        printf("Bail out! cannot read %s\n", cfg_path(rel));
        exit(99);
    }
    *len = fread(s, 1, (1 << 20) - 1, f);
    s[*len] = 0;
    fclose(f);
    return s;
}

/* parse text with override tokens; NULL on error (message in reel_errrec) */
__attribute__((unused)) static struct reel_config *cfg_parse(const char *text, const char *name, int n,
                                                             const char *const *over, int lenient)
{
    struct reel_config_src src = { .text = text, .len = strlen(text), .name = name, .overrides = over,
                                   .n_overrides = n, .lenient = lenient };
    struct reel_config *cfg;

    reel_err_clear();
    if (!cfg_kinds.schema.models) reel_schema_init(&cfg_kinds);
    return reel_config_parse(&src, &cfg_kinds.schema, &cfg) ? NULL : cfg;
}

/* malloc'ed dump without its first line, which names the file */
__attribute__((unused)) static char *cfg_dump(const struct reel_config *cfg)
{
    char *s = NULL, *body;
    size_t n;
    FILE *f = open_memstream(&s, &n);

    reel_config_dump(cfg, NULL, f);
    fclose(f);
    body = strdup(strchr(s, '\n') + 1);
    free(s);
    return body;
}

#endif
