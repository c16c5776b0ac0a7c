// What a call gets from Python; charlm/native/__init__.py has the same fields in the same order.

#pragma once

#include <cstdint>

namespace charlm {

// T = steps, B = sequences, P = places: each step of each sequence, step after step; H = width, a multiple of the
// vectors' width; N = rows of the table. Sequences may end: a step has no more of them than the one before, the first
// ones. `element` and `real` are those of a variant (plain.h). Gates lie in tiles: for each vector of units their i, then
// f, g, o.
struct Arguments {
    int64_t steps, batch, width, threads, entries;

    const int64_t* places;  // where each step begins, and the end of the last, (T + 1)
    const void* table;      // the input's part of the gates: real (H / vector, N, 4 vectors) with `rows`, where N is
                            // `entries`; element (P, 4H) without
    const int64_t* rows;    // which row of the table is the input, (P); or null
    const void* weights;    // as `pack_forward` or `pack_backward` has written them
    void* states;           // element (B + P, H); the first B are given
    void* cells;            // real, (B + P, H) with gates, else (B, H); the first B are given
    void* gates;            // element, for each step (H / vector, places, 4 vectors); null where nothing is to be learned

    const void* to_states;  // element (P, H): the gradient of the states
    void* to_state;         // real (B, H): the gradient of the last states from elsewhere; afterwards of the given ones
    void* to_cell;          // real (B, H): likewise of the cells
    void* to_gates;         // element (P, 4H)
    void* to_table;         // as the table; is added to; null without `rows`
    void* memory;           // real (threads, B, 4 vectors)
};

// N = rows, V = classes
struct Softmax {
    int64_t rows, classes, stride, threads;
    double scale;
    void* logits;            // element (N, V), rows `stride` apart, without the bias; becomes the gradient
    const void* bias;        // real (V)
    const int64_t* targets;  // (N)
    void* memory;            // real (threads, 2, V padded to whole vectors), zeros: the sum of the second rows becomes
                             // the gradient of the bias
    void* nats;              // double (threads), zeros: their sum becomes the cross entropy of all rows
};

struct Variant {
    int64_t width;  // of its vectors
    void (*attempt)();
    void (*pack)(const void* weights, int64_t hidden, int64_t width, void* ahead, void* back);
    void (*forward)(const Arguments&);
    void (*backward)(const Arguments&);
    void (*softmax)(const Softmax&);
};

}  // namespace charlm
