#include "ckpt/names.h"

#include <stdio.h>
#include <string.h>

/* Length matched: a prefix, or the whole name. 0: no. */
static size_t matched(const char *s, const char *pat)
{
    size_t n = pat ? strlen(pat) : 0;

    if (!n || strncmp(s, pat, n) != 0) return 0;
    return pat[n - 1] == '.' || s[n] == 0 ? n : 0;
}

/* Longest match of s among the namings first..last; its row's name in `to` replaces it. */
static void translate(char *out, size_t size, const char *s, const struct reel_name_row *rows, int n, int first,
                      int last, int to)
{
    const char *with = NULL;
    size_t best = 0;

    for (int i = 0; i < n; i++)
        for (int k = first; k <= last; k++) {
            size_t m = matched(s, rows[i].name[k]);
            if (m > best) best = m, with = rows[i].name[to];
        }
    snprintf(out, size, "%s%s", with ? with : "", s + (with ? best : 0));
}

static void rename_all(const struct reel_naming *w, char *out, const char *name, int first, int last, int to)
{
    static const struct reel_naming same;
    int i = -1, at = 0;

    if (!w) w = &same;
    if (sscanf(name, "blocks.%d.%n", &i, &at) == 1 && at > 0 && i >= 0) {
        int used = snprintf(out, REEL_NAME_MAX, "blocks.%d.", i);
        translate(out + used, (size_t)(REEL_NAME_MAX - used), name + at, w->block, w->n_block, first, last, to);
    } else {
        translate(out, REEL_NAME_MAX, name, w->root, w->n_root, first, last, to);
    }
}

static void drop(char *s, const char *part)
{
    for (char *p; (p = strstr(s, part));) memmove(p, p + strlen(part), strlen(p + strlen(part)) + 1);
}

void reel_name_own(const struct reel_naming *w, char out[REEL_NAME_MAX], const char *name)
{
    char plain[REEL_NAME_MAX];

    snprintf(plain, sizeof plain, "%s", name);
    drop(plain, "_checkpoint_wrapped_module.");
    drop(plain, "_fsdp_wrapped_module.");
    drop(plain, "_orig_mod.");
    drop(plain, "model.diffusion_model.");
    rename_all(w, out, plain, REEL_NAMING_OWN, REEL_NAMING_ORIGINAL, REEL_NAMING_OWN);
}

void reel_name_ckpt(const struct reel_naming *w, char out[REEL_NAME_MAX], const char *name)
{
    rename_all(w, out, name, REEL_NAMING_OWN, REEL_NAMING_OWN, REEL_NAMING_CKPT);
}

void reel_name_wrapped(char out[REEL_NAME_MAX], const char *fastvideo)
{
    int i, at = 0;

    if (sscanf(fastvideo, "blocks.%d.%n", &i, &at) != 1 || !at) snprintf(out, REEL_NAME_MAX, "%s", fastvideo);
    else snprintf(out, REEL_NAME_MAX, "%.*s_checkpoint_wrapped_module.%s", at, fastvideo, fastvideo + at);
}
