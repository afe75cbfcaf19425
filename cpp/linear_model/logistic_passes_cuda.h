// The passes of logistic_passes.h on a device. X stays where it is, of any strides; labels and
// weights are laid out by position of the folds' order. All arithmetic is double, whatever X is.
#pragma once

#include <cstdint>
#include <memory>

#include "core/context.h"
#include "core/device_folds.h"
#include "core/views.h"
#include "linear_model/logistic_passes.h"

namespace manyfit {

// X (n, d), codes (n,) in [0, n_classes) and w (n,) or empty in the memory of the device; they and
// the folds must outlive the passes. class_weights (class_weight_rows, n_classes) on the host.
template <class T>
std::unique_ptr<LogisticPasses> logistic_passes_cuda(
    MatrixView<const T> X, VectorView<const int64_t> codes, VectorView<const T> w,
    const DeviceFolds& folds, int64_t n_classes, bool fit_intercept, const double* class_weights,
    int64_t class_weight_rows, const Context& context);

}  // namespace manyfit
