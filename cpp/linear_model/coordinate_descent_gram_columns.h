// The columns of a split, known by its Gram.
#pragma once

#include <Eigen/Core>
#include <algorithm>
#include <cstdint>
#include <vector>

#include "core/fold_gram.h"
#include "linear_model/working_set_path.h"

namespace manyfit {

// A split's columns as its Gram tells them.
class GramColumns final : public ColumnSource {
 public:
  // Up to so many columns, all of them are in the working set from the start.
  static constexpr int64_t kSmallGram = 512;
  // Centring leaves so many roundings of a column's squares.
  static constexpr double kNoise = 64;

  GramColumns(const Moments& moments, double relative_rounding) : moments_(moments) {
    precision = relative_rounding;
    weight = moments.weight;
    cross = moments.cross;
    target_squares = moments.target_squares.cwiseMax(0.0);
    squares = moments.gram.diagonal();
    std::vector<int64_t> varying;
    for (int64_t j = 0; j < squares.size(); ++j) {
      if (squares(j) <= kNoise * precision * moments.shifted_squares(j)) {
        squares(j) = 0;
        cross.row(j).setZero();
      } else {
        varying.push_back(j);
      }
    }
    prepare();
    if (squares.size() <= kSmallGram) add(varying);
  }

  Residual gradient(int64_t target, const Eigen::VectorXd& coef, Eigen::VectorXd& g) override {
    g = cross.col(target);
    const Eigen::VectorXd q = g;
    double along_target = 0, along_gradient = 0;
    for (int64_t i = 0; i < coef.size(); ++i)
      if (coef(i) != 0) g -= coef(i) * moments_.gram.col(chosen[static_cast<size_t>(i)]);
    for (int64_t j = 0; j < g.size(); ++j)
      if (squares(j) == 0) g(j) = 0;
    for (int64_t i = 0; i < coef.size(); ++i) {
      along_target += coef(i) * q(chosen[static_cast<size_t>(i)]);
      along_gradient += coef(i) * g(chosen[static_cast<size_t>(i)]);
    }
    const double square = target_squares(target);
    return {std::max(square - along_target - along_gradient, 0.0), square - along_target};
  }

 private:
  void fill(int64_t first) override {
    for (int64_t j = first; j < static_cast<int64_t>(chosen.size()); ++j)
      for (int64_t i = 0; i <= j; ++i)
        gram(i, j) = moments_.gram(chosen[static_cast<size_t>(i)], chosen[static_cast<size_t>(j)]);
  }

  const Moments& moments_;
};

// Whether every column either kept its digits in centring, or does not vary at all.
inline bool told_by_gram(const Moments& moments, double precision, double limit) {
  for (int64_t j = 0; j < moments.gram.rows(); ++j) {
    const double left = moments.gram(j, j), before = moments.shifted_squares(j);
    if (left > GramColumns::kNoise * precision * before && left * limit < before) return false;
  }
  return moments.gram.allFinite() && moments.cross.allFinite() &&
         moments.target_squares.allFinite();
}

}  // namespace manyfit
