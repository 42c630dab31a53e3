/* NCCL over MPI. A call is an operation of its stream that goes through stages, each of them nonblocking: ranks
 * tell each other what they call; the bytes move; the receive buffer, poisoned until then, is filled. Calls of a
 * communicator run in the order in which they were issued. */
#include "fake.h"

#include <nccl.h>
#include <stdio.h>
#include <string.h>

#define OMPI_SKIP_MPICXX 1
#define MPICH_SKIP_MPICXX 1
#include <mpi.h>

using namespace fake;

/* What a rank calls; compared before bytes move. */
struct Said {
    int what, type, op, root;
    uint64_t count, number;
};

struct ncclComm {
    MPI_Comm data, talk;
    int rank, size, device;
    uint64_t number; /* of collectives issued */
    OpP last;
};

enum { ALLREDUCE, ALLGATHER, REDUCESCATTER, BROADCAST, SEND, RECV, KINDS };
static const char *const names[KINDS] = { "ncclAllReduce", "ncclAllGather", "ncclReduceScatter", "ncclBroadcast", "ncclSend", "ncclRecv" };
enum { TAG_SAID = 1, TAG_DATA = 2, TAG_JOIN = 20000 };

/* One call, and how far it is. */
struct Transfer {
    Said said;
    ncclComm *c;
    const char *send;
    char *recv;
    size_t send_bytes, recv_bytes;
    cudaStream_t stream;
    int stage;
    MPI_Request req;
    std::vector<Said> all;    /* what every rank said */
    std::vector<char> out, in; /* bytes that MPI reads and writes */
};
typedef std::shared_ptr<Transfer> TransferP;

static thread_local int depth;
static thread_local std::vector<TransferP> group;

static size_t size_of(int type)
{
    switch (type) {
    case ncclInt8: case ncclUint8: return 1;
    case ncclBfloat16: return 2;
    case ncclFloat32: case ncclInt32: case ncclUint32: return 4;
    case ncclFloat64: case ncclInt64: case ncclUint64: return 8;
    default: return 0;
    }
}

static const char *show(const Said &s, char out[160])
{
    static const char *const types[] = { "int8", "uint8", "int32", "uint32", "int64", "uint64", "float16", "float32", "float64", "bfloat16" };

    snprintf(out, 160, "%s number %lu of %lu %s, root %d", names[s.what], (unsigned long)s.number, (unsigned long)s.count,
             s.type < 10 ? types[s.type] : "?", s.root);
    return out;
}

static bool agree(const Said &a, const Said &b)
{
    return a.what == b.what && a.type == b.type && a.op == b.op && a.root == b.root && a.count == b.count && a.number == b.number;
}

static bool arrived(MPI_Request &r)
{
    int yes = 1;

    MPI_Test(&r, &yes, MPI_STATUS_IGNORE);
    return yes;
}

static void compare(const Transfer &t)
{
    char a[160], b[160];

    for (int i = 0; i < t.c->size; i++)
        if (!agree(t.all[(size_t)i], t.said))
            fail("collectives differ: rank %d of %d calls %s; rank %d calls %s", t.c->rank, t.c->size, show(t.said, a), i,
                 show(t.all[(size_t)i], b));
}

static bool point_to_point(const Transfer &t) { return t.said.what == SEND || t.said.what == RECV; }

/* Bytes of the receive buffer that are this rank's own contribution, in place. */
static bool in_place(const Transfer &t, size_t *at)
{
    *at = t.said.what == ALLGATHER ? (size_t)t.c->rank * t.send_bytes : 0;
    if (t.said.what == REDUCESCATTER) return t.recv == t.send + (size_t)t.c->rank * t.recv_bytes;
    return t.recv && t.send == t.recv + *at;
}

static void start(Transfer &t, const Op &o)
{
    size_t at;

    if (t.send_bytes) {
        range(o, t.send, t.send_bytes, false);
        t.out.resize(t.send_bytes);
        memcpy(t.out.data(), alias(t.send), t.send_bytes);
    }
    if (t.recv_bytes) {
        range(o, t.recv, t.recv_bytes, true);
        t.in.assign(t.recv_bytes, (char)0xff);
        if (t.send_bytes && t.send < t.recv + t.recv_bytes && t.recv < t.send + t.send_bytes && !in_place(t, &at))
            fail("%s: the buffers overlap and are not in place", o.what);
        memset(alias(t.recv), 0xff, t.recv_bytes);
        if (t.said.what == ALLGATHER && in_place(t, &at)) memcpy((char *)alias(t.recv) + at, t.out.data(), t.send_bytes);
    }
    if (t.said.what == SEND) MPI_Isend(&t.said, sizeof t.said, MPI_BYTE, t.said.root, TAG_SAID, t.c->talk, &t.req);
    else if (t.said.what == RECV) {
        t.all.resize(1);
        MPI_Irecv(t.all.data(), sizeof t.said, MPI_BYTE, t.said.root, TAG_SAID, t.c->talk, &t.req);
    } else {
        t.all.resize((size_t)t.c->size);
        MPI_Iallgather(&t.said, sizeof t.said, MPI_BYTE, t.all.data(), sizeof t.said, MPI_BYTE, t.c->talk, &t.req);
    }
}

