#include "linear_model/evaluate_cuda.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "core/device_simulated.h"
#include "device_forms.h"
#include "linear_model/evaluate.h"
#include "linear_problem.h"
#include "patience.h"

namespace manyfit::testing {
namespace {

// Left out are single atoms, several, and rows that come twice.
std::vector<OwnedSplit> mixed_splits(int64_t n) {
  std::vector<OwnedSplit> splits = k_fold(n, 3);
  for (OwnedSplit& split : bootstrap(n, 2, 3)) splits.push_back(std::move(split));
  splits.push_back({{1, 2, 3}, {7, 7, 9, n - 1}});
  return splits;
}

// Any coefficients, of jobs whose splits alternate.
struct Fits {
  std::vector<LinearJob> jobs;
  std::vector<int64_t> splits;
  std::vector<Eigen::MatrixXd> coef;
  std::vector<Eigen::VectorXd> intercept;

  Fits(int64_t n_jobs, int64_t n_splits, int64_t d, int64_t t) {
    Random random(5);
    for (int64_t b = 0; b < n_jobs; ++b) {
      jobs.push_back({b % n_splits, true});
      splits.push_back(b % n_splits);
      coef.emplace_back(Eigen::MatrixXd::NullaryExpr(d, t, [&] { return random.normal(); }));
      intercept.emplace_back(Eigen::VectorXd::NullaryExpr(t, [&] { return random.normal(); }));
    }
  }

