// Jobs that train on the same rows with the same centring, and so share all that does not depend on
// a penalty.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <utility>
#include <vector>

#include "core/context.h"
#include "core/linalg.h"
#include "core/spectrum.h"
#include "linear_model/ridge.h"

namespace manyfit {

struct LinearGroup {
  int64_t split;
  bool fit_intercept;
  std::vector<size_t> jobs;
};

inline std::vector<LinearGroup> grouped(const std::vector<LinearJob>& jobs) {
  std::map<std::pair<int64_t, bool>, size_t> places;
  std::vector<LinearGroup> groups;
  for (size_t b = 0; b < jobs.size(); ++b) {
    const auto [place, added] =
        places.try_emplace({jobs[b].split, jobs[b].fit_intercept}, groups.size());
    if (added) groups.push_back({jobs[b].split, jobs[b].fit_intercept, {}});
    groups[place->second].jobs.push_back(b);
  }
  return groups;
}

// Groups side by side on our threads, or one by one where each brings matrices that use the BLAS's.
inline void for_each_group(const std::vector<LinearGroup>& groups, int64_t matrix_size,
                           const Context& context,
                           const std::function<void(const LinearGroup&)>& task) {
  if (matrix_size >= kLargeMatrix) {
    for (const LinearGroup& group : groups) {
      context.check();
      task(group);
    }
    return;
  }
  context.parallel_for("linear models", static_cast<int64_t>(groups.size()),
                       [&](int64_t g) { task(groups[static_cast<size_t>(g)]); });
}

// False where centring cancelled so much of a column's squares that their rounding counts in what
// is left: a column that hardly varies within the split, but stands far from the shift.
inline bool keeps_digits(const Moments& moments, double penalty, double limit) {
  const auto left = moments.gram.diagonal().array() + penalty;
  return (moments.shifted_squares.array() + penalty <= limit * left).all();
}

}  // namespace manyfit
