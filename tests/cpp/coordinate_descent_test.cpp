#include "linear_model/coordinate_descent.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "linear_problem.h"

namespace manyfit::testing {
namespace {

template <class T>
class DescentTest : public ::testing::Test {};
TYPED_TEST_SUITE(DescentTest, FloatTypes, TypeName);

// The definition on rows: coordinates one by one, the residual in long double, very many times.
ReferenceModel reference_descent(const Rows& rows, const DescentSettings& settings,
                                 bool fit_intercept) {
  const int64_t d = rows.X.cols(), t = rows.Y.cols();
  const RealMatrix Z = design(rows.X, rows.w, fit_intercept);
  const RealMatrix Y = design(rows.Y, rows.w, fit_intercept);
  const Real scale = static_cast<Real>(settings.alpha) * rows.w.sum();
  const Real l1 = scale * static_cast<Real>(settings.l1_ratio), l2 = scale - l1;
  ReferenceModel model{RealMatrix::Zero(d, t), RealVector::Zero(t)};
  for (int64_t k = 0; k < t; ++k) {
    RealVector residual = Y.col(k);
    for (int sweep = 0; sweep < 30000; ++sweep) {
      Real largest = 0;
      for (int64_t j = 0; j < d; ++j) {
        const Real square = Z.col(j).squaredNorm(), old = model.coef(j, k);
        if (square == 0) continue;
        const Real value = Z.col(j).dot(residual) + old * square;
        Real now = std::max(value - l1, Real(0));
        if (!settings.positive) now -= std::max(-value - l1, Real(0));
        now /= square + l2;
        residual -= (now - old) * Z.col(j);
        model.coef(j, k) = now;
        largest = std::max(largest, std::abs(now - old));
      }
      if (largest < 1e-17L) break;
    }
  }
  if (fit_intercept)
    model.intercept =
        weighted_mean(rows.Y, rows.w) - model.coef.transpose() * weighted_mean(rows.X, rows.w);
  return model;
}

struct Plan {
  std::vector<LinearJob> jobs;
  std::vector<DescentSettings> settings;

