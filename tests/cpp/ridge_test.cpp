#include "linear_model/ridge.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "linear_model/groups.h"
#include "linear_problem.h"
#include "patience.h"

namespace manyfit::testing {
namespace {

template <class T>
class RidgeTest : public ::testing::Test {};
TYPED_TEST_SUITE(RidgeTest, FloatTypes, TypeName);

// Every job of a population against the reference on the rows its split trains on.
template <class T>
void expect_models(const LinearPopulation& population, const LinearProblem<T>& problem,
                   const std::vector<OwnedSplit>& splits, const std::vector<LinearJob>& jobs,
                   const Eigen::MatrixXd& alpha, double tolerance) {
  ASSERT_EQ(population.coef.size(), jobs.size());
  for (size_t b = 0; b < jobs.size(); ++b) {
    SCOPED_TRACE(::testing::Message() << "job " << b << ", split " << jobs[b].split
                                      << (jobs[b].fit_intercept ? "" : ", no intercept")
                                      << ", alpha " << alpha.row(static_cast<int64_t>(b)));
    EXPECT_TRUE(population.reliable[b]);
    const RealVector penalty = alpha.row(static_cast<int64_t>(b)).transpose().cast<Real>();
    const ReferenceModel expected =
        reference_ridge(problem.rows(splits[jobs[b].split].train), penalty, jobs[b].fit_intercept);
    expect_model(population.coef[b], population.intercept[b], expected, tolerance);
  }
}

// 12 penalties, one of them per target, with and without intercept, in every split.
struct Sweep {
  std::vector<LinearJob> jobs;
  Eigen::MatrixXd alpha;

