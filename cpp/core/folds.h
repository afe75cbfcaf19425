// Which rows each split trains and tests on, cut into atoms: sets of rows that every split treats
// alike. What is additive over rows (a Gram) is computed once per atom and summed for each split,
// so K folds cost one pass over the rows, and so do repeated, grouped, overlapping or bootstrapped
// splits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/views.h"

namespace manyfit {

struct Split {
  VectorView<const int64_t> train;  // row indices; a row may come several times
  VectorView<const int64_t> test;
};

// The atoms of a group of splits.
struct Folds {
  int64_t n_rows = 0;
  std::vector<int64_t> order;  // rows sorted by atom, ascending within one; empty: 0, 1, 2, ...
  std::vector<int64_t> atom_begin;   // (atoms + 1) positions in that order
  std::vector<int64_t> splits;       // which of the caller's splits
  std::vector<int32_t> train, test;  // (splits, atoms) how often a split takes the atom's rows

  bool operator==(const Folds&) const = default;

  int64_t n_atoms() const { return static_cast<int64_t>(atom_begin.size()) - 1; }
  int64_t n_splits() const { return static_cast<int64_t>(splits.size()); }
  int64_t row(int64_t position) const { return order.empty() ? position : order[position]; }
  // Rows a split trains on, repetitions counted.
  int64_t training_rows(int64_t split) const;
  // True where positions [begin, end) are consecutive rows.
  bool consecutive(int64_t begin, int64_t end) const {
    return order.empty() || row(end - 1) - row(begin) == end - 1 - begin;
  }
};

// One atom of all rows, one split that trains on it and tests on nothing.
Folds all_rows(int64_t n_rows);

// One split over `atoms` of the given sizes, which it takes so often.
Folds one_split(const std::vector<int64_t>& sizes, std::vector<int32_t> train,
                std::vector<int32_t> test);

// Splits gathered into groups of at most `max_atoms` atoms each (a group of one split is never
// divided). O(splits * rows). Throws InvalidInput for an index outside [0, n_rows) and for a split
// without training rows.
std::vector<Folds> make_folds(int64_t n_rows, const std::vector<Split>& splits, int64_t max_atoms);

}  // namespace manyfit
