/* where the ranks of a node run: machines made up for hwloc, with GPUs where real ones have them */
#include <hwloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "be/place.h"
#include "tap.h"

#define DGX     "pack:2 group:4 [numa] core:4 pu:2(indexes=32*1:2*32)" /* 8 NUMA nodes of 4 cores; second threads from 32 on */
#define DGX_AT  "33117755"                                            /* NUMA node of each card, as in a DGX A100 */
#define EVERY   "all"                                                 /* all processors of the machine */

/* ---- machines ---- */

/* hwloc's XML of a synthetic machine, with card K, 0000:K+1:00.0, behind a bridge at the NUMA node that digit K of `at` names, and the
 * system's matrix of distances, rows of integers, or NULL. */
static char *machine_xml(const char *description, const char *at, const char *matrix, int n_numa)
{
    hwloc_topology_t t;
    char *xml, *out = NULL, node[64];
    size_t size;
    FILE *f = open_memstream(&out, &size);
    int len;

    hwloc_topology_init(&t);
    if (hwloc_topology_set_synthetic(t, description) || hwloc_topology_load(t) || hwloc_topology_export_xmlbuffer(t, &xml, &len, 0)) abort();
    fwrite(xml, 1, (size_t)(strstr(xml, "<object") - xml), f);
    for (const char *p = strstr(xml, "<object"), *end; *p; p = end) {
        end = strchr(p, '\n') + 1;
        if (matrix && !strncmp(p, "</topology>", 11)) {
            fprintf(f, "<distances2 type=\"NUMANode\" nbobjs=\"%d\" kind=\"5\" indexing=\"os\">\n<indexes length=\"%d\">", n_numa, 2 * n_numa);
            for (int i = 0; i < n_numa; i++) fprintf(f, "%d ", i);
            fprintf(f, "</indexes>\n<u64values length=\"%d\">%s</u64values>\n</distances2>\n", (int)strlen(matrix), matrix);
        }
        fwrite(p, 1, (size_t)(end - p), f);
        for (int i = 0; sscanf(p, " <object type=\"NUMANode\" os_index=\"%d\"", &i) == 1;) {
            const char *close = strchr(strstr(p, "</object>"), '\n') + 1;
            fwrite(end, 1, (size_t)(close - end), f);
            end = close;
            snprintf(node, sizeof node, "%d", i);
            for (int k = 0; at && at[k]; k++)
                if (at[k] == *node)
                    fprintf(f, "<object type=\"Bridge\" gp_index=\"%d\" bridge_type=\"0-1\" depth=\"0\" bridge_pci=\"0000:[%02x-%02x]\">\n"
                               "<object type=\"PCIDev\" gp_index=\"%d\" pci_busid=\"0000:%02x:00.0\" pci_type=\"0302 [10de:20b0] [10de:144e] a1\" "
                               "pci_link_speed=\"0\"/>\n</object>\n", 1000 + 2 * k, k + 1, k + 1, 1001 + 2 * k, k + 1);
            break;
        }
    }
    fclose(f);
    hwloc_free_xmlbuffer(t, xml);
    hwloc_topology_destroy(t);
    return out;
}

static hwloc_topology_t machine_dist(const char *description, const char *at, const char *matrix, int n_numa)
{
    char *xml = machine_xml(description, at, matrix, n_numa);
    hwloc_topology_t t;

    hwloc_topology_init(&t);
    hwloc_topology_set_io_types_filter(t, HWLOC_TYPE_FILTER_KEEP_IMPORTANT);
    if (hwloc_topology_set_xmlbuffer(t, xml, (int)strlen(xml) + 1) || hwloc_topology_load(t)) printf("# not a machine:\n%s\n", xml), abort();
    free(xml);
    return t;
}

static hwloc_topology_t machine(const char *description, const char *at) { return machine_dist(description, at, NULL, 0); }

/* ---- ranks ---- */

/* A rank that may run on `cpus` and sees the cards that `sees` has the digits of. */
static void give(struct reel_given *g, hwloc_topology_t t, const char *cpus, const char *sees)
{
    hwloc_bitmap_t b = hwloc_bitmap_alloc();

    if (!strcmp(cpus, EVERY)) hwloc_bitmap_copy(b, hwloc_topology_get_topology_cpuset(t));
    else if (hwloc_bitmap_list_sscanf(b, cpus)) abort();
    *g = (struct reel_given){ .gpus.n = sees ? (int)strlen(sees) : 0 };
    for (int i = 0; i < REEL_CPUS_WORDS; i++) g->cpus.w[i] = hwloc_bitmap_to_ith_ulong(b, (unsigned)i);
    for (int i = 0; i < g->gpus.n; i++) snprintf(g->gpus.gpu[i].bus, sizeof g->gpus.gpu[i].bus, "0000:%02x:00.0", sees[i] - '0' + 1);
    hwloc_bitmap_free(b);
}

