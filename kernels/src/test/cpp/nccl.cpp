// The functions of libnccl.so.2 that Shardloom calls, between threads and between processes of one host. Every operation is a task of the
// stream it is given (cuLaunchHostFunc), in which the ranks send each other bytes through shared memory. Sums go around a ring, each rank's
// part from the rank after it: not in rank order, and 16-bit sums are rounded at every hop.
// Environment: SHARDLOOM_SIM_NCCL_VERSION (22304); SHARDLOOM_SIM_HANG_COLLECTIVE=k, whose k-th operation in this process never ends;
// SHARDLOOM_SIM_HANG_END=k, whose k-th ncclCommAbort or ncclCommDestroy in this process never comes back.
#include "ncclworld.h"
#include "simulation.h"
#include <algorithm>
#include <cstdlib>
#include <thread>

#define API extern "C" __attribute__((visibility("default"))) int
#define TEXT extern "C" __attribute__((visibility("default"))) const char*
using namespace simnccl;

struct UniqueId { char name[128]; };
struct Config { size_t size; unsigned magic, version; int blocking, cgaClusterSize, minCTAs, maxCTAs; const char* netName; int splitShare; };
constexpr int UNDEFINED = -2147483647 - 1;
static std::atomic<int> libraryVersion{getenv("SHARDLOOM_SIM_NCCL_VERSION") ? atoi(getenv("SHARDLOOM_SIM_NCCL_VERSION")) : 22304};
static std::atomic<long> untilHang{getenv("SHARDLOOM_SIM_HANG_COLLECTIVE") ? atol(getenv("SHARDLOOM_SIM_HANG_COLLECTIVE")) : 0};

static std::atomic<long> untilHangingEnd{getenv("SHARDLOOM_SIM_HANG_END") ? atol(getenv("SHARDLOOM_SIM_HANG_END")) : 0};

static std::atomic<long> untilStall{0};
/** Communicators that were aborted, and how often it was said anew which end hangs: those that hang then go on. */
static std::atomic<long> aborts{0}, hangs{0};

// ---- arithmetic

enum Type { I8 = 0, U8, I32, U32, I64, U64, F16, F32, F64, BF16, TYPES };
enum Reduction { SUM = 0, PROD, MAX, MIN, AVG, REDUCTIONS };
static const size_t SIZES[TYPES] = {1, 1, 4, 4, 8, 8, 2, 4, 8, 2};

template <class T> static T combine(T a, T b, int op) { return op == PROD ? T(a * b) : op == MAX ? std::max(a, b) : op == MIN ? std::min(a, b) : T(a + b); }
static bf16 combine(bf16 a, bf16 b, int op) { bf16 c; narrow(combine(widen(a), widen(b), op), c); return c; }
static half combine(half a, half b, int op) { half c; narrow(combine(widen(a), widen(b), op), c); return c; }
template <class T> static T share(T sum, int n) { return T(sum / T(n)); }
static bf16 share(bf16 sum, int n) { bf16 c; narrow(widen(sum) / n, c); return c; }
static half share(half sum, int n) { half c; narrow(widen(sum) / n, c); return c; }

/** out[i] = the combination of all parts[rank][i], beginning with the rank after owner. */
template <class T> static void around(T* out, const std::vector<const char*>& parts, size_t from, size_t count, int owner, int op) {
    const int n = int(parts.size());
    for (size_t i = from; i < from + count; i++) {
        T total = reinterpret_cast<const T*>(parts[(owner + 1) % n])[i];
        for (int k = 2; k <= n; k++) total = combine(total, reinterpret_cast<const T*>(parts[(owner + k) % n])[i], op);
        out[i] = op == AVG ? share(total, n) : total;
    }
}
static void around(void* out, const std::vector<const char*>& parts, size_t from, size_t count, int owner, int op, int type) {
#define CASE(E, T) case E: return around(static_cast<T*>(out), parts, from, count, owner, op)
    switch (type) {
        CASE(I8, int8_t); CASE(U8, uint8_t); CASE(I32, int32_t); CASE(U32, uint32_t); CASE(I64, int64_t);
        CASE(U64, uint64_t); CASE(F16, half); CASE(F32, float); CASE(F64, double); CASE(BF16, bf16);
    }
}

// ---- issue

