// What the CPU prepared, in the memory of the simulated device, and how much that has.
#pragma once

#include <cstdint>
#include <vector>

#include "core/device_folds.h"
#include "core/device_simulated.h"
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

// Bytes of the simulated device's memory beside what is used already, while a test lasts.
struct Memory {
  explicit Memory(int64_t bytes) { set_simulated_memory(simulated_memory_used() + bytes); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  ~Memory() { set_simulated_memory(int64_t{1} << 30); }
};

}  // namespace manyfit::testing
