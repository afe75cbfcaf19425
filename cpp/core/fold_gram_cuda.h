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
  int64_t stride = 0;            // of a row of M: p = 1 + d + t
  double precision = 0;          // relative rounding of an entry of M
  std::vector<double> shift;     // (d + t)
  DeviceBuffer<double> moments;  // (atoms, stride, stride), both triangles
  std::vector<double> on_host;   // the same where it is small, else empty

  int64_t size() const { return n_atoms * stride * stride; }  // of the moments
};

// What multiplies: tensor cores where the device has them for float64, or registers as elsewhere.
enum class GramKernel { best, registers };

// X (n, d), Y (n, t), w (n,) or empty in the memory of the device, of any strides. They are not
// read any more when it returns.
template <class T>
DeviceGram fold_gram_cuda(MatrixView<const T> X, MatrixView<const T> Y, VectorView<const T> w,
                          const DeviceFolds& folds, const Context& context,
                          GramKernel kernel = GramKernel::best);

// The same of rows in host memory: tiles pass through pinned buffers while those before them are
// worked on, so X may be larger than the memory of the device. `order` is that of the folds, empty
// for 0, 1, 2, ...
template <class T>
DeviceGram fold_gram_streamed_cuda(MatrixView<const T> X, MatrixView<const T> Y,
                                   VectorView<const T> w, const std::vector<int64_t>& order,
                                   const DeviceFolds& folds, const Context& context,
                                   GramKernel kernel = GramKernel::best);

}  // namespace manyfit