static thread_local int groupDepth;
static thread_local int groupFault;
struct Issued { Comm* comm; void* stream; std::shared_ptr<Operation> operation; };
static thread_local std::vector<Issued> group;
constexpr size_t MOST_IN_GROUP = 2048;

/** Puts the operation into its stream; later, and on a thread of NCCL's own, where the communicator does not block. */
static int enqueue(Comm* handle, void* stream, std::shared_ptr<Operation> operation) {
    const std::shared_ptr<State> state = handle->state;
    state->outstanding++;
    if (untilHang > 0 && --untilHang == 0) operation->hangs = true;
    const bool stalls = untilStall > 0 && --untilStall == 0;
    void* context = nullptr;
    cuCtxGetCurrent(&context);
    auto issue = [=] {
        cuCtxSetCurrent(context);
        for (auto& [address, bytes] : operation->operands) simTouches(stream, reinterpret_cast<void*>(address), bytes, 0, operation->name);
        for (auto& [address, bytes] : operation->written) simTouches(stream, address, bytes, 1, operation->name);
        auto* task = new std::function<void()>([=] {
            run(*state, *operation);
            state->outstanding--;
        });
        const int code = cuLaunchHostFunc(stream, [](void* p) { auto* f = static_cast<std::function<void()>*>(p); (*f)(); delete f; }, task);
        if (code) {
            delete task;
            state->outstanding--;
            state->fail(CUDA_ERROR, "cuLaunchHostFunc returned " + std::to_string(code));
        }
    };
    if (state->blocking) {
        issue();
        return state->error;
    }
    state->inProgress = true;
    std::thread([=] {
        while (stalls && !state->aborted) std::this_thread::sleep_for(std::chrono::milliseconds(1));
        if (const int most = simDelayMicros()) std::this_thread::sleep_for(std::chrono::microseconds(state->random() % most));
        if (state->aborted) state->outstanding--;  // its operands may be gone
        else issue();
        state->inProgress = false;
    }).detach();
    return IN_PROGRESS;
}

/** The communicator's state if it may be used now. */
static int usable(Comm* comm, const char* call) {
    const int code = check(comm, call);
    if (code) return code;
    if (comm->state->aborted) return INVALID_USAGE;
    if (!comm->state->inProgress) return comm->state->error;
    simReport((std::string("NCCL: ") + call + " while an earlier call is in progress").c_str());
    return INVALID_USAGE;
}

static int submit(Comm* comm, void* stream, const char* call, std::shared_ptr<Operation> operation) {
    int code = usable(comm, call);
    if (!code) code = operands(*comm->state, *operation) ? SUCCESS : INVALID_ARGUMENT;
    if (groupDepth > 0) {
        if (!code && group.size() == MOST_IN_GROUP) code = INVALID_USAGE;
        if (code) groupFault = code;
        else group.push_back({comm, stream, operation});
        return code;
    }
    return code ? code : enqueue(comm, stream, operation);
}

API ncclGroupStart() { groupDepth++; return SUCCESS; }
/** Moves between pairs are one operation, whatever their order. */
API ncclGroupEnd() {
    if (--groupDepth > 0) return SUCCESS;
    std::vector<Issued> all;
    all.swap(group);
    const int fault = groupFault;
    groupFault = 0;
    if (fault) return fault;
    std::vector<Issued> merged;
    for (Issued& next : all) {
        Operation* moves = nullptr;
        for (Issued& earlier : merged) {
            if (earlier.comm == next.comm && earlier.stream == next.stream && earlier.operation->kind == MOVES) moves = earlier.operation.get();
        }
        if (next.operation->kind == MOVES && moves) moves->add(*next.operation);
        else merged.push_back(next);
    }
    int result = SUCCESS;
    for (Issued& one : merged) {
        // A group is launched as a whole: only the next call has to wait.
        while (one.comm->state->inProgress) std::this_thread::yield();
        const int code = enqueue(one.comm, one.stream, one.operation);
        if (code) result = code;
    }
    return result;
}

// ---- operations

