#include "linear_model/ridge_cuda.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "core/device_simulated.h"
#include "core/moments_cuda.h"
#include "device_forms.h"
#include "linear_problem.h"
#include "patience.h"

namespace manyfit::testing {
namespace {

std::vector<OwnedSplit> mixed_splits(int64_t n) {
  std::vector<OwnedSplit> splits = k_fold(n, 3);
  for (OwnedSplit& split : bootstrap(n, 2, 5)) splits.push_back(std::move(split));
  return splits;
}

TEST(MomentsCuda, EqualThoseOfTheCpu) {
  for (const int64_t t : {int64_t{1}, int64_t{3}}) {
    const LinearProblem<double> problem(90, 5, t, true, 40.0);
    const FoldGram gram = problem.gram(folds_of(90, mixed_splits(90)));
    const DeviceFolds folds = on_device(gram.folds);
    std::vector<RowGroup> groups;
    for (int64_t split = 0; split < gram.folds.n_splits(); ++split)
      for (const bool centred : {true, false}) groups.push_back({split, centred});
    const DeviceMoments found = moments_cuda(on_device(gram), folds, groups);
    const Context context(1);
    const auto G = found.gram.download(context), cross = found.cross.download(context),
               mean = found.mean.download(context), y = found.target_mean.download(context),
               squares = found.target_squares.download(context),
               shifted = found.shifted_squares.download(context),
               weight = found.weight.download(context);
    for (size_t g = 0; g < groups.size(); ++g) {
      const Moments expected = moments(gram, groups[g].split, Part::train, groups[g].centred);
      const double scale = expected.gram.diagonal().maxCoeff();
      EXPECT_DOUBLE_EQ(weight[g], expected.weight);
      for (int64_t i = 0; i < 5; ++i) {
        const int64_t at = static_cast<int64_t>(g) * 5 + i;
        EXPECT_NEAR(mean[at], expected.mean(i), 1e-13 * std::abs(expected.mean(i)));
        EXPECT_NEAR(shifted[at], expected.shifted_squares(i), 1e-13 * scale);
        for (int64_t j = 0; j < 5; ++j)
          EXPECT_NEAR(G[at * 5 + j], expected.gram(i, j), 1e-13 * scale);
        for (int64_t k = 0; k < t; ++k)
          EXPECT_NEAR(cross[(static_cast<int64_t>(g) * t + k) * 5 + i], expected.cross(i, k),
                      1e-12 * std::sqrt(scale * expected.target_squares(k)));
      }
      for (int64_t k = 0; k < t; ++k) {
        const int64_t at = static_cast<int64_t>(g) * t + k;
        EXPECT_NEAR(y[at], expected.target_mean(k), 1e-12 * std::abs(expected.target_mean(k)));
        EXPECT_NEAR(squares[at], expected.target_squares(k), 1e-12 * expected.target_squares(k));
      }
    }
  }
}

struct Population {
  std::vector<int64_t> splits;
  std::vector<uint8_t> fit_intercept;
  std::vector<double> alpha;
  std::vector<LinearJob> jobs;
  Eigen::MatrixXd penalties;

