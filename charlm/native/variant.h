// The functions of one variant, for the table in library.cpp. A variant's file names its instructions and this file.

#pragma once

#include "lstm.h"
#include "softmax.h"

namespace charlm {
namespace {

template <class V, class Weight>
void pack(const void* weights, int64_t hidden, int64_t width, void* ahead, void* back) {
    using element = typename V::element;
    pack_forward<V>(static_cast<const Weight*>(weights), hidden, width, static_cast<element*>(ahead));
    if (back) pack_backward<V>(static_cast<const Weight*>(weights), hidden, width, static_cast<element*>(back));
}

// A step forward and backward of a small layer of zeros, and a softmax, so that every kind of instruction is met.
template <class V>
void attempt() {
    constexpr int width = V::width, batch = V::rows;
    typename V::element table[batch * 4 * width] = {}, weights[4 * width * width] = {}, states[2 * batch * width] = {};
    typename V::element to_states[batch * width] = {}, to_gates[batch * 4 * width] = {};
    typename V::element gates[batch * 4 * width] = {};
    typename V::real cells[2 * batch * width] = {}, to_state[batch * width] = {};
    typename V::real to_cell[batch * width] = {}, sums[batch * 4 * width] = {};
    const int64_t places[2] = {0, batch};
    const Arguments call = {1,     batch, width,     1,        0,  places,  table,    nullptr, weights, states,
                            cells, gates, to_states, to_state, to_cell, to_gates, nullptr, sums};
    forward<V>(call);
    backward<V>(call);
    const int64_t targets[1] = {};
    double nats[1];
    softmax<V>({1, width, width, 1, 1.0, table, cells, targets, sums, nats});
}

}  // namespace
}  // namespace charlm
