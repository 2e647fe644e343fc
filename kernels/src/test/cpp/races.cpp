// Finds what nothing orders: of two accesses to the same memory, one of them a write, in two streams, one must come before the other by
// events or by a wait of the host. It is a matter of what was issued, so that no delay is needed to show it. Known of copies, fills and
// collectives is all that they touch; of kernels and matrix products where each operand begins. What any thread of the host has waited for,
// all are taken to know, and what the host itself reads and writes is not seen: so there may be more, but what is found is wrong.
#include "device.h"
#include <algorithm>

namespace sim {
namespace {

constexpr int MOST_REPORTS = 20;

struct Access {
    uint64_t address, bytes;
    bool write;
    uint32_t time;  // of the stream
    std::string what;
};

struct Accesses {
    int place;
    std::vector<Access> all;  // that the host has not waited for
};

std::mutex mutex;
Clock host;
std::map<int, Accesses> byStream;
int streams, reported;

uint32_t time(const Clock& clock, int stream) { return size_t(stream) < clock.size() ? clock[stream] : 0; }

void join(Clock& to, const Clock& from) {
    if (to.size() < from.size()) to.resize(from.size());
    for (size_t i = 0; i < from.size(); i++) to[i] = std::max(to[i], from[i]);
}

std::string describe(const Access& access, int place) {
    static const char* const places[] = {"compute", "to-host", "to-device", "communication"};
    return access.what + " in the " + (place < 4 ? places[place] : "other") + " stream, which " + (access.write ? "writes" : "reads");
}

void check(const Access& access, const Stream& stream) {
    for (auto& [id, other] : byStream) {
        if (id == stream.id) continue;
        auto& all = other.all;
        const uint32_t known = time(host, id);
        all.erase(std::remove_if(all.begin(), all.end(), [&](const Access& a) { return a.time <= known; }), all.end());
        for (const Access& before : all) {
            const bool meet = before.address < access.address + access.bytes && access.address < before.address + before.bytes;
            if (!meet || !(before.write || access.write) || before.time <= time(stream.clock, id) || reported == MOST_REPORTS) continue;
            reported++;
            world().report("unsynchronised: " + describe(access, stream.place) + ", does not wait for " + describe(before, other.place));
        }
    }
}

}  // namespace

int nextStream() {
    std::lock_guard<std::mutex> lock(mutex);
    return streams++;
}

void touches(Stream& stream, uint64_t address, uint64_t bytes, bool write, const char* what) {
    if (address == 0 || bytes == 0) return;
    std::lock_guard<std::mutex> lock(mutex);
    join(stream.clock, host);
    if (stream.clock.size() <= size_t(stream.id)) stream.clock.resize(stream.id + 1);
    const Access access{address, bytes, write, ++stream.clock[stream.id], what};
    check(access, stream);
    Accesses& own = byStream[stream.id];
    own.place = stream.place;
    own.all.push_back(access);
}

void records(const Stream& stream, Recorded& point) {
    std::lock_guard<std::mutex> lock(mutex);
    point.clock = stream.clock;
}

void waitsFor(Stream& stream, const Recorded& point) {
    std::lock_guard<std::mutex> lock(mutex);
    join(stream.clock, point.clock);
}

void hostKnows(const Clock& clock) {
    std::lock_guard<std::mutex> lock(mutex);
    join(host, clock);
}

Clock clockOf(const Stream& stream) {
    std::lock_guard<std::mutex> lock(mutex);
    return stream.clock;
}

void forgetAccesses() {
    std::lock_guard<std::mutex> lock(mutex);
    byStream.clear();
    reported = 0;
}

}  // namespace sim
