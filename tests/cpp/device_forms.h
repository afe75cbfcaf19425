// What the CPU prepared, in the memory of the simulated device.
#pragma once

#include <vector>

#include "core/device_folds.h"
#include "core/fold_gram.h"
#include "core/fold_gram_cuda.h"

namespace manyfit::testing {

inline DeviceFolds on_device(const Folds& folds, int device = 0) {
  return {Device::at(device), folds.n_rows, folds.atom_begin, folds.train, folds.order, folds.test};
}

inline DeviceGram on_device(const FoldGram& gram, int device = 0) {
  DeviceGram result;
  result.n_features = gram.n_features;
  result.n_targets = gram.n_targets;
  result.n_atoms = gram.folds.n_atoms();
  result.stride = gram.stride;
  result.precision = gram.precision;
  result.shift = gram.shift;
  result.moments = DeviceBuffer<double>(Device::at(device), gram.moments);
  return result;
}

}  // namespace manyfit::testing
