// Data for the linear models' tests, and the forms made from it.
#pragma once

#include <gtest/gtest.h>

#include <Eigen/Core>
#include <cmath>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/context.h"
#include "core/fold_gram.h"
#include "core/fold_qr.h"
#include "core/row_gram.h"
#include "core/row_qr.h"
#include "linear_model/ridge.h"
#include "reference.h"
#include "tables.h"

namespace manyfit::testing {

// Of well-conditioned coefficients from a Gram in T.
template <class T>
inline constexpr double gram_tolerance = std::is_same_v<T, float> ? 2e-5 : 1e-11;

template <class T>
struct LinearProblem {
  Table<T> X, Y;
  std::vector<T> w;

  LinearProblem(int64_t n, int64_t d, int64_t t, bool weighted, double mean = 0.7)
      : X(normal_table<T>(n, d, 1, Layout::c, mean)),
        Y(n, t),
        w(weighted ? random_weights<T>(n, 3) : std::vector<T>()) {
    set_targets();
  }

  // Singular values of X fall from 1 to 1 / condition; with `transposed` those of X' and X is wide.
  static LinearProblem with_condition(int64_t n, int64_t d, int64_t t, double condition,
                                      bool transposed = false) {
    const RealMatrix exact = conditioned(n, d, condition, 17);
    LinearProblem problem(transposed ? d : n, transposed ? n : d, t, false);
    for (int64_t i = 0; i < problem.X.rows(); ++i)
      for (int64_t j = 0; j < problem.X.cols(); ++j)
        problem.X(i, j) = static_cast<T>(transposed ? exact(j, i) : exact(i, j));
    problem.set_targets();
    return problem;
  }

  // y = x . c + noise + 2
  void set_targets() {
    Random random(7);
    for (int64_t k = 0; k < Y.cols(); ++k) {
      std::vector<double> c(X.cols());
      for (double& value : c) value = random.normal();
      for (int64_t i = 0; i < X.rows(); ++i) {
        double y = 2 + 0.1 * random.normal();
        for (int64_t j = 0; j < X.cols(); ++j) y += c[j] * static_cast<double>(X(i, j));
        Y(i, k) = static_cast<T>(y);
      }
    }
  }

  Rows rows(const std::vector<int64_t>& indices) const {
    return rows_of(X.view(), Y.view(), view(w), indices);
  }
  Rows all_rows() const { return all_rows_of(X.view(), Y.view(), view(w)); }

  FoldGram gram(Folds folds, int threads = 2) const {
    return fold_gram_cpu(X.view(), Y.view(), view(w), std::move(folds), Context(threads));
  }
  FoldQR qr(Folds folds, int threads = 2) const {
    return fold_qr_cpu(X.view(), Y.view(), view(w), std::move(folds), Context(threads));
  }
  RowGram row_gram(int threads = 2) const { return row_gram_cpu(X.view(), Context(threads)); }
  RowQR row_qr(int threads = 2) const { return row_qr_cpu(X.view(), Context(threads)); }
  template <class RowForm>
  LinearPopulation dual_ridge(const RowForm& form, const Folds& folds,
                              const std::vector<LinearJob>& jobs, const Eigen::MatrixXd& alpha,
                              int threads = 2) const {
    return ridge_cpu(form, X.view(), Y.view(), view(w), folds, jobs, alpha, Context(threads));
  }
};

inline void expect_model(const Eigen::MatrixXd& coef, const Eigen::VectorXd& intercept,
                         const ReferenceModel& expected, double tolerance) {
  EXPECT_LT(relative_distance(coef, expected.coef), tolerance);
  const Real scale =
      std::max<Real>(expected.intercept.cwiseAbs().maxCoeff(), expected.coef.cwiseAbs().maxCoeff());
  EXPECT_LT(distance(intercept, expected.intercept),
            tolerance * static_cast<double>(std::max<Real>(scale, 1)));
}

}  // namespace manyfit::testing
