// What the kernels are compared with: the definitions, written out in long double.
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <vector>

#include "core/folds.h"
#include "core/views.h"

namespace manyfit::testing {

using Real = long double;
using RealMatrix = Eigen::Matrix<Real, Eigen::Dynamic, Eigen::Dynamic>;
using RealVector = Eigen::Matrix<Real, Eigen::Dynamic, 1>;

// Rows as a split takes them, with their repetitions.
struct Rows {
  RealMatrix X;  // (n, d)
  RealMatrix Y;  // (n, t)
  RealVector w;  // (n,)
};
template <class T>
Rows rows_of(MatrixView<const T> X, MatrixView<const T> Y, VectorView<const T> w,
             const std::vector<int64_t>& rows);
template <class T>
Rows all_rows_of(MatrixView<const T> X, MatrixView<const T> Y, VectorView<const T> w);

// sum over rows of w a_i b_i', and the same of absolute values, which bounds its rounding.
struct Products {
  RealMatrix sum, absolute;
};
Products weighted_products(const RealMatrix& A, const RealMatrix& B, const RealVector& w);

RealVector weighted_mean(const RealMatrix& A, const RealVector& w);
RealMatrix minus(RealMatrix A, const RealVector& row);

// sqrt(w) (X - mean), or sqrt(w) X.
RealMatrix design(const RealMatrix& X, const RealVector& w, bool centred);

struct ReferenceSvd {
  RealMatrix u;  // (n, k)
  RealVector values;
  RealMatrix v;  // (d, k)
};
ReferenceSvd jacobi_svd(const RealMatrix& A);

// min sum w |y - X c - c0|^2 + alpha |c|^2 by the SVD; of least norm where alpha = 0.
struct ReferenceModel {
  RealMatrix coef;       // (d, t)
  RealVector intercept;  // (t,)
};
ReferenceModel reference_ridge(const Rows& rows, const RealVector& alpha, bool fit_intercept,
                               Real relative_cutoff = 1e-15L);

// Largest difference of two arrays, and that relative to the largest entry of the second.
template <class A, class B>
double distance(const Eigen::MatrixBase<A>& actual, const Eigen::MatrixBase<B>& expected) {
  if (actual.rows() != expected.rows() || actual.cols() != expected.cols()) return 1e300;
  if (actual.size() == 0) return 0;
  const Real largest =
      (actual.template cast<Real>() - expected.template cast<Real>()).cwiseAbs().maxCoeff();
  return largest == largest ? static_cast<double>(largest) : 1e300;
}
template <class A, class B>
double relative_distance(const Eigen::MatrixBase<A>& actual, const Eigen::MatrixBase<B>& expected) {
  if (expected.size() == 0) return distance(actual, expected);
  const auto scale = static_cast<double>(expected.template cast<Real>().cwiseAbs().maxCoeff());
  return distance(actual, expected) / (scale > 0 ? scale : 1);
}

// (n, d) with orthonormal columns.
RealMatrix orthonormal(int64_t n, int64_t d, uint64_t seed);
// (n, d) with singular values falling geometrically from 1 to 1 / condition.
RealMatrix conditioned(int64_t n, int64_t d, Real condition, uint64_t seed);

}  // namespace manyfit::testing
