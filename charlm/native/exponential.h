#pragma once

namespace charlm {
namespace {

// e^x for |x| up to 87, as a power of two times a polynomial on [-ln 2 / 2, ln 2 / 2] (coefficients as in Cephes' expf;
// relative error 2e-7). `V::scale(x, n)` is x times 2^n.
template <class V>
inline typename V::vec exp_polynomial(typename V::vec x) {
    const auto n = V::round(V::multiply(x, V::set(1.44269504f)));
    auto r = V::minus_fma(n, V::set(0.693359375f), x);
    r = V::minus_fma(n, V::set(-2.12194440e-4f), r);
    auto sum = V::set(1.9875691500e-4f);
    sum = V::fma(sum, r, V::set(1.3981999507e-3f));
    sum = V::fma(sum, r, V::set(8.3334519073e-3f));
    sum = V::fma(sum, r, V::set(4.1665795894e-2f));
    sum = V::fma(sum, r, V::set(1.6666665459e-1f));
    sum = V::fma(sum, r, V::set(5.0000001201e-1f));
    sum = V::fma(sum, V::multiply(r, r), V::add(r, V::set(1.0f)));
    return V::scale(sum, n);
}

// Beyond this the exponential would overflow; a number that is not a number stays one.
constexpr float kLargestExponent = 40.0f;

}  // namespace
}  // namespace charlm
