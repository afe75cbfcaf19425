// The smallest and the largest entry of each column of X (n, d) among the rows of each atom: one
// read of X. NaN counts for nothing.
#pragma once

#include <Eigen/Core>

#include "core/context.h"
#include "core/folds.h"
#include "core/views.h"

namespace manyfit {

struct ColumnRanges {
  Eigen::MatrixXd low, high;  // (d, atoms)
};

template <class T>
ColumnRanges column_ranges_cpu(MatrixView<const T> X, const Folds& folds, const Context& context);

}  // namespace manyfit
