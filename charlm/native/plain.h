// Numbers of float64, one at a time: for tests of the algorithm, as `gradcheck`.
//
// Every variant is such a struct. It offers what lstm.h is written in: `real`, the type of sums, cells and gates; `vec`,
// `width` of them in one register; `element`, the type of the factors of a matrix product, of which `pair` neighbours are
// multiplied and summed at once; `rows`, how many rows of a product fit into the registers; and functions on these.

#pragma once

#include <cmath>
#include <cstdint>

namespace charlm {
namespace {

struct Plain {
    using real = double;
    using element = double;
    using vec = double;
    static constexpr int width = 1, pair = 1, rows = 6, extra = 0;

    static vec load(const real* p) { return *p; }
    static void store(real* p, vec x) { *p = x; }
    static void store_elements(element* p, vec x) { *p = x; }
    static vec set(real x) { return x; }
    static vec add(vec x, vec y) { return x + y; }
    static vec multiply(vec x, vec y) { return x * y; }
    static vec fma(vec x, vec y, vec z) { return x * y + z; }
    static vec minus_fma(vec x, vec y, vec z) { return z - x * y; }
    static vec max(vec x, vec y) { return x > y ? x : y; }
    static vec exp(vec x) { return std::exp(300 < x ? 300 : x); }
    static vec reciprocal(vec x) { return 1 / x; }
    static vec broadcast(const element* p) { return *p; }
    static vec factors(const element* p) { return *p; }
    static vec multiply_add(vec sum, vec x, vec y) { return sum + x * y; }
    static element to_element(float x) { return x; }
    static element to_element(double x) { return x; }
};

}  // namespace
}  // namespace charlm
