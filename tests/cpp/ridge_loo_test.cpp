#include "linear_model/ridge_loo.h"

#include <gtest/gtest.h>

#include <Eigen/Cholesky>
#include <cmath>
#include <vector>

#include "linear_problem.h"

namespace manyfit::testing {
namespace {

template <class T>
class RidgeLooTest : public ::testing::Test {};
TYPED_TEST_SUITE(RidgeLooTest, FloatTypes, TypeName);

const std::vector<double> kAlphas = {0.05, 1.0, 30.0};

// The definition: a fit without the row, for every row and penalty. (rows, t a)
template <class T>
Eigen::MatrixXd left_out_residuals(const LinearProblem<T>& problem,
                                   const std::vector<int64_t>& train, bool fit_intercept,
                                   const std::vector<double>& alphas) {
  const auto A = static_cast<int64_t>(alphas.size());
  const int64_t t = problem.Y.cols();
  Eigen::MatrixXd residuals(static_cast<int64_t>(train.size()), t * A);
  for (int64_t i = 0; i < residuals.rows(); ++i) {
    std::vector<int64_t> others = train;
    others.erase(others.begin() + i);
    const Rows rows = problem.rows(others), own = problem.rows({train[i]});
    for (int64_t a = 0; a < A; ++a) {
      const ReferenceModel model =
          reference_ridge(rows, RealVector::Constant(t, alphas[a]), fit_intercept);
      for (int64_t k = 0; k < t; ++k)
        residuals(i, k * A + a) = static_cast<double>(
            own.Y(0, k) - own.X.row(0).dot(model.coef.col(k)) - model.intercept(k));
    }
  }
  return residuals;
}

template <class T>
void expect_left_out(const std::vector<LeaveOneOut>& results, const LinearProblem<T>& problem,
                     const std::vector<OwnedSplit>& splits, const std::vector<LeaveOneOutJob>& jobs,
                     double tolerance) {
  ASSERT_EQ(results.size(), jobs.size());
  for (size_t b = 0; b < jobs.size(); ++b) {
    SCOPED_TRACE(::testing::Message() << "job " << b << ", split " << jobs[b].split
                                      << (jobs[b].fit_intercept ? "" : ", no intercept"));
    EXPECT_TRUE(results[b].reliable);
    const std::vector<int64_t>& train = splits[jobs[b].split].train;
    const Eigen::MatrixXd expected =
        left_out_residuals(problem, train, jobs[b].fit_intercept, jobs[b].alpha);
    const auto A = static_cast<int64_t>(jobs[b].alpha.size());
    Eigen::MatrixXd squares = Eigen::MatrixXd::Zero(A, problem.Y.cols());
    Eigen::MatrixXd residuals(expected.rows(), expected.cols());
    for (int64_t i = 0; i < expected.rows(); ++i) {
      const double w = problem.w.empty() ? 1.0 : static_cast<double>(problem.w[train[i]]);
      for (int64_t c = 0; c < expected.cols(); ++c)
        squares(c % A, c / A) += w * expected(i, c) * expected(i, c);
      if (jobs[b].keep_residuals) residuals.row(i) = results[b].residuals.row(train[i]);
    }
    EXPECT_LT(relative_distance(results[b].squares, squares), tolerance);
    if (jobs[b].keep_residuals) {
      EXPECT_LT(relative_distance(residuals, expected), tolerance);
    } else {
      EXPECT_EQ(results[b].residuals.size(), 0);
    }
  }
}

std::vector<OwnedSplit> some_splits(int64_t n) {
  std::vector<OwnedSplit> splits = k_fold(n, 2);
  splits.push_back(bootstrap(n, 1, 5)[0]);
  return splits;
}

std::vector<LeaveOneOutJob> some_jobs() {
  std::vector<LeaveOneOutJob> jobs;
  for (int64_t split = 0; split < 3; ++split) {
    jobs.push_back({split, true, kAlphas, true});
    jobs.push_back({split, false, {2.0}, split == 0});
    jobs.push_back({split, true, {0.3, 4.0}, split == 2});
  }
  return jobs;
}

TYPED_TEST(RidgeLooTest, IsAFitWithoutEachRow) {
  const int64_t n = 70, d = 4, t = 2;
  const auto splits = some_splits(n);
  const auto jobs = some_jobs();
  for (const bool weighted : {false, true}) {
    SCOPED_TRACE(weighted ? "weighted" : "");
    const LinearProblem<TypeParam> problem(n, d, t, weighted);
    const Folds folds = folds_of(n, splits);
    const auto by_gram = ridge_loo_cpu(problem.gram(folds), problem.X.view(), problem.Y.view(),
                                       view(problem.w), jobs, Context(2));
    expect_left_out(by_gram, problem, splits, jobs, 10 * gram_tolerance<TypeParam>);
    const auto by_qr = ridge_loo_cpu(problem.qr(folds), problem.X.view(), problem.Y.view(),
                                     view(problem.w), jobs, Context(2));
    expect_left_out(by_qr, problem, splits, jobs, 1e-11);
  }
}

TYPED_TEST(RidgeLooTest, FewerRowsThanColumns) {
  const int64_t n = 16, d = 25, t = 2;
  const auto splits = some_splits(n);
  const auto jobs = some_jobs();
  for (const bool weighted : {false, true}) {
    SCOPED_TRACE(weighted ? "weighted" : "");
    const LinearProblem<TypeParam> problem(n, d, t, weighted);
    const Folds folds = folds_of(n, splits);
    const auto by_gram = ridge_loo_cpu(problem.row_gram(), problem.Y.view(), view(problem.w), folds,
                                       jobs, Context(2));
    expect_left_out(by_gram, problem, splits, jobs, 10 * gram_tolerance<TypeParam>);
    const auto by_qr =
        ridge_loo_cpu(problem.row_qr(), problem.Y.view(), view(problem.w), folds, jobs, Context(2));
    expect_left_out(by_qr, problem, splits, jobs, 1e-10);
  }
}

// More columns than a packed block holds, more rows than a tile, and a tile's last rows.
TYPED_TEST(RidgeLooTest, SeveralBlocksOfColumns) {
  const int64_t n = 451, d = 150;
  const LinearProblem<TypeParam> problem(n, d, 1, false);
  const std::vector<LeaveOneOutJob> jobs = {{0, true, {5.0}, true}};
  const auto results = ridge_loo_cpu(problem.qr(all_rows(n)), problem.X.view(), problem.Y.view(),
                                     view(problem.w), jobs, Context(2));
  std::vector<int64_t> all(n);
  for (int64_t i = 0; i < n; ++i) all[i] = i;
  const Eigen::MatrixXd X =
      design(problem.all_rows().X, RealVector::Ones(n), true).template cast<double>();
  const Eigen::VectorXd y =
      design(problem.all_rows().Y, RealVector::Ones(n), true).template cast<double>();
  const Eigen::MatrixXd hat =
      X * (X.transpose() * X + 5.0 * Eigen::MatrixXd::Identity(d, d)).ldlt().solve(X.transpose());
  const Eigen::VectorXd fitted = hat * y;
  for (int64_t i = 0; i < n; ++i)
    EXPECT_NEAR(results[0].residuals(i, 0), (y(i) - fitted(i)) / (1 - 1.0 / n - hat(i, i)), 1e-9);
}

TYPED_TEST(RidgeLooTest, LargeMeansCostNoDigits) {
  using T = TypeParam;
  const double mean = std::is_same_v<T, float> ? 1e4 : 1e8;
  const LinearProblem<T> problem(90, 3, 1, true, mean);
  const std::vector<LeaveOneOutJob> jobs = {{0, true, kAlphas, true}};
  std::vector<OwnedSplit> splits(1);
  for (int64_t i = 0; i < 90; ++i) splits[0].train.push_back(i);
  expect_left_out(ridge_loo_cpu(problem.gram(all_rows(90)), problem.X.view(), problem.Y.view(),
                                view(problem.w), jobs, Context(2)),
                  problem, splits, jobs, 100 * gram_tolerance<T>);
}

TYPED_TEST(RidgeLooTest, SaysWhereTheGramWouldLoseDigits) {
  const std::vector<LeaveOneOutJob> jobs = {{0, true, {1e-12, 1.0}, false}};
  const auto problem = LinearProblem<TypeParam>::with_condition(200, 5, 1, 1e6);
  const auto results = ridge_loo_cpu(problem.gram(all_rows(200)), problem.X.view(),
                                     problem.Y.view(), view(problem.w), jobs, Context(2));
  EXPECT_FALSE(results[0].reliable);
  // A row that alone fills a column: without it nothing is known of that column.
  LinearProblem<TypeParam> lonely(200, 3, 1, false);
  for (int64_t i = 0; i < 200; ++i) lonely.X(i, 0) = static_cast<TypeParam>(i == 77 ? 1e3 : 0);
  const std::vector<LeaveOneOutJob> faint = {{0, true, {1e-9}, false}};
  EXPECT_FALSE(ridge_loo_cpu(lonely.gram(all_rows(200)), lonely.X.view(), lonely.Y.view(),
                             view(lonely.w), faint, Context(2))[0]
                   .reliable);
}

TYPED_TEST(RidgeLooTest, SameBitsForAnyThreads) {
  const LinearProblem<TypeParam> problem(3000, 7, 2, true);
  const LinearProblem<TypeParam> wide(40, 60, 2, true);
  const std::vector<LeaveOneOutJob> jobs = {{0, true, kAlphas, false}, {1, false, {1.0}, false}};
  const Folds folds = folds_of(3000, k_fold(3000, 2)), few = folds_of(40, k_fold(40, 2));
  const FoldGram gram = problem.gram(folds);
  const RowGram row_gram = wide.row_gram();
  const auto all = [&](int threads) {
    auto results = ridge_loo_cpu(gram, problem.X.view(), problem.Y.view(), view(problem.w), jobs,
                                 Context(threads));
    for (auto& each :
         ridge_loo_cpu(row_gram, wide.Y.view(), view(wide.w), few, jobs, Context(threads)))
      results.push_back(std::move(each));
    return results;
  };
  const auto expected = all(1);
  for (const int threads : {2, 3, 4}) {
    const auto actual = all(threads);
    for (size_t b = 0; b < expected.size(); ++b)
      EXPECT_EQ(actual[b].squares, expected[b].squares) << threads << " threads, job " << b;
  }
}

TYPED_TEST(RidgeLooTest, EveryLayout) {
  const LinearProblem<TypeParam> problem(130, 5, 1, false);
  const FoldGram gram = problem.gram(all_rows(130));
  const std::vector<LeaveOneOutJob> jobs = {{0, true, kAlphas, false}};
  const auto run = [&](MatrixView<const TypeParam> X) {
    return ridge_loo_cpu(gram, X, problem.Y.view(), view(problem.w), jobs, Context(2))[0].squares;
  };
  const Eigen::MatrixXd expected = run(problem.X.view());
  for (const Layout layout : {Layout::fortran, Layout::padded_rows, Layout::padded_columns,
                              Layout::reversed_rows, Layout::reversed_columns}) {
    const Table<TypeParam> X(130, 5, layout, [&](int64_t i, int64_t j) { return problem.X(i, j); });
    EXPECT_EQ(run(X.view()), expected) << name(layout);
  }
}

}  // namespace
}  // namespace manyfit::testing
