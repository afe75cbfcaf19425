// Inner products of the rows, for data with fewer rows than columns:
//   K = (X - 1 shift') (X - 1 shift')',   shift a provisional mean of each column.
// X (n, d); K (n, n). Splits take the rows and columns of K that they train on; centring is algebra
// on K. n^2 d / 2 multiply-adds, summed over tiles of columns in X's type and carried on in double.
#pragma once

#include <Eigen/Core>
#include <vector>

#include "core/context.h"
#include "core/views.h"

namespace manyfit {

struct RowGram {
  double precision = 0;         // relative rounding of an entry of K
  std::vector<double> shift;    // (d,)
  Eigen::MatrixXd products;     // (n, n), both triangles
  Eigen::VectorXd along_shift;  // (n,) (x_i - shift) . shift
  double shift_square = 0;      // shift . shift

  bool finite() const { return products.diagonal().allFinite(); }
};

template <class T>
RowGram row_gram_cpu(MatrixView<const T> X, const Context& context);

// (X - 1 shift')' A, for A (n, k): (d, k).
template <class T>
Eigen::MatrixXd shifted_transpose_product(MatrixView<const T> X, const std::vector<double>& shift,
                                          const Eigen::MatrixXd& A, const Context& context);

}  // namespace manyfit