static void move_bytes(Transfer &t)
{
    MPI_Comm c = t.c->data;

    switch (t.said.what) {
    case SEND: MPI_Isend_c(t.out.data(), (MPI_Count)t.send_bytes, MPI_BYTE, t.said.root, TAG_DATA, c, &t.req); return;
    case RECV: MPI_Irecv_c(t.in.data(), (MPI_Count)t.recv_bytes, MPI_BYTE, t.said.root, TAG_DATA, c, &t.req); return;
    case ALLREDUCE: /* the sum is taken here, in the order of ranks */
        t.in.resize(t.send_bytes * (size_t)t.c->size);
        [[fallthrough]];
    case ALLGATHER:
        MPI_Iallgather_c(t.out.data(), (MPI_Count)t.send_bytes, MPI_BYTE, t.in.data(), (MPI_Count)t.send_bytes, MPI_BYTE, c, &t.req);
        return;
    case REDUCESCATTER:
        t.in.resize(t.recv_bytes * (size_t)t.c->size);
        MPI_Ialltoall_c(t.out.data(), (MPI_Count)t.recv_bytes, MPI_BYTE, t.in.data(), (MPI_Count)t.recv_bytes, MPI_BYTE, c, &t.req);
        return;
    default:
        if (t.c->rank == t.said.root) memcpy(t.in.data(), t.out.data(), t.recv_bytes);
        MPI_Ibcast_c(t.in.data(), (MPI_Count)t.recv_bytes, MPI_BYTE, t.said.root, c, &t.req);
    }
}

/* in = sum over ranks of the parts that have come; f32 only */
static void reduce(Transfer &t)
{
    std::vector<float> sum(t.recv_bytes / sizeof(float)), part(sum.size());

    for (int r = 0; r < t.c->size; r++) {
        memcpy(part.data(), t.in.data() + (size_t)r * t.recv_bytes, t.recv_bytes);
        for (size_t i = 0; i < sum.size(); i++) sum[i] = r ? sum[i] + part[i] : part[i];
    }
    memcpy(t.in.data(), sum.data(), t.recv_bytes);
}

static void finish(Transfer &t, const Op &o)
{
    size_t at;
    bool kept = t.said.what == ALLGATHER && t.recv_bytes && in_place(t, &at);
    const unsigned char *now = (const unsigned char *)(t.recv_bytes ? alias(t.recv) : NULL);

    for (size_t i = 0; i < t.recv_bytes; i++)
        if (now[i] != 0xff && !(kept && i >= at && i < at + t.send_bytes))
            fail("%s on stream %d: something wrote to its receive buffer (byte %zu) before it was done", o.what, o.stream, i);
    if (t.send_bytes && !(t.recv_bytes && t.send >= t.recv && t.send < t.recv + t.recv_bytes) && !(t.recv_bytes && t.recv >= t.send && t.recv < t.send + t.send_bytes) &&
        memcmp(alias(t.send), t.out.data(), t.send_bytes))
        fail("%s on stream %d: something wrote to its send buffer before it was done", o.what, o.stream);
    if (t.said.what == ALLREDUCE || t.said.what == REDUCESCATTER) reduce(t);
    if (t.recv_bytes) memcpy(alias(t.recv), t.in.data(), t.recv_bytes);
    t.in.clear();
    t.out.clear();
}

/* The next stages of t, as far as they can be gone now; true when it is done. */
static bool advance(Transfer &t, const Op &o)
{
    if (t.stage == 0) {
        start(t, o);
        t.stage = 1;
    }
    if (t.stage == 1) {
        if (!arrived(t.req)) return false;
        if (!point_to_point(t)) compare(t);
        if (t.said.what == RECV && (t.all[0].count != t.said.count || t.all[0].type != t.said.type))
            fail("rank %d receives %lu elements of type %d from rank %d, which sends %lu of type %d", t.c->rank, (unsigned long)t.said.count,
                 t.said.type, t.said.root, (unsigned long)t.all[0].count, t.all[0].type);
        move_bytes(t);
        t.stage = 2;
    }
    if (t.stage == 2) {
        if (!arrived(t.req)) return false;
        finish(t, o);
        t.stage = 3;
    }
    return true;
}

