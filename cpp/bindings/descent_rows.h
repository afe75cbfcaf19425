// The table in which Python hands over fits by coordinate descent.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "bindings/views.h"
#include "core/errors.h"

namespace manyfit::bindings {

struct DescentRow {
  int64_t split;
  bool fit_intercept;
  double alpha, l1_ratio, tol;
  int64_t max_iter;
  bool positive;
  double seed;  // -1: coordinates in their order
  bool exact;
};

// settings (jobs, 9): as DescentRow has them.
inline std::vector<DescentRow> descent_rows(const py::array& settings, int64_t n_splits) {
  const auto view = matrix_view<double>(settings, "settings");
  if (view.cols != 9) throw InvalidInput("settings must have 9 columns");
  std::vector<DescentRow> rows;
  for (int64_t b = 0; b < view.rows; ++b) {
    const auto split = static_cast<int64_t>(view(b, 0));
    if (split < 0 || split >= n_splits)
      throw InvalidInput("splits must lie in [0, " + std::to_string(n_splits) + "), got " +
                         std::to_string(split));
    rows.push_back({split, view(b, 1) != 0, view(b, 2), view(b, 3), view(b, 4),
                    static_cast<int64_t>(view(b, 5)), view(b, 6) != 0, view(b, 7),
                    view(b, 8) != 0});
  }
  return rows;
}

}  // namespace manyfit::bindings