static std::shared_ptr<Operation> operation(Kind kind, const char* name) {
    auto made = std::make_shared<Operation>();
    made->kind = kind;
    made->name = name;
    return made;
}
static char* at(void* p, size_t bytes) { return static_cast<char*>(p) + bytes; }
static const char* at(const void* p, size_t bytes) { return static_cast<const char*>(p) + bytes; }
#define VALID(condition)                                                   \
    if (int code = check(comm, __func__)) return code;                     \
    const int n = comm->state->size, rank = comm->state->rank;             \
    if (!(condition)) return INVALID_ARGUMENT;                             \
    const size_t bytes = count * SIZES[type];                              \
    (void)n, (void)rank
#define OF_TYPE (type >= 0 && type < TYPES)

API ncclAllGather(const void* from, void* to, size_t count, int type, Comm* comm, void* stream) {
    VALID(OF_TYPE);
    if (count == 0) return SUCCESS;
    auto op = operation(ALL_GATHER, __func__);
    op->reads(from, bytes).writes(to, n * bytes);
    for (int peer = 0; peer < n; peer++) op->send(peer, from, bytes).receive(peer, at(to, peer * bytes), bytes);
    return submit(comm, stream, __func__, op);
}
API ncclBroadcast(const void* from, void* to, size_t count, int type, int root, Comm* comm, void* stream) {
    VALID(OF_TYPE && root >= 0 && root < n);
    if (count == 0) return SUCCESS;
    auto op = operation(BROADCAST, __func__);
    op->writes(to, bytes).receive(root, to, bytes);
    if (rank == root) {
        op->reads(from, bytes);
        for (int peer = 0; peer < n; peer++) op->send(peer, from, bytes);
    }
    return submit(comm, stream, __func__, op);
}
API ncclReduceScatter(const void* from, void* to, size_t count, int type, int reduction, Comm* comm, void* stream) {
    VALID(OF_TYPE && reduction >= 0 && reduction < REDUCTIONS);
    if (count == 0) return SUCCESS;
    auto op = operation(REDUCE_SCATTER, __func__);
    op->reads(from, n * bytes).writes(to, bytes);
    auto parts = op->temporary(n, bytes);
    for (int peer = 0; peer < n; peer++) op->send(peer, at(from, peer * bytes), bytes).receive(peer, const_cast<char*>(parts[peer]), bytes);
    op->then = [=] { around(to, parts, 0, count, rank, reduction, type); };
    return submit(comm, stream, __func__, op);
}
API ncclAllReduce(const void* from, void* to, size_t count, int type, int reduction, Comm* comm, void* stream) {
    VALID(OF_TYPE && reduction >= 0 && reduction < REDUCTIONS);
    if (count == 0) return SUCCESS;
    auto op = operation(ALL_REDUCE, __func__);
    op->reads(from, bytes).writes(to, bytes);
    auto parts = op->temporary(n, bytes);
    for (int peer = 0; peer < n; peer++) op->send(peer, from, bytes).receive(peer, const_cast<char*>(parts[peer]), bytes);
    op->then = [=] {
        for (int r = 0; r < n; r++) around(to, parts, count * r / n, count * (r + 1) / n - count * r / n, r, reduction, type);
    };
    return submit(comm, stream, __func__, op);
}
API ncclSend(const void* from, size_t count, int type, int peer, Comm* comm, void* stream) {
    VALID(OF_TYPE && peer >= 0 && peer < n);
    auto op = operation(MOVES, __func__);
    op->reads(from, bytes).send(peer, from, bytes);
    return submit(comm, stream, __func__, op);
}
API ncclRecv(void* to, size_t count, int type, int peer, Comm* comm, void* stream) {
    VALID(OF_TYPE && peer >= 0 && peer < n);
    auto op = operation(MOVES, __func__);
    op->writes(to, bytes).receive(peer, to, bytes);
    return submit(comm, stream, __func__, op);
}

// ---- communicators

