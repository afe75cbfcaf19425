// Moments of the rows that groups of jobs train on or leave out, as moments() of fold_gram.h, in
// the memory of a device.
#pragma once

#include <cstdint>
#include <vector>

#include "core/device.h"
#include "core/device_folds.h"
#include "core/fold_gram_cuda.h"

namespace manyfit {

// Jobs that train on the same rows with the same centring, or leave out the same rows.
struct RowGroup {
  int64_t split = 0;
  bool centred = true;
  bool left_out = false;
};

// g counts groups.
struct DeviceMoments {
  int64_t n_features = 0, n_targets = 0, n_groups = 0;
  DeviceBuffer<double> gram;             // (g, d, d) sum w (x - mean)(x - mean)', symmetric
  DeviceBuffer<double> cross;            // (g, t, d) sum w (x - mean)(y - target_mean)
  DeviceBuffer<double> mean;             // (g, d) weighted means, also when not centred
  DeviceBuffer<double> target_mean;      // (g, t)
  DeviceBuffer<double> target_squares;   // (g, t) sum w (y - target_mean)^2
  DeviceBuffer<double> shifted_squares;  // (g, d) sum w (x - shift)^2
  DeviceBuffer<double> weight;           // (g,) sum w
};

DeviceMoments moments_cuda(const DeviceGram& gram, const DeviceFolds& folds,
                           const std::vector<RowGroup>& groups);

}  // namespace manyfit
