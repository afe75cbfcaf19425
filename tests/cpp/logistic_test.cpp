#include "linear_model/logistic.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "linear_model/logistic_loss.h"
#include "reference.h"
#include "tables.h"

namespace manyfit::testing {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

template <class T>
struct Problem {
  Table<T> X;
  std::vector<int64_t> codes;
  std::vector<T> w;
  int64_t classes;

  Problem(int64_t n, int64_t d, int64_t n_classes, bool weighted, double mean = 0.5)
      : X(normal_table<T>(n, d, 11, Layout::c, mean)),
        codes(n),
        w(weighted ? random_weights<T>(n, 3) : std::vector<T>()),
        classes(n_classes) {
    Random random(5);
    std::vector<double> direction(d * n_classes);
    for (double& value : direction) value = random.normal() / std::sqrt(static_cast<double>(d));
    for (int64_t i = 0; i < n; ++i) {
      double best = -kInfinity;
      for (int64_t k = 0; k < n_classes; ++k) {
        double score = -std::log(-std::log(random.uniform() * 0.999 + 5e-4));
        for (int64_t j = 0; j < d; ++j)
          score += direction[k * d + j] * (static_cast<double>(X(i, j)) - mean);
        if (score > best) best = score, codes[i] = k;
      }
    }
  }

