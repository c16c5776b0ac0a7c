// Vectors of 8 float32 (AVX2 and FMA).

#pragma once

#include <immintrin.h>

#include "exponential.h"

namespace charlm {
namespace {

struct Avx2 {
    using real = float;
    using element = float;
    using vec = __m256;
    static constexpr int width = 8, pair = 1, rows = 3, extra = 0;

    static vec load(const real* p) { return _mm256_loadu_ps(p); }
    static void store(real* p, vec x) { _mm256_storeu_ps(p, x); }
    static void store_elements(element* p, vec x) { _mm256_storeu_ps(p, x); }
    static vec set(real x) { return _mm256_set1_ps(x); }
    static vec add(vec x, vec y) { return _mm256_add_ps(x, y); }
    static vec multiply(vec x, vec y) { return _mm256_mul_ps(x, y); }
    static vec fma(vec x, vec y, vec z) { return _mm256_fmadd_ps(x, y, z); }
    static vec minus_fma(vec x, vec y, vec z) { return _mm256_fnmadd_ps(x, y, z); }
    static vec round(vec x) { return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
    static vec scale(vec x, vec n) {
        const __m256i exponent = _mm256_slli_epi32(_mm256_cvtps_epi32(n), 23);
        return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(x), exponent));
    }
    static vec max(vec x, vec y) { return _mm256_max_ps(x, y); }
    static vec exp(vec x) {
        x = _mm256_max_ps(set(-kLargestExponent), _mm256_min_ps(set(kLargestExponent), x));
        return exp_polynomial<Avx2>(x);
    }
    static vec reciprocal(vec x) {
        const vec first = _mm256_rcp_ps(x);
        return multiply(first, minus_fma(x, first, set(2.0f)));
    }
    static vec broadcast(const element* p) { return _mm256_broadcast_ss(p); }
    static vec factors(const element* p) { return _mm256_loadu_ps(p); }
    static vec multiply_add(vec sum, vec x, vec y) { return _mm256_fmadd_ps(x, y, sum); }
    static element to_element(float x) { return x; }
};

}  // namespace
}  // namespace charlm