/* The calls of a group, or one, as one operation. */
static ncclResult_t issue(const std::vector<TransferP> &calls)
{
    std::vector<cudaStream_t> streams;
    std::vector<OpP> before;

    if (calls.empty()) return ncclSuccess;
    for (const TransferP &t : calls) {
        bool have = false;
        for (cudaStream_t s : streams) have |= s == t->stream;
        if (!have) streams.push_back(t->stream);
        if (t->c->last && !t->c->last->done) before.push_back(t->c->last);
    }
    OpP op = enqueue(streams, LIBRARY, calls.size() == 1 ? names[calls[0]->said.what] : "a group of NCCL calls", [=](Op &o) {
        bool all = true;
        for (const OpP &p : before)
            if (!p->done) return false;
        for (const TransferP &t : calls) all &= advance(*t, o);
        return all;
    });
    for (const TransferP &t : calls) t->c->last = op;
    return ncclSuccess;
}

static ncclResult_t call(int what, const void *send, size_t ns, void *recv, size_t nr, size_t count, ncclDataType_t type, int op, int root,
                         ncclComm_t c, cudaStream_t s)
{
    Call entered(names[what]);
    TransferP t = std::make_shared<Transfer>();
    size_t e = size_of(type);
    bool reduces = what == ALLREDUCE || what == REDUCESCATTER;

    if (entered.error) return ncclUnhandledCudaError;
    if (!c || !e || root >= c->size || root < 0) return ncclInvalidArgument;
    if (reduces && (type != ncclFloat32 || op != ncclSum)) fail("%s: the double adds float32 only", names[what]);
    if (c->device != device()) return ncclInvalidUsage;
    t->said = { what, type, op, root, count, what < SEND ? c->number++ : 0 };
    t->c = c;
    t->send = (const char *)send;
    t->recv = (char *)recv;
    t->send_bytes = ns * e;
    t->recv_bytes = nr * e;
    t->stream = stream_of(s);
    if (!depth) return issue({ t });
    group.push_back(t);
    return ncclSuccess;
}

/* ---- communicators ---- */

