#include "linear_model/huber.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "reference.h"
#include "tables.h"

namespace manyfit::testing {
namespace {

template <class T>
class HuberTest : public ::testing::Test {};
TYPED_TEST_SUITE(HuberTest, FloatTypes, TypeName);

// The objective and its gradient by (c, c0, sigma), by definition.
struct Objective {
  Real value = 0;
  RealVector gradient;
};
Objective objective(const Rows& rows, const HuberModel& model, const HuberJob& job) {
  const int64_t d = rows.X.cols();
  const RealVector coef = model.coef.cast<Real>();
  const auto sigma = static_cast<Real>(model.scale), epsilon = static_cast<Real>(job.epsilon);
  const auto alpha = static_cast<Real>(job.alpha);
  Objective result{alpha * coef.squaredNorm(), RealVector::Zero(d + 2)};
  result.gradient.head(d) = 2 * alpha * coef;
  for (int64_t i = 0; i < rows.X.rows(); ++i) {
    const Real z =
        (rows.Y(i, 0) - rows.X.row(i) * coef - static_cast<Real>(model.intercept)) / sigma;
    const bool inlier = std::abs(z) <= epsilon;
    const Real h = inlier ? z * z : 2 * epsilon * std::abs(z) - epsilon * epsilon;
    const Real slope = inlier ? 2 * z : 2 * epsilon * (z < 0 ? -1 : 1);
    result.value += rows.w(i) * sigma * (1 + h);
    result.gradient.head(d) -= rows.w(i) * slope * rows.X.row(i).transpose();
    result.gradient(d) -= rows.w(i) * slope;
    result.gradient(d + 1) += rows.w(i) * (1 + h - z * slope);
  }
  if (!job.fit_intercept) result.gradient(d) = 0;
  return result;
}

// A line through noise, and some targets far from it.
template <class T>
struct Contaminated {
  Table<T> X;
  Table<T> Y;
  Contaminated(int64_t n, int64_t d, Layout layout, double mean = 0.5)
      : X(n, d, layout), Y(n, 1, Layout::c) {
    Random random(17);
    for (int64_t i = 0; i < n; ++i) {
      double target = 2;
      for (int64_t j = 0; j < d; ++j) {
        const double z = random.normal();
        X(i, j) = static_cast<T>(mean + z);
        target += z / static_cast<double>(1 + j);
      }
      target += 0.5 * random.normal();
      if (random.uniform() < 0.1) target += 30 * random.normal();
      Y(i, 0) = static_cast<T>(target);
    }
  }
  VectorView<const T> y() const { return {Y.view().data, Y.rows(), Y.view().row_stride}; }
};

TYPED_TEST(HuberTest, GradientVanishes) {
  using T = TypeParam;
  const double tolerance = std::is_same_v<T, float> ? 1e-4 : 1e-9;
  for (const Layout layout : {Layout::c, Layout::fortran})
    for (const bool weighted : {false, true}) {
      const Contaminated<T> data(150, 6, layout);
      const std::vector<T> weights = random_weights<T>(150, 5);
      const auto w = weighted ? view(weights) : VectorView<const T>();
      std::vector<OwnedSplit> splits = k_fold(150, 3);
      for (OwnedSplit& split : bootstrap(150, 2, 5)) splits.push_back(std::move(split));
      std::vector<HuberJob> jobs;
      for (int64_t s = 0; s < 5; ++s)
        for (const double alpha : {0.0, 0.01, 10.0})
          for (const double epsilon : {1.1, 1.35, 1.9, 10.0, 1e300})
            for (const bool intercept : {true, false})
              jobs.push_back({s, intercept, epsilon, alpha, 1e-6, 100, {}});
      const auto models =
          huber_cpu(data.X.view(), data.y(), w, folds_of(150, splits), jobs, Context(2));
      ASSERT_EQ(models.size(), jobs.size());
      for (size_t b = 0; b < jobs.size(); ++b) {
        SCOPED_TRACE(b);
        EXPECT_EQ(models[b].status, NewtonStatus::converged);
        const Rows rows = rows_of(data.X.view(), data.Y.view(), w, splits[jobs[b].split].train);
        const Objective at = objective(rows, models[b], jobs[b]);
        EXPECT_LT(static_cast<double>(at.gradient.cwiseAbs().maxCoeff() / rows.w.sum()), tolerance);
        EXPECT_LT(models[b].n_iter, 30);
        if (!jobs[b].fit_intercept) {
          EXPECT_EQ(models[b].intercept, 0);
        }
      }
    }
}

// At epsilon = 1 some best line goes through two of the rows: all pairs are tried.
TEST(HuberAccuracy, LeastAbsoluteDeviations) {
  const int64_t n = 60;
  const Contaminated<double> data(n, 1, Layout::c);
  const HuberJob job{0, true, 1.0, 0, 1e-6, 100, {}};
  const auto model = huber_cpu(data.X.view(), data.y(), {}, all_rows(n), {job}, Context(2))[0];
  EXPECT_EQ(model.status, NewtonStatus::converged);
  EXPECT_EQ(model.scale, kLeastScale);
  const Rows rows = all_rows_of(data.X.view(), data.Y.view(), VectorView<const double>());
  HuberModel line;
  line.coef.resize(1);
  line.scale = kLeastScale;
  Real best = 1e300L;
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < i; ++j) {
      line.coef(0) =
          static_cast<double>((rows.Y(i, 0) - rows.Y(j, 0)) / (rows.X(i, 0) - rows.X(j, 0)));
      line.intercept =
          static_cast<double>(rows.Y(i, 0)) - line.coef(0) * static_cast<double>(rows.X(i, 0));
      best = std::min(best, objective(rows, line, job).value);
    }
  EXPECT_LT(static_cast<double>(objective(rows, model, job).value / best), 1 + 1e-10);
}

TEST(HuberAccuracy, LargeMeansAndFarOutliers) {
  Contaminated<double> data(300, 4, Layout::c, 1e5);
  data.Y(7, 0) = 1e9;
  const HuberJob job{0, true, 1.35, 0.1, 1e-8, 100, {}};
  const auto model = huber_cpu(data.X.view(), data.y(), {}, all_rows(300), {job}, Context(2))[0];
  EXPECT_EQ(model.status, NewtonStatus::converged);
  EXPECT_LT(model.scale, 2);
  const Rows rows = all_rows_of(data.X.view(), data.Y.view(), VectorView<const double>());
  const RealVector gradient = objective(rows, model, job).gradient;
  EXPECT_LT(static_cast<double>(gradient.cwiseAbs().maxCoeff() / 1e5L / 300), 1e-8);
}

TEST(HuberAccuracy, PerfectFit) {
  Contaminated<double> data(100, 3, Layout::c);
  for (int64_t i = 0; i < 100; ++i) data.Y(i, 0) = 3 + 2 * data.X(i, 0) - data.X(i, 2);
  for (const double epsilon : {1.0, 1.35, 10.0}) {
    const HuberJob job{0, true, epsilon, 0, 1e-6, 100, {}};
    const auto model = huber_cpu(data.X.view(), data.y(), {}, all_rows(100), {job}, Context(1))[0];
    EXPECT_EQ(model.status, NewtonStatus::converged);
    EXPECT_LT(model.scale, 1e-13);
    EXPECT_NEAR(model.coef(0), 2, 1e-12);
    EXPECT_NEAR(model.intercept, 3, 1e-12);
  }
}

TEST(HuberStops, SaysHow) {
  const Contaminated<double> data(100, 3, Layout::c);
  const auto fit = [&](const HuberJob& job, const Contaminated<double>& rows) {
    return huber_cpu(rows.X.view(), rows.y(), {}, all_rows(100), {job}, Context(1))[0];
  };
  const HuberJob job{0, true, 1.35, 0, 1e-6, 100, {}};
  HuberJob once = job;
  once.max_iter = 1;
  EXPECT_EQ(fit(once, data).status, NewtonStatus::stopped);
  EXPECT_EQ(fit(once, data).n_iter, 1);
  const HuberModel cold = fit(job, data);
  HuberJob warm = job;
  warm.start.resize(5);
  warm.start << cold.coef, cold.intercept, cold.scale;
  const HuberModel again = fit(warm, data);
  EXPECT_LT(again.n_iter, cold.n_iter);
  EXPECT_LT(relative_distance(again.coef, cold.coef), 1e-9);
  Contaminated<double> twins = data;
  for (int64_t i = 0; i < 100; ++i) twins.X(i, 1) = twins.X(i, 0);
  const HuberModel shared = fit(job, twins);
  EXPECT_EQ(shared.status, NewtonStatus::converged);
  EXPECT_NEAR(shared.coef(0), shared.coef(1), 1e-9);
  Contaminated<double> nan = data;
  nan.X(3, 1) = std::nan("");
  EXPECT_EQ(fit(job, nan).status, NewtonStatus::failed);
  // A scale below what float32 data resolve is left to float64.
  const Contaminated<float> single(100, 3, Layout::c);
  const HuberJob absolute{0, true, 1.0, 0, 1e-6, 100, {}};
  EXPECT_EQ(
      huber_cpu(single.X.view(), single.y(), {}, all_rows(100), {absolute}, Context(1))[0].status,
      NewtonStatus::failed);
}

// A job's answer does not depend on the company it is in, nor on threads.
TEST(HuberAccuracy, SameBitsForAnyNumberOfThreadsAndJobs) {
  const Contaminated<double> data(40000, 5, Layout::c);
  const Folds folds = folds_of(40000, k_fold(40000, 3));
  const auto fit = [&](const std::vector<HuberJob>& jobs, int threads) {
    return huber_cpu(data.X.view(), data.y(), {}, folds, jobs, Context(threads));
  };
  const HuberJob job{1, true, 1.2, 0.1, 1e-6, 100, {}};
  const auto alone = fit({job}, 1)[0];
  for (const int threads : {1, 2, 4}) {
    const auto among =
        fit({{0, true, 1.0, 1, 1e-6, 100, {}}, job, {2, false, 1.9, 0, 1e-6, 100, {}}}, threads);
    EXPECT_EQ(among[1].coef, alone.coef);
    EXPECT_EQ(among[1].intercept, alone.intercept);
    EXPECT_EQ(among[1].scale, alone.scale);
  }
}

}  // namespace
}  // namespace manyfit::testing
