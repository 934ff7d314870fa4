// The threads of compiled code. A loop is shared out in fixed parts, and no thread waits for one that is not running.
//
// The compiler makes of each parallel loop a function that does one of n parts, and a call of GOMP_parallel. GCC's own
// library gives each part to its thread and waits for all of them. When another program takes a processor away from one
// of the threads, the others wait for milliseconds, and a gradient step has dozens of loops. Here a part is offered to
// its thread, and whoever is free first takes it: the caller does itself what nobody has begun. A result depends on the
// parts alone, not on who does them. See teams.py.

#if defined(__GNUC__) && !defined(__clang__) && defined(__linux__)

#include <dlfcn.h>
#include <linux/futex.h>
#include <omp.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>

#ifdef __SSE__
#include <xmmintrin.h>
#endif

#define HIDDEN extern "C" __attribute__((visibility("hidden")))

namespace rucksac_team {

constexpr int MOST = 256;
constexpr int LOOKS_FOR_WORK = 2000;  // before a thread sleeps; both by benchmarks/contention.py, alone and beside others
constexpr int LOOKS_FOR_END = 1000;    // at a part that another thread does, before the caller sleeps

using Part = void (*)(void*);
using Run = void (*)(Part, void*, int number, int of);

// Of a part: there is none, and its thread looks for one or sleeps; it may be taken; it is done by its thread, and the
// caller works or sleeps.
enum State : uint32_t { IDLE, ASLEEP, OFFERED, TAKEN, AWAITED };

struct alignas(64) Member {
    std::atomic<uint32_t> state{IDLE};
};

struct Team {
    std::atomic_flag busy = ATOMIC_FLAG_INIT;
    Run run;
    Part part;
    void* data;
    int parts;
    int started = 1;  // the caller is number 0
    Member members[MOST];
};

inline Team& team() {  // one for all compiled code of the process: the linker makes such an object unique
    static Team& only = *new Team;
    return only;
}

inline void breathe() {
#ifdef __SSE__
    _mm_pause();
#endif
}

inline void sleep_while(std::atomic<uint32_t>& state, uint32_t value) {
    syscall(SYS_futex, &state, FUTEX_WAIT_PRIVATE, value, nullptr, nullptr, 0);
}

inline void wake(std::atomic<uint32_t>& state) {
    syscall(SYS_futex, &state, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
}

inline bool change(std::atomic<uint32_t>& state, uint32_t from, uint32_t to) {
    return state.load(std::memory_order_relaxed) == from && state.compare_exchange_strong(from, to);
}

inline void* serve(void* which) {
    const int number = static_cast<int>(reinterpret_cast<intptr_t>(which));
    Team& all = team();
    auto& state = all.members[number].state;
    for (;;) {
        for (int look = 0; look < LOOKS_FOR_WORK; ++look) {
            if (change(state, OFFERED, TAKEN)) {
                all.run(all.part, all.data, number, all.parts);
                if (state.exchange(IDLE) == AWAITED) wake(state);
                look = 0;
            }
            breathe();
        }
        if (change(state, IDLE, ASLEEP)) sleep_while(state, ASLEEP);
    }
    return nullptr;
}

inline void start_members(Team& all, int wanted) {
    if (all.started >= wanted) return;
    Dl_info here;
    if (!dladdr(reinterpret_cast<void*>(&serve), &here) ||
        !dlopen(here.dli_fname, RTLD_NOW | RTLD_NOLOAD | RTLD_NODELETE))
        return;  // code that might be unloaded cannot have threads
    sigset_t every, before;
    sigfillset(&every);
    pthread_sigmask(SIG_SETMASK, &every, &before);  // signals are for the program's own threads
    pthread_attr_t detached;
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    for (pthread_t thread; all.started < wanted; ++all.started)
        if (pthread_create(&thread, &detached, serve, reinterpret_cast<void*>(static_cast<intptr_t>(all.started)))) break;
    pthread_attr_destroy(&detached);
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

inline void finish(Team& all, int number) {
    auto& state = all.members[number].state;
    if (change(state, OFFERED, IDLE)) return all.run(all.part, all.data, number, all.parts);
    for (int look = 0; look < LOOKS_FOR_END; ++look) {
        const uint32_t now = state.load(std::memory_order_acquire);
        if (now != TAKEN) return;
        breathe();
    }
    if (change(state, TAKEN, AWAITED))
        while (state.load(std::memory_order_acquire) == AWAITED) sleep_while(state, AWAITED);
}

}  // namespace rucksac_team

namespace {

thread_local int own_number = 0, own_team = 1;  // of the part that this thread does

#ifdef __SSE__
unsigned control_of_caller;  // how it rounds, and whether it flushes subnormal numbers
#endif

void run_part(rucksac_team::Part part, void* data, int number, int of) {
    own_number = number, own_team = of;
#ifdef __SSE__
    if (_mm_getcsr() != control_of_caller) _mm_setcsr(control_of_caller);
#endif
    part(data);
    own_number = 0, own_team = 1;
}

}  // namespace

// What GCC calls in the place of OpenMP's directives.

HIDDEN int omp_get_thread_num() { return own_number; }

HIDDEN int omp_get_num_threads() { return own_team; }

HIDDEN void GOMP_barrier() {}  // a region has one loop (teams.py), so that nothing comes after one but its end

HIDDEN void GOMP_parallel(void (*part)(void*), void* data, unsigned threads, unsigned) {
    using namespace rucksac_team;
    const int parts = std::min(MOST, static_cast<int>(threads ? threads : omp_get_max_threads()));
    Team& all = team();
    if (parts == 1 || own_team > 1 || all.busy.test_and_set(std::memory_order_acquire)) {
        for (int number = 0; number < parts; ++number) {
            own_number = number, own_team = parts;
            part(data);
        }
        own_number = 0, own_team = 1;
        return;
    }
    start_members(all, parts);
#ifdef __SSE__
    control_of_caller = _mm_getcsr() & ~_MM_EXCEPT_MASK;
#endif
    all.run = run_part, all.part = part, all.data = data, all.parts = parts;
    for (int number = 1; number < parts; ++number) {
        auto& state = all.members[number].state;
        if (state.exchange(OFFERED) == ASLEEP) wake(state);
    }
    run_part(part, data, 0, parts);
    for (int number = 1; number < parts; ++number) finish(all, number);
    all.busy.clear(std::memory_order_release);
}

#endif
