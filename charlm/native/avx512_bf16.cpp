// Products of bf16 with sums of float32, on a processor with AVX512-BF16.

#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,avx512f,avx512bf16"))), apply_to = function)
#else
#pragma GCC target("avx2,fma,avx512f,avx512bf16")
#endif

#include "avx512_bf16.h"
#include "variant.h"

namespace charlm {
extern const Variant avx512_bf16;
const Variant avx512_bf16 = {Avx512Bf16::width, attempt<Avx512Bf16>, pack<Avx512Bf16, float>, forward<Avx512Bf16>, backward<Avx512Bf16>, softmax<Avx512Bf16>};
}  // namespace charlm

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