  Sweep(int64_t n_splits, int64_t targets, int64_t penalties, double least = 1e-2) {
    for (int64_t s = 0; s < n_splits; ++s)
      for (const bool fit_intercept : {true, false})
        for (int64_t i = 0; i < penalties; ++i) jobs.push_back({s, fit_intercept});
    alpha.resize(static_cast<int64_t>(jobs.size()), targets);
    for (int64_t b = 0; b < alpha.rows(); ++b)
      for (int64_t k = 0; k < targets; ++k)
        alpha(b, k) = least * std::pow(3, static_cast<double>(b % penalties)) *
                      (b % penalties == 1 ? 1.0 + static_cast<double>(k) : 1.0);
  }
};

std::vector<OwnedSplit> mixed_splits(int64_t n) {
  std::vector<OwnedSplit> splits = k_fold(n, 3);
  for (OwnedSplit& split : bootstrap(n, 2, 5)) splits.push_back(std::move(split));
  return splits;
}

TYPED_TEST(RidgeTest, GramAndFactorGiveTheReference) {
  const int64_t n = 150, d = 8, t = 3;
  const auto splits = mixed_splits(n);
  const auto count = static_cast<int64_t>(splits.size());
  for (const bool weighted : {false, true})
    for (const int64_t penalties : {2, 12}) {  // Cholesky each, a shared decomposition
      SCOPED_TRACE(::testing::Message() << penalties << (weighted ? " weighted" : ""));
      const LinearProblem<TypeParam> problem(n, d, t, weighted);
      const Sweep sweep(count, t, penalties);
      const Context context(2);
      const Folds folds = folds_of(n, splits);
      expect_models(ridge_cpu(problem.gram(folds), sweep.jobs, sweep.alpha, context), problem,
                    splits, sweep.jobs, sweep.alpha, gram_tolerance<TypeParam>);
      expect_models(ridge_cpu(problem.qr(folds), sweep.jobs, sweep.alpha, context), problem, splits,
                    sweep.jobs, sweep.alpha, 1e-12);
    }
}

TYPED_TEST(RidgeTest, DualGivesTheReference) {
  const int64_t n = 24, d = 40, t = 3;
  const auto splits = mixed_splits(n);
  const auto count = static_cast<int64_t>(splits.size());
  for (const bool weighted : {false, true})
    for (const int64_t penalties : {2, 12}) {
      SCOPED_TRACE(::testing::Message() << penalties << (weighted ? " weighted" : ""));
      const LinearProblem<TypeParam> problem(n, d, t, weighted);
      const Sweep sweep(count, t, penalties, 20);
      const Folds folds = folds_of(n, splits);
      expect_models(problem.dual_ridge(problem.row_gram(), folds, sweep.jobs, sweep.alpha), problem,
                    splits, sweep.jobs, sweep.alpha, gram_tolerance<TypeParam>);
      expect_models(problem.dual_ridge(problem.row_qr(), folds, sweep.jobs, sweep.alpha), problem,
                    splits, sweep.jobs, sweep.alpha, 1e-12);
    }
}

TYPED_TEST(RidgeTest, DualEqualsPrimal) {
  const int64_t n = 60, d = 20, t = 2;
  const LinearProblem<TypeParam> problem(n, d, t, true);
  const auto splits = mixed_splits(n);
  const Sweep sweep(static_cast<int64_t>(splits.size()), t, 3, 5);
  const Folds folds = folds_of(n, splits);
  const auto primal = ridge_cpu(problem.gram(folds), sweep.jobs, sweep.alpha, Context(2));
  const auto dual = problem.dual_ridge(problem.row_gram(), folds, sweep.jobs, sweep.alpha);
  for (size_t b = 0; b < sweep.jobs.size(); ++b) {
    ASSERT_TRUE(primal.reliable[b] && dual.reliable[b]);
    EXPECT_LT(relative_distance(dual.coef[b], primal.coef[b]), 2 * gram_tolerance<TypeParam>);
    EXPECT_LT(distance(dual.intercept[b], primal.intercept[b]), 2 * gram_tolerance<TypeParam>);
  }
}

// A job's answer does not depend on what else is asked for, but for rounding.
TYPED_TEST(RidgeTest, SweepEqualsSeparateFits) {
  const int64_t n = 150, d = 8, t = 2;
  const LinearProblem<TypeParam> problem(n, d, t, false);
  const auto splits = k_fold(n, 3);
  const Sweep sweep(3, t, 12);
  const FoldGram gram = problem.gram(folds_of(n, splits));
  const auto together = ridge_cpu(gram, sweep.jobs, sweep.alpha, Context(2));
  for (size_t b = 0; b < sweep.jobs.size(); ++b) {
    const auto alone =
        ridge_cpu(gram, {sweep.jobs[b]}, sweep.alpha.row(static_cast<int64_t>(b)), Context(2));
    EXPECT_LT(relative_distance(together.coef[b], alone.coef[0]), 1e-12);
    EXPECT_LT(distance(together.intercept[b], alone.intercept[0]), 1e-12);
  }
}

TYPED_TEST(RidgeTest, NoPenaltyIsLeastSquaresOfLeastNorm) {
  const Eigen::MatrixXd none = Eigen::MatrixXd::Zero(2, 2);
  const std::vector<LinearJob> jobs = {{0, true}, {0, false}};
  const LinearProblem<TypeParam> tall(60, 5, 2, true);
  const std::vector<OwnedSplit> splits = k_fold(60, 2);
  expect_models(ridge_cpu(tall.gram(folds_of(60, splits)), jobs, none, Context(2)), tall, splits,
                jobs, none, gram_tolerance<TypeParam>);
  expect_models(ridge_cpu(tall.qr(folds_of(60, splits)), jobs, none, Context(2)), tall, splits,
                jobs, none, 1e-12);
  const LinearProblem<TypeParam> wide(30, 80, 2, false);
  const std::vector<OwnedSplit> few = k_fold(30, 2);
  expect_models(wide.dual_ridge(wide.row_gram(), folds_of(30, few), jobs, none), wide, few, jobs,
                none, gram_tolerance<TypeParam>);
  expect_models(wide.dual_ridge(wide.row_qr(), folds_of(30, few), jobs, none), wide, few, jobs,
                none, 1e-12);
  // Rank 3 of 6: the factor's minimum-norm answer.
  LinearProblem<TypeParam> deficient(60, 6, 2, false);
  for (int64_t i = 0; i < 60; ++i)
    for (int64_t j = 3; j < 6; ++j) deficient.X(i, j) = 2 * deficient.X(i, j - 3);
  expect_models(ridge_cpu(deficient.qr(folds_of(60, splits)), jobs, none, Context(2)), deficient,
                splits, jobs, none, 1e-12);
}

// Whoever answers as reliable is right, and whoever could have answered does.
TYPED_TEST(RidgeTest, SaysWhereTheGramWouldLoseDigits) {
  using T = TypeParam;
  const int64_t n = 200, d = 6;
  const double limit = condition_limit(std::is_same_v<T, float> ? 1e-8 : 2.2e-16);
  int refused = 0, accepted = 0;
  for (const double condition : {1e0, 1e1, 3e1, 1e2, 1e3, 1e4, 1e6, 1e9}) {
    const LinearProblem<T> problem = LinearProblem<T>::with_condition(n, d, 1, condition);
    const FoldGram gram = problem.gram(all_rows(n));
    const double largest = moments(gram, 0, Part::train, true).gram.norm();
    for (const double relative : {0.0, 1e-16, 1e-10, 1e-4}) {
      for (const size_t copies : {size_t{1}, size_t{9}}) {  // directly, by the shared decomposition
        SCOPED_TRACE(::testing::Message() << "condition " << condition << ", penalty " << relative);
        const double alpha = relative * largest;
        const std::vector<LinearJob> jobs(copies, {0, true});
        const auto population =
            ridge_cpu(gram, jobs, Eigen::MatrixXd::Constant(copies, 1, alpha), Context(2));
        // Of the Gram with its penalty; scaling may make it a little better than that.
        const double square = (1 + relative) / (1 / condition / condition + relative);
        if (square < limit / 20) {
          EXPECT_TRUE(population.reliable[0]);
        }
        if (square > limit * 20) {
          EXPECT_FALSE(population.reliable[0]);
        }
        ++(population.reliable[0] ? accepted : refused);
        const ReferenceModel expected =
            reference_ridge(problem.all_rows(), RealVector::Constant(1, alpha), true, 1e-18L);
        if (population.reliable[0])
          expect_model(population.coef[0], population.intercept[0], expected,
                       std::is_same_v<T, float> ? 1e-3 : 1e-8);
      }
    }
  }
  EXPECT_GT(refused, 10);
  EXPECT_GT(accepted, 10);
}

// Units are no ill condition.
TYPED_TEST(RidgeTest, ColumnsOfVeryDifferentScaleAreReliable) {
  using T = TypeParam;
  LinearProblem<T> problem(200, 4, 1, false);
  for (int64_t i = 0; i < 200; ++i)
    for (int64_t j = 0; j < 4; ++j)
      problem.X(i, j) *= static_cast<T>(std::ldexp(1.0, static_cast<int>(12 * j - 20)));
  const auto population =
      ridge_cpu(problem.gram(all_rows(200)), {{0, true}}, Eigen::MatrixXd::Zero(1, 1), Context(2));
  ASSERT_TRUE(population.reliable[0]);
  const ReferenceModel expected = reference_ridge(problem.all_rows(), RealVector::Zero(1), true);
  for (int64_t j = 0; j < 4; ++j)
    EXPECT_NEAR(population.coef[0](j, 0) / static_cast<double>(expected.coef(j, 0)), 1,
                100 * gram_tolerance<T>);
}

TYPED_TEST(RidgeTest, DualSaysWhereItWouldLoseDigits) {
  using T = TypeParam;
  const int64_t n = 6, d = 40;
  int refused = 0, accepted = 0;
  for (const double condition : {1e0, 1e1, 1e3, 1e5, 1e7}) {
    const LinearProblem<T> problem = LinearProblem<T>::with_condition(d, n, 1, condition, true);
    const double largest = row_gram_cpu(problem.X.view(), Context(1)).products.norm();
    for (const double relative : {1e-16, 1e-10, 1e-4})
      for (const size_t copies : {size_t{1}, size_t{9}}) {
        SCOPED_TRACE(::testing::Message() << "condition " << condition << ", penalty " << relative);
        const double alpha = relative * largest;
        const std::vector<LinearJob> jobs(copies, {0, false});
        const Eigen::MatrixXd penalties =
            Eigen::MatrixXd::Constant(static_cast<int64_t>(copies), 1, alpha);
        const auto population =
            problem.dual_ridge(problem.row_gram(), all_rows(n), jobs, penalties);
        ++(population.reliable[0] ? accepted : refused);
        const ReferenceModel expected =
            reference_ridge(problem.all_rows(), RealVector::Constant(1, alpha), false, 1e-18L);
        if (population.reliable[0])
          expect_model(population.coef[0], population.intercept[0], expected,
                       std::is_same_v<T, float> ? 1e-3 : 1e-8);
        const auto by_qr = problem.dual_ridge(problem.row_qr(), all_rows(n), jobs, penalties);
        EXPECT_TRUE(by_qr.reliable[0]);
        expect_model(by_qr.coef[0], by_qr.intercept[0], expected, 1e-14 * condition + 1e-12);
      }
  }
  EXPECT_GT(refused, 3);
  EXPECT_GT(accepted, 3);
}

// Centred rows have nothing along the ones: that alone is no reason to refuse a small penalty.
TYPED_TEST(RidgeTest, DualOfCentredRowsIsReliableForSmallPenalties) {
  const LinearProblem<TypeParam> problem(24, 90, 2, false);
  const std::vector<OwnedSplit> splits = k_fold(24, 2);
  const std::vector<LinearJob> jobs = {{0, true}, {1, true}};
  const Eigen::MatrixXd alpha = Eigen::MatrixXd::Constant(2, 2, 1e-9);
  expect_models(problem.dual_ridge(problem.row_gram(), folds_of(24, splits), jobs, alpha), problem,
                splits, jobs, alpha, 10 * gram_tolerance<TypeParam>);
}

TYPED_TEST(RidgeTest, LargeMeansCostNoDigits) {
  using T = TypeParam;
  const double mean = std::is_same_v<T, float> ? 1e4 : 1e8;
  const LinearProblem<T> problem(400, 5, 2, true, mean);
  const auto splits = k_fold(400, 3);
  const std::vector<LinearJob> jobs = {{0, true}, {2, true}};
  const Eigen::MatrixXd alpha = Eigen::MatrixXd::Constant(2, 2, 0.5);
  const Folds folds = folds_of(400, splits);
  const double intercept_scale = mean;  // coef . mean
  for (const auto& population : {ridge_cpu(problem.gram(folds), jobs, alpha, Context(2)),
                                 ridge_cpu(problem.qr(folds), jobs, alpha, Context(2))})
    for (size_t b = 0; b < jobs.size(); ++b) {
      EXPECT_TRUE(population.reliable[b]);
      const ReferenceModel expected = reference_ridge(problem.rows(splits[jobs[b].split].train),
                                                      RealVector::Constant(2, 0.5), true);
      EXPECT_LT(relative_distance(population.coef[b], expected.coef), gram_tolerance<T>);
      EXPECT_LT(distance(population.intercept[b], expected.intercept),
                gram_tolerance<T> * intercept_scale);
    }
}

// Constant over all rows, or only over those that the split trains on.
TYPED_TEST(RidgeTest, ConstantColumnsTakeNoPart) {
  using T = TypeParam;
  for (const double value : {0.1, -1.0 / 3, 5.0, 1e6 / 3})
    for (const bool everywhere : {true, false})
      for (const double scale : {1.0, 1e-3}) {
        SCOPED_TRACE(::testing::Message() << value << (everywhere ? " everywhere" : "")
                                          << ", other columns of size " << scale);
        LinearProblem<T> problem(1003, 3, 1, false);
        for (int64_t i = 0; i < 1003; ++i) {
          problem.X(i, 0) = static_cast<T>(everywhere || (i >= 600 && i % 7 == 3) ? value : 0);
          problem.X(i, 1) *= static_cast<T>(scale);
          problem.X(i, 2) *= static_cast<T>(scale);
        }
        std::vector<OwnedSplit> splits(1);
        for (int64_t i = 0; i < 600; ++i) splits[0].train.push_back(i);
        const Folds folds = folds_of(1003, splits);
        const FoldGram gram = problem.gram(folds);
        const FoldQR qr = problem.qr(folds);
        for (const double alpha : {0.0, 1e-12, 0.1}) {
          const Eigen::MatrixXd penalty = Eigen::MatrixXd::Constant(1, 1, alpha * scale * scale);
          ReferenceModel expected = reference_ridge(
              problem.rows(splits[0].train), RealVector::Constant(1, penalty(0, 0)), true, 1e-12L);
          const auto by_qr = ridge_cpu(qr, {{0, true}}, penalty, Context(1));
          expect_model(by_qr.coef[0], by_qr.intercept[0], expected, 1e-10);
          EXPECT_EQ(by_qr.coef[0](0, 0), 0);
          const auto by_gram = ridge_cpu(gram, {{0, true}}, penalty, Context(1));
          if (by_gram.reliable[0])
            expect_model(by_gram.coef[0], by_gram.intercept[0], expected,
                         std::is_same_v<T, float> ? 1e-3 : 1e-8);
        }
      }
}

TYPED_TEST(RidgeTest, OverflowedSquaresAreNoAnswer) {
  using T = TypeParam;
  LinearProblem<T> problem(20, 3, 1, false);
  problem.X(4, 1) = std::numeric_limits<T>::max();
  const Eigen::MatrixXd alpha = Eigen::MatrixXd::Ones(9, 1);
  for (const size_t copies : {size_t{1}, size_t{9}}) {
    const std::vector<LinearJob> jobs(copies, {0, true});
    const auto primal =
        ridge_cpu(problem.gram(all_rows(20)), jobs, alpha.topRows(copies), Context(1));
    const auto dual =
        problem.dual_ridge(problem.row_gram(), all_rows(20), jobs, alpha.topRows(copies));
    for (size_t b = 0; b < copies; ++b) {
      EXPECT_FALSE(primal.reliable[b]);
      EXPECT_FALSE(dual.reliable[b]);
      EXPECT_TRUE(primal.coef[b].allFinite());
      EXPECT_TRUE(dual.coef[b].allFinite());
    }
  }
}

TYPED_TEST(RidgeTest, SameBitsForAnyNumberOfThreads) {
  within_patience([] {
    const LinearProblem<TypeParam> tall(150, 8, 2, true), wide(40, 90, 2, true);
    const Sweep sweep(5, 2, 10);
    const auto fit = [&](int threads, auto check) {
      const Folds folds = folds_of(150, mixed_splits(150)), few = folds_of(40, mixed_splits(40));
      check(ridge_cpu(tall.gram(folds), sweep.jobs, sweep.alpha, Context(threads)));
      check(ridge_cpu(tall.qr(folds), sweep.jobs, sweep.alpha, Context(threads)));
      check(wide.dual_ridge(wide.row_gram(threads), few, sweep.jobs, sweep.alpha, threads));
      check(wide.dual_ridge(wide.row_qr(threads), few, sweep.jobs, sweep.alpha, threads));
    };
    std::vector<LinearPopulation> one;
    fit(1, [&](LinearPopulation population) { one.push_back(std::move(population)); });
    for (const int threads : {2, 3, 4}) {
      size_t form = 0;
      fit(threads, [&](const LinearPopulation& population) {
        EXPECT_TRUE(population.coef == one[form].coef) << "form " << form;
        EXPECT_TRUE(population.intercept == one[form].intercept) << "form " << form;
        ++form;
      });
    }
  });
}

}  // namespace
}  // namespace manyfit::testing
