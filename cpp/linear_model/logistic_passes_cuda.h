// The passes of logistic_passes.h on a device. X stays where it is, of any strides: on the device,
// or on the host, from where it is streamed in every pass. Labels and weights are laid out by
// position of the folds' order. All arithmetic is double, whatever X is.
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

// The same of X in host memory, which may be larger than the device's; codes and w are on the
// device. The first rows, as many as there is room for, are brought there once, the others in every
// pass, while those before them are worked on (logistic_rounds_cuda.h). Keeping some costs an
// offset in a launch, and spares the bus their share. Results have the bits of the above. `order`
// (n,), on the host, is that of the folds, null for 0, 1, 2, ...; it and X must outlive the passes.
template <class T>
std::unique_ptr<LogisticPasses> logistic_passes_streamed_cuda(
    MatrixView<const T> X, const int64_t* order, VectorView<const int64_t> codes,
    VectorView<const T> w, const DeviceFolds& folds, int64_t n_classes, bool fit_intercept,
    const double* class_weights, int64_t class_weight_rows, const Context& context);

// Whether a table of so many rows and bytes finds room on the device, beside what passes over it
// need.
bool logistic_rows_fit(Device& device, int64_t rows, int64_t bytes);

}  // namespace manyfit
