// An LSTM layer through time, forward and backward (Hochreiter and Schmidhuber 1997, with Gers' forget gate).
//
//   i, f, o = sigmoid(x + h' R), g = tanh(x + h' R)      x: the input's part of the gates, h': the state before
//   c = f c' + i g,  h = o tanh(c)
//
// What depends on the input alone is not computed here: it comes as rows of a table, for a character has few values, or
// as one matrix product over all steps. Nor is the gradient of R, one product over all steps: this file does what time
// makes sequential, and writes down what those products need.
//
// Layout. Hidden units are taken `width` at a time, a tile: i, f, g and o of the same units lie side by side, so one
// pass over h' leaves all four gates of `rows` x `width` cells in registers, where x was loaded before; the cell is
// computed there and then. R lies in the order in which it is read. Backward, the product that gives the gradient of h'
// ends in the derivative of the cell in the same way, four tiles at a time.
//
// Sequences lie side by side, longest first, and drop out where they end (arguments.h).
//
// T = steps, B = sequences, H = width of the layer, K = factors of a product (H forward, 4H backward)

#pragma once

#include <cstdint>

#include "arguments.h"
#include "threads.h"

namespace charlm {
namespace {

template <class Number>
constexpr Number smaller(Number x, Number y) {
    return x < y ? x : y;
}

template <class V>
inline typename V::vec sigmoid(typename V::vec x) {
    const auto one = V::set(1);
    return V::reciprocal(V::add(one, V::exp(V::multiply(x, V::set(-1)))));
}

template <class V>
inline typename V::vec tanh(typename V::vec x) {  // not as 2 sigmoid(2x) - 1, which loses what is close to 0
    const auto one = V::set(1), power = V::exp(V::multiply(x, V::set(-2)));
    return V::multiply(V::minus_fma(power, one, one), V::reciprocal(V::add(one, power)));
}

// sums (rows, vectors of one register) of x (rows, 2K; `stride` apart) times factors, which lie as (pairs, vectors, pair).
// What was in `sums` is added, if `adds`.
template <class V, int rows, int vectors>
__attribute__((noinline)) void multiply_rows(
    const typename V::element* x, int64_t stride, const typename V::element* factors, int64_t pairs, bool adds,
    typename V::real* sums) {
    typename V::vec registers[rows][vectors];
    for (int row = 0; row < rows; ++row)
        for (int n = 0; n < vectors; ++n)
            registers[row][n] = adds ? V::load(sums + (row * vectors + n) * V::width) : V::set(0);
    for (int64_t k = 0; k < pairs; ++k) {
        decltype(V::broadcast(x)) own[rows];
#pragma GCC unroll 8
        for (int row = 0; row < rows; ++row) own[row] = V::broadcast(x + row * stride + k * V::pair);
#pragma GCC unroll 8
        for (int n = 0; n < vectors; ++n) {
            const auto column = V::factors(factors + (k * vectors + n) * V::width * V::pair);
#pragma GCC unroll 8
            for (int row = 0; row < rows; ++row) registers[row][n] = V::multiply_add(registers[row][n], own[row], column);
        }
    }
    for (int row = 0; row < rows; ++row)
        for (int n = 0; n < vectors; ++n) V::store(sums + (row * vectors + n) * V::width, registers[row][n]);
}

// The same for any number of rows, in groups of nearly equal size that fit into the registers.
template <class V, int vectors>
void multiply(
    int64_t batch, const typename V::element* x, int64_t stride, const typename V::element* factors, int64_t pairs,
    bool adds, typename V::real* sums) {
    const int64_t groups = (batch + V::rows - 1) / V::rows;
    for (int64_t group = 0; group < groups; ++group) {
        const int64_t rows = batch / groups + (group < batch % groups);
        switch (rows) {
            case 1: multiply_rows<V, 1, vectors>(x, stride, factors, pairs, adds, sums); break;
            case 2: multiply_rows<V, 2, vectors>(x, stride, factors, pairs, adds, sums); break;
            case 3: multiply_rows<V, 3, vectors>(x, stride, factors, pairs, adds, sums); break;
            case 4: multiply_rows<V, smaller(V::rows, 4), vectors>(x, stride, factors, pairs, adds, sums); break;
            case 5: multiply_rows<V, smaller(V::rows, 5), vectors>(x, stride, factors, pairs, adds, sums); break;
            default: multiply_rows<V, V::rows, vectors>(x, stride, factors, pairs, adds, sums);
        }
        x += rows * stride;
        sums += rows * vectors * V::width;
    }
}

// This thread's part of `count` tiles.
struct Part {
    int64_t begin, end;
    Part(int64_t count, int64_t thread, int64_t threads)
        : begin(count * thread / threads), end(count * (thread + 1) / threads) {}
};

// The recurrent weights (4 hidden, hidden) of torch as `forward` reads them: for each tile (width / pair, 4 gates, units
// of the tile, pair), zeros beyond `hidden`.
template <class V, class Weight>
void pack_forward(const Weight* weights, int64_t hidden, int64_t width, typename V::element* packed) {
    constexpr int64_t block = 16;  // so many factors of each unit are read at once: a line of the cache
    for (int64_t tile = 0; tile < width / V::width; ++tile)
        for (int64_t start = 0; start < width; start += block)
            for (int64_t column = 0; column < 4 * V::width; ++column) {
                const int64_t to = tile * V::width + column % V::width;
                const auto* row = weights + (column / V::width * hidden + to) * hidden;
                auto* out = packed + tile * 4 * V::width * width + column * V::pair;
                for (int64_t from = start; from < smaller(start + block, width); ++from)
                    out[from / V::pair * 4 * V::width * V::pair + from % V::pair] =
                        V::to_element(to < hidden && from < hidden ? row[from] : Weight(0));
            }
}

// The same as `backward` reads them: for each four tiles (4 width / pair, units of the tiles, pair), where the first
// axis is the gates in their tiles.
template <class V, class Weight>
void pack_backward(const Weight* weights, int64_t hidden, int64_t width, typename V::element* packed) {
    for (int64_t first = 0; first < width; first += 4 * V::width) {
        const int64_t units = smaller<int64_t>(4 * V::width, width - first);
        auto* out = packed + first * 4 * width;
        for (int64_t gate = 0; gate < 4 * width; ++gate) {
            const int64_t to = gate / (4 * V::width) * V::width + gate % V::width;  // the gate's hidden unit
            const auto* row = weights + (gate / V::width % 4 * hidden + to) * hidden;
            for (int64_t unit = 0; unit < units; ++unit) {
                const bool exists = to < hidden && first + unit < hidden;
                out[(gate / V::pair * units + unit) * V::pair + gate % V::pair] =
                    V::to_element(exists ? row[first + unit] : Weight(0));
            }
        }
    }
}

// The places of one step, and where in `states` and `cells` those of the step before begin.
struct Step {
    int64_t place, count, before, here;
    Step(const Arguments& call, int64_t step)
        : place(call.places[step]),
          count(call.places[step + 1] - place),
          before(step ? call.batch + call.places[step - 1] : 0),
          here(call.batch + place) {}
};

// One step of one tile: the gates of all sequences, and what they make of the cells and states.
template <class V>
void forward_tile(const Arguments& call, const Step& step, int64_t tile, typename V::real* sums) {
    using real = typename V::real;
    using element = typename V::element;
    const int64_t width = call.width;
    const bool learns = call.gates != nullptr;
    const auto* before = static_cast<const element*>(call.states) + step.before * width;
    const auto* weights = static_cast<const element*>(call.weights) + tile * 4 * V::width * (width + V::extra);
    const auto* extra = weights + 4 * V::width * width;
    multiply<V, 4>(step.count, before, width, weights, width / V::pair, false, sums);

    auto* states = static_cast<element*>(call.states) + step.here * width + tile * V::width;
    const auto* cells_before = static_cast<real*>(call.cells) + (learns ? step.before * width : 0) + tile * V::width;
    auto* cells = static_cast<real*>(call.cells) + (learns ? step.here * width : 0) + tile * V::width;
    auto* gates = static_cast<element*>(call.gates) + step.place * 4 * width + tile * step.count * 4 * V::width;
    for (int64_t row = 0; row < step.count; ++row, sums += 4 * V::width) {
        typename V::vec x[4];
        const int64_t place = step.place + row;
        if (call.rows) {
            const auto* table = static_cast<const real*>(call.table) + (tile * call.entries + call.rows[place]) * 4 * V::width;
            for (int gate = 0; gate < 4; ++gate) x[gate] = V::load(table + gate * V::width);
        } else {
            const auto* table = static_cast<const element*>(call.table) + place * 4 * width + tile * 4 * V::width;
            for (int gate = 0; gate < 4; ++gate) x[gate] = V::load(table + gate * V::width);
        }
        for (int gate = 0; gate < 4; ++gate) {
            if constexpr (V::extra > 0)
                x[gate] = V::add(x[gate], V::product(sums + gate * V::width, extra, gate));
            else
                x[gate] = V::add(x[gate], V::load(sums + gate * V::width));
        }
        const auto i = sigmoid<V>(x[0]), f = sigmoid<V>(x[1]), g = tanh<V>(x[2]), o = sigmoid<V>(x[3]);
        const auto cell = V::fma(f, V::load(cells_before + row * width), V::multiply(i, g));
        V::store(cells + row * width, cell);
        V::store_elements(states + row * width, V::multiply(o, tanh<V>(cell)));
        if (!learns) continue;
        auto* own = gates + row * 4 * V::width;
        V::store_elements(own, i);
        V::store_elements(own + V::width, f);
        V::store_elements(own + 2 * V::width, g);
        V::store_elements(own + 3 * V::width, o);
    }
}

template <class V>
void forward_part(const void* context, int64_t thread, int64_t threads, Barrier& barrier) {
    const auto& call = *static_cast<const Arguments*>(context);
    auto* sums = static_cast<typename V::real*>(call.memory) + thread * call.batch * 4 * V::width;
    const Part part(call.width / V::width, thread, threads);
    for (int64_t step = 0; step < call.steps; ++step) {
        for (int64_t tile = part.begin; tile < part.end; ++tile) forward_tile<V>(call, Step(call, step), tile, sums);
        wait(barrier);
    }
}

template <class V>
void forward(const Arguments& call) {
    run_together(call.threads, forward_part<V>, &call);
}

// So many factors of a long product stay in the cache while all rows are multiplied by them.
constexpr int64_t kPairsAtOnce = 512;

// The gradient of up to four tiles of states, (rows, H), from that of the gates of the step after them.
template <class V, int vectors>
void multiply_back(const Arguments& call, const Step& later, int64_t first_unit, typename V::real* sums) {
    const auto* weights = static_cast<const typename V::element*>(call.weights) + first_unit * 4 * call.width;
    const auto* gates = static_cast<const typename V::element*>(call.to_gates) + later.place * 4 * call.width;
    const int64_t pairs = 4 * call.width / V::pair;
    for (int64_t start = 0; start < pairs; start += kPairsAtOnce)
        multiply<V, vectors>(
            later.count, gates + start * V::pair, 4 * call.width, weights + start * vectors * V::width * V::pair,
            smaller(kPairsAtOnce, pairs - start), start > 0, sums);
}

// One step back of up to four tiles: what the gradient of their states makes of cells, gates and table.
template <class V, int vectors>
void backward_tiles(const Arguments& call, int64_t number, int64_t first_unit, typename V::real* sums) {
    using real = typename V::real;
    using element = typename V::element;
    const int64_t width = call.width;
    const Step step(call, number);
    int64_t going_on = 0;  // sequences that the next step has too
    if (number + 1 < call.steps) {
        const Step later(call, number + 1);
        going_on = later.count;
        multiply_back<V, vectors>(call, later, first_unit, sums);
    }
    const auto* to_state = static_cast<const real*>(call.to_state) + first_unit;
    const auto* to_states = static_cast<const element*>(call.to_states) + step.place * width + first_unit;
    const auto* cells_before = static_cast<const real*>(call.cells) + step.before * width + first_unit;
    const auto* cells = static_cast<const real*>(call.cells) + step.here * width + first_unit;
    const auto* gates = static_cast<const element*>(call.gates) + (step.place * width + first_unit * step.count) * 4;
    auto* to_gates = static_cast<element*>(call.to_gates) + (step.place * width + first_unit) * 4;
    auto* to_cells = static_cast<real*>(call.to_cell) + first_unit;
    const auto one = V::set(1);
    for (int64_t row = 0; row < step.count; ++row)
        for (int n = 0; n < vectors; ++n) {
            const int64_t place = row * width + n * V::width;
            const auto elsewhere = V::load(row < going_on ? sums + (row * vectors + n) * V::width : to_state + place);
            const auto state = V::add(elsewhere, V::load(to_states + place));
            const auto* gate = gates + (n * step.count + row) * 4 * V::width;
            const auto i = V::load(gate), f = V::load(gate + V::width);
            const auto g = V::load(gate + 2 * V::width), o = V::load(gate + 3 * V::width);
            const auto squashed = tanh<V>(V::load(cells + place));
            const auto by_output = V::multiply(state, o);  // the gradient of tanh(c)
            const auto cell = V::fma(by_output, V::minus_fma(squashed, squashed, one), V::load(to_cells + place));
            V::store(to_cells + place, V::multiply(cell, f));
            const typename V::vec own[4] = {
                V::multiply(V::multiply(cell, g), V::minus_fma(i, i, i)),
                V::multiply(V::multiply(cell, V::load(cells_before + place)), V::minus_fma(f, f, f)),
                V::multiply(V::multiply(cell, i), V::minus_fma(g, g, one)),
                V::multiply(V::multiply(by_output, squashed), V::minus_fma(o, one, one)),  // by_output has one o
            };
            for (int gate = 0; gate < 4; ++gate) V::store_elements(to_gates + 4 * place + gate * V::width, own[gate]);
            if (!call.to_table) continue;
            const int64_t tile = first_unit / V::width + n;
            auto* into = static_cast<real*>(call.to_table) + (tile * call.entries + call.rows[step.place + row]) * 4 * V::width;
            for (int gate = 0; gate < 4; ++gate)
                V::store(into + gate * V::width, V::add(V::load(into + gate * V::width), own[gate]));
        }
}

// The gradient of up to four tiles of the given states.
template <class V, int vectors>
void backward_given(const Arguments& call, int64_t first_unit, typename V::real* sums) {
    const Step first(call, 0);
    multiply_back<V, vectors>(call, first, first_unit, sums);
    auto* to_state = static_cast<typename V::real*>(call.to_state) + first_unit;
    for (int64_t row = 0; row < first.count; ++row)
        for (int n = 0; n < vectors; ++n)
            V::store(to_state + row * call.width + n * V::width, V::load(sums + (row * vectors + n) * V::width));
}

template <class V, int vectors>
void backward_group(const Arguments& call, int64_t step, int64_t first_unit, typename V::real* sums) {
    if (step < 0)
        backward_given<V, vectors>(call, first_unit, sums);
    else
        backward_tiles<V, vectors>(call, step, first_unit, sums);
}

template <class V>
void backward_part(const void* context, int64_t thread, int64_t threads, Barrier& barrier) {
    const auto& call = *static_cast<const Arguments*>(context);
    const int64_t tiles = call.width / V::width;
    auto* sums = static_cast<typename V::real*>(call.memory) + thread * call.batch * 4 * V::width;
    const Part part((tiles + 3) / 4, thread, threads);
    for (int64_t step = call.steps - 1; step >= -1; --step) {
        for (int64_t group = part.begin; group < part.end; ++group) {
            const int64_t first_unit = group * 4 * V::width;
            switch (smaller<int64_t>(4, tiles - group * 4)) {
                case 1: backward_group<V, 1>(call, step, first_unit, sums); break;
                case 2: backward_group<V, 2>(call, step, first_unit, sums); break;
                case 3: backward_group<V, 3>(call, step, first_unit, sums); break;
                default: backward_group<V, 4>(call, step, first_unit, sums);
            }
        }
        wait(barrier);
    }
}

template <class V>
void backward(const Arguments& call) {
    run_together(call.threads, backward_part<V>, &call);
}

}  // namespace
}  // namespace charlm
