#include "linear_model/sgd.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "core/context.h"
#include "core/errors.h"
#include "patience.h"
#include "tables.h"

namespace manyfit::testing {
namespace {

template <class T>
class SgdTest : public ::testing::Test {};
TYPED_TEST_SUITE(SgdTest, FloatTypes, TypeName);

constexpr SgdLoss kRegressions[] = {SgdLoss::squared_error, SgdLoss::huber,
                                    SgdLoss::epsilon_insensitive,
                                    SgdLoss::squared_epsilon_insensitive};
constexpr SgdLoss kClassifications[] = {SgdLoss::hinge, SgdLoss::squared_hinge, SgdLoss::perceptron,
                                        SgdLoss::log_loss, SgdLoss::modified_huber};
constexpr SgdRate kRates[] = {SgdRate::constant, SgdRate::optimal, SgdRate::invscaling,
                              SgdRate::adaptive, SgdRate::pa1,     SgdRate::pa2};

template <class T>
struct Problem {
  Table<T> X;
  std::vector<T> y, w;
  std::vector<int64_t> codes;

  Problem(int64_t n, int64_t d) : X(normal_table<T>(n, d, 3)), w(random_weights<T>(n, 5)) {
    Random random(11);
    for (int64_t i = 0; i < n; ++i) {
      const double signal = static_cast<double>(X(i, 0)) + 0.5 * random.normal();
      y.push_back(static_cast<T>(2 * signal + 1));
      codes.push_back(signal > 0 ? random.below(3) : 0);
    }
  }

  void fit(const std::vector<SgdStream>& streams, std::vector<SgdJob<T>>& jobs, bool classify,
           int threads = 2) const {
    sgd_cpu(X.view(), classify ? VectorView<const T>{} : view(y),
            classify ? view(codes) : VectorView<const int64_t>{}, view(w), streams, jobs,
            Context(threads));
  }
};

template <class T>
SgdJob<T> job_of(int64_t d, SgdLoss loss, SgdRate rate, int penalty) {
  SgdJob<T> job;
  job.loss = loss;
  job.rate = rate;
  job.l2 = penalty % 2 == 1;
  job.l1 = penalty >= 2;
  job.alpha = rate == SgdRate::optimal ? 100.0 : 0.01;  // a lower one's first steps are huge
  job.l1_ratio = penalty == 3 ? 0.3 : penalty == 2 ? 1.0 : 0.0;
  job.max_iter = 4;
  job.coef.assign(static_cast<size_t>(d), T(0));
  job.average_coef = job.coef;
  if (std::find(std::begin(kClassifications), std::end(kClassifications), loss) !=
      std::end(kClassifications)) {
    job.positive = 1;
    job.positive_weight = 1.5;
    job.negative_weight = 0.7;
  }
  return job;
}

// The definition without a scale, a running mean or memory of norms: every weight at every step.
template <class T>
struct Naive {
  std::vector<double> coef, mean;
  double intercept = 0, mean_intercept = 0;
  int64_t epochs = 0;