  Population(int64_t n_splits, int64_t targets, double least) {
    for (int64_t s = 0; s < n_splits; ++s)
      for (const bool intercept : {true, false})
        for (int i = 0; i < 4; ++i) {
          jobs.push_back({s, intercept});
          splits.push_back(s);
          fit_intercept.push_back(intercept);
          for (int64_t k = 0; k < targets; ++k)
            alpha.push_back(least * std::pow(10, i) *
                            (i == 1 ? 1.0 + static_cast<double>(k) : 1.0));
        }
    penalties.resize(static_cast<int64_t>(jobs.size()), targets);
    for (int64_t b = 0; b < penalties.rows(); ++b)
      for (int64_t k = 0; k < targets; ++k) penalties(b, k) = alpha[b * targets + k];
  }
};

TEST(RidgeCuda, EqualsTheCpu) {
  for (const int64_t d : {int64_t{1}, int64_t{2}, int64_t{33}, int64_t{70}})
    for (const int64_t t : {int64_t{1}, int64_t{3}}) {
      SCOPED_TRACE(::testing::Message() << d << " features, " << t << " targets");
      const LinearProblem<double> problem(240, d, t, d == 2, 3.0);
      const FoldGram gram = problem.gram(folds_of(240, mixed_splits(240)));
      const DeviceFolds folds = on_device(gram.folds);
      const Population all(gram.folds.n_splits(), t, 1e-3);
      const RidgeCudaPopulation found =
          ridge_cuda(on_device(gram), folds, all.splits, all.fit_intercept, all.alpha, Context(1));
      const LinearPopulation expected = ridge_cpu(gram, all.jobs, all.penalties, Context(1));
      const std::vector<double> coef = found.coef.download(Context(1));
      for (size_t b = 0; b < all.jobs.size(); ++b) {
        EXPECT_TRUE(found.reliable[b]);
        const double size = expected.coef[b].cwiseAbs().maxCoeff();
        for (int64_t k = 0; k < t; ++k) {
          const int64_t at = static_cast<int64_t>(b) * t + k;
          EXPECT_NEAR(found.intercept[at], expected.intercept[b](k), 1e-10 * (10 + size));
          for (int64_t i = 0; i < d; ++i)
            ASSERT_NEAR(coef[at * d + i], expected.coef[b](i, k), 1e-11 * size);
        }
      }
      const RidgeCudaPopulation again =
          ridge_cuda(on_device(gram), folds, all.splits, all.fit_intercept, all.alpha, Context(1));
      EXPECT_EQ(again.coef.download(Context(1)), coef);
    }
}

TEST(RidgeCuda, RefusesWhatASquareLoses) {
  for (const double condition : {1e2, 1e6}) {
    const auto problem = LinearProblem<double>::with_condition(120, 8, 1, condition);
    const FoldGram gram = problem.gram(all_rows(120));
    const RidgeCudaPopulation found = ridge_cuda(on_device(gram), on_device(gram.folds), {0, 0, 0},
                                                 {1, 1, 1}, {0.0, 1e-30, 1e3}, Context(1));
    const bool told = condition < 1e3;
    EXPECT_EQ(found.reliable, (std::vector<uint8_t>{told, told, 1}));
  }
  // Constant and repeated columns, and squares that overflowed.
  LinearProblem<double> problem(60, 4, 1, false);
  for (int64_t i = 0; i < 60; ++i) problem.X(i, 1) = problem.X(i, 0);
  const FoldGram gram = problem.gram(all_rows(60));
  EXPECT_EQ(ridge_cuda(on_device(gram), on_device(gram.folds), {0, 0}, {1, 0}, {0, 0}, Context(1))
                .reliable,
            (std::vector<uint8_t>{0, 0}));
  for (int64_t i = 0; i < 60; ++i) problem.X(i, 1) *= 1e200;
  const FoldGram large = problem.gram(all_rows(60));
  EXPECT_EQ(
      ridge_cuda(on_device(large), on_device(large.folds), {0}, {1}, {1.0}, Context(1)).reliable[0],
      0);
}

TEST(RidgeCuda, WidestFitsInABlock) {
  Device& device = Device::at(0);
  const int64_t d = widest_ridge_cuda(device);
  EXPECT_GE(d, 160);
  const LinearProblem<double> problem(2 * d, d, 1, false);
  const FoldGram gram = problem.gram(all_rows(2 * d));
  const RidgeCudaPopulation found =
      ridge_cuda(on_device(gram), on_device(gram.folds), {0}, {1}, {10.0}, Context(1));
  const LinearPopulation expected =
      ridge_cpu(gram, {{0, true}}, Eigen::MatrixXd::Constant(1, 1, 10.0), Context(1));
  const std::vector<double> coef = found.coef.download(Context(1));
  for (int64_t i = 0; i < d; ++i)
    ASSERT_NEAR(coef[i], expected.coef[0](i, 0), 1e-10 * expected.coef[0].cwiseAbs().maxCoeff());
  const LinearProblem<double> wider(2 * d, d + 1, 1, false);
  const FoldGram too_wide = wider.gram(all_rows(2 * d));
  EXPECT_THROW(
      ridge_cuda(on_device(too_wide), on_device(too_wide.folds), {0}, {1}, {10.0}, Context(1)),
      InvalidInput);
}

TEST(RidgeCuda, LeavesNothingOnTheDevice) {
  const int64_t before = simulated_memory_used();
  const LinearProblem<float> problem(50, 6, 1, false);
  const FoldGram gram = problem.gram(all_rows(50));
  for (int i = 0; i < 5; ++i)
    ridge_cuda(on_device(gram), on_device(gram.folds), {0}, {1}, {1.0}, Context(1));
  EXPECT_EQ(simulated_memory_used(), before);
}

}  // namespace
}  // namespace manyfit::testing
