#include "linear_model/linear_regression.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "linear_model/evaluate.h"
#include "linear_problem.h"
#include "patience.h"

namespace manyfit::testing {
namespace {

// scikit-learn's tol of LinearRegression is an absolute one of lstsq; any that is far below the
// data's will do.
constexpr double kCutoff = 1e-12;

template <class T>
class LinearRegressionTest : public ::testing::Test {};
TYPED_TEST_SUITE(LinearRegressionTest, FloatTypes, TypeName);

template <class T, class RowForm>
LeastSquaresPopulation dual(const LinearProblem<T>& problem, const RowForm& form,
                            const Folds& folds, const std::vector<LinearJob>& jobs,
                            double cutoff = kCutoff, int threads = 2) {
  return linear_regression_cpu(form, problem.X.view(), problem.Y.view(), view(problem.w), folds,
                               jobs, cutoff, Context(threads));
}

// Coefficients, intercept, rank and singular values of every job.
template <class T>
void expect_models(const LeastSquaresPopulation& population, const LinearProblem<T>& problem,
                   const std::vector<OwnedSplit>& splits, const std::vector<LinearJob>& jobs,
                   double tolerance) {
  ASSERT_EQ(population.coef.size(), jobs.size());
  for (size_t b = 0; b < jobs.size(); ++b) {
    SCOPED_TRACE(::testing::Message() << "job " << b << ", split " << jobs[b].split
                                      << (jobs[b].fit_intercept ? "" : ", no intercept"));
    EXPECT_TRUE(population.reliable[b]);
    const Rows rows = problem.rows(splits[jobs[b].split].train);
    const RealVector none = RealVector::Zero(problem.Y.cols());
    expect_model(population.coef[b], population.intercept[b],
                 reference_ridge(rows, none, jobs[b].fit_intercept, kCutoff), tolerance);
    const RealVector values = jacobi_svd(design(rows.X, rows.w, jobs[b].fit_intercept)).values;
    EXPECT_EQ(population.rank[b], (values.array() > kCutoff * values(0)).count());
    ASSERT_EQ(population.singular[b].size(), values.size());
    // Those of rank zero are noise in any answer, and a Gram's noise is the root of its rounding.
    for (int64_t i = 0; i < population.rank[b]; ++i)
      EXPECT_NEAR(population.singular[b](i), static_cast<double>(values(i)),
                  tolerance * static_cast<double>(values(0)));
    const Eigen::VectorXd ascending = population.singular[b].reverse();
    EXPECT_TRUE(std::is_sorted(ascending.begin(), ascending.end()));
  }
}

std::vector<LinearJob> every_job(int64_t splits) {
  std::vector<LinearJob> jobs;
  for (int64_t s = 0; s < splits; ++s)
    for (const bool fit_intercept : {true, false, true}) jobs.push_back({s, fit_intercept});
  return jobs;
}

TYPED_TEST(LinearRegressionTest, GramAndFactorGiveTheReference) {
  const int64_t n = 150, d = 8;
  auto splits = k_fold(n, 3);
  for (OwnedSplit& split : bootstrap(n, 2, 5)) splits.push_back(std::move(split));
  const auto jobs = every_job(static_cast<int64_t>(splits.size()));
  for (const bool weighted : {false, true})
    for (const int64_t t : {1, 3}) {
      SCOPED_TRACE(::testing::Message() << t << " targets" << (weighted ? ", weighted" : ""));
      const LinearProblem<TypeParam> problem(n, d, t, weighted);
      const Folds folds = folds_of(n, splits);
      expect_models(linear_regression_cpu(problem.gram(folds), jobs, kCutoff, Context(2)), problem,
                    splits, jobs, gram_tolerance<TypeParam>);
      expect_models(linear_regression_cpu(problem.qr(folds), jobs, kCutoff, Context(2)), problem,
                    splits, jobs, 1e-12);
    }
}

TYPED_TEST(LinearRegressionTest, OneFeature) {
  const LinearProblem<TypeParam> problem(20, 1, 2, true);
  const std::vector<OwnedSplit> splits = k_fold(20, 2);
  const Folds folds = folds_of(20, splits);
  const auto jobs = every_job(2);
  expect_models(linear_regression_cpu(problem.gram(folds), jobs, kCutoff, Context(2)), problem,
                splits, jobs, gram_tolerance<TypeParam>);
  expect_models(linear_regression_cpu(problem.qr(folds), jobs, kCutoff, Context(2)), problem,
                splits, jobs, 1e-12);
}

// A third of the columns repeats others: least norm, the true rank, by the factor; the Gram
// refuses.
TYPED_TEST(LinearRegressionTest, RankDeficientIsOfLeastNorm) {
  LinearProblem<TypeParam> problem(100, 9, 2, true);
  for (int64_t i = 0; i < 100; ++i)
    for (int64_t j = 6; j < 9; ++j) problem.X(i, j) = -2 * problem.X(i, j - 6);
  const std::vector<OwnedSplit> splits = k_fold(100, 2);
  const Folds folds = folds_of(100, splits);
  const auto jobs = every_job(2);
  expect_models(linear_regression_cpu(problem.qr(folds), jobs, kCutoff, Context(2)), problem,
                splits, jobs, 1e-11);
  const auto by_gram = linear_regression_cpu(problem.gram(folds), jobs, kCutoff, Context(2));
  for (const uint8_t reliable : by_gram.reliable) EXPECT_FALSE(reliable);
}

// As many rows as columns and fewer: the Gram has no answer, the factor and the dual have the same.
TYPED_TEST(LinearRegressionTest, FewRowsAreOfLeastNorm) {
  for (const auto& [n, d] : {std::pair<int64_t, int64_t>{12, 12}, {9, 25}, {40, 60}}) {
    SCOPED_TRACE(::testing::Message() << n << " x " << d);
    const LinearProblem<TypeParam> problem(n, d, 2, false);
    const std::vector<OwnedSplit> splits = k_fold(n, 3);
    const Folds folds = folds_of(n, splits);
    const auto jobs = every_job(3);
    expect_models(linear_regression_cpu(problem.qr(folds), jobs, kCutoff, Context(2)), problem,
                  splits, jobs, 1e-10);
    const auto by_gram = linear_regression_cpu(problem.gram(folds), jobs, kCutoff, Context(2));
    for (const uint8_t reliable : by_gram.reliable) EXPECT_FALSE(reliable);
  }
}

// The dual drops what rounding cannot tell from zero: here the direction of the ones.
TYPED_TEST(LinearRegressionTest, DualIsOfLeastNorm) {
  for (const bool weighted : {false, true}) {
    const LinearProblem<TypeParam> problem(20, 70, 2, weighted);
    const std::vector<OwnedSplit> splits = k_fold(20, 2);
    const Folds folds = folds_of(20, splits);
    const std::vector<LinearJob> jobs = {{0, true}, {0, false}, {1, true}, {1, false}};
    const auto check = [&](const LeastSquaresPopulation& population, double tolerance) {
      for (size_t b = 0; b < jobs.size(); ++b) {
        SCOPED_TRACE(b);
        const Rows rows = problem.rows(splits[jobs[b].split].train);
        EXPECT_TRUE(population.reliable[b]);
        expect_model(population.coef[b], population.intercept[b],
                     reference_ridge(rows, RealVector::Zero(2), jobs[b].fit_intercept, kCutoff),
                     tolerance);
        int64_t positive = 0;
        for (const Real w : rows.w) positive += w > 0;
        EXPECT_EQ(population.rank[b], positive - (jobs[b].fit_intercept ? 1 : 0));
      }
    };
    check(dual(problem, problem.row_gram(), folds, jobs), gram_tolerance<TypeParam>);
    check(dual(problem, problem.row_qr(), folds, jobs), 1e-12);
  }
}

// A singular value between the cutoff and the Gram's rounding: only the factor knows that it is
// one.
TYPED_TEST(LinearRegressionTest, DualSaysWhereTheRankIsUnknown) {
  using T = TypeParam;
  const double condition = std::is_same_v<T, float> ? 1e5 : 1e9;
  const LinearProblem<T> problem = LinearProblem<T>::with_condition(40, 6, 1, condition, true);
  const std::vector<LinearJob> jobs = {{0, false}};
  const auto by_gram = dual(problem, problem.row_gram(), all_rows(6), jobs, 1e-12);
  EXPECT_FALSE(by_gram.reliable[0]);
  for (const double cutoff : {1e-12, 3 / condition}) {
    SCOPED_TRACE(cutoff);
    const auto by_qr = dual(problem, problem.row_qr(), all_rows(6), jobs, cutoff);
    EXPECT_TRUE(by_qr.reliable[0]);
    EXPECT_EQ(by_qr.rank[0], cutoff < 1e-11 ? 6 : 5);
    expect_model(by_qr.coef[0], by_qr.intercept[0],
                 reference_ridge(problem.all_rows(), RealVector::Zero(1), false, cutoff),
                 1e-14 * condition);
  }
}

// Whoever answers as reliable is right.
TYPED_TEST(LinearRegressionTest, SaysWhereTheGramWouldLoseDigits) {
  using T = TypeParam;
  for (const double condition : {1e0, 1e1, 1e2, 1e3, 1e4, 1e6, 1e9, 1e13}) {
    SCOPED_TRACE(condition);
    const LinearProblem<T> problem = LinearProblem<T>::with_condition(300, 6, 2, condition);
    const ReferenceModel expected =
        reference_ridge(problem.all_rows(), RealVector::Zero(2), true, 1e-18L);
    const std::vector<LinearJob> jobs = {{0, true}};
    const auto by_gram =
        linear_regression_cpu(problem.gram(all_rows(300)), jobs, 1e-15, Context(2));
    const double limit = std::is_same_v<T, float> ? 70 : 2e3;
    if (condition < limit / 5) {
      EXPECT_TRUE(by_gram.reliable[0]);
    }
    if (condition > limit * 5) {
      EXPECT_FALSE(by_gram.reliable[0]);
    }
    if (by_gram.reliable[0])
      expect_model(by_gram.coef[0], by_gram.intercept[0], expected,
                   std::is_same_v<T, float> ? 1e-3 : 1e-8);
    const auto by_qr = linear_regression_cpu(problem.qr(all_rows(300)), jobs, 1e-18, Context(2));
    EXPECT_TRUE(by_qr.reliable[0]);
    if (condition < 1e12)
      expect_model(by_qr.coef[0], by_qr.intercept[0], expected, 1e-14 * condition + 1e-12);
  }
}

TYPED_TEST(LinearRegressionTest, ConstantColumnsTakeNoPart) {
  using T = TypeParam;
  for (const bool everywhere : {true, false})
    for (const double scale : {1.0, 1e-3, 1e-5}) {
      SCOPED_TRACE(::testing::Message()
                   << (everywhere ? "everywhere" : "in the split") << ", " << scale);
      LinearProblem<T> problem(1003, 3, 1, false);
      for (int64_t i = 0; i < 1003; ++i) {
        problem.X(i, 0) = static_cast<T>(everywhere || (i >= 600 && i % 7 == 3) ? 0.1 : 0);
        problem.X(i, 1) *= static_cast<T>(scale);
        problem.X(i, 2) *= static_cast<T>(scale);
      }
      std::vector<OwnedSplit> splits(1);
      for (int64_t i = 0; i < 600; ++i) splits[0].train.push_back(i);
      const Folds folds = folds_of(1003, splits);
      const std::vector<LinearJob> jobs = {{0, true}};
      const auto by_qr = linear_regression_cpu(problem.qr(folds), jobs, kCutoff, Context(2));
      expect_models(by_qr, problem, splits, jobs, 1e-11);
      EXPECT_EQ(by_qr.rank[0], 2);
      EXPECT_EQ(by_qr.coef[0](0, 0), 0);
      EXPECT_FALSE(
          linear_regression_cpu(problem.gram(folds), jobs, kCutoff, Context(2)).reliable[0]);
    }
}

TYPED_TEST(LinearRegressionTest, OverflowedSquaresAreNoAnswer) {
  using T = TypeParam;
  LinearProblem<T> problem(20, 3, 1, false);
  problem.X(4, 1) = std::numeric_limits<T>::max();
  const std::vector<LinearJob> jobs = {{0, true}};
  const auto primal = linear_regression_cpu(problem.gram(all_rows(20)), jobs, kCutoff, Context(1));
  const auto by_rows = dual(problem, problem.row_gram(), all_rows(20), jobs);
  for (const auto& population : {primal, by_rows}) {
    EXPECT_FALSE(population.reliable[0]);
    EXPECT_TRUE(population.coef[0].allFinite());
  }
}

TYPED_TEST(LinearRegressionTest, SameBitsForAnyNumberOfThreads) {
  within_patience([] {
    const LinearProblem<TypeParam> tall(150, 8, 2, true), wide(20, 70, 2, true);
    const auto jobs = every_job(3);
    const auto fit = [&](int threads) {
      const Folds folds = folds_of(150, shuffled_k_fold(150, 3, 1)),
                  few = folds_of(20, k_fold(20, 3));
      const Context context(threads);
      return std::vector<LeastSquaresPopulation>{
          linear_regression_cpu(tall.gram(folds, threads), jobs, kCutoff, context),
          linear_regression_cpu(tall.qr(folds, threads), jobs, kCutoff, context),
          dual(wide, wide.row_gram(threads), few, jobs, kCutoff, threads),
          dual(wide, wide.row_qr(threads), few, jobs, kCutoff, threads)};
    };
    const auto one = fit(1);
    for (const int threads : {2, 3, 4}) {
      const auto many = fit(threads);
      for (size_t form = 0; form < one.size(); ++form) {
        EXPECT_TRUE(many[form].coef == one[form].coef) << form;
        EXPECT_TRUE(many[form].intercept == one[form].intercept) << form;
        EXPECT_TRUE(many[form].singular == one[form].singular) << form;
        EXPECT_EQ(many[form].rank, one[form].rank);
      }
    }
  });
}

template <class T>
class SquaredErrorsTest : public ::testing::Test {};
TYPED_TEST_SUITE(SquaredErrorsTest, FloatTypes, TypeName);

// Residual and total sum of squares of any coefficients on the left-out rows, row by row.
TYPED_TEST(SquaredErrorsTest, AreThoseOfADirectPass) {
  using T = TypeParam;
  const int64_t n = 240, d = 6, t = 2;
  auto splits = k_fold(n, 4);
  for (OwnedSplit& split : bootstrap(n, 2, 3)) splits.push_back(std::move(split));
  splits.push_back({{1, 2, 3}, {7, 7, 9, 200}});
  for (const bool weighted : {false, true}) {
    const LinearProblem<T> problem(n, d, t, weighted, 3);
    const FoldGram gram = problem.gram(folds_of(n, splits));
    std::vector<LinearJob> jobs;
    std::vector<Eigen::MatrixXd> coef;
    std::vector<Eigen::VectorXd> intercept;
    Random random(5);
    for (int64_t s = 0; s < static_cast<int64_t>(splits.size()); ++s)
      for (const bool fit_intercept : {true, false}) {
        jobs.push_back({s, fit_intercept});
        coef.emplace_back(Eigen::MatrixXd::NullaryExpr(d, t, [&] { return random.normal(); }));
        intercept.emplace_back(Eigen::VectorXd::NullaryExpr(t, [&] { return random.normal(); }));
      }
    const SquaredErrors errors = squared_errors_cpu(gram, jobs, coef, intercept, Context(2));
    for (size_t b = 0; b < jobs.size(); ++b) {
      const Rows rows = problem.rows(splits[jobs[b].split].test);
      const RealVector mean = weighted_mean(rows.Y, rows.w);
      for (int64_t k = 0; k < t; ++k) {
        Real residual = 0, total = 0;
        for (int64_t i = 0; i < rows.X.rows(); ++i) {
          Real prediction = intercept[b](k);
          for (int64_t j = 0; j < d; ++j) prediction += rows.X(i, j) * coef[b](j, k);
          residual += rows.w(i) * std::pow(rows.Y(i, k) - prediction, 2);
          total += rows.w(i) * std::pow(rows.Y(i, k) - mean(k), 2);
        }
        const double tolerance = 40 * kEpsilon<T>;
        const auto row = static_cast<int64_t>(b);
        EXPECT_NEAR(errors.residual(row, k) / static_cast<double>(residual), 1, tolerance);
        EXPECT_NEAR(errors.total(row, k) / static_cast<double>(total), 1, tolerance);
        EXPECT_LE(std::abs(errors.residual(row, k) - static_cast<double>(residual)),
                  errors.residual_rounding(row, k));
        EXPECT_LE(std::abs(errors.total(row, k) - static_cast<double>(total)),
                  errors.total_rounding(row, k));
        EXPECT_NEAR(errors.weight(row) / static_cast<double>(rows.w.sum()), 1, tolerance);
      }
    }
  }
}

// A fit that leaves nothing: the residual is rounding of the total, and not negative.
TYPED_TEST(SquaredErrorsTest, OfAPerfectFitAreNothing) {
  using T = TypeParam;
  LinearProblem<T> problem(100, 3, 1, false);
  for (int64_t i = 0; i < 100; ++i) problem.Y(i, 0) = 2 * problem.X(i, 0) - problem.X(i, 2) / 2;
  const FoldGram gram = problem.gram(folds_of(100, k_fold(100, 2)));
  const Eigen::MatrixXd coef = Eigen::Vector3d(2, 0, -0.5);
  const SquaredErrors errors =
      squared_errors_cpu(gram, {{0, true}, {1, true}}, {coef, coef},
                         {Eigen::VectorXd::Zero(1), Eigen::VectorXd::Zero(1)}, Context(1));
  for (int64_t b = 0; b < 2; ++b) {
    EXPECT_GE(errors.residual(b, 0), 0);
    EXPECT_LT(errors.residual(b, 0), errors.residual_rounding(b, 0));
    EXPECT_LT(errors.residual(b, 0), 20 * kEpsilon<T> * errors.total(b, 0));
  }
}

}  // namespace
}  // namespace manyfit::testing
