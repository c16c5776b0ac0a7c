// Vectors of 16 float32 whose products take four neighbours of 8 bits: states as x * 127 + 128 without a sign, weights
// with one, each column (the weights of a gate's unit) by a scale of its own. For reading only.

#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "avx512.h"

namespace charlm {
namespace {

struct Avx512Vnni : Avx512Rough {
    using element = uint8_t;
    static constexpr int pair = 4;
    static constexpr int extra = 8;  // elements for each column beside its weights: an int32 to add to its sum, its scale

    static vec load(const real* p) { return Avx512::load(p); }
    static vec load(const element* p) {
        const __m512i wide = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
        return multiply(_mm512_cvtepi32_ps(_mm512_sub_epi32(wide, _mm512_set1_epi32(128))), set(1 / 127.0f));
    }
    static void store_elements(element* p, vec x) {
        const __m512i whole = _mm512_cvtps_epi32(multiply(x, set(127)));
        const __m128i bytes = _mm512_cvtepi32_epi8(_mm512_add_epi32(whole, _mm512_set1_epi32(128)));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(p), bytes);
    }
    static __m512i broadcast(const element* p) {
        int four;
        std::memcpy(&four, p, sizeof four);
        return _mm512_set1_epi32(four);
    }
    static __m512i factors(const element* p) { return _mm512_loadu_si512(p); }
    static vec multiply_add(vec sum, __m512i x, __m512i y) {
        // As the intrinsic, for which gcc 12 copies registers between all products.
        asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(x), "v"(y));
        return sum;
    }
    // What a sum of products of whole numbers stands for.
    static vec product(const real* sums, const element* extra, int gate) {
        const __m512i sum = _mm512_castps_si512(load(sums));
        const __m512i shift = _mm512_loadu_si512(extra + gate * width * 4);
        const vec scales = load(reinterpret_cast<const real*>(extra + 4 * width * 4) + gate * width);
        return multiply(_mm512_cvtepi32_ps(_mm512_add_epi32(sum, shift)), scales);
    }
};

// As `pack_forward`, with the extra elements behind the weights of each tile.
inline void pack_vnni(const void* given, int64_t hidden, int64_t width, void* ahead, void*) {
    using V = Avx512Vnni;
    const auto* weights = static_cast<const float*>(given);
    auto* packed = static_cast<uint8_t*>(ahead);
    std::memset(packed, 0, 4 * width * (width + V::extra));
    for (int64_t tile = 0; tile < width / V::width; ++tile, packed += 4 * V::width * (width + V::extra))
        for (int64_t column = 0; column < 4 * V::width; ++column) {
            const int64_t to = tile * V::width + column % V::width;
            if (to >= hidden) continue;
            const auto* row = weights + (column / V::width * hidden + to) * hidden;
            float largest = 0;
            for (int64_t from = 0; from < hidden; ++from) largest = std::fmax(largest, std::fabs(row[from]));
            const float scale = largest > 0 ? largest / 127 : 1;
            int32_t sum = 0;
            for (int64_t from = 0; from < hidden; ++from) {
                const auto weight = static_cast<int32_t>(std::nearbyint(row[from] / scale));
                sum += weight;
                packed[(from / V::pair * 4 * V::width + column) * V::pair + from % V::pair] = static_cast<uint8_t>(weight);
            }
            const int32_t shift = -128 * sum;
            const float of_product = scale / 127;
            auto* extra = packed + 4 * V::width * width;
            std::memcpy(extra + column * 4, &shift, 4);
            std::memcpy(extra + (4 * V::width + column) * 4, &of_product, 4);
        }
}

}  // namespace
}  // namespace charlm
