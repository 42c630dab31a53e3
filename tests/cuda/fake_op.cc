/* Operations: their order, and when they run. */
#include "fake.h"

#include <algorithm>
#include <atomic>
#include <dirent.h>
#include <map>
#include <set>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <thread>
#include <time.h>
#include <unistd.h>

namespace fake
{

Op *running;

static enum { EAGER, LAZY, RANDOM } mode;
static uint64_t seed = 88172645463325252u;
static std::map<uint32_t, OpP> pending; /* by age */
static std::vector<Op *> ready;         /* those of pending that wait for nothing */
static std::vector<cudaStream_t> streams;
static OpP last_of_default;
static Clock host;
static uint32_t ticks[MAX_STREAMS], next_id = 1;
static std::atomic<long> activity; /* counts what happens, for the thread that steps in when nothing does */

static uint64_t draw()
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static double seconds()
{
    timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- what the checker of the executor asks ---- */

struct Record { /* of every operation ever issued */
    const char *what;
    int stream;
    uint32_t tick;
};
static std::vector<Record> &records()
{
    static std::vector<Record> r(1);
    return r;
}

const char *op_what(uint32_t id) { return id < records().size() ? records()[id].what : "?"; }
int op_stream(uint32_t id) { return id < records().size() ? records()[id].stream : -1; }

bool happens_before(uint32_t earlier, uint32_t later)
{
    if (earlier == later || !running || running->id != later || earlier >= records().size()) return true;
    const Record &r = records()[earlier];
    return running->clock.t[r.stream] >= r.tick;
}

bool host_knows(int stream, uint32_t tick) { return host.t[stream] >= tick; }

/* ---- running ---- */

static void finish(const OpP &o)
{
    o->done = true;
    for (Op *n : o->next)
        if (--n->waits == 0) ready.push_back(n);
    ready.erase(std::find(ready.begin(), ready.end(), o.get()));
    o->step = nullptr;
    o->after.clear();
    o->next.clear();
    pending.erase(o->id);
    activity++;
}

/* One step of a ready operation; true if that finished it. */
static bool step(Op *op)
{
    OpP o = pending.at(op->id);
    Op *outer = running;
    bool done;

    o->started = true;
    if (broken() && o->kind != HOST_FUNCTION) { /* nothing runs on a device that has failed */
        finish(o);
        return true;
    }
    running = op;
    open_for_kernels(op->kind == KERNEL);
    done = op->step(*op);
    if (op->kind == KERNEL) check_redzones(op->what);
    running = outer;
    if (done) finish(o);
    return done;
}

static std::vector<Op *> by_age(std::vector<Op *> v)
{
    std::sort(v.begin(), v.end(), [](const Op *a, const Op *b) { return a->id < b->id; });
    return v;
}

static bool is_ready(const Op *o) { return !o->done && !o->waits; }

/* Everything that can run, oldest first; true if something finished. */
static bool run_ready()
{
    bool any = false;

    for (bool again = true; again;) {
        again = false;
        for (Op *o : by_age(ready)) {
            OpP keep = pending.count(o->id) ? pending.at(o->id) : nullptr;
            if (keep && is_ready(o) && step(o)) again = any = true;
        }
    }
    return any;
}

/* What target waits for, and nothing else. */
static bool run_ancestors(const OpP &target)
{
    std::set<Op *> seen;
    std::vector<OpP> todo{ target }, keep;
    std::vector<Op *> order;
    bool any = false;

    while (!todo.empty()) {
        OpP o = todo.back();
        todo.pop_back();
        if (o->done || !seen.insert(o.get()).second) continue;
        keep.push_back(o);
        order.push_back(o.get());
        todo.insert(todo.end(), o->after.begin(), o->after.end());
    }
    for (Op *o : by_age(order))
        if (is_ready(o)) any |= step(o);
    return any;
}

/* Any one of those that can run; if it is a communication that goes on, the others that do as well. */
static bool run_random()
{
    if (ready.empty()) return false;
    Op *o = ready[draw() % ready.size()];
    if (step(o)) return true;
    std::vector<Op *> others = ready;
    bool any = false;
    for (Op *x : others)
        if (x != o && pending.count(x->id) && is_ready(x) && x->started) any |= step(x);
    return any;
}

static void list_pending(const char *waiting_for)
{
    fprintf(stderr, "cuda double: no progress; unfinished operations:\n");
    for (auto &p : pending)
        fprintf(stderr, "cuda double:   #%u %s, stream %d%s\n", p.first, p.second->what, p.second->stream,
                p.second->started ? ", started" : p.second->waits ? "" : ", could start");
    fail("waited too long for %s", waiting_for);
}

void wait(const OpP &target)
{
    static const double limit = getenv("FAKE_TIMEOUT") ? atof(getenv("FAKE_TIMEOUT")) : 120;
    double idle = 0, last = seconds();

    if (!target) return;
    if (running && running->kind == HOST_FUNCTION) fail("a host function waits for the device");
    while (!target->done) {
        bool progress = mode == EAGER               ? run_ready()
                        : mode == LAZY && idle < .05 ? run_ancestors(target)
                        : mode == RANDOM             ? run_random()
                                                     : run_ready();
        double now = seconds(), dt = now - last;
        last = now;
        if (progress) {
            idle = 0;
            continue;
        }
        if (target->done) break;
        if (ready.empty()) list_pending(target->what);
        idle += dt < .1 ? dt : .1; /* a machine that stood still is no reason */
        if (idle > limit) list_pending(target->what);
        unlock_for(idle < .001 ? 0 : 100);
    }
    host.join(target->clock);
    release_in_flight();
}

bool poll(const OpP &op)
{
    if (!op) return true;
    if (!op->done) {
        if (mode == EAGER || draw() % 2) {
            if (mode == LAZY) run_ancestors(op);
            else if (mode == RANDOM) run_random();
            else run_ready();
        }
        if (!op->done) {
            unlock_for(0);
            return false;
        }
    }
    host.join(op->clock);
    release_in_flight();
    return true;
}

void wait_all()
{
    for (size_t i = 0; i < streams.size(); i++) wait(streams[i]->last);
    while (!pending.empty()) wait(pending.begin()->second);
}

/* Processor time of this process without the calling thread, seconds. */
static double others_ran()
{
    timespec all, mine;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &all);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &mine);
    return (double)(all.tv_sec - mine.tv_sec) + (double)(all.tv_nsec - mine.tv_nsec) * 1e-9;
}

