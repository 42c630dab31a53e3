/* What scripts ask of checkpoints.
 *     ckpt_tool hash DIR [PREFIX...]         a digest of all tensors and values whose keys begin so, whatever the layout
 *     ckpt_tool keys DIR PREFIX              these keys, with sizes
 *     ckpt_tool original SRC DST             a safetensors file of ours under the names of Wan's authors
 *     ckpt_tool ema OUT DECAY START LAST     TAP lines: the averages of OUT/checkpoint-1..LAST against the
 *                                            recurrence in double over the weights of these checkpoints */
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc.h"
#include "ckpt/dcp.h"
#include "models/wan_priv.h"
#include "tensor/safetensors.h"
#include "tap.h"

static void die(void)
{
    reel_err_print(reel_errrec());
    exit(1);
}

static struct reel_dcp *opened(const char *dir)
{
    char path[PATH_MAX + 8];
    struct reel_dcp *d;

    snprintf(path, sizeof path, "%s/dcp", dir);
    if (reel_dcp_open(&d, path)) die();
    return d;
}

/* All elements, malloc'ed. */
static void *elements(struct reel_dcp *d, const struct reel_dcp_entry *e, int64_t *n)
{
    int64_t zero[REEL_PT_MAXDIM] = { 0 };
    void *p;

    *n = reel_pt_numel(e->n, e->nd);
    p = malloc((size_t)*n * (size_t)e->type->size + 1);
    if (reel_dcp_read(d, e, zero, e->n, p)) die();
    return p;
}

static int wanted(const char *key, int n, char **prefix)
{
    for (int i = 0; i < n; i++)
        if (!strncmp(key, prefix[i], strlen(prefix[i]))) return 1;
    return n == 0;
}

static void hash(const char *dir, int n_prefix, char **prefix)
{
    struct reel_dcp *d = opened(dir);
    uint32_t a = 0, b = 1;
    int64_t n, found = 0;

    for (int i = 0; i < reel_dcp_count(d); i++) {
        const struct reel_dcp_entry *e = reel_dcp_entry(d, i);
        void *p;
        if (!wanted(e->key, n_prefix, prefix)) continue;
        a = reel_crc32c(a, e->key, strlen(e->key) + 1);
        found++;
        if (!e->type) continue;
        p = elements(d, e, &n);
        a = reel_crc32c(a, p, (size_t)n * (size_t)e->type->size);
        b = reel_crc32(b, p, (size_t)n * (size_t)e->type->size);
        free(p);
    }
    if (found) printf("%08x%08x %lld keys\n", a, b, (long long)found);
    reel_dcp_close(d);
}

static void keys(const char *dir, int n_prefix, char **prefix)
{
    struct reel_dcp *d = opened(dir);

    for (int i = 0; i < reel_dcp_count(d); i++) {
        const struct reel_dcp_entry *e = reel_dcp_entry(d, i);
        if (!wanted(e->key, n_prefix, prefix)) continue;
        printf("%s", e->key);
        for (int k = 0; k < e->nd; k++) printf("%c%lld", k ? 'x' : ' ', (long long)e->n[k]);
        printf("\n");
    }
    reel_dcp_close(d);
}

#define WEIGHTS "roles.student.transformer."
#define AVERAGE "callbacks.ema.student_ema."

struct average { char key[300]; double *ema; int64_t n; };

/* Step s of one parameter: moves the recurrence on and returns the largest difference over the largest value. */
static double follow(struct average *a, struct reel_dcp *d, long s, double decay, long start)
{
    char key[sizeof WEIGHTS + sizeof a->key];
    const struct reel_dcp_entry *e;
    double diff = 0, max = 1e-300;
    int64_t n;
    float *w, *got;

    snprintf(key, sizeof key, WEIGHTS "%s", a->key);
    w = elements(d, reel_dcp_find(d, key), &a->n);
    snprintf(key, sizeof key, AVERAGE "%s", a->key);
    e = reel_dcp_find(d, key);
    if (!e) return HUGE_VAL;
    got = elements(d, e, &n);
    if (!a->ema) a->ema = malloc((size_t)a->n * sizeof *a->ema);
    for (int64_t i = 0; i < a->n; i++) {
        if (s == 1 || s == start) a->ema[i] = (double)w[i]; /* step 1 must not have moved the weights: rate 0 */
        else if (s > start) a->ema[i] = decay * a->ema[i] + (1 - decay) * (double)w[i];
        diff = fmax(diff, fabs(a->ema[i] - (double)got[i]));
        max = fmax(max, fabs(a->ema[i]));
    }
    free(w);
    free(got);
    return n == a->n ? diff / max : HUGE_VAL;
}

