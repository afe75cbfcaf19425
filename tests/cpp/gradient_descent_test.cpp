#include "linear_model/gradient_descent.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "core/context.h"
#include "patience.h"
#include "tables.h"

namespace manyfit::testing {
namespace {

template <class T>
class GradientDescentTest : public ::testing::Test {};
TYPED_TEST_SUITE(GradientDescentTest, FloatTypes, TypeName);

template <class T>
constexpr double kClose = std::is_same_v<T, float> ? 3e-4 : 1e-11;

// The definition, on the rows that are handed in: plain sums, one row after another.
struct Naive {
  RowMatrixXd coef;
  Eigen::VectorXd intercept;
  std::vector<double> losses;

  template <class T>
  Naive(const Table<T>& X, const std::vector<T>& y, const std::vector<int64_t>& codes,
        const std::vector<T>& w, const std::vector<int64_t>& rows, const GradientJob& job)
      : coef(job.coef), intercept(job.intercept) {
    const int64_t outputs = coef.rows(), d = coef.cols();
    RowMatrixXd velocity = RowMatrixXd::Zero(outputs, d);
    Eigen::VectorXd push = Eigen::VectorXd::Zero(outputs);
    for (int64_t step = 0; step <= job.max_iter; ++step) {
      RowMatrixXd slope = RowMatrixXd::Zero(outputs, d);
      Eigen::VectorXd slope0 = Eigen::VectorXd::Zero(outputs);
      double loss = 0, total = 0;
      for (const int64_t i : rows) {
        const double weight = w.empty() ? 1.0 : static_cast<double>(w[i]);
        Eigen::VectorXd z = intercept;
        for (int64_t k = 0; k < outputs; ++k)
          for (int64_t j = 0; j < d; ++j) z(k) += coef(k, j) * static_cast<double>(X(i, j));
        Eigen::VectorXd residual(outputs);
        if (codes.empty()) {
          residual(0) = 2 * (z(0) - static_cast<double>(y[i]));
          loss += weight * residual(0) * residual(0) / 4;
        } else if (outputs == 1) {
          const double p = 1 / (1 + std::exp(-z(0)));
          residual(0) = p - static_cast<double>(codes[i]);
          loss -= weight * std::log(codes[i] == 1 ? p : 1 - p);
        } else {
          const Eigen::VectorXd e = z.array().exp();
          residual = e / e.sum();
          loss -= weight * std::log(residual(codes[i]));
          residual(codes[i]) -= 1;
        }
        total += weight;
        for (int64_t k = 0; k < outputs; ++k) {
          slope0(k) += weight * residual(k);
          for (int64_t j = 0; j < d; ++j)
            slope(k, j) += weight * residual(k) * static_cast<double>(X(i, j));
        }
      }
      losses.push_back(loss / total);
      if (step == job.max_iter) return;
      velocity = job.momentum * velocity - job.learning_rate * slope / total;
      push = job.momentum * push - job.learning_rate * slope0 / total;
      coef += velocity;
      if (job.fit_intercept) intercept += push;
    }
  }
};

GradientJob job_of(int64_t outputs, int64_t d, double rate, int64_t steps, double momentum = 0) {
  GradientJob job;
  job.learning_rate = rate;
  job.max_iter = steps;
  job.momentum = momentum;
  job.tol = 0;
  job.coef = RowMatrixXd::Zero(outputs, d);
  job.intercept = Eigen::VectorXd::Zero(outputs);
  return job;
}

template <class T>
struct Problem {
  Table<T> X;
  std::vector<T> y;
  std::vector<int64_t> codes;
  std::vector<T> w;

  // classes = 0: regression
  Problem(int64_t n, int64_t d, int64_t classes, Layout layout = Layout::c)
      : X(normal_table<T>(n, d, 3, layout)), w(random_weights<T>(n, 5)) {
    Random random(11);
    for (int64_t i = 0; i < n; ++i) {
      const double signal = static_cast<double>(X(i, 0)) + 0.5 * random.normal();
      if (classes == 0)
        y.push_back(static_cast<T>(2 * signal + 3));
      else
        codes.push_back(i < classes ? i : (signal > 0 ? random.below(classes) : 0));
    }
  }

