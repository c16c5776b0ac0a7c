// Float32 on a processor with AVX2 and FMA.

#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif

#include "avx2.h"
#include "variant.h"

namespace charlm {
extern const Variant avx2;
const Variant avx2 = {Avx2::width, attempt<Avx2>, pack<Avx2, float>, forward<Avx2>, backward<Avx2>, softmax<Avx2>};
}  // namespace charlm

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