static void ema(const char *out, double decay, long start, long last)
{
    struct average *a = NULL;
    char dir[PATH_MAX];
    int n = 0;

    for (long s = 1; s <= last; s++) {
        double worst = 0;
        struct reel_dcp *d;
        snprintf(dir, sizeof dir, "%s/checkpoint-%ld", out, s);
        d = opened(dir);
        if (!a) a = calloc((size_t)reel_dcp_count(d), sizeof *a);
        for (int i = 0; i < reel_dcp_count(d) && s == 1; i++)
            if (!strncmp(reel_dcp_entry(d, i)->key, WEIGHTS, strlen(WEIGHTS)))
                snprintf(a[n++].key, sizeof a[0].key, "%s", reel_dcp_entry(d, i)->key + strlen(WEIGHTS));
        for (int i = 0; i < n; i++) worst = fmax(worst, follow(&a[i], d, s, decay, start));
        TAP_OK(n > 0 && worst <= (s <= start ? 0 : 2e-7), "step %ld: %d averages within %.1g of double", s, n, worst);
        reel_dcp_close(d);
    }
    for (int i = 0; i < n; i++) free(a[i].ema);
    free(a);
}

/* The authors' name of one of ours: the longest entry of the table that it begins with. */
static void original_name(char *out, size_t size, const char *name)
{
    const struct reel_name_row *row = reel_wan_naming.root, *best = NULL;
    int block = -1, at = 0, n = reel_wan_naming.n_root;
    size_t most = 0;

    if (sscanf(name, "blocks.%d.%n", &block, &at) == 1 && at) row = reel_wan_naming.block, n = reel_wan_naming.n_block;
    for (int i = 0; i < n; i++) {
        const char *ours = row[i].name[REEL_NAMING_OWN];
        size_t len = strlen(ours);
        if (len > most && !strncmp(name + at, ours, len) && (ours[len - 1] == '.' || !name[at + (int)len])) most = len, best = &row[i];
    }
    snprintf(out, size, "%.*s%s%s", at, name, best ? best->name[REEL_NAMING_ORIGINAL] : "", name + at + most);
}

static void original(const char *src, const char *dst)
{
    struct reel_st *st;
    struct reel_st_item *it;
    char (*name)[200];
    int n;

    if (reel_st_open(&st, src)) die();
    n = reel_st_count(st);
    it = calloc((size_t)n + 1, sizeof *it);
    name = calloc((size_t)n + 1, sizeof *name);
    for (int i = 0; i < n; i++) {
        const struct reel_st_entry *e = reel_st_entry(st, i);
        void *data = malloc(e->bytes + 1);
        if (reel_st_read(st, e, 0, e->bytes, data)) die();
        original_name(name[i], sizeof name[i], e->name);
        it[i] = (struct reel_st_item){ .name = name[i], .dt = e->dt, .nd = e->nd, .data = data };
        memcpy(it[i].n, e->n, sizeof it[i].n);
    }
    if (reel_st_write(dst, it, n, NULL, 0, NULL, NULL)) die();
    for (int i = 0; i < n; i++) free((void *)it[i].data);
    free(name);
    free(it);
    reel_st_close(st);
}

int main(int argc, char **argv)
{
    if (argc >= 3 && !strcmp(argv[1], "hash")) hash(argv[2], argc - 3, argv + 3);
    else if (argc >= 3 && !strcmp(argv[1], "keys")) keys(argv[2], argc - 3, argv + 3);
    else if (argc == 6 && !strcmp(argv[1], "ema")) ema(argv[2], atof(argv[3]), atol(argv[4]), atol(argv[5]));
    else if (argc == 4 && !strcmp(argv[1], "original")) original(argv[2], argv[3]);
    else return fprintf(stderr, "usage: ckpt_tool hash|keys DIR [PREFIX...] | original SRC DST | ema OUT DECAY START LAST\n"), 2;
    return tap_failed != 0;
}
