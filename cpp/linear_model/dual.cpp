#include "linear_model/dual.h"

#include <algorithm>
#include <cmath>

#include "core/linalg.h"

namespace manyfit {
namespace {

// Share of a target that is rounding: so much of it lies along the ones once it is centred.
constexpr double kNothing = 1e-13;

// Beyond these singular values their squares leave the range of a double.
constexpr double kSmallest = 1e-140, kLargest = 1e140;

}  // namespace

template <class T>
DualData::DualData(MatrixView<const T> Y, VectorView<const T> w, const Folds& folds, int64_t split,
                   bool centred)
    : rows(w, folds, split, centred) {
  target_.resize(rows.size(), Y.cols);
  for (int64_t k = 0; k < Y.cols; ++k)
    for (int64_t i = 0; i < rows.size(); ++i)
      target_(i, k) = static_cast<double>(Y(rows.rows[i], k));
  target_mean_.setZero(Y.cols);
  if (centred) {
    // About a provisional mean first: large targets lose nothing.
    const Eigen::RowVectorXd first = target_.row(0);
    target_.rowwise() -= first;
    const Eigen::RowVectorXd rest = rows.weight.transpose() * target_ / rows.weight.sum();
    target_.rowwise() -= rest;
    target_mean_ = (first + rest).transpose();
  }
  target_.array().colwise() *= rows.root.array();
}

bool DualData::solve(const Eigen::MatrixXd& products, const Eigen::VectorXd& alpha, double limit,
                     const Context& context, Eigen::MatrixXd& a) const {
  a.resize(rows.size(), alpha.size());
  Eigen::MatrixXd base = products;
  if (rows.centred) {
    // Along the roots of the weights centred rows have nothing, nor has the target. With something
    // there the solution is the same and that direction does not count as ill-conditioned.
    const double typical = products.trace() / static_cast<double>(rows.size());
    base += typical / rows.weight.sum() * rows.root * rows.root.transpose();
  }
  for (int64_t k = 0; k < alpha.size(); ++k) {
    if (k > 0 && alpha(k) == alpha(k - 1)) continue;  // solved with the target before it
    int64_t same = 1;
    while (k + same < alpha.size() && alpha(k + same) == alpha(k)) ++same;
    Eigen::MatrixXd system = base;
    system.diagonal().array() += alpha(k);
    const Cholesky cholesky(std::move(system), context);
    if (!(cholesky.reciprocal_condition() * limit >= 1)) return false;
    Eigen::MatrixXd solution = target_.middleCols(k, same);
    cholesky.solve(solution);
    a.middleCols(k, same) = solution;
  }
  return true;
}

bool DualData::solve(const RowSpectrum& spectrum, const Eigen::VectorXd& alpha, double cutoff,
                     Eigen::MatrixXd& a) const {
  const double largest = spectrum.values(0), zero = std::max(spectrum.noise, cutoff);
  const bool in_range = largest == 0 || (largest > kSmallest && largest < kLargest);
  // Rows without weight, and one more where they are centred, are zeros for certain.
  const int64_t zeros = (rows.weight.array() == 0).count() + (rows.centred ? 1 : 0);
  const bool rank_known = std::isinf(spectrum.limit) || spectrum.noise <= cutoff ||
                          (spectrum.values.array() <= zero).count() <= zeros;
  bool reliable = in_range;
  Eigen::MatrixXd scaled = spectrum.u.transpose() * target_;
  for (int64_t k = 0; k < scaled.cols(); ++k) {
    const double nothing = kNothing * target_.col(k).norm();
    if (alpha(k) == 0 && !rank_known) reliable = false;
    for (int64_t i = 0; i < scaled.rows(); ++i) {
      const double s = spectrum.values(i), value = s * s + alpha(k);
      // Also beside a penalty a direction without a share of the target has none in the solution.
      if (alpha(k) == 0 ? s <= zero : s <= spectrum.noise && std::abs(scaled(i, k)) <= nothing) {
        scaled(i, k) = 0;
        continue;
      }
      if (largest * largest + alpha(k) > spectrum.limit * value) reliable = false;
      scaled(i, k) /= value;
    }
  }
  a = spectrum.u * scaled;
  return reliable;
}

Eigen::VectorXd DualData::intercept(const Eigen::MatrixXd& coef,
                                    const Eigen::VectorXd& mean) const {
  if (!rows.centred) return Eigen::VectorXd::Zero(coef.cols());
  return target_mean_ - coef.transpose() * mean;
}

template DualData::DualData(MatrixView<const float>, VectorView<const float>, const Folds&, int64_t,
                            bool);
template DualData::DualData(MatrixView<const double>, VectorView<const double>, const Folds&,
                            int64_t, bool);

}  // namespace manyfit