  std::vector<GradientFit> fit(int64_t classes, const Folds& folds,
                               const std::vector<GradientJob>& jobs, int threads = 2) const {
    return gradient_descent_cpu(X.view(), view(y), view(codes), classes, view(w), folds, jobs,
                                Context(threads));
  }
};

// Few outputs go row by row, many as matrix products; splits, momentum, starts.
TYPED_TEST(GradientDescentTest, StepsAreThoseOfTheDefinition) {
  using T = TypeParam;
  for (const int64_t classes : {0, 2, 3})
    for (const Layout layout : {Layout::c, Layout::fortran, Layout::padded_rows})
      for (const int64_t n : {7, 300}) {
        const int64_t d = 5, outputs = classes == 3 ? 3 : 1;
        const Problem<T> problem(n, d, classes, layout);
        auto splits = n == 7 ? k_fold(n, 3) : shuffled_k_fold(n, 3, 6);
        for (auto& split : bootstrap(n, 2, 4)) splits.push_back(split);
        const Folds folds = folds_of(n, splits);
        std::vector<GradientJob> jobs;
        for (int64_t s = 0; s < 5; ++s)
          for (const double momentum : {0.0, 0.8}) {
            GradientJob job = job_of(outputs, d, 0.03, 12, momentum);
            job.split = s;
            job.fit_intercept = s != 1;
            if (s == 2) {
              job.coef.setConstant(0.3);
              job.intercept.setConstant(-0.2);
            }
            jobs.push_back(job);
          }
        const auto fits = problem.fit(classes, folds, jobs);
        for (size_t b = 0; b < jobs.size(); ++b) {
          SCOPED_TRACE(::testing::Message() << classes << " classes, " << name(layout) << ", " << n
                                            << " rows, job " << b);
          const Naive expected(problem.X, problem.y, problem.codes, problem.w,
                               splits[static_cast<size_t>(jobs[b].split)].train, jobs[b]);
          EXPECT_LT((fits[b].coef - expected.coef).norm(), kClose<T> * (1 + expected.coef.norm()));
          EXPECT_LT((fits[b].intercept - expected.intercept).norm(),
                    kClose<T> * (1 + expected.intercept.norm()));
          EXPECT_EQ(fits[b].steps, 12);
          EXPECT_EQ(fits[b].end, Descent::exhausted);
          ASSERT_EQ(fits[b].loss.size(), expected.losses.size());
          for (size_t t = 0; t < expected.losses.size(); ++t)
            EXPECT_NEAR(fits[b].loss[t], expected.losses[t], kClose<T> * (1 + expected.losses[t]));
          EXPECT_EQ(fits[b].coefs.size(), static_cast<size_t>(13 * outputs * d));
          const auto alone = problem.fit(classes, folds, {jobs[b]})[0];
          EXPECT_LT((alone.coef - expected.coef).norm(), kClose<T> * (1 + expected.coef.norm()));
        }
      }
}

TYPED_TEST(GradientDescentTest, ConvergesWhereTheGradientVanishes) {
  const Problem<TypeParam> problem(200, 3, 0);
  GradientJob job = job_of(1, 3, 0.1, 100000);
  job.tol = 1e-4;
  job.trace = false;
  const auto fit = problem.fit(0, all_rows(200), {job})[0];
  EXPECT_EQ(fit.end, Descent::converged);
  EXPECT_LE(fit.gradient_norm.back(), 1e-4 * std::max(1.0, fit.gradient_norm.front()));
  EXPECT_TRUE(fit.coefs.empty());
  EXPECT_NEAR(fit.coef(0, 0), 2, 0.2);
}

// The last of the trace is the model, it is finite, and the loss has grown beyond the bound.
TYPED_TEST(GradientDescentTest, DivergenceShows) {
  const Problem<TypeParam> problem(200, 3, 0);
  for (const double rate : {3.0, 1e200}) {
    const auto fits =
        problem.fit(0, all_rows(200), {job_of(1, 3, rate, 1000), job_of(1, 3, 0.05, 40)});
    EXPECT_EQ(fits[0].end, Descent::diverged);
    EXPECT_LT(fits[0].steps, 100);
    EXPECT_TRUE(fits[0].coef.allFinite());
    for (const double loss : fits[0].loss) EXPECT_TRUE(std::isfinite(loss));
    const size_t last = fits[0].coefs.size() - 3;
    for (size_t j = 0; j < 3; ++j) EXPECT_EQ(fits[0].coefs[last + j], fits[0].coef(0, j));
    if (rate == 3.0) EXPECT_GT(fits[0].loss.back(), kGrownWithoutBound * fits[0].loss.front());
    EXPECT_EQ(fits[1].end, Descent::exhausted);
    EXPECT_LT(fits[1].loss.back(), fits[1].loss.front());
  }
}

TYPED_TEST(GradientDescentTest, SameBitsForAnyNumberOfThreads) {
  within_patience([] {
    const Problem<TypeParam> problem(3000, 40, 3);
    const Folds folds = folds_of(3000, shuffled_k_fold(3000, 4, 1));
    std::vector<GradientJob> jobs;
    for (int64_t s = 0; s < 4; ++s) jobs.push_back(job_of(3, 40, 0.2, 6));
    for (int64_t s = 0; s < 4; ++s) jobs[static_cast<size_t>(s)].split = s;
    const auto one = problem.fit(3, folds, jobs, 1);
    for (const int threads : {2, 3, 4}) {
      const auto many = problem.fit(3, folds, jobs, threads);
      for (size_t b = 0; b < jobs.size(); ++b) {
        EXPECT_TRUE(many[b].coef == one[b].coef);
        EXPECT_TRUE(many[b].loss == one[b].loss);
      }
    }
  });
}

TYPED_TEST(GradientDescentTest, CanBeStopped) {
  const Problem<TypeParam> problem(500, 4, 0);
  const std::vector<GradientJob> jobs = {job_of(1, 4, 1e-9, int64_t{1} << 40)};
  for (const int threads : {1, 2})
    EXPECT_THROW(
        gradient_descent_cpu(problem.X.view(), view(problem.y), view(problem.codes), 0,
                             view(problem.w), all_rows(500), jobs, ImpatientContext(threads).get()),
        Stop);
}

}  // namespace
}  // namespace manyfit::testing
