#include "linear_model/multi_task_elastic_net.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "linear_problem.h"

namespace manyfit::testing {
namespace {

template <class T>
class MultiTaskTest : public ::testing::Test {};
TYPED_TEST_SUITE(MultiTaskTest, FloatTypes, TypeName);

// The definition on rows: blocks one by one, the residual in long double, very many times.
ReferenceModel reference_blocks(const Rows& rows, const DescentSettings& settings,
                                bool fit_intercept) {
  const int64_t d = rows.X.cols(), t = rows.Y.cols();
  const RealMatrix Z = design(rows.X, rows.w, fit_intercept);
  RealMatrix residual = design(rows.Y, rows.w, fit_intercept);
  const Real scale = static_cast<Real>(settings.alpha) * rows.w.sum();
  const Real l1 = scale * static_cast<Real>(settings.l1_ratio), l2 = scale - l1;
  ReferenceModel model{RealMatrix::Zero(d, t), RealVector::Zero(t)};
  for (int sweep = 0; sweep < 30000; ++sweep) {
    Real largest = 0;
    for (int64_t j = 0; j < d; ++j) {
      const Real square = Z.col(j).squaredNorm();
      if (square == 0) continue;
      const RealVector old = model.coef.row(j);
      const RealVector value = residual.transpose() * Z.col(j) + square * old;
      const Real norm = value.norm();
      const RealVector now = std::max(1 - l1 / norm, Real(0)) / (square + l2) * value;
      residual -= Z.col(j) * (now - old).transpose();
      model.coef.row(j) = now;
      largest = std::max(largest, (now - old).norm());
    }
    if (largest < 1e-17L) break;
  }
  if (fit_intercept)
    model.intercept =
        weighted_mean(rows.Y, rows.w) - model.coef.transpose() * weighted_mean(rows.X, rows.w);
  return model;
}

struct Plan {
  std::vector<LinearJob> jobs;
  std::vector<DescentSettings> settings;