API ncclGetVersion(int* version) { *version = libraryVersion; return SUCCESS; }
TEXT ncclGetErrorString(int code) {
    static const char* const texts[] = {"no error", "unhandled cuda error", "unhandled system error", "internal error", "invalid argument",
                                        "invalid usage", "remote process exited or there was a network error", "NCCL operation in progress"};
    return code >= 0 && code <= IN_PROGRESS ? texts[code] : "unknown result code";
}
TEXT ncclGetLastError(Comm* comm) { return check(comm, __func__) ? "" : comm->state->lastError(); }
API ncclGetUniqueId(UniqueId* id) {
    memset(id, 0, sizeof *id);
    newName(id->name, sizeof id->name);
    return SUCCESS;
}
API ncclCommInitRankConfig(Comm** out, int n, UniqueId id, int rank, const Config* config) {
    *out = nullptr;
    if (n < 1 || n > MOST_RANKS || rank < 0 || rank >= n || id.name[0] != '/' || memchr(id.name, 0, sizeof id.name) == nullptr) return INVALID_ARGUMENT;
    int blocking = 1, device = 0;
    if (config) {
        if (config->size < sizeof(Config) || config->magic != 0xcafebeef || config->version < 21700) return INVALID_ARGUMENT;
        if (config->blocking != UNDEFINED) blocking = config->blocking;
        for (int unset : {config->cgaClusterSize, config->minCTAs, config->maxCTAs, config->splitShare}) {
            if (unset != UNDEFINED) return INVALID_ARGUMENT;
        }
        if (config->netName) return INVALID_ARGUMENT;
    }
    if (cuCtxGetDevice(&device)) return CUDA_ERROR;
    auto state = std::make_shared<State>(id.name, n, rank, device, blocking != 0);
    *out = known(new Comm{state});
    if (state->blocking) {
        state->meet();
        return state->error;
    }
    state->inProgress = true;
    std::thread([=] {
        state->meet();
        state->inProgress = false;
    }).detach();
    return IN_PROGRESS;
}
API ncclCommInitRank(Comm** out, int n, UniqueId id, int rank) { return ncclCommInitRankConfig(out, n, id, rank, nullptr); }
API ncclCommCount(Comm* comm, int* n) { if (int code = check(comm, __func__)) return code; *n = comm->state->size; return SUCCESS; }
API ncclCommUserRank(Comm* comm, int* rank) { if (int code = check(comm, __func__)) return code; *rank = comm->state->rank; return SUCCESS; }
API ncclCommCuDevice(Comm* comm, int* device) { if (int code = check(comm, __func__)) return code; *device = comm->state->device; return SUCCESS; }
API ncclCommGetAsyncError(Comm* comm, int* error) {
    if (int code = check(comm, __func__)) return code;
    *error = comm->state->error ? comm->state->error.load() : comm->state->inProgress ? IN_PROGRESS : SUCCESS;
    return SUCCESS;
}
static void endsOrHangs() {
    const long now = hangs;
    if (untilHangingEnd > 0 && --untilHangingEnd == 0) {
        while (hangs == now) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
}
API ncclCommFinalize(Comm* comm) {
    if (int code = usable(comm, __func__)) return code;
    const std::shared_ptr<State> state = comm->state;
    auto settle = [=] { while (state->outstanding > 0 && !state->aborted) std::this_thread::sleep_for(std::chrono::microseconds(100)); };
    if (state->blocking) {
        settle();
        return state->error;
    }
    state->inProgress = true;
    std::thread([=] { settle(); state->inProgress = false; }).detach();
    return IN_PROGRESS;
}
API ncclCommDestroy(Comm* comm) {
    if (int code = usable(comm, __func__)) return code;
    endsOrHangs();
    if (comm->state->outstanding > 0) simReport("NCCL: ncclCommDestroy before all operations are over");
    comm->state->leave(FINISHED);
    forget(comm);
    return SUCCESS;
}
API ncclCommAbort(Comm* comm) {
    if (int code = check(comm, __func__)) return code;
    aborts++;
    endsOrHangs();
    comm->state->leave(ABORTED);
    forget(comm);
    return SUCCESS;
}

// ---- for tests

#define ENTRY(name) extern "C" __attribute__((visibility("default"))) void Java_org_shardloom_kernels_cuda_SimulatedDriver_##name
ENTRY(hangCollective)(void*, void*, int64_t k) { untilHang = k; }
ENTRY(stallCollective)(void*, void*, int64_t k) { untilStall = k; }
ENTRY(hangEnd)(void*, void*, int64_t k) { untilHangingEnd = k, hangs++; }
extern "C" __attribute__((visibility("default"))) int64_t Java_org_shardloom_kernels_cuda_SimulatedDriver_aborts(void*, void*) { return aborts; }
ENTRY(ncclVersion)(void*, void*, int version) { libraryVersion = version; }
