#include "linear_model/nonnegative.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "linear_problem.h"
#include "patience.h"

namespace manyfit::testing {
namespace {

template <class T>
class NonnegativeTest : public ::testing::Test {};
TYPED_TEST_SUITE(NonnegativeTest, FloatTypes, TypeName);

// The objective's quadratic form: c'Gc / 2 - b'c, with the penalty in G.
struct Quadratic {
  RealMatrix G;
  RealVector b;
};
Quadratic quadratic(const Rows& rows, int64_t target, Real alpha, bool fit_intercept) {
  const RealMatrix X = design(rows.X, rows.w, fit_intercept);
  const RealMatrix Y = design(rows.Y, rows.w, fit_intercept);
  Quadratic result{X.transpose() * X, X.transpose() * Y.col(target)};
  result.G.diagonal().array() += alpha;
  return result;
}

// c >= 0; the gradient is zero where c > 0 and points outwards where c = 0.
void expect_optimal(const Quadratic& q, const RealVector& c, Real tolerance) {
  const RealVector gradient = q.G * c - q.b;
  for (int64_t j = 0; j < c.size(); ++j) {
    const Real size = std::sqrt(q.G(j, j)) * std::sqrt(q.G.diagonal().maxCoeff()) *
                          std::max<Real>(c.maxCoeff(), 1) +
                      q.b.cwiseAbs().maxCoeff();
    EXPECT_GE(c(j), 0);
    EXPECT_GE(gradient(j), -tolerance * size) << "coordinate " << j;
    if (c(j) > 0) {
      EXPECT_LE(gradient(j), tolerance * size) << "coordinate " << j;
    }
  }
}

// The best of all 2^d choices of free coordinates.
RealVector by_enumeration(const Quadratic& q) {
  const int64_t d = q.b.size();
  RealVector best = RealVector::Zero(d);
  Real least = 0;
  for (int64_t set = 1; set < (int64_t{1} << d); ++set) {
    std::vector<int64_t> free;
    for (int64_t j = 0; j < d; ++j)
      if (set >> j & 1) free.push_back(j);
    const ReferenceSvd svd = jacobi_svd(q.G(free, free));
    const RealVector solution = svd.v * (svd.u.transpose() * q.b(free)).cwiseQuotient(svd.values);
    if (solution.minCoeff() < 0) continue;
    RealVector c = RealVector::Zero(d);
    c(free) = solution;
    const Real value = c.dot(q.G * c) / 2 - q.b.dot(c);
    if (value < least) {
      least = value;
      best = c;
    }
  }
  return best;
}

template <class T>
constexpr double kKkt = std::is_same_v<T, float> ? 1e-5 : 1e-11;

TYPED_TEST(NonnegativeTest, BestOfAllActiveSets) {
  using T = TypeParam;
  for (int64_t d = 1; d <= 6; ++d) {
    const LinearProblem<T> problem(60, d, 3, d % 2 == 0);
    const auto splits = k_fold(60, 3);
    const FoldGram gram = problem.gram(folds_of(60, splits));
    const std::vector<LinearJob> jobs = {{0, true}, {1, false}, {2, true}};
    Eigen::MatrixXd alpha(3, 3);
    alpha << 0, 0.1, 10, 0, 0, 0, 1, 2, 3;
    const auto population = nonnegative_cpu(gram, jobs, alpha, Context(2));
    for (size_t b = 0; b < jobs.size(); ++b) {
      EXPECT_TRUE(population.reliable[b]);
      const Rows rows = problem.rows(splits[jobs[b].split].train);
      RealMatrix expected(d, 3);
      for (int64_t k = 0; k < 3; ++k)
        expected.col(k) = by_enumeration(
            quadratic(rows, k, alpha(static_cast<int64_t>(b), k), jobs[b].fit_intercept));
      RealVector intercept = RealVector::Zero(3);
      if (jobs[b].fit_intercept)
        intercept =
            weighted_mean(rows.Y, rows.w) - expected.transpose() * weighted_mean(rows.X, rows.w);
      SCOPED_TRACE(::testing::Message() << "d=" << d << " job " << b);
      expect_model(population.coef[b], population.intercept[b], {expected, intercept},
                   gram_tolerance<T>);
    }
  }
}

// Correlated columns and targets of mixed sign: many changes of the active set.
TYPED_TEST(NonnegativeTest, OptimalOnRandomProblems) {
  using T = TypeParam;
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    const int64_t n = 80, d = 2 + random.below(30);
    LinearProblem<T> problem(n, d, 2, seed % 2 == 0);
    for (int64_t i = 0; i < n; ++i) {
      const double common = random.normal();
      for (int64_t j = 0; j < d; ++j)
        problem.X(i, j) = static_cast<T>(common + 0.5 * random.normal());
    }
    problem.set_targets();
    const bool fit_intercept = seed % 3 > 0;
    Eigen::MatrixXd alpha(1, 2);
    alpha << 0, 0.3;
    const auto population =
        nonnegative_cpu(problem.gram(all_rows(n)), {{0, fit_intercept}}, alpha, Context(2));
    ASSERT_TRUE(population.reliable[0]);
    const Rows rows = problem.all_rows();
    for (int64_t k = 0; k < 2; ++k)
      expect_optimal(quadratic(rows, k, alpha(0, k), fit_intercept),
                     population.coef[0].col(k).template cast<Real>(), kKkt<T>);
  }
}

TYPED_TEST(NonnegativeTest, AllOfThemFreeIsRidgeAndNoneIsZero) {
  using T = TypeParam;
  LinearProblem<T> problem(100, 4, 2, false);
  for (int64_t i = 0; i < 100; ++i) {
    double sum = 0;
    for (int64_t j = 0; j < 4; ++j) sum += static_cast<double>(j + 1) * problem.X(i, j);
    problem.Y(i, 0) = static_cast<T>(sum);
    problem.Y(i, 1) = static_cast<T>(-sum);
  }
  const FoldGram gram = problem.gram(all_rows(100));
  const Eigen::MatrixXd alpha = Eigen::MatrixXd::Constant(1, 2, 0.5);
  const auto population = nonnegative_cpu(gram, {{0, true}}, alpha, Context(1));
  const auto ridge = ridge_cpu(gram, {{0, true}}, alpha, Context(1));
  EXPECT_LT(distance(population.coef[0].col(0), ridge.coef[0].col(0)), 1e-12);
  EXPECT_EQ(population.coef[0].col(1), Eigen::VectorXd::Zero(4));
}

TYPED_TEST(NonnegativeTest, ConstantColumnsTakeNoPart) {
  using T = TypeParam;
  for (const double value : {0.1, -1.0 / 3, 5.0})
    for (const bool everywhere : {true, false})
      for (const double alpha : {0.0, 0.1}) {
        SCOPED_TRACE(::testing::Message()
                     << value << (everywhere ? " everywhere" : "") << ", alpha " << alpha);
        LinearProblem<T> problem(1003, 3, 1, false);
        for (int64_t i = 0; i < 1003; ++i) {
          problem.X(i, 0) = static_cast<T>(everywhere || (i >= 600 && i % 7 == 3) ? value : 0);
          problem.Y(i, 0) = 3 * problem.X(i, 1) - problem.X(i, 2);
        }
        std::vector<OwnedSplit> splits(1);
        for (int64_t i = 0; i < 600; ++i) splits[0].train.push_back(i);
        const auto population = nonnegative_cpu(problem.gram(folds_of(1003, splits)), {{0, true}},
                                                Eigen::MatrixXd::Constant(1, 1, alpha), Context(1));
        if (everywhere || alpha > 0) {
          ASSERT_TRUE(population.reliable[0]);
        }
        if (!population.reliable[0]) continue;
        const Quadratic q = quadratic(problem.rows(splits[0].train), 0, alpha, true);
        EXPECT_LT(population.coef[0](0, 0), 1e-4);
        EXPECT_GT(population.coef[0](1, 0), 2);
        RealVector c = population.coef[0].col(0).template cast<Real>();
        c(0) = 0;
        expect_optimal(q, c, kKkt<T>);
      }
}

TYPED_TEST(NonnegativeTest, DuplicatedColumnsAreEitherOptimalOrNotReliable) {
  using T = TypeParam;
  LinearProblem<T> problem(100, 6, 1, false);
  for (int64_t i = 0; i < 100; ++i)
    for (int64_t j = 3; j < 6; ++j) problem.X(i, j) = problem.X(i, j - 3);
  problem.set_targets();
  for (const double alpha : {0.0, 1.0}) {
    const auto population = nonnegative_cpu(problem.gram(all_rows(100)), {{0, true}},
                                            Eigen::MatrixXd::Constant(1, 1, alpha), Context(1));
    if (alpha > 0) {
      EXPECT_TRUE(population.reliable[0]);
    }
    if (population.reliable[0])
      expect_optimal(quadratic(problem.all_rows(), 0, alpha, true),
                     population.coef[0].col(0).template cast<Real>(), kKkt<T>);
  }
}

TYPED_TEST(NonnegativeTest, OverflowedSquaresAreNoAnswer) {
  using T = TypeParam;
  LinearProblem<T> problem(20, 3, 1, false);
  problem.X(4, 1) = std::numeric_limits<T>::max();
  const auto population = nonnegative_cpu(problem.gram(all_rows(20)), {{0, true}},
                                          Eigen::MatrixXd::Ones(1, 1), Context(1));
  EXPECT_FALSE(population.reliable[0]);
  EXPECT_TRUE(population.coef[0].allFinite());
}

TYPED_TEST(NonnegativeTest, SameBitsForAnyNumberOfThreads) {
  within_patience([] {
    const LinearProblem<TypeParam> problem(150, 8, 2, true);
    std::vector<LinearJob> jobs;
    for (int64_t s = 0; s < 3; ++s) jobs.insert(jobs.end(), {{s, true}, {s, false}});
    const Eigen::MatrixXd alpha = Eigen::MatrixXd::Constant(6, 2, 0.1);
    const auto fit = [&](int threads) {
      return nonnegative_cpu(problem.gram(folds_of(150, k_fold(150, 3)), threads), jobs, alpha,
                             Context(threads));
    };
    const auto one = fit(1);
    for (const int threads : {2, 3, 4}) {
      const auto many = fit(threads);
      EXPECT_TRUE(many.coef == one.coef);
      EXPECT_TRUE(many.intercept == one.intercept);
    }
  });
}

}  // namespace
}  // namespace manyfit::testing
