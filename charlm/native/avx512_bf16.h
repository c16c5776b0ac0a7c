// Vectors of 16 float32 whose products take pairs of bf16, the upper halves of float32.

#pragma once

#include <cstdint>
#include <cstring>

#include "avx512.h"

namespace charlm {
namespace {

struct Avx512Bf16 : Avx512Rough {
    using element = uint16_t;
    static constexpr int pair = 2;

    static vec load(const real* p) { return Avx512::load(p); }
    static vec load(const element* p) {
        const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
        return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
    }
    static void store_elements(element* p, vec x) {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), (__m256i)_mm512_cvtneps_pbh(x));
    }
    static __m512bh broadcast(const element* p) {
        int both;
        std::memcpy(&both, p, sizeof both);
        return (__m512bh)_mm512_set1_epi32(both);
    }
    static __m512bh factors(const element* p) { return (__m512bh)_mm512_loadu_si512(p); }
    static vec multiply_add(vec sum, __m512bh x, __m512bh y) { return _mm512_dpbf16_ps(sum, x, y); }
    static element to_element(float x) {  // to the nearest, ties to even
        uint32_t bits;
        std::memcpy(&bits, &x, sizeof bits);
        if (x != x) return static_cast<element>(bits >> 16 | 0x40);
        return static_cast<element>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
    }
};

}  // namespace
}  // namespace charlm
