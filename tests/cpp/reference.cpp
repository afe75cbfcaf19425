#include "reference.h"

#include <Eigen/QR>
#include <Eigen/SVD>
#include <cmath>
#include <numeric>

#include "tables.h"

namespace manyfit::testing {

template <class T>
Rows rows_of(MatrixView<const T> X, MatrixView<const T> Y, VectorView<const T> w,
             const std::vector<int64_t>& rows) {
  const auto n = static_cast<int64_t>(rows.size());
  Rows result{RealMatrix(n, X.cols), RealMatrix(n, Y.cols), RealVector::Ones(n)};
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < X.cols; ++j) result.X(i, j) = X(rows[i], j);
    for (int64_t k = 0; k < Y.cols; ++k) result.Y(i, k) = Y(rows[i], k);
    if (!w.empty()) result.w(i) = w[rows[i]];
  }
  return result;
}

template <class T>
Rows all_rows_of(MatrixView<const T> X, MatrixView<const T> Y, VectorView<const T> w) {
  std::vector<int64_t> rows(X.rows);
  std::iota(rows.begin(), rows.end(), int64_t{0});
  return rows_of(X, Y, w, rows);
}

template Rows rows_of(MatrixView<const float>, MatrixView<const float>, VectorView<const float>,
                      const std::vector<int64_t>&);
template Rows rows_of(MatrixView<const double>, MatrixView<const double>, VectorView<const double>,
                      const std::vector<int64_t>&);
template Rows all_rows_of(MatrixView<const float>, MatrixView<const float>,
                          VectorView<const float>);
template Rows all_rows_of(MatrixView<const double>, MatrixView<const double>,
                          VectorView<const double>);

Products weighted_products(const RealMatrix& A, const RealMatrix& B, const RealVector& w) {
  Products result{RealMatrix::Zero(A.cols(), B.cols()), RealMatrix::Zero(A.cols(), B.cols())};
  for (int64_t k = 0; k < B.cols(); ++k)
    for (int64_t j = 0; j < A.cols(); ++j)
      for (int64_t i = 0; i < A.rows(); ++i) {
        const Real product = w(i) * A(i, j) * B(i, k);
        result.sum(j, k) += product;
        result.absolute(j, k) += std::abs(product);
      }
  return result;
}

RealVector weighted_mean(const RealMatrix& A, const RealVector& w) {
  return (A.transpose() * w) / w.sum();
}

RealMatrix minus(RealMatrix A, const RealVector& row) {
  A.rowwise() -= row.transpose();
  return A;
}

RealMatrix design(const RealMatrix& X, const RealVector& w, bool centred) {
  RealMatrix result = centred ? minus(X, weighted_mean(X, w)) : X;
  result.array().colwise() *= w.array().sqrt();
  return result;
}

ReferenceSvd jacobi_svd(const RealMatrix& A) {
  const Eigen::JacobiSVD<RealMatrix> svd(A, Eigen::ComputeThinU | Eigen::ComputeThinV);
  return {svd.matrixU(), svd.singularValues(), svd.matrixV()};
}

ReferenceModel reference_ridge(const Rows& rows, const RealVector& alpha, bool fit_intercept,
                               Real relative_cutoff) {
  const ReferenceSvd svd = jacobi_svd(design(rows.X, rows.w, fit_intercept));
  const RealMatrix target = svd.u.transpose() * design(rows.Y, rows.w, fit_intercept);
  RealMatrix scaled = RealMatrix::Zero(target.rows(), target.cols());
  for (int64_t k = 0; k < target.cols(); ++k)
    for (int64_t i = 0; i < target.rows(); ++i) {
      const Real s = svd.values(i);
      if (s > relative_cutoff * svd.values(0)) scaled(i, k) = target(i, k) * s / (s * s + alpha(k));
    }
  ReferenceModel model{svd.v * scaled, RealVector::Zero(target.cols())};
  if (fit_intercept)
    model.intercept =
        weighted_mean(rows.Y, rows.w) - model.coef.transpose() * weighted_mean(rows.X, rows.w);
  return model;
}

RealMatrix orthonormal(int64_t n, int64_t d, uint64_t seed) {
  Random random(seed);
  RealMatrix A(n, d);
  for (Real& a : A.reshaped()) a = random.normal();
  const Eigen::HouseholderQR<RealMatrix> qr(A);
  return qr.householderQ() * RealMatrix::Identity(n, d);
}

RealMatrix conditioned(int64_t n, int64_t d, Real condition, uint64_t seed) {
  RealVector values(d);
  for (int64_t j = 0; j < d; ++j)
    values(j) = d > 1 ? std::pow(condition, -static_cast<Real>(j) / static_cast<Real>(d - 1)) : 1;
  return orthonormal(n, d, seed) * values.asDiagonal() * orthonormal(d, d, seed + 1).transpose();
}

}  // namespace manyfit::testing