/* Whoever made the id hears from every rank who it is in the world, and tells all. */
static std::vector<int> introduce(int size, int rank, int maker, int tag)
{
    int me, both[2] = { rank, 0 };
    std::vector<int> table((size_t)size, -1);

    MPI_Comm_rank(MPI_COMM_WORLD, &me);
    both[1] = me;
    if (me != maker) {
        MPI_Send(both, 2, MPI_INT, maker, tag, MPI_COMM_WORLD);
        MPI_Recv(table.data(), size, MPI_INT, maker, tag, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        return table;
    }
    table[(size_t)rank] = me;
    for (int i = 1; i < size; i++) {
        MPI_Recv(both, 2, MPI_INT, MPI_ANY_SOURCE, tag, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        if (table[(size_t)both[0]] >= 0) fail("ncclCommInitRank: world ranks %d and %d both say that they are rank %d", table[(size_t)both[0]], both[1], both[0]);
        table[(size_t)both[0]] = both[1];
    }
    for (int to : table)
        if (to != me) MPI_Send(table.data(), size, MPI_INT, to, tag, MPI_COMM_WORLD);
    return table;
}

static ncclComm *make(MPI_Comm c)
{
    ncclComm *n = new ncclComm{ c, MPI_COMM_NULL, 0, 0, device(), 0, nullptr };

    MPI_Comm_dup(c, &n->talk);
    MPI_Comm_rank(c, &n->rank);
    MPI_Comm_size(c, &n->size);
    return n;
}

struct Id {
    uint64_t magic;
    int maker, number;
};
static const uint64_t MAGIC = 0x6c63636e65626c64u;

extern "C" {

ncclResult_t ncclGetVersion(int *v)
{
    *v = NCCL_VERSION_CODE;
    return ncclSuccess;
}

const char *ncclGetErrorString(ncclResult_t r)
{
    static const char *const words[] = { "no error", "unhandled cuda error", "unhandled system error", "internal error",
                                         "invalid argument", "invalid usage", "remote process exited", "in progress" };
    return words[r < 8 ? r : 3];
}

const char *ncclGetLastError(ncclComm_t) { return "see above"; }

ncclResult_t ncclGetUniqueId(ncclUniqueId *id)
{
    static int number;
    Call entered("ncclGetUniqueId");
    Id made = { MAGIC, 0, number++ };

    if (entered.error) return ncclSystemError;
    MPI_Comm_rank(MPI_COMM_WORLD, &made.maker);
    memset(id, 0, sizeof *id);
    memcpy(id, &made, sizeof made);
    return ncclSuccess;
}

ncclResult_t ncclCommInitRank(ncclComm_t *out, int size, ncclUniqueId id, int rank)
{
    Call entered("ncclCommInitRank");
    MPI_Group world, mine;
    MPI_Comm c;
    Id from;

    memcpy(&from, &id, sizeof from);
    if (entered.error) return ncclUnhandledCudaError;
    if (from.magic != MAGIC || rank < 0 || rank >= size) return ncclInvalidArgument;
    if (depth) fail("ncclCommInitRank: in a group, which the double does not know");
    std::vector<int> table = introduce(size, rank, from.maker, TAG_JOIN + from.number % 1000);
    MPI_Comm_group(MPI_COMM_WORLD, &world);
    MPI_Group_incl(world, size, table.data(), &mine);
    MPI_Comm_create_group(MPI_COMM_WORLD, mine, TAG_JOIN + from.number % 1000, &c);
    MPI_Group_free(&mine);
    MPI_Group_free(&world);
    *out = make(c);
    return ncclSuccess;
}

ncclResult_t ncclCommSplit(ncclComm_t p, int color, int key, ncclComm_t *out, ncclConfig_t *)
{
    Call entered("ncclCommSplit");
    MPI_Comm c;

    if (entered.error) return ncclUnhandledCudaError;
    wait(p->last);
    MPI_Comm_split(p->data, color == NCCL_SPLIT_NOCOLOR ? MPI_UNDEFINED : color, key, &c);
    *out = c == MPI_COMM_NULL ? NULL : make(c);
    return ncclSuccess;
}

ncclResult_t ncclCommDestroy(ncclComm_t c)
{
    Call entered("ncclCommDestroy");

    wait(c->last);
    MPI_Comm_free(&c->talk);
    MPI_Comm_free(&c->data);
    delete c;
    return ncclSuccess;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t, ncclResult_t *e)
{
    *e = broken() ? ncclUnhandledCudaError : ncclSuccess;
    return ncclSuccess;
}

/* ---- calls ---- */

ncclResult_t ncclAllReduce(const void *s, void *r, size_t n, ncclDataType_t t, ncclRedOp_t op, ncclComm_t c, cudaStream_t st)
{
    return call(ALLREDUCE, s, n, r, n, n, t, op, 0, c, st);
}

ncclResult_t ncclAllGather(const void *s, void *r, size_t n, ncclDataType_t t, ncclComm_t c, cudaStream_t st)
{
    return call(ALLGATHER, s, n, r, c ? n * (size_t)c->size : n, n, t, 0, 0, c, st);
}

ncclResult_t ncclReduceScatter(const void *s, void *r, size_t n, ncclDataType_t t, ncclRedOp_t op, ncclComm_t c, cudaStream_t st)
{
    return call(REDUCESCATTER, s, c ? n * (size_t)c->size : n, r, n, n, t, op, 0, c, st);
}

ncclResult_t ncclBroadcast(const void *s, void *r, size_t n, ncclDataType_t t, int root, ncclComm_t c, cudaStream_t st)
{
    return call(BROADCAST, s, c && c->rank == root ? n : 0, r, n, n, t, 0, root, c, st);
}

ncclResult_t ncclSend(const void *s, size_t n, ncclDataType_t t, int peer, ncclComm_t c, cudaStream_t st)
{
    return call(SEND, s, n, NULL, 0, n, t, 0, peer, c, st);
}

ncclResult_t ncclRecv(void *r, size_t n, ncclDataType_t t, int peer, ncclComm_t c, cudaStream_t st)
{
    return call(RECV, NULL, 0, r, n, n, t, 0, peer, c, st);
}

ncclResult_t ncclGroupStart(void)
{
    depth++;
    return ncclSuccess;
}

ncclResult_t ncclGroupEnd(void)
{
    Call entered("ncclGroupEnd");
    std::vector<TransferP> calls;

    if (depth <= 0) return ncclInvalidUsage;
    if (--depth) return ncclSuccess;
    calls.swap(group);
    return entered.error ? ncclUnhandledCudaError : issue(calls);
}

} /* extern "C" */