  explicit Plan(int64_t n_splits, bool positive = false) {
    for (int64_t s = 0; s < n_splits; ++s)
      for (const bool fit_intercept : {true, false})
        for (const double l1_ratio : {1.0, 0.4})
          for (const double alpha : {0.02, 0.5, 0.1}) {
            DescentSettings each;
            each.alpha = alpha;
            each.l1_ratio = l1_ratio;
            each.positive = positive;
            jobs.push_back({s, fit_intercept});
            settings.push_back(each);
          }
  }
};

template <class T>
void expect_reference(const DescentPopulation& population, const LinearProblem<T>& problem,
                      const std::vector<OwnedSplit>& splits, const Plan& plan, double tolerance) {
  for (size_t b = 0; b < plan.jobs.size(); ++b) {
    SCOPED_TRACE(::testing::Message() << "job " << b);
    EXPECT_TRUE(population.reliable[b]);
    const auto row = static_cast<int64_t>(b);
    for (int64_t k = 0; k < problem.Y.cols(); ++k) {
      EXPECT_EQ(population.converged(row, k), 1);
      EXPECT_LE(population.gap(row, k), population.tolerance(row, k));
    }
    expect_model(
        population.coef[b], population.intercept[b],
        reference_descent(problem.rows(splits[static_cast<size_t>(plan.jobs[b].split)].train),
                          plan.settings[b], plan.jobs[b].fit_intercept),
        tolerance);
  }
}

TYPED_TEST(DescentTest, GramAndColumnsGiveTheReference) {
  const int64_t n = 60, d = 8, t = 2;
  std::vector<OwnedSplit> splits = k_fold(n, 2);
  splits.push_back(bootstrap(n, 1, 5)[0]);
  const Folds folds = folds_of(n, splits);
  for (const bool weighted : {false, true})
    for (const bool positive : {false, true}) {
      SCOPED_TRACE(::testing::Message() << weighted << positive);
      const LinearProblem<TypeParam> problem(n, d, t, weighted);
      const Plan plan(static_cast<int64_t>(splits.size()), positive);
      expect_reference(
          coordinate_descent_cpu(problem.gram(folds), plan.jobs, plan.settings, {}, Context(2)),
          problem, splits, plan, gram_tolerance<TypeParam>);
      expect_reference(coordinate_descent_cpu(problem.X.view(), problem.Y.view(), view(problem.w),
                                              folds, plan.jobs, plan.settings, {}, Context(2)),
                       problem, splits, plan, 1e-10);
    }
}

TYPED_TEST(DescentTest, WideDataGrowAWorkingSet) {
  const int64_t n = 40, d = 150;
  const LinearProblem<TypeParam> problem(n, d, 1, false);
  const std::vector<OwnedSplit> splits = k_fold(n, 2);
  Plan plan(2);
  for (DescentSettings& each : plan.settings) each.alpha *= 10;
  expect_reference(
      coordinate_descent_cpu(problem.X.view(), problem.Y.view(), view(problem.w),
                             folds_of(n, splits), plan.jobs, plan.settings, {}, Context(2)),
      problem, splits, plan, 1e-8);
}

// A support of nearly as many columns as rows, for which sweeps alone would need thousands: held
// against the conditions of the minimum.
TYPED_TEST(DescentTest, SmallPenaltyOnWideData) {
  const int64_t n = 60, d = 600;
  const LinearProblem<TypeParam> problem(n, d, 1, true);
  const Rows rows = problem.all_rows();
  const RealMatrix Z = design(rows.X, rows.w, true), y = design(rows.Y, rows.w, true);
  for (const double l1_ratio : {1.0, 0.999})
    for (const bool positive : {false, true}) {
      SCOPED_TRACE(::testing::Message() << l1_ratio << positive);
      DescentSettings settings;
      settings.alpha = 1e-3;
      settings.l1_ratio = l1_ratio;
      settings.positive = positive;
      const DescentPopulation population =
          coordinate_descent_cpu(problem.X.view(), problem.Y.view(), view(problem.w), all_rows(n),
                                 {{0, true}}, {settings}, {}, Context(2));
      EXPECT_EQ(population.converged(0, 0), 1);
      const RealMatrix coef = population.coef[0].template cast<Real>();
      const Real scale = static_cast<Real>(settings.alpha) * rows.w.sum();
      const Real l1 = scale * static_cast<Real>(l1_ratio);
      const RealMatrix g = Z.transpose() * (y - Z * coef) - (scale - l1) * coef;
      const Real tolerance = 1e-9L * (Z.transpose() * y).cwiseAbs().maxCoeff();
      for (int64_t j = 0; j < d; ++j) {
        if (coef(j, 0) != 0)
          EXPECT_NEAR(g(j, 0), coef(j, 0) > 0 ? l1 : -l1, tolerance);
        else
          EXPECT_LE(positive ? g(j, 0) : std::abs(g(j, 0)), l1 + tolerance);
      }
      const auto support = (coef.array() != 0).count();
      EXPECT_GT(support, positive ? 5 : n / 2);
    }
}

TEST(Descent, OneSweepIsNotEnough) {
  const LinearProblem<double> problem(50, 10, 1, false);
  Plan plan(1);
  for (DescentSettings& each : plan.settings) {
    each.alpha = 1e-3;
    each.max_iter = 1;
  }
  const auto population =
      coordinate_descent_cpu(problem.gram(all_rows(50)), plan.jobs, plan.settings, {}, Context(2));
  EXPECT_EQ(population.converged(0, 0), 0);
  EXPECT_GT(population.gap(0, 0), population.tolerance(0, 0));
  EXPECT_EQ(population.sweeps(0, 0), 1);
}

TEST(Descent, ConstantAndRepeatedColumns) {
  LinearProblem<double> problem(50, 6, 1, false);
  for (int64_t i = 0; i < 50; ++i) {
    problem.X(i, 2) = 1e6;
    problem.X(i, 4) = problem.X(i, 3);
  }
  problem.set_targets();
  const Plan plan(1);
  const auto population =
      coordinate_descent_cpu(problem.gram(all_rows(50)), plan.jobs, plan.settings, {}, Context(2));
  for (size_t b = 0; b < 6; ++b) {  // those with an intercept
    EXPECT_EQ(population.coef[b](2, 0), 0);
    EXPECT_EQ(population.converged(static_cast<int64_t>(b), 0), 1);
    const Eigen::VectorXd coef = population.coef[b].col(0);
    EXPECT_TRUE(coef.allFinite());
  }
}

TEST(Descent, SameBitsForAnyNumberOfThreads) {
  const int64_t n = 60, d = 200;
  const LinearProblem<double> problem(n, d, 1, true);
  const Folds folds = folds_of(n, k_fold(n, 3));
  const Plan plan(3);
  const auto solve = [&](int threads) {
    return coordinate_descent_cpu(problem.X.view(), problem.Y.view(), view(problem.w), folds,
                                  plan.jobs, plan.settings, {}, Context(threads));
  };
  const auto one = solve(1), three = solve(3);
  for (size_t b = 0; b < plan.jobs.size(); ++b) EXPECT_EQ(one.coef[b], three.coef[b]);
}

}  // namespace
}  // namespace manyfit::testing