  SquaredErrorsCuda on_device_of(const FoldGram& gram, const Context& context = Context(1)) const {
    std::vector<double> all, constants;
    for (size_t b = 0; b < jobs.size(); ++b) {
      all.insert(all.end(), coef[b].data(), coef[b].data() + coef[b].size());
      constants.insert(constants.end(), intercept[b].data(),
                       intercept[b].data() + intercept[b].size());
    }
    const DeviceBuffer<double> there(Device::at(0), all);
    return squared_errors_cuda(on_device(gram), on_device(gram.folds), splits, there.data(),
                               constants, context);
  }
  SquaredErrors on_cpu_of(const FoldGram& gram) const {
    return squared_errors_cpu(gram, jobs, coef, intercept, Context(1));
  }
};

// What both say: errors within a small part of what may be rounding, and the same of that.
void expect_cpu(const SquaredErrorsCuda& found, const SquaredErrors& expected) {
  for (int64_t b = 0; b < expected.residual.rows(); ++b) {
    EXPECT_DOUBLE_EQ(found.weight[static_cast<size_t>(b)], expected.weight(b));
    for (int64_t k = 0; k < expected.residual.cols(); ++k) {
      const auto at = static_cast<size_t>(b * expected.residual.cols() + k);
      ASSERT_NEAR(found.residual[at], expected.residual(b, k), expected.residual_rounding(b, k))
          << "job " << b;
      ASSERT_NEAR(found.total[at], expected.total(b, k), expected.total_rounding(b, k));
      ASSERT_NEAR(found.residual_rounding[at] / expected.residual_rounding(b, k), 1, 1e-7);
      ASSERT_NEAR(found.total_rounding[at] / expected.total_rounding(b, k), 1, 1e-9);
    }
  }
}

TEST(EvaluateCuda, EqualsTheCpu) {
  for (const int64_t d : {1, 2, 31, 32, 33, 63, 64, 65, 97, 130, 200})
    for (const int64_t t : {1, 3}) {
      if (d > 65 && t > 1) continue;
      SCOPED_TRACE(::testing::Message() << d << " features, " << t << " targets");
      const LinearProblem<double> problem(260, d, t, d % 2 == 0, 3.0);
      const FoldGram gram = problem.gram(folds_of(260, mixed_splits(260)));
      const Fits fits(d == 33 ? 850 : 40, gram.folds.n_splits(), d, t);
      const SquaredErrorsCuda found = fits.on_device_of(gram);
      expect_cpu(found, fits.on_cpu_of(gram));
      const SquaredErrorsCuda again = fits.on_device_of(gram);
      EXPECT_EQ(again.residual, found.residual);
      EXPECT_EQ(again.residual_rounding, found.residual_rounding);
    }
}

template <class T>
class EvaluateCudaTest : public ::testing::Test {};
TYPED_TEST_SUITE(EvaluateCudaTest, FloatTypes, TypeName);

// Row by row, as SquaredErrorsTest does for the CPU.
TYPED_TEST(EvaluateCudaTest, AreThoseOfADirectPass) {
  using T = TypeParam;
  const int64_t n = 240, d = 70, t = 2;
  const auto splits = mixed_splits(n);
  for (const bool weighted : {false, true}) {
    const LinearProblem<T> problem(n, d, t, weighted, 3);
    const FoldGram gram = problem.gram(folds_of(n, splits));
    const Fits fits(12, gram.folds.n_splits(), d, t);
    const SquaredErrorsCuda found = fits.on_device_of(gram);
    for (size_t b = 0; b < fits.jobs.size(); ++b) {
      const Rows rows = problem.rows(splits[static_cast<size_t>(fits.jobs[b].split)].test);
      const RealVector mean = weighted_mean(rows.Y, rows.w);
      EXPECT_NEAR(found.weight[b] / static_cast<double>(rows.w.sum()), 1, 40 * kEpsilon<T>);
      for (int64_t k = 0; k < t; ++k) {
        Real residual = 0, total = 0;
        for (int64_t i = 0; i < rows.X.rows(); ++i) {
          Real prediction = fits.intercept[b](k);
          for (int64_t j = 0; j < d; ++j) prediction += rows.X(i, j) * fits.coef[b](j, k);
          residual += rows.w(i) * std::pow(rows.Y(i, k) - prediction, 2);
          total += rows.w(i) * std::pow(rows.Y(i, k) - mean(k), 2);
        }
        const size_t at = b * t + static_cast<size_t>(k);
        EXPECT_LE(std::abs(found.residual[at] - static_cast<double>(residual)),
                  found.residual_rounding[at]);
        EXPECT_LE(std::abs(found.total[at] - static_cast<double>(total)), found.total_rounding[at]);
        EXPECT_NEAR(found.residual[at] / static_cast<double>(residual), 1, 400 * kEpsilon<T>);
      }
    }
  }
}

// What is lost shows in the bounds, and no error is negative.
TEST(EvaluateCuda, OfAPerfectFitAreNothing) {
  LinearProblem<double> problem(100, 3, 1, false);
  for (int64_t i = 0; i < 100; ++i) problem.Y(i, 0) = 2 * problem.X(i, 0) - problem.X(i, 2) / 2;
  const FoldGram gram = problem.gram(folds_of(100, k_fold(100, 2)));
  Fits fits(2, 2, 3, 1);
  for (size_t b = 0; b < 2; ++b) {
    fits.coef[b] = Eigen::Vector3d(2, 0, -0.5);
    fits.intercept[b] = Eigen::VectorXd::Zero(1);
  }
  const SquaredErrorsCuda found = fits.on_device_of(gram);
  expect_cpu(found, fits.on_cpu_of(gram));
  for (size_t b = 0; b < 2; ++b) {
    EXPECT_GE(found.residual[b], 0);
    EXPECT_LT(found.residual[b], found.residual_rounding[b]);
  }
}

TEST(EvaluateCuda, GroupsTakeTurnsWhereMemoryIsShort) {
  const LinearProblem<double> problem(300, 60, 1, false);
  const FoldGram gram = problem.gram(folds_of(300, k_fold(300, 6)));
  const Fits fits(600, 6, 60, 1);
  const SquaredErrorsCuda expected = fits.on_device_of(gram);
  const int64_t before = simulated_launches();
  fits.on_device_of(gram);
  const int64_t launches = simulated_launches() - before;
  EXPECT_EQ(launches, 2);
  set_simulated_memory(simulated_memory_used() + 6 * 62 * 62 * 8 + 600 * (60 + 6) * 8 + 100'000);
  const SquaredErrorsCuda found = fits.on_device_of(gram);
  set_simulated_memory(int64_t{1} << 30);
  EXPECT_GT(simulated_launches() - before, 2 * launches);
  EXPECT_EQ(found.residual, expected.residual);
  EXPECT_EQ(found.total, expected.total);
  EXPECT_EQ(found.weight, expected.weight);
}

// So that Ctrl-C is answered between launches.
TEST(EvaluateCuda, LongWorkIsSeveralLaunches) {
  const int64_t d = 1300;
  const LinearProblem<double> problem(40, d, 1, false);
  const FoldGram gram = problem.gram(folds_of(40, {k_fold(40, 2)[0]}));
  const Fits fits(8 * 64 + 1, 1, d, 1);
  const int64_t before = simulated_launches();
  const SquaredErrorsCuda found = fits.on_device_of(gram);
  EXPECT_EQ(simulated_launches() - before, 3);
  expect_cpu(found, fits.on_cpu_of(gram));
  const int64_t used = simulated_memory_used();
  EXPECT_THROW(fits.on_device_of(gram, ImpatientContext(1)), Stop);
  EXPECT_EQ(simulated_launches() - before, 5);
  EXPECT_EQ(simulated_memory_used(), used);
}

TEST(EvaluateCuda, NothingToTell) {
  const LinearProblem<double> problem(50, 6, 1, false);
  const FoldGram gram = problem.gram(folds_of(50, k_fold(50, 2)));
  const int64_t before = simulated_memory_used();
  EXPECT_TRUE(Fits(0, 2, 6, 1).on_device_of(gram).residual.empty());
  Fits(5, 2, 6, 1).on_device_of(gram);
  EXPECT_EQ(simulated_memory_used(), before);
  const Folds& folds = gram.folds;
  const DeviceFolds untold(Device::at(0), 50, folds.atom_begin, folds.train, folds.order);
  const DeviceBuffer<double> coef(Device::at(0), std::vector<double>(6));
  EXPECT_THROW(squared_errors_cuda(on_device(gram), untold, {0}, coef.data(), {0}, Context(1)),
               InvalidInput);
}

}  // namespace
}  // namespace manyfit::testing
