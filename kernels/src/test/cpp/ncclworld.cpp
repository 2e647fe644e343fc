#include "ncclworld.h"
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <fcntl.h>
#include <set>
#include <sys/mman.h>
#include <thread>
#include <unistd.h>

namespace simnccl {
namespace {

std::mutex commsMutex;
std::set<Comm*>& comms() {
    static auto* all = new std::set<Comm*>;
    return *all;
}
void reportLeaks() {
    std::lock_guard<std::mutex> lock(commsMutex);
    for (Comm* comm : comms()) simReport(("leak: NCCL communicator of rank " + std::to_string(comm->state->rank)).c_str());
    comms().clear();
}
void nap(int& idle) {
    if (++idle < 20) std::this_thread::yield();
    else std::this_thread::sleep_for(std::chrono::microseconds(idle < 2000 ? 20 : 500));
}

/** As much of a header and its bytes as there is room for; whether any moved. */
bool push(Channel& channel, Transfer& transfer) {
    const uint64_t total = sizeof(Header) + transfer.bytes;
    uint64_t written = channel.written.load(std::memory_order_relaxed);
    const uint64_t room = RING - (written - channel.read.load(std::memory_order_acquire));
    uint64_t count = std::min(room, total - transfer.done);
    if (count == 0) return false;
    while (count > 0) {
        const bool head = transfer.done < sizeof(Header);
        const char* from = head ? reinterpret_cast<char*>(&transfer.header) + transfer.done : transfer.address + (transfer.done - sizeof(Header));
        const uint64_t n = std::min({count, RING - written % RING, (head ? sizeof(Header) : total) - transfer.done});
        memcpy(channel.bytes + written % RING, from, n);
        written += n, transfer.done += n, count -= n;
    }
    channel.written.store(written, std::memory_order_release);
    return true;
}
bool pull(Channel& channel, Transfer& transfer, uint64_t limit) {
    uint64_t read = channel.read.load(std::memory_order_relaxed);
    uint64_t count = std::min(channel.written.load(std::memory_order_acquire) - read, limit - transfer.done);
    if (count == 0) return false;
    while (count > 0) {
        const bool head = transfer.done < sizeof(Header);
        char* to = head ? reinterpret_cast<char*>(&transfer.header) + transfer.done : transfer.address + (transfer.done - sizeof(Header));
        const uint64_t n = std::min({count, RING - read % RING, (head ? sizeof(Header) : limit) - transfer.done});
        memcpy(to, channel.bytes + read % RING, n);
        read += n, transfer.done += n, count -= n;
    }
    channel.read.store(read, std::memory_order_release);
    return true;
}

bool over(const Transfer& transfer) { return transfer.done == sizeof(Header) + transfer.bytes; }
/** The first that is not over of each peer; in order within a pair. */
std::vector<Transfer*> heads(std::vector<Transfer>& all, int size) {
    std::vector<Transfer*> first(size);
    for (Transfer& one : all) if (!over(one) && !first[one.peer]) first[one.peer] = &one;
    return first;
}

bool receive(State& state, Operation& operation, Transfer& transfer) {
    Channel& channel = *state.shared->channel(transfer.peer, state.rank, state.size);
    if (transfer.done < sizeof(Header)) {
        if (!pull(channel, transfer, sizeof(Header))) return false;
        if (transfer.done < sizeof(Header)) return true;
        if (transfer.header.kind != uint64_t(operation.kind) || transfer.header.bytes != transfer.bytes) {
            const std::string what = std::string("NCCL: ") + operation.name + " of rank " + std::to_string(state.rank) + " expects " + std::to_string(transfer.bytes) +
                                     " bytes from rank " + std::to_string(transfer.peer) + ", which sends " + std::to_string(transfer.header.bytes) + " by operation " +
                                     std::to_string(transfer.header.kind);
            simReport(what.c_str());
            state.fail(INTERNAL_ERROR, what);
            return false;
        }
        if (transfer.bytes == 0) return true;
    }
    return pull(channel, transfer, sizeof(Header) + transfer.bytes);
}

}  // namespace

std::vector<const char*> Operation::temporary(int count, uint64_t bytes) {
    std::vector<const char*> parts;
    for (int i = 0; i < count; i++) {
        owned.push_back(std::make_shared<std::vector<char>>(bytes));
        parts.push_back(owned.back()->data());
    }
    return parts;
}
void Operation::add(const Operation& other) {
    sends.insert(sends.end(), other.sends.begin(), other.sends.end());
    receives.insert(receives.end(), other.receives.begin(), other.receives.end());
    operands.insert(operands.end(), other.operands.begin(), other.operands.end());
    written.insert(written.end(), other.written.begin(), other.written.end());
}

bool operands(const State& state, const Operation& operation) {
    bool all = true;
    for (auto& [address, bytes] : operation.operands) {
        if (bytes == 0 || simOperand(state.device, address, bytes)) continue;
        if (state.aborted) return false;  // whoever aborts may free them
        simReport((std::string("NCCL: an operand of ") + operation.name + ", " + std::to_string(bytes) + " bytes, is not in memory of device " + std::to_string(state.device)).c_str());
        all = false;
    }
    return all;
}

void run(State& state, Operation& operation) {
    int idle = 0;
    while (operation.hangs || state.error) {
        if (state.aborted) return;
        nap(idle);
    }
    operands(state, operation);  // not freed since it was issued
    for (Transfer& send : operation.sends) send.header = {uint64_t(operation.kind), send.bytes};
    for (;;) {
        if (state.aborted) return;
        bool moved = false, left = false;
        if (!state.error) {
            for (Transfer* send : heads(operation.sends, state.size)) {
                if (send) left = true, moved |= push(*state.shared->channel(state.rank, send->peer, state.size), *send);
            }
            for (Transfer* one : heads(operation.receives, state.size)) {
                if (one) left = true, moved |= receive(state, operation, *one);
            }
            if (!left) break;
        }
        if (moved) {
            idle = 0;
        } else {
            if (idle % 64 == 63) state.peerLost();
            nap(idle);
        }
    }
    operation.then();
}

State::State(const char* name, int size, int rank, int device, bool blocking)
    : name(name), size(size), rank(rank), device(device), blocking(blocking), engine(simSeed() * 131 + rank) {}

State::~State() {
    if (shared) munmap(shared, bytes());
    if (file >= 0) close(file);
}

/** Every rank opens the file by itself, so that each has a lock of its own; the last to come takes the name away. */
void State::meet() {
    file = shm_open(name.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    struct flock lock {};
    lock.l_type = F_WRLCK, lock.l_whence = SEEK_SET, lock.l_start = rank, lock.l_len = 1;
    void* mapped = MAP_FAILED;
    if (file >= 0 && ftruncate(file, bytes()) == 0 && fcntl(file, F_OFD_SETLK, &lock) == 0) {
        mapped = mmap(nullptr, bytes(), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    }
    if (mapped == MAP_FAILED) return fail(SYSTEM_ERROR, "shared memory " + name + ": " + strerror(errno));
    shared = static_cast<Shared*>(mapped);
    cuDeviceGetUuid(shared->members[rank].uuid, device);
    shared->members[rank].presence = JOINED;
    if (++shared->joined == size) shm_unlink(name.c_str());
    for (int idle = 0; shared->joined < size && !error;) {
        if (aborted) {
            shm_unlink(name.c_str());
            break;
        }
        if (idle % 64 == 63) peerLost();
        nap(idle);
    }
    if (aborted) shared->members[rank].presence = ABORTED;
    for (int peer = 0; peer < size && !error && !aborted; peer++) {
        if (peer != rank && memcmp(shared->members[peer].uuid, shared->members[rank].uuid, 16) == 0) {
            fail(INVALID_USAGE, "Duplicate GPU detected: ranks " + std::to_string(std::min(rank, peer)) + " and " + std::to_string(std::max(rank, peer)));
        }
    }
}

void State::leave(Presence how) {
    if (how == ABORTED) aborted = true;
    if (shared) shared->members[rank].presence = how;
    if (how == ABORTED) shm_unlink(name.c_str());
}

void State::fail(Code code, const std::string& reason) {
    std::lock_guard<std::mutex> lock(mutex);
    if (error) return;
    why = reason;
    error = code;
}

const char* State::lastError() {
    std::lock_guard<std::mutex> lock(mutex);
    return strdup(why.c_str());
}

uint64_t State::random() {
    std::lock_guard<std::mutex> lock(mutex);
    return engine();
}

bool State::alive(int peer) {
    struct flock lock {};
    lock.l_type = F_WRLCK, lock.l_whence = SEEK_SET, lock.l_start = peer, lock.l_len = 1;
    return fcntl(file, F_OFD_GETLK, &lock) != 0 || lock.l_type != F_UNLCK;
}

bool State::peerLost() {
    for (int peer = 0; peer < size; peer++) {
        const int presence = shared->members[peer].presence;
        if (peer == rank || presence == ABSENT || presence == FINISHED) continue;
        if (presence == ABORTED) fail(REMOTE_ERROR, "rank " + std::to_string(peer) + " has aborted");
        else if (!alive(peer)) fail(REMOTE_ERROR, "the process of rank " + std::to_string(peer) + " is gone");
        else continue;
        return true;
    }
    return false;
}

Comm* known(Comm* comm) {
    static std::once_flag once;
    std::call_once(once, [] { simHeldByOthers(reportLeaks); });
    std::lock_guard<std::mutex> lock(commsMutex);
    comms().insert(comm);
    return comm;
}
/** The handle stays, so that no other gets its address. */
void forget(Comm* comm) {
    std::lock_guard<std::mutex> lock(commsMutex);
    comms().erase(comm);
    comm->state.reset();
}
int check(Comm* comm, const char* call) {
    std::lock_guard<std::mutex> lock(commsMutex);
    if (comms().count(comm)) return SUCCESS;
    simReport((std::string("NCCL: ") + call + " of a communicator that is not there").c_str());
    return INVALID_ARGUMENT;
}
void newName(char* name, size_t bytes) {
    static std::atomic<int> counter{0};
    snprintf(name, bytes, "/shardloom-sim-nccl-%d-%d", getpid(), ++counter);
}

}  // namespace simnccl
