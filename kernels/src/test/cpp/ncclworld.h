// Communicators of the simulated NCCL: how ranks meet, and how bytes go from one to another.
#pragma once
#include <atomic>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <vector>

// Of the simulated libcuda.so.1.
extern "C" {
int cuLaunchHostFunc(void* stream, void (*f)(void*), void* data);
int cuCtxGetCurrent(void** context);
int cuCtxSetCurrent(void* context);
int cuCtxGetDevice(int* device);
int cuDeviceGetUuid(unsigned char* uuid, int device);
void simReport(const char* what);
int simOperand(int device, uint64_t address, uint64_t bytes);
int simDelayMicros();
uint64_t simSeed();
void simTouches(void* stream, const void* p, uint64_t bytes, int write, const char* what);
void simHeldByOthers(void (*ask)());
}

namespace simnccl {

enum Code { SUCCESS = 0, CUDA_ERROR, SYSTEM_ERROR, INTERNAL_ERROR, INVALID_ARGUMENT, INVALID_USAGE, REMOTE_ERROR, IN_PROGRESS };
enum Kind { ALL_GATHER = 1, BROADCAST, REDUCE_SCATTER, ALL_REDUCE, MOVES };
enum Presence { ABSENT = 0, JOINED, ABORTED, FINISHED };
constexpr int MOST_RANKS = 16;
constexpr size_t RING = 128 << 10;

/** Bytes on their way from one rank to another. */
struct Channel {
    std::atomic<uint64_t> written, read;
    char padding[48];
    char bytes[RING];
};
struct Member {
    std::atomic<int> presence;
    unsigned char uuid[16];
};
/** What the ranks share, all zeros at first; a channel for every ordered pair follows. Who holds a lock on byte r of the file is rank r, alive. */
struct Shared {
    std::atomic<int> joined;
    Member members[MOST_RANKS];
    Channel* channel(int from, int to, int size) { return reinterpret_cast<Channel*>(reinterpret_cast<char*>(this) + 4096) + from * size + to; }
};
static_assert(sizeof(Shared) <= 4096);

struct Header { uint64_t kind, bytes; };
struct Transfer {
    int peer;
    char* address;
    uint64_t bytes;
    uint64_t done = 0;       // of header and bytes
    Header header{};
};

/** One operation: what goes to and comes from each rank, the k-th from one to the other matching its k-th from it, and what is done then. */
struct Operation {
    Kind kind;
    const char* name;
    bool hangs = false;
    std::vector<Transfer> sends, receives;
    std::vector<std::pair<uint64_t, uint64_t>> operands;
    std::vector<std::pair<void*, uint64_t>> written;
    std::vector<std::shared_ptr<std::vector<char>>> owned;
    std::function<void()> then = [] {};

    Operation& reads(const void* p, uint64_t bytes) { operands.emplace_back(reinterpret_cast<uint64_t>(p), bytes); return *this; }
    Operation& writes(void* p, uint64_t bytes) { written.emplace_back(p, bytes); return reads(p, bytes); }
    Operation& send(int peer, const void* p, uint64_t bytes) { sends.push_back({peer, static_cast<char*>(const_cast<void*>(p)), bytes}); return *this; }
    Operation& receive(int peer, void* p, uint64_t bytes) { receives.push_back({peer, static_cast<char*>(p), bytes}); return *this; }
    std::vector<const char*> temporary(int count, uint64_t bytes);
    void add(const Operation& other);
};

/** A communicator as long as an operation of it may be in a stream. */
struct State {
    const std::string name;
    const int size, rank, device;
    const bool blocking;
    std::atomic<bool> aborted{false}, inProgress{false};
    std::atomic<int> error{SUCCESS}, outstanding{0};

    State(const char* name, int size, int rank, int device, bool blocking);
    ~State();
    void meet();
    void leave(Presence how);
    void fail(Code code, const std::string& why);
    const char* lastError();
    uint64_t random();
    /** Sets the error where a rank that this one needs is gone; whether one is. */
    bool peerLost();

    Shared* shared = nullptr;

  private:
    size_t bytes() const { return 4096 + size_t(size) * size * sizeof(Channel); }
    bool alive(int peer);
    int file = -1;
    std::mutex mutex;
    std::string why;
    std::mt19937_64 engine;
};
struct Comm { std::shared_ptr<State> state; };

/** Runs on the stream's thread: ends when all has moved, or when the communicator is aborted; meanwhile errors are only noted, as NCCL does. */
void run(State& state, Operation& operation);
/** Whether all operands lie in memory of the device; what does not is reported. */
bool operands(const State& state, const Operation& operation);

Comm* known(Comm* comm);
void forget(Comm* comm);
/** Success, or an error (and a report) where there is no such communicator. */
int check(Comm* comm, const char* call);
void newName(char* name, size_t bytes);

}  // namespace simnccl
