// The accurate twin of the row Gram: for data with fewer rows than columns, the triangular factor R
// of
//   [shift, (X - 1 shift')'],   shift a provisional mean of each column,
// so that inner products of centred or uncentred rows are those of R's columns, without squaring
// the condition number. Splits take the columns of R that they train on. Computed in double. X (n,
// d); R (1 + n, 1 + n). About 2 d n^2 multiply-adds, one read of X. Source: Demmel, Grigori,
// Hoemmen, Langou: Communication-optimal parallel and sequential QR (2012), TSQR.
#pragma once

#include <Eigen/Core>
#include <vector>

#include "core/context.h"
#include "core/views.h"

namespace manyfit {

struct RowQR {
  std::vector<double> shift;  // (d,)
  Eigen::MatrixXd factor;     // (1 + n, 1 + n) upper triangle

  bool finite() const { return factor.allFinite(); }
};

template <class T>
RowQR row_qr_cpu(MatrixView<const T> X, const Context& context);

}  // namespace manyfit
