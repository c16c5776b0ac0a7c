// Float32 on a processor with AVX-512.

#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,avx512f"))), apply_to = function)
#else
#pragma GCC target("avx2,fma,avx512f")
#endif

#include "avx512.h"
#include "variant.h"

namespace charlm {
extern const Variant avx512;
const Variant avx512 = {Avx512::width, attempt<Avx512>, pack<Avx512, float>, forward<Avx512>, backward<Avx512>, softmax<Avx512>};
}  // namespace charlm

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
