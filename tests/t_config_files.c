/* The files of configs/ and of the bench: each parses, dumps and parses again; example.yaml is what the program writes. */
#include <dirent.h>

#include "config/doc.h"
#include "tests/cfg.h"

static int check_file(const char *rel)
{
    size_t len;
    char *text = cfg_read(rel, &len), *first = NULL, *second = NULL;
    struct reel_config *a = cfg_parse(text, rel, 0, NULL, 0), *b = NULL;
    int ok;

    if (a) {
        first = cfg_dump(a);
        b = cfg_parse(first, "dump", 0, NULL, 0);
    }
    if (b) second = cfg_dump(b);
    ok = second && !strcmp(first, second);
    TAP_OK(ok, "%s parses, and its dump is the same run%s%s", rel, b ? "" : ": ", b ? "" : reel_errrec()->msg);
    reel_config_free(a);
    reel_config_free(b);
    free(text);
    free(first);
    free(second);
    return ok;
}

static void all_files(const char *folder, int least)
{
    DIR *d = opendir(cfg_path(folder));
    struct dirent *e;
    char rel[512];
    int n = 0;

    while (d && (e = readdir(d))) {
        size_t len = strlen(e->d_name);

        if (len < 6 || strcmp(e->d_name + len - 5, ".yaml") != 0) continue;
        snprintf(rel, sizeof rel, "%s/%s", folder, e->d_name);
        n += check_file(rel);
    }
    if (d) closedir(d);
    TAP_OK(n >= least, "%d files in %s", n, folder);
}

static void example(void)
{
    size_t len, n;
    char *have = cfg_read("configs/example.yaml", &len), *want = NULL;
    FILE *f = open_memstream(&want, &n);
    int line = 1, same;

    reel_doc_example(&cfg_kinds.schema, f);
    fclose(f);
    same = !strcmp(have, want);
    for (size_t i = 0; !same && have[i] && have[i] == want[i]; i++) line += have[i] == '\n';
    TAP_OK(same, "configs/example.yaml is up to date%s", same ? "" : ": run `make example`");
    if (!same) printf("# first difference in line %d\n", line);
    free(have);
    free(want);
}

/* every option of every table stands in the example, live or as a comment */
static int mentions(const char *text, const struct reel_opt *o)
{
    char key[128];
    int missing = 0;

    for (; o && o->type != REEL_OPT_END; o++) {
        const char *dot = strrchr(o->name, '.');

        snprintf(key, sizeof key, " %s:", dot ? dot + 1 : o->name);
        if (!strstr(text, key)) missing++, printf("# %s is missing\n", o->name);
    }
    return !missing;
}

/* help for every option, a sane default, names that stay together per mapping */
static int sane(const struct reel_opt *opts)
{
    int bad = 0;

    for (const struct reel_opt *o = opts; o && o->type != REEL_OPT_END; o++) {
        size_t head = strcspn(o->name, ".");

        bad += !o->help || !*o->help;
        bad += o->type == REEL_OPT_ENUM && !o->choices;
        bad += (o->flags & REEL_OPT_REQUIRED) && !o->example && strcmp(o->name, "_target_") != 0; /* the registry's first */
        bad += o->min < o->max && !(o->flags & REEL_OPT_NULLABLE) && !(o->flags & REEL_OPT_REQUIRED) &&
               (o->type == REEL_OPT_INT || o->type == REEL_OPT_F64) && (o->dflt < o->min || o->dflt > o->max);
        for (const struct reel_opt *b = opts; b < o; b++) {
            bad += !strcmp(b->name, o->name);
            if (o->name[head] && !strncmp(b->name, o->name, head + 1) && strncmp(o[-1].name, o->name, head + 1) != 0) bad++;
        }
        if (bad) printf("# %s\n", o->name);
        if (bad) return 0;
    }
    return 1;
}

static void tables(void)
{
    size_t len;
    char *text = cfg_read("configs/example.yaml", &len);
    const struct reel_opt *common[] = { reel_role_opts, reel_method_opts, reel_training_opts, reel_callback_opts,
                                        reel_pipeline_opts };

    for (int i = 0; i < 5; i++) {
        TAP_OK(mentions(text, common[i]), "common table %d is in the example", i);
        TAP_OK(sane(common[i]), "common table %d is sane", i);
    }
    for (const struct reel_kind *k = cfg_kinds.methods; k->name; k++)
        TAP_OK(mentions(text, k->opts) && sane(k->opts), "table of method %s", k->name);
    for (const struct reel_kind *k = cfg_kinds.callbacks; k->name; k++)
        TAP_OK(mentions(text, k->opts) && sane(k->opts), "table of callback %s", k->name);
    free(text);
}

static void reference(void)
{
    const char *const topics[] = { NULL, "training", "training.data", "method", "method.dmd2", "callbacks.ema", "models", "pipeline" };
    char *s = NULL;
    size_t n;

    for (int i = 0; i < 8; i++) {
        FILE *f = open_memstream(&s, &n);
        reel_err e = reel_doc_reference(&cfg_kinds.schema, topics[i], f);

        fclose(f);
        TAP_OK(!e && n > 100, "reference of %s: %zu bytes", topics[i] ? topics[i] : "everything", n);
        if (topics[i] && !strcmp(topics[i], "training.data"))
            TAP_OK(strstr(s, "data.seed") && !strstr(s, "optimizer."), "a section's reference is that section");
        free(s);
    }
    FILE *f = open_memstream(&s, &n);
    reel_err_clear();
    TAP_OK(reel_doc_reference(&cfg_kinds.schema, "method.dmd", f) == REEL_ECONFIG, "no such section: %s", reel_errrec()->msg);
    fclose(f);
    free(s);
}

int main(void)
{
    reel_schema_init(&cfg_kinds);
    all_files("configs", 5);
    all_files("bench/distill_quality.d", 8);
    example();
    tables();
    reference();
    return tap_done();
}