  Naive(const Problem<T>& problem, const SgdStream& stream, const SgdJob<T>& job) {
    const int64_t d = problem.X.cols();
    coef.assign(job.coef.begin(), job.coef.end());
    mean.assign(static_cast<size_t>(d), 0.0);
    intercept = job.intercept;
    std::vector<double> paid(static_cast<size_t>(d), 0.0);
    double owed = 0, t = job.t, eta = job.eta0, best = INFINITY, start = 0;
    if (job.rate == SgdRate::optimal) {
      const double typical = std::sqrt(1 / std::sqrt(job.alpha));
      start =
          1 / (typical / std::max(1.0, sgd_slope(job.loss, job.epsilon, 1, -typical)) * job.alpha);
    }
    const int64_t n = stream.rows.empty() ? problem.X.rows() : stream.rows.size;
    std::vector<int64_t> order(static_cast<size_t>(n));
    std::iota(order.begin(), order.end(), 0);
    int64_t idle = 0;
    while (epochs < job.max_iter) {
      double objective = 0;
      if (stream.shuffle) sgd_shuffle(order, stream.seed);
      for (const int64_t place : order) {
        const int64_t i = stream.rows.empty() ? place : stream.rows[place];
        double y = static_cast<double>(problem.y[i]), p = intercept, squares = 0;
        if (job.positive >= 0)
          y = problem.codes[i] == job.positive ? 1 : job.loss == SgdLoss::log_loss ? 0 : -1;
        double l2 = 0, l1 = 0;
        for (int64_t j = 0; j < d; ++j) {
          const double x = static_cast<double>(problem.X(i, j));
          p += coef[j] * x;
          squares += x * x;
          l2 += coef[j] * coef[j];
          l1 += std::abs(coef[j]);
        }
        if (job.rate == SgdRate::optimal) eta = 1 / (job.alpha * (start + t - 1));
        if (job.rate == SgdRate::invscaling) eta = job.eta0 / std::pow(t, job.power_t);
        const double loss = sgd_loss(job.loss, job.epsilon, y, p);
        const bool passive = job.rate == SgdRate::pa1 || job.rate == SgdRate::pa2;
        objective += loss;
        if (!passive && (job.l1 || job.l2))
          objective += job.alpha * ((1 - job.l1_ratio) / 2 * l2 + job.l1_ratio * l1);
        double update = -eta * sgd_slope(job.loss, job.epsilon, y, p);
        if (passive) {
          update = job.rate == SgdRate::pa1 ? std::min(job.eta0, loss / squares)
                                            : loss / (squares + 0.5 / job.eta0);
          update *= job.loss == SgdLoss::hinge ? y : y < p ? -1 : 1;
        }
        if (job.positive >= 0) update *= y > 0 ? job.positive_weight : job.negative_weight;
        update *= static_cast<double>(problem.w[i]);
        owed += job.l1_ratio * eta * job.alpha;
        for (int64_t j = 0; j < d; ++j) {
          if (job.l2) coef[j] *= std::max(0.0, 1 - (1 - job.l1_ratio) * eta * job.alpha);
          coef[j] += update * static_cast<double>(problem.X(i, j));
          if (job.l1) {
            const double before = coef[j];
            if (before > 0) coef[j] = std::max(0.0, before - (owed + paid[j]));
            if (before < 0) coef[j] = std::min(0.0, before + (owed - paid[j]));
            paid[j] += coef[j] - before;
          }
        }
        if (job.fit_intercept) intercept += update;
        const double count = t - static_cast<double>(job.average) + 1;
        if (job.average > 0 && count >= 1) {
          for (int64_t j = 0; j < d; ++j) mean[j] += (coef[j] - mean[j]) / count;
          mean_intercept += (intercept - mean_intercept) / count;
        }
        t += 1;
      }
      ++epochs;
      objective /= static_cast<double>(n);
      idle = std::isfinite(job.tol) && objective > best - job.tol ? idle + 1 : 0;
      best = std::min(best, objective);
      if (idle >= job.patience) {
        if (job.rate != SgdRate::adaptive || eta <= 1e-6) return;
        eta /= 5;
        idle = 0;
      }
    }
  }
};

template <class T>
double distance(const std::vector<T>& a, const std::vector<double>& b) {
  double apart = 0, size = 1;
  for (size_t j = 0; j < b.size(); ++j) {
    apart = std::max(apart, std::abs(static_cast<double>(a[j]) - b[j]));
    size = std::max(size, std::abs(b[j]));
  }
  return apart / size;
}

// Every loss with every penalty and rate, on all rows and on some, all in one population.
TYPED_TEST(SgdTest, StepsAreThoseOfTheDefinition) {
  using T = TypeParam;
  const double close = std::is_same_v<T, float> ? 2e-3 : 1e-10;
  for (const int64_t d : {1, 5, 21}) {
    const Problem<T> problem(60, d);
    std::vector<int64_t> some;
    for (int64_t i = 0; i < 60; i += 2) some.push_back(59 - i);
    const std::vector<SgdStream> streams = {
        {{}, {}, 7, true}, {view(some), {}, 12345, true}, {{}, {}, 0, false}};
    for (const bool classify : {false, true}) {
      std::vector<SgdJob<T>> jobs;
      for (size_t s = 0; s < streams.size(); ++s)
        for (const SgdRate rate : kRates)
          for (int penalty = 0; penalty < 4; ++penalty) {
            const auto add = [&](SgdLoss loss) {
              // Steps at a bend go either way by rounding; float has its share of it.
              if (std::is_same_v<T, float> && loss != SgdLoss::squared_error &&
                  loss != SgdLoss::log_loss)
                return;
              jobs.push_back(job_of<T>(d, loss, rate, penalty));
              jobs.back().stream = s;
              jobs.back().fit_intercept = penalty != 1;
              // The running average knows nothing of what l1 takes from single weights.
              if (!jobs.back().l1) jobs.back().average = static_cast<int64_t>(1 + 70 * s);
              if (rate == SgdRate::constant) {
                jobs.back().tol = 1e-3;
                jobs.back().patience = 2;
                jobs.back().max_iter = 40;
              }
            };
            if (rate == SgdRate::pa1 || rate == SgdRate::pa2)
              add(classify ? SgdLoss::hinge : SgdLoss::epsilon_insensitive);
            else if (classify)
              for (const SgdLoss loss : kClassifications) add(loss);
            else
              for (const SgdLoss loss : kRegressions) add(loss);
          }
      const auto begun = jobs;
      problem.fit(streams, jobs, classify);
      for (size_t b = 0; b < jobs.size(); ++b) {
        SCOPED_TRACE(::testing::Message()
                     << "d " << d << ", loss " << static_cast<int>(jobs[b].loss) << ", rate "
                     << static_cast<int>(jobs[b].rate) << ", l1 " << jobs[b].l1 << ", l2 "
                     << jobs[b].l2 << ", stream " << jobs[b].stream);
        const Naive<T> expected(problem, streams[begun[b].stream], begun[b]);
        double large = 0;
        for (const double value : expected.coef) large = std::max(large, std::abs(value));
        if (large > 1e3) continue;  // steps too large to compare
        EXPECT_FALSE(jobs[b].overflowed);
        EXPECT_EQ(jobs[b].epochs, expected.epochs);
        EXPECT_LT(distance(jobs[b].coef, expected.coef), close);
        EXPECT_NEAR(jobs[b].intercept, expected.intercept,
                    close * (1 + std::abs(expected.intercept)));
        if (jobs[b].average > 0) {
          EXPECT_LT(distance(jobs[b].average_coef, expected.mean), close);
          EXPECT_NEAR(jobs[b].average_intercept, expected.mean_intercept,
                      close * (1 + std::abs(expected.intercept)));
        }
      }
    }
  }
}

TYPED_TEST(SgdTest, SlopesAreDerivatives) {
  for (const double y : {-1.0, 1.0})
    for (double p = -2.96; p < 3; p += 0.13) {
      const auto check = [&](SgdLoss loss, double target) {
        const double h = 1e-6;
        const double slope =
            (sgd_loss(loss, 0.3, target, p + h) - sgd_loss(loss, 0.3, target, p - h)) / (2 * h);
        EXPECT_NEAR(sgd_slope(loss, 0.3, target, p), slope, 1e-6);
      };
      for (const SgdLoss loss : kRegressions) check(loss, y);
      for (const SgdLoss loss : kClassifications)
        check(loss, loss == SgdLoss::log_loss ? y > 0 : y);
    }
}

TEST(SgdShuffle, IsAPermutationThatTheSeedDecides) {
  std::vector<int64_t> order(1000), same(1000), other(1000);
  std::iota(order.begin(), order.end(), 0);
  same = other = order;
  sgd_shuffle(order, 5);
  sgd_shuffle(same, 5);
  sgd_shuffle(other, 6);
  EXPECT_EQ(order, same);
  EXPECT_NE(order, other);
  std::sort(other.begin(), other.end());
  for (int64_t i = 0; i < 1000; ++i) EXPECT_EQ(other[static_cast<size_t>(i)], i);
}

// The rows held out are not learned from, and their score ends the fit.
TYPED_TEST(SgdTest, RowsHeldOut) {
  using T = TypeParam;
  Problem<T> problem(80, 3);
  std::vector<uint8_t> held(80, 0);
  for (size_t i = 0; i < 80; i += 4) held[i] = 1;
  const std::vector<SgdStream> streams = {{{}, view(held), 3, true}};
  for (const bool classify : {false, true}) {
    auto job =
        job_of<T>(3, classify ? SgdLoss::log_loss : SgdLoss::squared_error, SgdRate::constant, 1);
    job.early_stopping = true;
    job.tol = 1e-3;
    job.max_iter = 500;
    std::vector<SgdJob<T>> jobs = {job};
    problem.fit(streams, jobs, classify);
    EXPECT_LT(jobs[0].epochs, 500);
    EXPECT_GT(jobs[0].epochs, 5);
    job.early_stopping = false;
    job.tol = -INFINITY;
    job.max_iter = jobs[0].epochs;
    std::vector<SgdJob<T>> plain = {job};
    Problem<T> altered = problem;
    for (size_t i = 0; i < 80; i += 4) altered.y[i] = T(1e3);
    altered.fit(streams, plain, classify);
    EXPECT_EQ(plain[0].coef, jobs[0].coef);
  }
}

TYPED_TEST(SgdTest, OverflowIsTold) {
  using T = TypeParam;
  const Problem<T> problem(50, 3);
  std::vector<SgdJob<T>> jobs = {job_of<T>(3, SgdLoss::squared_error, SgdRate::constant, 0),
                                 job_of<T>(3, SgdLoss::squared_error, SgdRate::constant, 0)};
  jobs[0].eta0 = 1e300;
  problem.fit({{{}, {}, 1, true}}, jobs, false);
  EXPECT_TRUE(jobs[0].overflowed);
  EXPECT_FALSE(jobs[1].overflowed);
}

// Whatever runs beside a job: its bits are its own.
TYPED_TEST(SgdTest, SameBitsAloneAndTogetherForAnyNumberOfThreads) {
  using T = TypeParam;
  within_patience([] {
    const Problem<T> problem(200, 9);
    const std::vector<SgdStream> streams = {{{}, {}, 1, true}, {{}, {}, 2, true}};
    std::vector<SgdJob<T>> begun;
    for (const SgdLoss loss : kRegressions)
      for (int penalty = 0; penalty < 4; ++penalty)
        for (size_t s = 0; s < 2; ++s) {
          begun.push_back(job_of<T>(9, loss, SgdRate::invscaling, penalty));
          begun.back().stream = s;
          begun.back().max_iter = 3 + penalty;
        }
    std::vector<SgdJob<T>> alone;
    for (const SgdJob<T>& job : begun) {
      std::vector<SgdJob<T>> one = {job};
      problem.fit(streams, one, false, 1);
      alone.push_back(one[0]);
    }
    for (const int threads : {1, 2, 3, 4}) {
      auto jobs = begun;
      problem.fit(streams, jobs, false, threads);
      for (size_t b = 0; b < jobs.size(); ++b) {
        EXPECT_EQ(jobs[b].coef, alone[b].coef);
        EXPECT_EQ(jobs[b].intercept, alone[b].intercept);
      }
    }
  });
}

TYPED_TEST(SgdTest, CanBeStopped) {
  using T = TypeParam;
  const Problem<T> problem(500, 4);
  for (const int threads : {1, 2}) {
    std::vector<SgdJob<T>> jobs(3, job_of<T>(4, SgdLoss::squared_error, SgdRate::constant, 1));
    for (SgdJob<T>& job : jobs) job.max_iter = int64_t{1} << 40;
    EXPECT_THROW(sgd_cpu(problem.X.view(), view(problem.y), {}, view(problem.w),
                         {{{}, {}, 1, true}}, jobs, ImpatientContext(threads).get()),
                 Stop);
  }
}

TYPED_TEST(SgdTest, RowsMustLieTogether) {
  using T = TypeParam;
  const auto X = normal_table<T>(20, 3, 1, Layout::fortran);
  const std::vector<T> y(20, T(1));
  std::vector<SgdJob<T>> jobs = {job_of<T>(3, SgdLoss::squared_error, SgdRate::constant, 1)};
  EXPECT_THROW(sgd_cpu(X.view(), view(y), {}, {}, {{{}, {}, 1, true}}, jobs, Context(1)),
               InvalidInput);
}

}  // namespace
}  // namespace manyfit::testing