/* "cpus NUMA cores who" of a rank, and its card in front. */
static void describe(char *out, size_t size, const struct reel_given *g, const struct reel_place *p)
{
    static const char who[] = { 'n', 'l', 'r' };
    char cpus[64], card[2] = "-";
    unsigned k;

    reel_cpus_text(&p->cpus, cpus, sizeof cpus);
    if (p->gpu >= 0 && sscanf(g->gpus.gpu[p->gpu].bus, "0000:%x", &k) == 1) *card = (char)('0' + k - 1);
    snprintf(out, size, "%s: %s numa %s, %d, %c", card, cpus, p->numa, p->cores, who[p->bound]);
}

struct rank { const char *cpus, *sees, *want; };

static void places_of(const char *what, hwloc_topology_t t, enum reel_bind bind, int threads, const struct rank *r, int n)
{
    struct reel_given g[16];
    struct reel_place p[16];
    char got[160];
    int same = 1;

    for (int i = 0; i < n; i++) give(&g[i], t, r[i].cpus, r[i].sees);
    if (reel_place_ranks(p, g, n, t, bind, threads)) {
        TAP_OK(0, "%s: %s", what, reel_errrec()->msg);
        reel_err_clear();
        return;
    }
    for (int i = 0; i < n; i++) {
        describe(got, sizeof got, &g[i], &p[i]);
        same &= !strcmp(got, r[i].want);
        if (strcmp(got, r[i].want)) printf("# rank %d: '%s', not '%s'\n", i, got, r[i].want);
    }
    TAP_OK(same, "%s", what);
}
#define PLACES(what, t, ...) places_of(what, t, REEL_BIND_ALWAYS, 0, (const struct rank[]){ __VA_ARGS__ }, (int)(sizeof((struct rank[]){ __VA_ARGS__ }) / sizeof(struct rank)))

static void refused(const char *what, hwloc_topology_t t, const struct rank *r, int n, const char *why, const char *word)
{
    struct reel_given g[4];
    struct reel_place p[4];

    for (int i = 0; i < n; i++) {
        give(&g[i], t, r[i].cpus, r[i].sees);
        snprintf(g[i].gpus.why, sizeof g[i].gpus.why, "%s", why);
    }
    TAP_OK(reel_place_ranks(p, g, n, t, REEL_BIND_ALWAYS, 0) == REEL_ECONFIG && strstr(reel_errrec()->msg, word), "%s: %s", what, reel_errrec()->msg);
    reel_err_clear();
}

/* ---- what is proved ---- */

