// Float64 on any processor.

#include "plain.h"
#include "variant.h"

namespace charlm {
extern const Variant plain;
const Variant plain = {Plain::width, attempt<Plain>, pack<Plain, double>, forward<Plain>, backward<Plain>, softmax<Plain>};
}  // namespace charlm
