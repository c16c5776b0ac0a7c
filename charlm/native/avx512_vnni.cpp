// Products of 8 bits with sums of 32, on a processor with AVX512-VNNI.

#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,avx512f,avx512vnni"))), apply_to = function)
#else
#pragma GCC target("avx2,fma,avx512f,avx512vnni")
#endif

#include "avx512_vnni.h"
#include "variant.h"

namespace charlm {
namespace {

// A step of a small layer of zeros, so that every kind of instruction is met.
void attempt_reading() {
    using V = Avx512Vnni;
    constexpr int width = V::width, batch = V::rows;
    float table[4 * width] = {}, cells[batch * width] = {}, sums[batch * 4 * width] = {}, weights[4 * width * width] = {};
    uint8_t packed[4 * width * (width + V::extra)], states[2 * batch * width] = {};
    pack_vnni(weights, width, width, packed, nullptr);
    const int64_t places[2] = {0, batch}, rows[batch] = {};
    Arguments call = {};
    call.steps = call.threads = call.entries = 1, call.batch = batch, call.width = width, call.places = places;
    call.table = table, call.rows = rows, call.weights = packed, call.states = states, call.cells = cells;
    call.memory = sums;
    forward<V>(call);
}

}  // namespace

extern const Variant avx512_vnni;
const Variant avx512_vnni = {Avx512Vnni::width, attempt_reading, pack_vnni, forward<Avx512Vnni>, nullptr, nullptr};
}  // namespace charlm

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