static void without_gpus(void)
{
    hwloc_topology_t t = machine("pack:2 [numa] core:4 pu:1", NULL), smt = machine("pack:2 [numa] core:2 pu:2(indexes=4*1:2*4)", NULL);
    const struct rank two[] = { { EVERY, NULL, "-: 0-7 numa 0-1, 4, n" }, { EVERY, NULL, "-: 0-7 numa 0-1, 4, n" } };
    struct rank nine[9];

    for (int i = 0; i < 9; i++) nine[i] = (struct rank){ EVERY, NULL, "-: 0-7 numa 0-1, 1, n" };
    PLACES("two ranks on two sockets get one each", t, { EVERY, NULL, "-: 0-3 numa 0, 4, r" }, { EVERY, NULL, "-: 4-7 numa 1, 4, r" });
    PLACES("three ranks on eight cores", t, { EVERY, NULL, "-: 0-1 numa 0, 2, r" }, { EVERY, NULL, "-: 2-4 numa 0-1, 3, r" },
           { EVERY, NULL, "-: 5-7 numa 1, 3, r" });
    PLACES("a job that has a part of the machine divides that part", t, { "2-5", NULL, "-: 2-3 numa 0, 2, r" }, { "2-5", NULL, "-: 4-5 numa 1, 2, r" });
    PLACES("the threads of a core stay together", smt, { EVERY, NULL, "-: 0,4 numa 0, 1, r" }, { EVERY, NULL, "-: 1,5 numa 0, 1, r" },
           { EVERY, NULL, "-: 2,6 numa 1, 1, r" }, { EVERY, NULL, "-: 3,7 numa 1, 1, r" });
    PLACES("one thread of each core was given: a core counts once", smt, { "0-3", NULL, "-: 0-1 numa 0, 2, r" }, { "0-3", NULL, "-: 2-3 numa 1, 2, r" });
    places_of("more ranks than cores stay unbound", t, REEL_BIND_ALWAYS, 0, nine, 9);
    PLACES("five ranks on four cores of eight threads stay unbound", smt, { EVERY, NULL, "-: 0-7 numa 0-1, 1, n" }, { EVERY, NULL, "-: 0-7 numa 0-1, 1, n" },
           { EVERY, NULL, "-: 0-7 numa 0-1, 1, n" }, { EVERY, NULL, "-: 0-7 numa 0-1, 1, n" }, { EVERY, NULL, "-: 0-7 numa 0-1, 1, n" });
    PLACES("one rank has the node", t, { EVERY, NULL, "-: 0-7 numa 0-1, 8, n" });
    PLACES("one rank with a part of it was bound", t, { "4-6", NULL, "-: 4-6 numa 1, 3, l" });
    PLACES("bound ranks stay where they are", t, { "6-7", NULL, "-: 6-7 numa 1, 2, l" }, { "0", NULL, "-: 0 numa 0, 1, l" });
    PLACES("so do pairs that share a socket, and its cores", t, { "0-3", NULL, "-: 0-3 numa 0, 2, l" }, { "4-7", NULL, "-: 4-7 numa 1, 2, l" },
           { "0-3", NULL, "-: 0-3 numa 0, 2, l" }, { "4-7", NULL, "-: 4-7 numa 1, 2, l" });
    PLACES("one bound rank speaks for all", t, { EVERY, NULL, "-: 0-7 numa 0-1, 8, n" }, { "0-3", NULL, "-: 0-3 numa 0, 4, l" });
    places_of("binding switched off: shares alone", t, REEL_BIND_NEVER, 0, two, 2);
    places_of("more threads asked for than cores: unbound", t, REEL_BIND_ALWAYS, 5, two, 2);
    places_of("NUMA nodes to be kept to", t, REEL_BIND_NUMA, 0,
              (const struct rank[]){ { EVERY, NULL, "-: 0-3 numa 0, 4, r" }, { EVERY, NULL, "-: 4-7 numa 1, 4, r" } }, 2);
    places_of("one NUMA node: unbound, where that is not asked for", t, REEL_BIND_NUMA, 0,
              (const struct rank[]){ { "4-7", NULL, "-: 4-7 numa 1, 2, n" }, { "4-7", NULL, "-: 4-7 numa 1, 2, n" } }, 2);
    places_of("fewer threads: bound", t, REEL_BIND_ALWAYS, 1,
              (const struct rank[]){ { EVERY, NULL, "-: 0-3 numa 0, 4, r" }, { EVERY, NULL, "-: 4-7 numa 1, 4, r" } }, 2);
    hwloc_topology_destroy(t);
    hwloc_topology_destroy(smt);
}

static void eight_gpus(void)
{
    hwloc_topology_t t = machine(DGX, DGX_AT);
    static const char all[] = "01234567";

    PLACES("eight ranks on a DGX: cards in order, two share the cores of a card's NUMA node", t,
           { EVERY, all, "0: 12-13,44-45 numa 3, 2, r" }, { EVERY, all, "1: 14-15,46-47 numa 3, 2, r" }, { EVERY, all, "2: 4-5,36-37 numa 1, 2, r" },
           { EVERY, all, "3: 6-7,38-39 numa 1, 2, r" }, { EVERY, all, "4: 28-29,60-61 numa 7, 2, r" }, { EVERY, all, "5: 30-31,62-63 numa 7, 2, r" },
           { EVERY, all, "6: 20-21,52-53 numa 5, 2, r" }, { EVERY, all, "7: 22-23,54-55 numa 5, 2, r" });
    PLACES("each sees one card", t, { EVERY, "6", "6: 20-23,52-55 numa 5, 4, r" }, { EVERY, "2", "2: 4-7,36-39 numa 1, 4, r" });
    PLACES("the order in which cards are seen counts", t, { EVERY, "7654", "7: 20-23,52-55 numa 5, 4, r" }, { EVERY, "3210", "3: 4-7,36-39 numa 1, 4, r" });
    PLACES("one rank keeps the node", t, { EVERY, all, "0: 0-63 numa 0-7, 32, n" });
    PLACES("bound ranks take cards beside their cores", t, { "20-23", all, "6: 20-23 numa 5, 4, l" }, { "4-7", all, "2: 4-7 numa 1, 4, l" },
           { "52-55", all, "7: 52-55 numa 5, 4, l" });
    PLACES("else of their package", t, { "16-19", all, "4: 16-19 numa 4, 4, l" }, { "8-11", all, "0: 8-11 numa 2, 4, l" });
    PLACES("a job on one socket takes the cards of that socket first", t, { "16-31", all, "4: 28-29 numa 7, 2, r" }, { "16-31", all, "5: 30-31 numa 7, 2, r" },
           { "16-31", all, "6: 20-21 numa 5, 2, r" }, { "16-31", all, "7: 22-23 numa 5, 2, r" }, { "16-31", all, "0: 16-19 numa 4, 4, r" });
    hwloc_topology_destroy(t);
}

