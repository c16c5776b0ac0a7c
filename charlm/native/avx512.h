// Vectors of 16 float32 (AVX-512).

#pragma once

#include <immintrin.h>

#include "exponential.h"

namespace charlm {
namespace {

struct Avx512 {
    using real = float;
    using element = float;
    using vec = __m512;
    static constexpr int width = 16, pair = 1, rows = 6, extra = 0;

    static vec load(const real* p) { return _mm512_loadu_ps(p); }
    static void store(real* p, vec x) { _mm512_storeu_ps(p, x); }
    static void store_elements(element* p, vec x) { _mm512_storeu_ps(p, x); }
    static vec set(real x) { return _mm512_set1_ps(x); }
    static vec add(vec x, vec y) { return _mm512_add_ps(x, y); }
    static vec multiply(vec x, vec y) { return _mm512_mul_ps(x, y); }
    static vec fma(vec x, vec y, vec z) { return _mm512_fmadd_ps(x, y, z); }
    static vec minus_fma(vec x, vec y, vec z) { return _mm512_fnmadd_ps(x, y, z); }
    static vec round(vec x) { return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
    static vec scale(vec x, vec n) { return _mm512_scalef_ps(x, n); }
    static vec max(vec x, vec y) { return _mm512_max_ps(x, y); }
    static vec exp(vec x) {
        x = _mm512_max_ps(set(-kLargestExponent), _mm512_min_ps(set(kLargestExponent), x));
        return exp_polynomial<Avx512>(x);
    }
    static vec reciprocal(vec x) {
        const vec first = _mm512_rcp14_ps(x);
        return multiply(first, minus_fma(x, first, set(2.0f)));
    }
    static vec broadcast(const element* p) { return _mm512_set1_ps(*p); }
    static vec factors(const element* p) { return _mm512_loadu_ps(p); }
    static vec multiply_add(vec sum, vec x, vec y) { return _mm512_fmadd_ps(x, y, sum); }
    static element to_element(float x) { return x; }
};

// The same for products of shorter numbers.
struct Avx512Rough : Avx512 {
    // As exact as those products, not more: relative errors of 3e-6 and 6e-5, beside 2e-3 of bf16.
    static vec exp(vec x) {  // 2^r by the polynomial of degree 4 with the least largest error on [-1/2, 1/2]
        const vec power = multiply(_mm512_min_ps(set(kLargestExponent), x), set(1.44269504f));
        const vec n = round(power), r = _mm512_sub_ps(power, n);
        vec sum = fma(set(0.00957009f), r, set(0.05591786f));
        sum = fma(sum, r, set(0.24024745f));
        sum = fma(sum, r, set(0.69312181f));
        return scale(fma(sum, r, set(0.99999926f)), n);
    }
    static vec reciprocal(vec x) { return _mm512_rcp14_ps(x); }
};

}  // namespace
}  // namespace charlm