  LogisticPopulation fit(const Folds& folds, const std::vector<LogisticJob>& jobs,
                         const Eigen::MatrixXd& class_weights, bool fit_intercept = true,
                         int threads = 2) const {
    return logistic_cpu<T>(X.view(), view(codes), view(w), folds, classes, fit_intercept,
                           class_weights, jobs, Context(threads));
  }
  Eigen::MatrixXd ones() const { return Eigen::MatrixXd::Ones(1, classes); }
};

// The definition: the objective's gradient by W (d + 1, K) in long double, penalties of size 1 / C
// included, over the sum of the weights; entries of |w|_1 by their least subgradient.
template <class T>
Real largest_gradient(const Problem<T>& problem, const std::vector<int64_t>& rows,
                      const Eigen::RowVectorXd& class_weight, const LogisticJob& job,
                      const Eigen::MatrixXd& coef) {
  const int64_t d = problem.X.cols(), K = coef.cols();
  RealMatrix gradient = RealMatrix::Zero(d + 1, K);
  Real total = 0;
  for (const int64_t i : rows) {
    const Real v = (problem.w.empty() ? 1.0L : static_cast<Real>(problem.w[i])) *
                   class_weight(problem.codes[i]);
    total += v;
    std::vector<Real> z(problem.classes, 0.0L);
    for (int64_t k = 0; k < K; ++k) {
      Real score = coef(d, k);
      for (int64_t j = 0; j < d; ++j) score += coef(j, k) * static_cast<Real>(problem.X(i, j));
      z[K == 1 ? 1 : k] = score;
    }
    Real sum = 0;
    for (const Real score : z) sum += std::exp(score - z[0]);
    for (int64_t k = 0; k < K; ++k) {
      const int64_t label = K == 1 ? 1 : k;
      const Real e = v * (std::exp(z[label] - z[0]) / sum - (problem.codes[i] == label ? 1 : 0));
      for (int64_t j = 0; j < d; ++j) gradient(j, k) += e * static_cast<Real>(problem.X(i, j));
      gradient(d, k) += e;
    }
  }
  Real largest = 0;
  for (int64_t k = 0; k < K; ++k) {
    for (int64_t j = 0; j < d; ++j) {
      const Real w = coef(j, k), strength = std::isinf(job.C) ? 0 : 1 / static_cast<Real>(job.C);
      const Real l1 = strength * job.l1_ratio;
      const Real g = gradient(j, k) + strength * (1 - job.l1_ratio) * w;
      const Real sub =
          w != 0 ? std::abs(g + (w > 0 ? l1 : -l1)) : std::max<Real>(std::abs(g) - l1, 0);
      largest = std::max(largest, sub / total);
    }
    largest = std::max(largest, std::abs(gradient(d, k)) / total);
  }
  return largest;
}

template <class T>
void expect_minimum(const Problem<T>& problem, const std::vector<std::vector<int64_t>>& rows,
                    const std::vector<LogisticJob>& jobs, const Eigen::MatrixXd& class_weights,
                    const LogisticPopulation& population, double tolerance) {
  for (size_t b = 0; b < jobs.size(); ++b) {
    SCOPED_TRACE(::testing::Message() << "job " << b << ", C " << jobs[b].C << ", l1 ratio "
                                      << jobs[b].l1_ratio << ", split " << jobs[b].split);
    EXPECT_TRUE(population.converged[b]);
    EXPECT_TRUE(population.finite[b]);
    EXPECT_LT(static_cast<double>(largest_gradient(problem, rows[jobs[b].split],
                                                   class_weights.row(jobs[b].class_weight), jobs[b],
                                                   population.coef[b])),
              tolerance);
  }
}

std::vector<int64_t> counted(int64_t n) {
  std::vector<int64_t> rows(n);
  for (int64_t i = 0; i < n; ++i) rows[i] = i;
  return rows;
}

TEST(LogisticLoss, IsRightToAFewUnitsInTheLastPlace) {
  for (double a = 0; a < 700; a += 0.0137) {
    const double expected = static_cast<double>(std::exp(-static_cast<Real>(a)));
    EXPECT_NEAR(exp_negative(a), expected, 4e-16 * expected) << a;
  }
  for (double t = 1e-300; t <= 1; t *= 1.37) {
    const double expected = static_cast<double>(std::log1p(static_cast<Real>(t)));
    EXPECT_NEAR(log1p_unit(t), expected, 5e-16 * expected) << t;
  }
  EXPECT_EQ(exp_negative(0), 1);
  EXPECT_EQ(log1p_unit(0), 0);
  EXPECT_GE(exp_negative(kInfinity), 0);
}

TEST(LogisticLoss, ShowsScoresThatAreNotFinite) {
  for (const double score : {kInfinity, -kInfinity, std::nan("")}) {
    double z = score, loss = 0;
    const double one = 1;
    binary_loss(&one, &one, 1, &z, &loss);
    EXPECT_FALSE(std::isfinite(loss));
  }
}

template <class T>
class LogisticTest : public ::testing::Test {};
TYPED_TEST_SUITE(LogisticTest, FloatTypes, TypeName);

// Splits, penalties, weights of rows and classes: in every case the gradient vanishes.
TYPED_TEST(LogisticTest, FindsTheMinimum) {
  for (const int64_t classes : {2, 3}) {
    for (const bool weighted : {false, true}) {
      for (const bool fit_intercept : {true, false}) {
        SCOPED_TRACE(::testing::Message() << classes << (weighted ? " weighted" : "")
                                          << (fit_intercept ? "" : " no intercept"));
        const int64_t n = 240;
        const Problem<TypeParam> problem(n, 5, classes, weighted);
        const auto splits = bootstrap(n, 3, 5);
        std::vector<std::vector<int64_t>> rows;
        for (const OwnedSplit& split : splits) rows.push_back(split.train);
        Eigen::MatrixXd class_weights = Eigen::MatrixXd::Ones(2, classes);
        class_weights(1, 0) = 3;
        std::vector<LogisticJob> jobs;
        for (int64_t s = 0; s < 3; ++s)
          for (const double C : {1e-3, 1.0, kInfinity})
            for (const double ratio : {0.0, 0.4, 1.0})
              for (int64_t v = 0; v < 2; ++v)
                if (ratio == 0 || C < kInfinity) jobs.push_back({s, v, C, ratio, 1e-6});
        const auto population =
            problem.fit(folds_of(n, splits), jobs, class_weights, fit_intercept);
        if (fit_intercept) {
          expect_minimum(problem, rows, jobs, class_weights, population, 1e-10);
        } else {
          for (const Eigen::MatrixXd& coef : population.coef)
            EXPECT_EQ(coef.row(coef.rows() - 1).cwiseAbs().maxCoeff(), 0);
        }
      }
    }
  }
}

TYPED_TEST(LogisticTest, TakesSamplesOfManyRowsAndSharesThemAmongSplits) {
  const int64_t n = 40000;
  for (const int64_t classes : {2, 3}) {
    const Problem<TypeParam> problem(n, 4, classes, false);
    const auto splits = k_fold(n, 3);
    std::vector<std::vector<int64_t>> rows;
    for (const OwnedSplit& split : splits) rows.push_back(split.train);
    std::vector<LogisticJob> jobs;
    for (int64_t s = 0; s < 3; ++s)
      for (const double C : {1e-4, 1e-2, 10.0}) jobs.push_back({s, 0, C, 0, 1e-6});
    const auto population = problem.fit(folds_of(n, splits), jobs, problem.ones());
    expect_minimum(problem, rows, jobs, problem.ones(), population, 1e-6);
  }
}

TYPED_TEST(LogisticTest, ManyParametersGoByGradients) {
  const int64_t n = 90, d = 600;
  for (const int64_t classes : {2, 4}) {
    const Problem<TypeParam> problem(n, d, classes, true);
    const std::vector<LogisticJob> jobs = {{0, 0, 0.1, 0, 1e-5, 1000}, {0, 0, 1e-3, 0, 1e-7, 1000}};
    const auto population = problem.fit(all_rows(n), jobs, problem.ones());
    expect_minimum(problem, {counted(n)}, jobs, problem.ones(), population, 1.1e-5);
  }
}

TEST(Logistic, LargeMeansLoseNoDigits) {
  const int64_t n = 300;
  const Problem<double> near(n, 3, 2, false, 0), far(n, 3, 2, false, 1e6);
  const std::vector<LogisticJob> jobs = {{0, 0, 1.0, 0, 1e-8}};
  const auto a = near.fit(all_rows(n), jobs, near.ones());
  const auto b = far.fit(all_rows(n), jobs, far.ones());
  EXPECT_LT((a.coef[0] - b.coef[0]).topRows(3).cwiseAbs().maxCoeff(), 1e-6);
}

TEST(Logistic, SeparatedRowsWithoutPenaltyEnd) {
  Table<double> X(20, 1, Layout::c, [](int64_t i, int64_t) { return i < 10 ? -1.0 - i : 1.0 + i; });
  std::vector<int64_t> codes(20);
  for (int64_t i = 0; i < 20; ++i) codes[i] = i < 10 ? 0 : 1;
  const Folds folds = all_rows(20);
  const std::vector<LogisticJob> jobs = {{0, 0, kInfinity, 0, 1e-6}};
  const auto population = logistic_cpu<double>(X.view(), view(codes), {}, folds, 2, true,
                                               Eigen::MatrixXd::Ones(1, 2), jobs, Context(1));
  EXPECT_TRUE(population.converged[0]);
  EXPECT_TRUE(population.coef[0].allFinite());
  EXPECT_GT(population.coef[0](0, 0), 1);
}

TEST(Logistic, RepeatedConstantAndVeryDifferentColumns) {
  const int64_t n = 200;
  Problem<double> problem(n, 5, 2, false, 0);
  for (int64_t i = 0; i < n; ++i) {
    problem.X(i, 1) = problem.X(i, 0);
    problem.X(i, 2) = 0.1;
    problem.X(i, 3) *= 1e-9;
    problem.X(i, 4) *= 1e9;
  }
  for (const double C : {1.0, 1e12, kInfinity}) {
    const std::vector<LogisticJob> jobs = {{0, 0, C, 0, 1e-4}};
    const auto population = problem.fit(all_rows(n), jobs, problem.ones());
    EXPECT_TRUE(population.converged[0]);
    EXPECT_TRUE(population.coef[0].allFinite());
    if (C == 1.0) {
      EXPECT_NEAR(population.coef[0](0, 0), population.coef[0](1, 0), 1e-9);
      EXPECT_NEAR(population.coef[0](2, 0), 0, 1e-12);
    }
  }
}

TEST(Logistic, StartAndStepsAreThoseAskedFor) {
  const int64_t n = 150;
  const Problem<double> problem(n, 4, 3, false);
  const std::vector<LogisticJob> jobs = {{0, 0, 1.0, 0, 1e-9}};
  const auto whole = problem.fit(all_rows(n), jobs, problem.ones());
  std::vector<LogisticJob> again = jobs;
  again[0].start = whole.coef[0].data();
  EXPECT_LE(problem.fit(all_rows(n), again, problem.ones()).iterations[0], 1);
  std::vector<LogisticJob> short_of = jobs;
  short_of[0].max_iter = 1;
  const auto one = problem.fit(all_rows(n), short_of, problem.ones());
  EXPECT_EQ(one.iterations[0], 1);
  EXPECT_FALSE(one.converged[0]);
  short_of[0].max_iter = 0;
  EXPECT_EQ(problem.fit(all_rows(n), short_of, problem.ones()).coef[0].cwiseAbs().maxCoeff(), 0);
}

// The definition, row by row, repeated test rows counted.
TYPED_TEST(LogisticTest, ScoresOfLeftOutRows) {
  const int64_t n = 1500;
  for (const int64_t classes : {2, 3}) {
    for (const bool weighted : {false, true}) {
      const Problem<TypeParam> problem(n, 4, classes, weighted, 3.0);
      auto splits = bootstrap(n, 2, 7);
      splits.push_back(splits[0]);
      splits[2].test.push_back(splits[2].test[0]);
      const int64_t K = classes == 2 ? 1 : classes;
      Random random(3);
      std::vector<Eigen::MatrixXd> coef;
      const std::vector<int64_t> of = {0, 1, 2, 0};
      for (size_t b = 0; b < of.size(); ++b) {
        coef.emplace_back(5, K);
        for (int64_t i = 0; i < coef[b].size(); ++i) coef[b].data()[i] = random.normal();
      }
      coef[3].topRows(4) *= 200;  // sure of itself, and wrong
      const auto scores =
          logistic_scores_cpu<TypeParam>(problem.X.view(), view(problem.codes), view(problem.w),
                                         folds_of(n, splits), classes, of, coef, Context(2));
      for (size_t b = 0; b < of.size(); ++b) {
        Real weight = 0, right = 0, loss = 0;
        for (const int64_t i : splits[of[b]].test) {
          std::vector<Real> z(classes, 0.0L);
          for (int64_t k = 0; k < K; ++k) {
            Real score = coef[b](4, k);
            for (int64_t j = 0; j < 4; ++j)
              score += coef[b](j, k) * static_cast<Real>(problem.X(i, j));
            z[K == 1 ? 1 : k] = score;
          }
          int64_t best = 0;
          Real sum = 0;
          for (int64_t k = 0; k < classes; ++k) {
            if (z[k] > z[best]) best = k;
            sum += std::exp(z[k] - z[problem.codes[i]]);
          }
          const Real v = problem.w.empty() ? 1.0L : static_cast<Real>(problem.w[i]);
          weight += v;
          right += best == problem.codes[i] ? v : 0;
          loss += v * std::min<Real>(std::log(sum), 36.04365338911715L);
        }
        EXPECT_NEAR(scores[b].weight, static_cast<double>(weight), 1e-9 * scores[b].weight);
        EXPECT_NEAR(scores[b].right, static_cast<double>(right), 1e-9 * scores[b].weight);
        EXPECT_NEAR(scores[b].loss, static_cast<double>(loss), 1e-9 * scores[b].loss);
      }
    }
  }
}

TEST(Logistic, SaysWhenDataAreNotFinite) {
  for (const double bad : {kInfinity, std::nan("")}) {
    Problem<double> problem(50, 3, 2, false);
    problem.X(33, 1) = bad;
    const auto population = problem.fit(all_rows(50), {{0}}, problem.ones());
    EXPECT_FALSE(population.finite[0]);
  }
}

TEST(Logistic, TheSameBitsForAnyThreads) {
  const int64_t n = 5000;
  const Problem<double> problem(n, 6, 3, true);
  const auto splits = k_fold(n, 3);
  const Folds folds = folds_of(n, splits);
  const std::vector<LogisticJob> jobs = {{0, 0, 1.0}, {1, 0, 1.0}, {2, 0, 0.1, 0.5}};
  const auto expected = problem.fit(folds, jobs, problem.ones(), true, 1);
  for (const int threads : {2, 3, 4}) {
    const auto population = problem.fit(folds, jobs, problem.ones(), true, threads);
    for (size_t b = 0; b < jobs.size(); ++b) EXPECT_EQ(population.coef[b], expected.coef[b]);
  }
}

}  // namespace
}  // namespace manyfit::testing
