// What a call gets from Python; charlm/native/__init__.py has the same fields in the same order.

#pragma once

#include <cstdint>

namespace charlm {

// T = steps, B = batch, H = width: a multiple of the vectors' width; N = rows of the table. `element` and `real` are those
// of a variant (vectors.h). Gates lie in tiles: for each `width` of a vector's units their i, then f, g, o.
struct Arguments {
    int64_t steps, batch, width, threads;

    const void* table;    // the input's part of the gates: real (N, 4H) with `rows`, element (T * B, 4H) without
    const int64_t* rows;  // which row of the table is the input, (T, B); or null
    const void* weights;  // as `pack_forward` or `pack_backward` has written them
    void* states;         // element (T + 1, B, H); the first is given
    void* cells;          // real, (T + 1, B, H) with gates, else (1, B, H); the first is given
    void* gates;          // real (T, B, 4H); null where nothing is to be learned

    const void* to_states;  // element (T, B, H): the gradient of the states
    void* to_state;         // real (B, H): the gradient of the last state from elsewhere; after the call of the given one
    void* to_cell;          // real (B, H): likewise of the cells
    void* to_gates;         // element (T, B, 4H)
    void* to_table;         // real (N, 4H), is added to; null without `rows`
    void* memory;           // real (threads, B, 4 vectors)
};

// N = rows, V = classes
struct Softmax {
    int64_t rows, classes, threads;
    double scale;
    void* logits;            // element (N, V), without the bias; becomes the gradient
    const void* bias;        // real (V)
    const int64_t* targets;  // (N)
    void* memory;            // real (threads, 2, V padded to whole vectors); the second rows become the bias' gradient
    void* nats;              // double (threads): their sum is the cross entropy of all rows
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
