#include "linear_model/dual.h"

#include <algorithm>
#include <cmath>

#include "linear_model/groups.h"

namespace manyfit {
namespace {

// Share of a target that is rounding: so much of it lies along the ones once it is centred.
constexpr double kNothing = 1e-13;

}  // namespace

template <class T>
DualData::DualData(const RowGram& gram, MatrixView<const T> Y, VectorView<const T> w,
                   const Folds& folds, int64_t split, bool centred)
    : centred_(centred) {
  std::vector<double> weights;
  for (int64_t a = 0; a < folds.n_atoms(); ++a) {
    const int32_t count = folds.train[split * folds.n_atoms() + a];
    for (int64_t i = folds.atom_begin[a]; count > 0 && i < folds.atom_begin[a + 1]; ++i) {
      rows_.push_back(folds.row(i));
      weights.push_back(count * (w.empty() ? 1.0 : static_cast<double>(w[folds.row(i)])));
    }
  }
  const int64_t n = static_cast<int64_t>(rows_.size()), t = Y.cols;
  // A copy: Eigen's sums depend on where in memory a vector begins, and its own begin at the same
  // place always.
  const Eigen::VectorXd weight = Eigen::Map<const Eigen::VectorXd>(weights.data(), n);
  const double total = weight.sum();
  root_ = weight.cwiseSqrt();
  products.resize(n, n);
  target.resize(n, t);
  for (int64_t j = 0; j < n; ++j)
    for (int64_t i = 0; i < n; ++i) products(i, j) = gram.products(rows_[i], rows_[j]);
  for (int64_t k = 0; k < t; ++k)
    for (int64_t i = 0; i < n; ++i) target(i, k) = static_cast<double>(Y(rows_[i], k));
  target_mean_.setZero(t);
  if (centred) {
    // About a provisional mean first: large targets lose nothing.
    const Eigen::RowVectorXd first = target.row(0);
    target.rowwise() -= first;
    const Eigen::RowVectorXd rest = weight.transpose() * target / total;
    target.rowwise() -= rest;
    target_mean_ = (first + rest).transpose();
    const Eigen::VectorXd means = products * weight / total;
    const double mean = means.dot(weight) / total;
    products.colwise() -= means;
    products.rowwise() -= (means.array() - mean).matrix().transpose();
  } else {
    Eigen::VectorXd along(n);
    for (int64_t i = 0; i < n; ++i) along(i) = gram.along_shift(rows_[i]);
    products.colwise() += along;
    products.rowwise() += (along.array() + gram.shift_square).matrix().transpose();
  }
  products.array().colwise() *= root_.array();
  products.array().rowwise() *= root_.transpose().array();
  target.array().colwise() *= root_.array();
}

bool DualData::solve(const Eigen::VectorXd& alpha, double limit, const Context& context,
                     Eigen::MatrixXd& a) const {
  for (int64_t k = 0; k < alpha.size(); ++k) {
    if (k > 0 && alpha(k) == alpha(k - 1)) continue;  // solved with the target before it
    int64_t same = 1;
    while (k + same < alpha.size() && alpha(k + same) == alpha(k)) ++same;
    Eigen::MatrixXd system = products;
    system.diagonal().array() += alpha(k);
    const Cholesky cholesky(std::move(system), context);
    if (!(cholesky.reciprocal_condition() * limit >= 1)) return false;
    Eigen::MatrixXd solution = target.middleCols(k, same);
    cholesky.solve(solution);
    a.middleCols(k, same) = solution;
  }
  return true;
}

Eigen::MatrixXd DualData::spread(const Eigen::MatrixXd& a, int64_t n) const {
  Eigen::MatrixXd result = Eigen::MatrixXd::Zero(n, a.cols());
  for (size_t i = 0; i < rows_.size(); ++i) result.row(rows_[i]) = root_(i) * a.row(i);
  return result;
}

template <class T>
Eigen::MatrixXd DualData::coefficients(MatrixView<const T> X, const std::vector<double>& shift,
                                       Eigen::MatrixXd weights, const Context& context) {
  const int64_t k = weights.cols();
  weights.conservativeResize(Eigen::NoChange, k + 1);
  weights.col(k) = spread(root_ / root_.squaredNorm(), X.rows);  // gives the mean
  const Eigen::RowVectorXd sums = weights.leftCols(k).colwise().sum();
  const Eigen::MatrixXd product = shifted_transpose_product(X, shift, weights, context);
  const Eigen::Map<const Eigen::VectorXd> origin(shift.data(), X.cols);
  mean_ = origin + product.col(k);
  if (centred_) return product.leftCols(k) - product.col(k) * sums;
  return product.leftCols(k) + origin * sums;
}

Eigen::VectorXd DualData::intercept(const Eigen::MatrixXd& coef) const {
  if (!centred_) return Eigen::VectorXd::Zero(coef.cols());
  return target_mean_ - coef.transpose() * mean_;
}

DualSpectrum::DualSpectrum(const DualData& data, double precision, const Context& context)
    : limit(condition_limit(precision)) {
  SymmetricEigen eigen = eigh(data.products, context);
  values = eigen.values.reverse();
  vectors = eigen.vectors.rowwise().reverse();
  noise = 10 * precision * static_cast<double>(values.size()) * values(0);
}

bool DualSpectrum::solve(const Eigen::VectorXd& alpha, const DualData& data,
                         Eigen::MatrixXd& a) const {
  bool reliable = true;
  Eigen::MatrixXd scaled = vectors.transpose() * data.target;
  for (int64_t k = 0; k < scaled.cols(); ++k) {
    const double nothing = kNothing * data.target.col(k).norm();
    for (int64_t i = 0; i < scaled.rows(); ++i) {
      if (values(i) <= noise && (alpha(k) == 0 || std::abs(scaled(i, k)) <= nothing)) {
        scaled(i, k) = 0;
        continue;
      }
      const double value = std::max(values(i), 0.0) + alpha(k);
      if (values(0) + alpha(k) > limit * value) reliable = false;
      scaled(i, k) /= value;
    }
  }
  a = vectors * scaled;
  return reliable;
}

template DualData::DualData(const RowGram&, MatrixView<const float>, VectorView<const float>,
                            const Folds&, int64_t, bool);
template DualData::DualData(const RowGram&, MatrixView<const double>, VectorView<const double>,
                            const Folds&, int64_t, bool);
template Eigen::MatrixXd DualData::coefficients(MatrixView<const float>, const std::vector<double>&,
                                                Eigen::MatrixXd, const Context&);
template Eigen::MatrixXd DualData::coefficients(MatrixView<const double>,
                                                const std::vector<double>&, Eigen::MatrixXd,
                                                const Context&);

}  // namespace manyfit
