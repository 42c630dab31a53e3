/* How well a warp's accesses fit the memory system: SIMT_TRAFFIC=1 prints, at exit, one line per source line
 * for the first block of every launch. Shared: wavefronts, 1 without bank conflicts. Global: 32-byte sectors,
 * against the fewest that could hold the bytes. Counted per k-th access of each lane at a line. */

#include "simt_check.h"

#include <algorithm>
#include <map>
#include <set>
#include <stdio.h>
#include <stdlib.h>
#include <vector>

namespace simt
{

struct Event {
    Site site;
    uintptr_t at;
    int bytes;
    Access kind;
    bool shared;
};
struct Total {
    Event first;
    uint64_t requests, moved, ideal;
};
static std::vector<Event> events[1024]; /* by thread */
typedef std::pair<Site, int> Place;     /* a line may load, store, in both memories */
static Place place(const Event &e)
{
    return Place(e.site, e.kind * 2 + e.shared);
}
static std::map<Place, Total> totals;
bool traffic_sampled;

static bool wanted()
{
    static int yes = -1;

    if (yes < 0) yes = getenv("SIMT_TRAFFIC") != NULL;
    return yes;
}

void traffic_note(Site site, const void *p, int bytes, Access kind, bool shared)
{
    events[cur->linear].push_back(Event{ site, (uintptr_t)p, bytes, kind, shared });
}

void traffic_block_begin()
{
    traffic_sampled = wanted() && block_serial == launch_serial;
    for (std::vector<Event> &e : events)
        if (traffic_sampled) e.clear();
}

/* 32 banks of 4 bytes; lanes with wide accesses are served 16 or 8 at a time. */
static void count_shared(const std::vector<Event> &v, Total *t)
{
    size_t lanes = v[0].bytes >= 16 ? 8 : v[0].bytes == 8 ? 16 : 32;

    for (size_t from = 0; from < v.size(); from += lanes) {
        std::set<uintptr_t> words[32];
        size_t most = 1;

        for (size_t i = from; i < v.size() && i < from + lanes; i++)
            for (uintptr_t w = v[i].at / 4; w <= (v[i].at + (uintptr_t)v[i].bytes - 1) / 4; w++)
                words[w % 32].insert(w);
        for (const std::set<uintptr_t> &bank : words) most = std::max(most, bank.size());
        t->moved += most;
        t->ideal++;
    }
}

static void count_global(const std::vector<Event> &v, Total *t)
{
    std::set<uintptr_t> sectors, bytes;

    for (const Event &e : v)
        for (uintptr_t b = e.at; b < e.at + (uintptr_t)e.bytes; b++) {
            bytes.insert(b);
            sectors.insert(b / 32);
        }
    t->moved += sectors.size();
    t->ideal += (bytes.size() + 31) / 32;
}

/* The k-th accesses of a warp's lanes at one line are taken for one instruction. */
static void count_warp(int warp)
{
    std::map<std::pair<Place, int>, std::vector<Event>> together;

    for (int l = 0; l < 32; l++) {
        std::map<Place, int> k;

        for (const Event &e : events[warp * 32 + l])
            together[std::make_pair(place(e), k[place(e)]++)].push_back(e);
    }
    for (const auto &it : together) {
        Total &t = totals.emplace(it.first.first, Total{ it.second[0], 0, 0, 0 }).first->second;

        t.requests++;
        if (t.first.shared)
            count_shared(it.second, &t);
        else
            count_global(it.second, &t);
    }
}

void traffic_block_end()
{
    for (int w = 0; traffic_sampled && w < 32; w++) count_warp(w);
}

static void print_total(const Line &l, const Total &t)
{
    static const char *kind[] = { "load", "store", "atomic" };
    size_t slash = l.file.rfind('/');

    fprintf(stderr, "%-18s:%-4d %-6s %-6s %2d bytes %9lu requests %7.2f %s each, %.2f at best%s\n",
            l.file.c_str() + (slash == std::string::npos ? 0 : slash + 1), l.line,
            t.first.shared ? "shared" : "global", kind[t.first.kind], t.first.bytes,
            (unsigned long)t.requests, (double)t.moved / (double)t.requests,
            t.first.shared ? "wavefronts" : "sectors", (double)t.ideal / (double)t.requests,
            2 * t.moved > 3 * t.ideal ? "  <--" : "");
}

static struct PrintAtExit {
    ~PrintAtExit()
    {
        for (const auto &it : totals) print_total(site_line(it.first.first), it.second);
    }
} print_at_exit;

} // namespace simt
