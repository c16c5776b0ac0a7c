// Threads that go through the steps of a sequence together. What is here is compiled once, for every processor.

#pragma once

#include <cstdint>

namespace charlm {

class Barrier;

void wait(Barrier& barrier);  // until all threads have come to it

using Work = void (*)(const void* context, int64_t thread, int64_t threads, Barrier& barrier);

void run_together(int64_t at_most, Work work, const void* context);  // this thread is one of them

}  // namespace charlm