static void distances(void)
{
    /* node 0 is nearest to 2, node 1 to 3; packages are {0,1} and {2,3} */
    static const char matrix[] = "10 20 12 30 20 10 30 12 12 30 10 20 30 12 20 10 ";
    hwloc_topology_t t = machine_dist("pack:2 group:2 [numa] core:2 pu:1", "123", matrix, 4), plain = machine("pack:2 group:2 [numa] core:2 pu:1", "123");

    PLACES("the system's distances, not only beside or not", t, { "0-1", "012", "1: 0-1 numa 0, 2, l" }, { "2-3", "012", "0: 2-3 numa 1, 2, l" });
    PLACES("without them another node of the package is nearer", plain, { "0-1", "012", "0: 0-1 numa 0, 2, l" }, { "2-3", "012", "1: 2-3 numa 1, 2, l" });
    PLACES("a rank's second choice", t, { "0-1", "012", "1: 0-1 numa 0, 2, l" }, { "0-1,4", "012", "0: 0-1,4 numa 0,2, 3, l" });
    PLACES("no cores at a card's node: the nearest that has some", t, { "0-1,2-3", "1", "1: 0-1 numa 0, 2, r" }, { "0-1,2-3", "2", "2: 2-3 numa 1, 2, r" });
    hwloc_topology_destroy(t);
    hwloc_topology_destroy(plain);
}

static void scarce(void)
{
    hwloc_topology_t t = machine("pack:2 [numa] core:4 pu:1", "00001111"), vm = machine("pack:2 [numa] core:4 pu:1", NULL);

    PLACES("a node without enough cores sends ranks to the next", t, { "0-4", "0", "0: 0 numa 0, 1, r" }, { "0-4", "4", "4: 4 numa 1, 1, r" },
           { "0-4", "5", "5: 1 numa 0, 1, r" }, { "0-4", "6", "6: 2-3 numa 0, 2, r" });
    PLACES("more ranks than cores: cards, but no binding", t, { "0", "01", "0: 0 numa 0, 1, n" }, { "0", "01", "1: 0 numa 0, 1, n" });
    PLACES("nobody knows where the cards are: the machine is shared evenly", vm, { EVERY, "0123", "0: 0-1 numa 0, 2, r" },
           { EVERY, "0123", "1: 4-5 numa 1, 2, r" }, { EVERY, "0123", "2: 2-3 numa 0, 2, r" }, { EVERY, "0123", "3: 6-7 numa 1, 2, r" });
    PLACES("a card that nobody knows is nearer than a far one, not than a near one", t, { "0-3", "48", "8: 0-3 numa 0, 4, l" }, { "0-2", "90", "0: 0-2 numa 0, 3, l" });
    PLACES("an earlier rank changes over where another sees one card alone", t, { "0-3", "01", "1: 0-3 numa 0, 4, l" }, { "4-7", "0", "0: 4-7 numa 1, 4, l" });
    PLACES("along a chain of ranks", t, { "0", "012", "1: 0 numa 0, 1, l" }, { "1", "12", "2: 1 numa 0, 1, l" }, { "2", "0", "0: 2 numa 0, 1, l" });
    refused("two ranks that see the same card alone", t, (const struct rank[]){ { EVERY, "3", "" }, { EVERY, "3", "" } }, 2, "", "--gpus-per-task=1");
    refused("more ranks than cards", t, (const struct rank[]){ { EVERY, "01", "" }, { EVERY, "01", "" }, { EVERY, "01", "" } }, 3, "", "--ntasks-per-node=2");
    refused("a rank that sees none says why", t, (const struct rank[]){ { EVERY, "0", "" }, { EVERY, "", "" } }, 2, "no driver", "no driver");
    hwloc_topology_destroy(t);
    hwloc_topology_destroy(vm);
}

/* Memory that has no cores of its own, and memory at two levels: every core has one home. */
static void odd_memory(void)
{
    hwloc_topology_t t = machine("[numa] pack:2 [numa] core:2 pu:1", "01");

    PLACES("memory of the machine beside that of packages", t, { EVERY, "01", "0: 0-1 numa 0,2, 2, r" }, { EVERY, "01", "1: 2-3 numa 1-2, 2, r" });
    hwloc_topology_destroy(t);
}

static void texts(void)
{
    struct reel_cpus c = { { 0 } };
    char out[16];

    for (int i = 0; i < 128; i += 2) c.w[i / 64] |= 1ul << i % 64;
    reel_cpus_text(&c, out, sizeof out);
    TAP_OK(!strcmp(out, "0,2,4,6,8,..."), "a long list is cut between numbers: %s", out);
    TAP_OK(!reel_place_given(&c) && c.w[0] | c.w[1], "this process may run somewhere");
}

int main(void)
{
    without_gpus();
    eight_gpus();
    distances();
    scarce();
    odd_memory();
    texts();
    return tap_done();
}
