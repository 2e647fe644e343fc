// State of the simulated devices, shared by the driver's functions and the entry points for tests.
#pragma once
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace sim {

enum Result { OK = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NOT_INITIALIZED = 3, NO_DEVICE = 100, INVALID_DEVICE = 101, INVALID_CONTEXT = 201, NOT_FOUND = 500, NOT_READY = 600, LAUNCH_FAILED = 719, UNAVAILABLE = 46 };

/** How much of every stream, by its number, comes before. */
typedef std::vector<uint32_t> Clock;

/** One recording of an event: who waits for it is not concerned by later ones. */
struct Recorded {
    std::mutex mutex;
    std::condition_variable changed;
    bool reached = false;
    std::chrono::steady_clock::time_point at;
    Clock clock;
    void reach();
    void await();
    bool isReached();
};

struct Event {
    std::mutex mutex;
    std::shared_ptr<Recorded> last;
    std::shared_ptr<Recorded> get() { std::lock_guard<std::mutex> lock(mutex); return last; }
};

int nextStream();

/** A queue and the thread that runs it; between tasks it sleeps at random. */
struct Stream {
    Stream(uint64_t seed, int place);
    ~Stream();
    void put(std::function<void()> task);
    void drain();
    /** Whether it was through in time. */
    bool drain(int millis);
    bool idle();

    const int id = nextStream();
    Clock clock;             // of what was issued to it so far; races.cpp's
    const int place;         // among its device's, in the order of creation
    bool destroyed = false;  // still at work, perhaps

    uint64_t nextSeed() { return random(); }

  private:
    void work();
    std::mutex mutex;
    std::condition_variable changed;
    std::deque<std::function<void()>> tasks;
    bool busy = false, stop = false;
    std::mt19937_64 random;
    std::mt19937_64 delays;
    std::thread thread;
};

struct Context { struct Device* device; };

struct Device {
    int index;
    int physical;                                       // what identifies it, whichever devices are visible
    uint64_t limit, used = 0, peak = 0;
    uint64_t pinned = 0, pinnedPeak = 0;                // of the host, page-locked for it
    Context context{this};
    std::map<uint64_t, uint64_t> blocks;                // address to bytes
    std::vector<std::pair<uint64_t, uint64_t>> freed;   // kept, and checked in the end
    std::set<Stream*> streams;
    std::atomic<long> waits{0};                         // for all of the device
    std::atomic<int> error{0};                          // sticky, as a failed launch is
    std::mutex mutex;
    /** As long as CUuuid; the last byte tells devices apart. */
    std::array<unsigned char, 16> uuid() const;
};

struct World {
    std::vector<Device*> devices;
    std::mutex mutex;
    std::vector<std::string> reports;
    std::vector<std::pair<void*, size_t>> freedHost;  // page-locked
    uint64_t seed = 1;
    std::atomic<int> delayMicros{0};
    /** The stream of each device that takes so much longer over every task; -1: none. */
    std::atomic<int> slowPlace{-1}, slowMicros{0};
    std::atomic<long> allocationsUntilFailure{0}, launchesUntilFailure{0};  // 0: never
    /** Physical number of the device that is lost at the k-th launch of the process that has it, and stays lost while the file exists. */
    struct { int device = -1; std::atomic<long> launches{0}; std::string mark; } loss;
    bool isLost(const Device& device) const;
    /** What must not happen within a training step. */
    std::atomic<long> allocations{0}, pageableCopies{0};
    std::atomic<long> waitsUntilDrop{0};     // 0: never; below: all
    std::atomic<bool> hostMemoryToo{false};  // take addresses of the host for the device's, as tests of kernels do
    void report(const std::string& what) { std::lock_guard<std::mutex> lock(mutex); reports.push_back(what); }
};
World& world();

constexpr uint64_t RED_ZONE = 512;
constexpr unsigned char RED = 0xA5, FRESH = 0xFF, FREED = 0xDD;

/** Whether the range lies in one live block of any device. */
bool allocated(uint64_t address, uint64_t bytes);
bool allocatedOn(Device& device, uint64_t address, uint64_t bytes);
/** Waits for all streams of the device. */
void drain(Device& device);
/** Checks what surrounds a block. */
void checkRedZones(Device& device, uint64_t address, uint64_t bytes);
/** Checks that nothing was written to freed blocks. */
void checkFreed(Device& device);
/** Adds devices up to the number. */
void addDevices(int devices, uint64_t bytes);
/** Where no test has set up devices: sets up what the environment asks for, once. */
void takeEnvironment();
// Who waits for whom, for races.cpp.
void touches(Stream& stream, uint64_t address, uint64_t bytes, bool write, const char* what);
void records(const Stream& stream, Recorded& point);
void waitsFor(Stream& stream, const Recorded& point);
void hostKnows(const Clock& clock);
Clock clockOf(const Stream& stream);
void forgetAccesses();
/** To be asked in the end for what is still held; another library's. */
extern void (*heldByOthers)();

}  // namespace sim
