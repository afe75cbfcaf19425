// The atoms of some folds (folds.h) in device memory.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "core/device.h"

namespace manyfit {

struct DeviceFolds {
  int64_t n_rows = 0;
  std::vector<int64_t> atom_begin;   // (atoms + 1) positions in the order
  std::vector<int32_t> train, test;  // (splits, atoms) how often a split takes the atom's rows;
                                     // test may be empty where nobody asks for left-out rows
  DeviceBuffer<int64_t> order;       // (n_rows) rows sorted by atom; empty: 0, 1, 2, ...

  DeviceFolds(Device& device, int64_t rows, std::vector<int64_t> begin, std::vector<int32_t> times,
              const std::vector<int64_t>& positions, std::vector<int32_t> left_out = {})
      : n_rows(rows),
        atom_begin(std::move(begin)),
        train(std::move(times)),
        test(std::move(left_out)),
        order(device, positions),
        device_(&device) {}

  Device& device() const { return *device_; }
  int64_t n_atoms() const { return static_cast<int64_t>(atom_begin.size()) - 1; }
  int64_t n_splits() const { return static_cast<int64_t>(train.size()) / n_atoms(); }
  int32_t times(int64_t split, int64_t atom) const {
    return train[static_cast<size_t>(split * n_atoms() + atom)];
  }

 private:
  Device* device_;
};

}  // namespace manyfit
