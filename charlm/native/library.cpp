// What Python calls (charlm/native/__init__.py): the variants by number, which of them run here, and their threads.
//
// A variant is compiled for instructions that this processor may lack, so nothing of it is called, and nothing that
// other files share is compiled with it, before `charlm_runs` has tried it.

#include <atomic>
#include <csetjmp>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

#include "arguments.h"
#include "threads.h"

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace charlm {

class Barrier {
public:
    void expect(int64_t threads) { threads_.store(threads, std::memory_order_relaxed); }

    void wait() {
        const int64_t round = round_.load(std::memory_order_acquire);
        if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads_.load(std::memory_order_relaxed)) {
            arrived_.store(0, std::memory_order_relaxed);
            round_.store(round + 1, std::memory_order_release);
            return;
        }
        for (int64_t spins = 0; round_.load(std::memory_order_acquire) == round; ++spins)
            if (spins > kSpins) std::this_thread::yield();  // another program may have the core of the one that is late
    }

private:
    static constexpr int64_t kSpins = 2000;
    std::atomic<int64_t> threads_{1}, arrived_{0}, round_{0};
};

void wait(Barrier& barrier) { barrier.wait(); }

namespace {

// OpenMP's, of the library whose threads torch has: they wait busily for the next work, and others beside them would have
// to share their cores. Null where it is not known.
void (*openmp_parallel)(void (*)(void*), void*, unsigned, unsigned) = nullptr;
int (*openmp_num_threads)() = nullptr;

struct Team {
    Work work;
    const void* context;
    Barrier barrier{};
    std::atomic<int64_t> next{0};

    void join(int64_t threads) {
        barrier.expect(threads);
        work(context, next.fetch_add(1), threads, barrier);
    }
};

}  // namespace

void run_together(int64_t at_most, Work work, const void* context) {
    Team team{work, context};
    if (at_most == 1) return team.join(1);
    if (openmp_parallel) {
        const auto join = [](void* data) { static_cast<Team*>(data)->join(openmp_num_threads()); };
        return openmp_parallel(join, &team, static_cast<unsigned>(at_most), 0);
    }
    std::vector<std::thread> others;
    for (int64_t thread = 1; thread < at_most; ++thread) others.emplace_back([&team, at_most] { team.join(at_most); });
    team.join(at_most);
    for (auto& other : others) other.join();
}

extern const Variant plain, avx2, avx512, avx512_bf16, avx512_vnni;

namespace {

#if defined(__x86_64__)
const Variant* const kVariants[] = {&plain, &avx2, &avx512, &avx512_bf16, &avx512_vnni};

bool has_instructions(int64_t variant) {
    __builtin_cpu_init();
    const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    const bool has_avx512 = has_avx2 && __builtin_cpu_supports("avx512f");
    return variant == 0 || (variant == 1 && has_avx2) || (variant == 2 && has_avx512) ||
           (variant == 3 && has_avx512 && __builtin_cpu_supports("avx512bf16")) ||
           (variant == 4 && has_avx512 && __builtin_cpu_supports("avx512vnni"));
}
#else
const Variant* const kVariants[] = {&plain};

bool has_instructions(int64_t variant) { return variant == 0; }
#endif

constexpr int64_t kCount = sizeof kVariants / sizeof *kVariants;

// What would let a kernel read or write where it must not.
enum Fault : int64_t { kNone, kPlaces, kRows };

Fault find_fault(const Arguments& call) {
    int64_t count = call.batch;
    if (call.places[0] != 0) return kPlaces;
    for (int64_t step = 0; step < call.steps; ++step) {
        const int64_t here = call.places[step + 1] - call.places[step];
        if (here < 1 || here > count) return kPlaces;
        count = here;
    }
    for (int64_t place = 0; call.rows && place < call.places[call.steps]; ++place)
        if (call.rows[place] < 0 || call.rows[place] >= call.entries) return kRows;
    return kNone;
}

sigjmp_buf on_illegal_instruction;

void leave(int) { siglongjmp(on_illegal_instruction, 1); }

}  // namespace
}  // namespace charlm

using namespace charlm;

#ifndef CHARLM_SOURCES
#define CHARLM_SOURCES ""
#endif

// The digest of the files that this was built from.
EXPORT const char* charlm_sources() { return CHARLM_SOURCES; }

// Whether `function` ends, rather than meeting an instruction that the processor does not have.
EXPORT int64_t charlm_ends(void (*function)()) {
    struct sigaction handler, before;
    std::memset(&handler, 0, sizeof handler);
    handler.sa_handler = leave;
    sigaction(SIGILL, &handler, &before);
    const bool ends = !sigsetjmp(on_illegal_instruction, 1);
    if (ends) function();
    sigaction(SIGILL, &before, nullptr);
    return ends;
}

// Whether a variant runs here: there is one of that number, the processor reports its instructions, and has them.
EXPORT int64_t charlm_runs(int64_t variant) {
    return variant >= 0 && variant < kCount && has_instructions(variant) && charlm_ends(kVariants[variant]->attempt);
}

// GOMP_parallel and omp_get_num_threads of a library of OpenMP, whose threads are to be used from now on.
EXPORT void charlm_use_openmp(void (*parallel)(void (*)(void*), void*, unsigned, unsigned), int (*num_threads)()) {
    openmp_parallel = parallel;
    openmp_num_threads = num_threads;
}

EXPORT int64_t charlm_width(int64_t variant) { return kVariants[variant]->width; }

EXPORT void charlm_pack(int64_t variant, const void* weights, int64_t hidden, int64_t width, void* ahead, void* back) {
    kVariants[variant]->pack(weights, hidden, width, ahead, back);
}

EXPORT int64_t charlm_forward(int64_t variant, const Arguments* call) {
    const Fault fault = find_fault(*call);
    if (fault == kNone) kVariants[variant]->forward(*call);
    return fault;
}

EXPORT int64_t charlm_backward(int64_t variant, const Arguments* call) {
    const Fault fault = find_fault(*call);
    if (fault == kNone) kVariants[variant]->backward(*call);
    return fault;
}

EXPORT void charlm_softmax(int64_t variant, const Softmax* call) { kVariants[variant]->softmax(*call); }
