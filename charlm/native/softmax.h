// The cross entropy of a softmax, and its gradient, in one pass over the rows of a product.
//
// A row of logits becomes, in its place, the gradient of `scale` times its cross entropy: the probabilities, less one at
// the target. In between it is float32 in a row of memory that stays in the cache.
//
// N = rows, V = classes

#pragma once

#include <cmath>
#include <cstdint>

#include "lstm.h"

namespace charlm {
namespace {

// The first `count` numbers of a vector at p, and `rest` in the others.
template <class V, class Number>
inline typename V::vec load_part(const Number* p, int64_t count, Number rest) {
    if (count >= V::width) return V::load(p);
    Number padded[V::width];
    for (int n = 0; n < V::width; ++n) padded[n] = n < count ? p[n] : rest;
    return V::load(padded);
}

template <class V>
inline typename V::real largest(typename V::vec x) {
    typename V::real all[V::width];
    V::store(all, x);
    for (int n = 1; n < V::width; ++n) all[0] = all[n] > all[0] || all[n] != all[n] ? all[n] : all[0];
    return all[0];
}

template <class V>
inline typename V::real sum(typename V::vec x) {
    typename V::real all[V::width];
    V::store(all, x);
    for (int n = 1; n < V::width; ++n) all[0] += all[n];
    return all[0];
}

template <class V>
double softmax_row(const Softmax& call, int64_t row, typename V::real* memory, typename V::real* to_bias) {
    using real = typename V::real;
    using element = typename V::element;
    const int64_t size = call.classes, target = call.targets[row];
    auto* logits = static_cast<element*>(call.logits) + row * call.stride;
    const auto* bias = static_cast<const real*>(call.bias);
    constexpr real lowest = -1e30f;
    auto most = V::set(lowest);
    for (int64_t start = 0; start < size; start += V::width) {
        const auto logit = load_part<V>(logits + start, size - start, element(0));
        const auto x = V::add(logit, load_part<V>(bias + start, size - start, lowest));
        V::store(memory + start, x);
        most = V::max(most, x);
    }
    const real base = largest<V>(most), of_target = memory[target] - base;
    auto sums = V::set(0);
    for (int64_t start = 0; start < size; start += V::width) {
        const auto x = V::exp(V::add(V::load(memory + start), V::set(-base)));
        V::store(memory + start, x);
        sums = V::add(sums, x);
    }
    const real whole = sum<V>(sums);
    const auto factor = V::set(static_cast<real>(call.scale) / whole);
    memory[target] -= whole;
    for (int64_t start = 0; start < size; start += V::width) {
        const auto gradient = V::multiply(V::load(memory + start), factor);
        V::store(to_bias + start, V::add(V::load(to_bias + start), gradient));
        if (size - start >= V::width) {
            V::store_elements(logits + start, gradient);
            continue;
        }
        element last[V::width];
        V::store_elements(last, gradient);
        for (int64_t n = 0; n < size - start; ++n) logits[start + n] = last[n];
    }
    return std::log(static_cast<double>(whole)) - of_target;
}

template <class V>
void softmax_part(const void* context, int64_t thread, int64_t threads, Barrier&) {
    const auto& call = *static_cast<const Softmax*>(context);
    const int64_t padded = (call.classes + V::width - 1) / V::width * V::width;
    auto* memory = static_cast<typename V::real*>(call.memory) + thread * 2 * padded;
    auto* to_bias = memory + padded;
    double nats = 0;
    const Part part(call.rows, thread, threads);
    for (int64_t row = part.begin; row < part.end; ++row) nats += softmax_row<V>(call, row, memory, to_bias);
    static_cast<double*>(call.nats)[thread] = nats;
}

template <class V>
void softmax(const Softmax& call) {
    run_together(call.threads, softmax_part<V>, &call);
}

}  // namespace
}  // namespace charlm
