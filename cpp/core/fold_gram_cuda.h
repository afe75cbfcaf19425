// Second moments of the rows of each atom of some folds, as in fold_gram.h, on a device.
#pragma once

#include <cstdint>
#include <vector>

#include "core/device.h"
#include "core/device_folds.h"
#include "core/views.h"

namespace manyfit {

struct DeviceGram {
  int64_t n_features = 0;
  int64_t n_targets = 0;
  int64_t n_atoms = 0;
  int64_t stride = 0;            // of a row of M; at least p = 1 + d + t
  double precision = 0;          // relative rounding of an entry of M
  std::vector<double> shift;     // (d + t)
  DeviceBuffer<double> moments;  // (atoms, stride, stride), lower triangles: [a][i][j], j <= i
};

// X (n, d), Y (n, t), w (n,) or empty in the memory of the device, of any strides.
template <class T>
DeviceGram fold_gram_cuda(MatrixView<const T> X, MatrixView<const T> Y, VectorView<const T> w,
                          const DeviceFolds& folds, const Context& context);

// The same of rows in host memory: tiles pass through pinned buffers while those before them are
// worked on, so X may be larger than the memory of the device.
template <class T>
DeviceGram fold_gram_streamed_cuda(MatrixView<const T> X, MatrixView<const T> Y,
                                   VectorView<const T> w, const std::vector<int64_t>& order,
                                   const DeviceFolds& folds, const Context& context);

}  // namespace manyfit