  explicit Plan(int64_t n_splits, double times = 1,
                const std::vector<double>& ratios = {1.0, 0.4, 0.0}) {
    for (int64_t s = 0; s < n_splits; ++s)
      for (const bool fit_intercept : {true, false})
        for (const double l1_ratio : ratios)
          for (const double alpha : {0.02, 0.5, 0.1}) {
            DescentSettings each;
            each.alpha = times * alpha;
            each.l1_ratio = l1_ratio;
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
    EXPECT_EQ(population.converged(row, 0), 1);
    EXPECT_LE(population.gap(row, 0), population.tolerance(row, 0));
    const ReferenceModel expected =
        reference_blocks(problem.rows(splits[static_cast<size_t>(plan.jobs[b].split)].train),
                         plan.settings[b], plan.jobs[b].fit_intercept);
    expect_model(population.coef[b], population.intercept[b], expected, tolerance);
    for (int64_t j = 0; j < expected.coef.rows(); ++j)
      EXPECT_EQ((population.coef[b].row(j).array() != 0).any(),
                (expected.coef.row(j).array() != 0).any());
  }
}

TYPED_TEST(MultiTaskTest, GramAndColumnsGiveTheReference) {
  const int64_t n = 60, d = 8;
  std::vector<OwnedSplit> splits = k_fold(n, 2);
  splits.push_back(bootstrap(n, 1, 5)[0]);
  const Folds folds = folds_of(n, splits);
  for (const bool weighted : {false, true})
    for (const int64_t t : {1, 3}) {
      SCOPED_TRACE(::testing::Message() << weighted << t);
      const LinearProblem<TypeParam> problem(n, d, t, weighted);
      const Plan plan(static_cast<int64_t>(splits.size()), 3);
      expect_reference(
          multi_task_elastic_net_cpu(problem.gram(folds), plan.jobs, plan.settings, {}, Context(2)),
          problem, splits, plan, gram_tolerance<TypeParam>);
      expect_reference(
          multi_task_elastic_net_cpu(problem.X.view(), problem.Y.view(), view(problem.w), folds,
                                     plan.jobs, plan.settings, {}, Context(2)),
          problem, splits, plan, 1e-10);
    }
}

TYPED_TEST(MultiTaskTest, WideDataGrowAWorkingSet) {
  const int64_t n = 40, d = 120;
  const LinearProblem<TypeParam> problem(n, d, 2, false);
  const std::vector<OwnedSplit> splits = k_fold(n, 2);
  const Plan plan(2, 30, {1.0, 0.4});
  expect_reference(
      multi_task_elastic_net_cpu(problem.X.view(), problem.Y.view(), view(problem.w),
                                 folds_of(n, splits), plan.jobs, plan.settings, {}, Context(2)),
      problem, splits, plan, 1e-8);
}

// Sweeps alone would take very many: Newton's steps, of blocks that share a diagonal, arrive.
TEST(MultiTask, IllConditioned) {
  const int64_t n = 80;
  const auto problem = LinearProblem<double>::with_condition(n, 12, 4, 1e4);
  Plan plan(1);
  for (DescentSettings& each : plan.settings) {
    each.alpha *= 1e-6;
    each.tol = 1e-10;
  }
  const auto population =
      multi_task_elastic_net_cpu(problem.X.view(), problem.Y.view(), view(problem.w), all_rows(n),
                                 plan.jobs, plan.settings, {}, Context(2));
  const Rows rows = problem.all_rows();
  for (size_t b = 0; b < plan.jobs.size(); ++b) {
    SCOPED_TRACE(::testing::Message() << "job " << b);
    EXPECT_EQ(population.converged(static_cast<int64_t>(b), 0), 1);
    EXPECT_LT(population.sweeps(static_cast<int64_t>(b), 0), 200);
    // Where C_j is not zero: Z_j' (Y - Z C) = (l1 / |C_j| + l2) C_j.
    const RealMatrix Z = design(rows.X, rows.w, plan.jobs[b].fit_intercept);
    const RealMatrix Y = design(rows.Y, rows.w, plan.jobs[b].fit_intercept);
    const RealMatrix C = population.coef[b].cast<Real>();
    const RealMatrix gradient = Z.transpose() * (Y - Z * C);
    const Real scale = static_cast<Real>(plan.settings[b].alpha) * rows.w.sum();
    const Real l1 = scale * static_cast<Real>(plan.settings[b].l1_ratio), l2 = scale - l1;
    for (int64_t j = 0; j < C.rows(); ++j) {
      const Real norm = C.row(j).norm();
      if (norm == 0)
        EXPECT_LE(gradient.row(j).norm(), l1 * (1 + 1e-9L));
      else
        EXPECT_LT((gradient.row(j) - (l1 / norm + l2) * C.row(j)).norm(), 1e-11L * Y.norm());
    }
  }
}

TEST(MultiTask, OneSweepIsNotEnough) {
  const LinearProblem<double> problem(50, 10, 2, false);
  Plan plan(1);
  for (DescentSettings& each : plan.settings) {
    each.alpha = 1e-3;
    each.max_iter = 1;
  }
  const auto population = multi_task_elastic_net_cpu(problem.gram(all_rows(50)), plan.jobs,
                                                     plan.settings, {}, Context(2));
  EXPECT_EQ(population.converged(0, 0), 0);
  EXPECT_GT(population.gap(0, 0), population.tolerance(0, 0));
  EXPECT_EQ(population.sweeps(0, 0), 1);
}

TEST(MultiTask, ConstantAndRepeatedColumns) {
  LinearProblem<double> problem(50, 6, 2, false);
  for (int64_t i = 0; i < 50; ++i) {
    problem.X(i, 2) = 1e6;
    problem.X(i, 4) = problem.X(i, 3);
  }
  problem.set_targets();
  const Plan plan(1);
  const auto population = multi_task_elastic_net_cpu(problem.gram(all_rows(50)), plan.jobs,
                                                     plan.settings, {}, Context(2));
  for (size_t b = 0; b < 9; ++b) {  // those with an intercept
    EXPECT_TRUE(population.coef[b].row(2).isZero(0));
    EXPECT_EQ(population.converged(static_cast<int64_t>(b), 0), 1);
    EXPECT_TRUE(population.coef[b].allFinite());
  }
}

TEST(MultiTask, ConstantTargets) {
  LinearProblem<double> problem(50, 6, 2, false);
  for (int64_t i = 0; i < 50; ++i) problem.Y(i, 0) = problem.Y(i, 1) = 0;
  const Plan plan(1);
  const auto population = multi_task_elastic_net_cpu(problem.gram(all_rows(50)), plan.jobs,
                                                     plan.settings, {}, Context(2));
  for (size_t b = 0; b < plan.jobs.size(); ++b) {
    EXPECT_TRUE(population.coef[b].isZero(0));
    EXPECT_EQ(population.converged(static_cast<int64_t>(b), 0), 1);
  }
}

TEST(MultiTask, SameBitsForAnyNumberOfThreads) {
  const int64_t n = 60, d = 200;
  const LinearProblem<double> problem(n, d, 2, true);
  const Folds folds = folds_of(n, k_fold(n, 3));
  const Plan plan(3);
  const auto solve = [&](int threads) {
    return multi_task_elastic_net_cpu(problem.X.view(), problem.Y.view(), view(problem.w), folds,
                                      plan.jobs, plan.settings, {}, Context(threads));
  };
  const auto one = solve(1), three = solve(3);
  for (size_t b = 0; b < plan.jobs.size(); ++b) EXPECT_EQ(one.coef[b], three.coef[b]);
}

}  // namespace
}  // namespace manyfit::testing