/* Every thread but the caller sleeps: none runs, waits for a processor or for a page. */
static bool others_sleep()
{
    DIR *d = opendir("/proc/self/task");
    bool all = d != NULL;

    for (dirent *e; all && (e = readdir(d));) {
        char path[300], state = 'S';
        if (e->d_name[0] == '.' || atoi(e->d_name) == gettid()) continue;
        snprintf(path, sizeof path, "/proc/self/task/%s/stat", e->d_name);
        FILE *f = fopen(path, "r");
        if (f && fscanf(f, "%*d (%*[^)]) %c", &state) != 1) state = 'S';
        if (f) fclose(f);
        all = state == 'S';
    }
    if (d) closedir(d);
    return all;
}

/* A device goes on while its host does something else, a blocking call of MPI for instance: sleeps, or spends processor time without
 * a call. A host that waits for a processor is about to do something, on a busy machine for long. */
static void watch()
{
    const double spent = .1; /* seconds of processor time */
    long seen = -1;
    double ran = 0, since = 0;

    for (;;) {
        usleep(mode == EAGER ? 20000 : 200000);
        double now = others_ran();
        if (activity != seen) since = now;
        else if (mode == EAGER || now - since >= spent || (now - ran < .001 && others_sleep())) {
            Call c("");
            if (activity == seen && !pending.empty()) run_ready();
        }
        seen = activity;
        ran = now;
    }
}

static void start()
{
    const char *m = getenv("FAKE_MODE");

    if (m && !strcmp(m, "lazy")) mode = LAZY;
    else if (m && !strncmp(m, "random", 6)) mode = RANDOM;
    else if (m && strcmp(m, "eager")) fail("FAKE_MODE=%s: eager, lazy or random:SEED", m);
    if (m && mode == RANDOM && m[6] == ':') seed = (strtoull(m + 7, NULL, 10) + 1) * 0x9e3779b97f4a7c15u;
    std::thread(watch).detach();
}

/* ---- issue ---- */

static void put_after(Op *o, const OpP &earlier)
{
    if (!earlier) return;
    o->clock.join(earlier->clock);
    if (earlier->done) return;
    o->after.push_back(earlier);
    earlier->next.push_back(o);
    o->waits++;
}

/* Clocks know streams by number: a new one takes that of a destroyed one whose work is done, where there is one. */
void add_stream(cudaStream_t s)
{
    for (cudaStream_t &t : streams)
        if (t->dead && (!t->last || t->last->done)) {
            s->id = t->id;
            t = s;
            return;
        }
    s->id = (int)streams.size();
    if (s->id >= MAX_STREAMS) fail("more than %d streams", MAX_STREAMS);
    streams.push_back(s);
}

OpP enqueue(const std::vector<cudaStream_t> &on, Kind kind, const char *what, std::function<bool(Op &)> f,
            const std::vector<OpP> &after)
{
    OpP o = std::make_shared<Op>();
    static bool started;

    if (!started) {
        started = true;
        start();
    }
    o->id = next_id++;
    o->what = what;
    o->kind = kind;
    o->step = std::move(f);
    o->clock = host;
    for (cudaStream_t s : on) {
        put_after(o.get(), s->last);
        if (!s->id)
            for (cudaStream_t t : streams) put_after(o.get(), t->nonblocking ? nullptr : t->last);
        else if (!s->nonblocking)
            put_after(o.get(), last_of_default);
    }
    for (const OpP &e : after) put_after(o.get(), e);
    o->stream = on[0]->id;
    for (cudaStream_t s : on) {
        o->clock.t[s->id] = ++ticks[s->id];
        s->last = o;
        if (!s->id) last_of_default = o;
    }
    o->tick = ticks[o->stream];
    records().push_back({ what, o->stream, o->tick });
    pending[o->id] = o;
    if (!o->waits) ready.push_back(o.get());
    activity++;
    if (mode == EAGER) run_ready();
    else if (mode == RANDOM)
        while (draw() % 3 == 0 && run_random()) {}
    return o;
}

size_t issued() { return next_id - 1; }
size_t unfinished() { return pending.size(); }

} // namespace fake
