#include "linear_model/poisson.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "reference.h"
#include "tables.h"

namespace manyfit::testing {
namespace {

template <class T>
class PoissonTest : public ::testing::Test {};
TYPED_TEST_SUITE(PoissonTest, FloatTypes, TypeName);

// Gradient of the objective, by its definition, over the spread of the columns' terms.
template <class T>
double gradient_size(const Rows& rows, const PoissonModel& model, const PoissonJob& job) {
  const RealVector coef = model.coef.cast<Real>();
  const RealVector prediction = (rows.X * coef).array() + static_cast<Real>(model.intercept);
  const RealVector residual = prediction.array().exp() - rows.Y.col(0).array();
  const RealVector weighted = residual.cwiseProduct(rows.w) / rows.w.sum();
  RealVector gradient = rows.X.transpose() * weighted + static_cast<Real>(job.alpha) * coef;
  Real largest = gradient.cwiseAbs().maxCoeff();
  if (job.fit_intercept) largest = std::max(largest, std::abs(weighted.sum()));
  return static_cast<double>(largest / (1 + rows.X.cwiseAbs().maxCoeff()));
}

template <class T>
struct Counts {
  Table<T> X;
  Table<T> Y;
  Counts(int64_t n, int64_t d, Layout layout, double mean = 0.5)
      : X(n, d, layout), Y(n, 1, Layout::c) {
    Random random(29);
    for (int64_t i = 0; i < n; ++i) {
      double prediction = 0.3;
      for (int64_t j = 0; j < d; ++j) {
        const double z = random.normal();
        X(i, j) = static_cast<T>(mean + z);
        prediction += 0.6 * z / static_cast<double>(1 + j);
      }
      Y(i, 0) = static_cast<T>(std::floor(std::exp(prediction) + 2 * random.uniform()));
    }
  }
  VectorView<const T> y() const { return {Y.view().data, Y.rows(), Y.view().row_stride}; }
};

TYPED_TEST(PoissonTest, GradientVanishes) {
  using T = TypeParam;
  const double tolerance = std::is_same_v<T, float> ? 2e-5 : 1e-11;
  for (const Layout layout : {Layout::c, Layout::fortran})
    for (const bool weighted : {false, true}) {
      const Counts<T> data(150, 6, layout);
      const std::vector<T> weights = random_weights<T>(150, 5);
      const auto w = weighted ? view(weights) : VectorView<const T>();
      std::vector<OwnedSplit> splits = k_fold(150, 3);
      for (OwnedSplit& split : bootstrap(150, 2, 5)) splits.push_back(std::move(split));
      std::vector<PoissonJob> jobs;
      for (int64_t s = 0; s < 5; ++s)
        for (const double alpha : {0.0, 0.01, 10.0})
          for (const bool intercept : {true, false})
            jobs.push_back({s, intercept, alpha, 1e-6, 100, {}});
      const auto models =
          poisson_cpu(data.X.view(), data.y(), w, folds_of(150, splits), jobs, Context(2));
      ASSERT_EQ(models.size(), jobs.size());
      for (size_t b = 0; b < jobs.size(); ++b) {
        SCOPED_TRACE(b);
        EXPECT_EQ(models[b].status, NewtonStatus::converged);
        const Rows rows = rows_of(data.X.view(), data.Y.view(), w, splits[jobs[b].split].train);
        EXPECT_LT(gradient_size<T>(rows, models[b], jobs[b]), tolerance);
        if (!jobs[b].fit_intercept) {
          EXPECT_EQ(models[b].intercept, 0);
        }
      }
    }
}

TEST(PoissonAccuracy, LargeMeans) {
  const Counts<double> data(300, 4, Layout::c, 1e5);
  const PoissonJob job{0, true, 0.1, 1e-8, 100, {}};
  const auto model = poisson_cpu(data.X.view(), data.y(), {}, all_rows(300), {job}, Context(2))[0];
  EXPECT_EQ(model.status, NewtonStatus::converged);
  const Rows rows = all_rows_of(data.X.view(), data.Y.view(), VectorView<const double>());
  EXPECT_LT(gradient_size<double>(rows, model, job), 1e-8);
}

TEST(PoissonStops, SaysHow) {
  const Counts<double> data(100, 3, Layout::c);
  const auto status = [&](const PoissonJob& job, const Counts<double>& counts) {
    return poisson_cpu(counts.X.view(), counts.y(), {}, all_rows(100), {job}, Context(1))[0].status;
  };
  EXPECT_EQ(status({0, true, 0, 1e-6, 1, {}}, data), NewtonStatus::stopped);
  Counts<double> twins = data;
  for (int64_t i = 0; i < 100; ++i) twins.X(i, 1) = twins.X(i, 0);
  EXPECT_EQ(status({0, true, 0, 1e-6, 100, {}}, twins), NewtonStatus::failed);
  EXPECT_EQ(status({0, true, 1, 1e-6, 100, {}}, twins), NewtonStatus::converged);
  Counts<double> zero = data;
  for (int64_t i = 0; i < 100; ++i) zero.Y(i, 0) = 0;
  EXPECT_EQ(status({0, true, 1, 1e-6, 100, {}}, zero), NewtonStatus::failed);
  Counts<double> nan = data;
  nan.X(3, 1) = std::nan("");
  EXPECT_EQ(status({0, true, 1, 1e-6, 100, {}}, nan), NewtonStatus::failed);
}

// A job's answer does not depend on the company it is in, nor on threads.
TEST(PoissonAccuracy, SameBitsForAnyNumberOfThreadsAndJobs) {
  const Counts<double> data(4000, 5, Layout::c);
  const Folds folds = folds_of(4000, k_fold(4000, 3));
  const auto fit = [&](const std::vector<PoissonJob>& jobs, int threads) {
    return poisson_cpu(data.X.view(), data.y(), {}, folds, jobs, Context(threads));
  };
  const PoissonJob job{1, true, 0.1, 1e-6, 100, {}};
  const auto alone = fit({job}, 1)[0];
  for (const int threads : {1, 2, 4}) {
    const auto among =
        fit({{0, true, 1.0, 1e-6, 100, {}}, job, {2, false, 0, 1e-6, 100, {}}}, threads);
    EXPECT_EQ(among[1].coef, alone.coef);
    EXPECT_EQ(among[1].intercept, alone.intercept);
  }
}

}  // namespace
}  // namespace manyfit::testing
