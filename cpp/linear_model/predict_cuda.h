// Predictions of a linear model for rows in the memory of a device.
#pragma once

#include <cstdint>
#include <vector>

#include "core/device.h"
#include "core/views.h"

namespace manyfit {

// out (n, t), C order: X coef' + intercept, coef (t, d). False where X holds NaN or infinity.
template <class T>
bool predict_cuda(Device& device, MatrixView<const T> X, const std::vector<double>& coef,
                  const std::vector<double>& intercept, T* out, const Context& context);

}  // namespace manyfit
