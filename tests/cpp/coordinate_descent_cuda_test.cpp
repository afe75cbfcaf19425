#include "linear_model/coordinate_descent_cuda.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "core/device_simulated.h"
#include "device_forms.h"
#include "linear_model/coordinate_descent.h"
#include "linear_problem.h"
#include "patience.h"

namespace manyfit::testing {
namespace {

struct Jobs {
  std::vector<LinearJob> jobs;
  std::vector<DescentSettings> settings;
  std::vector<Eigen::MatrixXd> start;

  void add(int64_t split, bool fit_intercept, const DescentSettings& each) {
    jobs.push_back({split, fit_intercept});
    settings.push_back(each);
  }
  DescentCudaPopulation on_device_of(const FoldGram& gram, const Context& context) const {
    std::vector<DescentCudaJob> given;
    for (size_t b = 0; b < jobs.size(); ++b) {
      const DescentSettings& each = settings[b];
      given.push_back({jobs[b].split, jobs[b].fit_intercept, each.alpha, each.l1_ratio, each.tol,
                       each.max_iter, each.positive, each.exact});
    }
    std::vector<double> first;
    for (const Eigen::MatrixXd& coef : start)
      first.insert(first.end(), coef.data(), coef.data() + coef.size());
    return coordinate_descent_cuda(on_device(gram), on_device(gram.folds), given, first, context);
  }
};

// A path for each split, centring and mixture, from the penalty at which nothing is left on.
Jobs paths(const FoldGram& gram, const std::vector<double>& ratios, int n_alphas, double eps,
           bool exact, bool positive = false) {
  Jobs all;
  for (int64_t split = 0; split < gram.folds.n_splits(); ++split)
    for (const bool fit_intercept : {true, false}) {
      const Moments train = moments(gram, split, Part::train, fit_intercept);
      for (const double ratio : ratios) {
        const double largest =
            train.cross.cwiseAbs().maxCoeff() / train.weight / std::max(ratio, 1e-3);
        for (int i = 0; i < n_alphas; ++i) {
          DescentSettings each;
          each.alpha = largest * std::pow(eps, i / std::max(1.0, n_alphas - 1.0));
          each.l1_ratio = ratio;
          each.exact = exact;
          each.positive = positive;
          all.add(split, fit_intercept, each);
        }
      }
    }
  return all;
}

std::vector<OwnedSplit> mixed_splits(int64_t n) {
  std::vector<OwnedSplit> splits = k_fold(n, 2);
  splits.push_back(bootstrap(n, 1, 5)[0]);
  return splits;
}

// Columns that resemble their neighbours.
template <class T = double>
LinearProblem<T> correlated(int64_t n, int64_t d, int64_t t, double share, bool weighted = false) {
  LinearProblem<T> problem(n, d, t, weighted);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 1; j < d; ++j)
      problem.X(i, j) =
          static_cast<T>(share * static_cast<double>(problem.X(i, j - 1)) +
                         std::sqrt(1 - share * share) * static_cast<double>(problem.X(i, j)));
  problem.set_targets();
  return problem;
}

// `counts`: whether also the numbers of sweeps are those of the CPU.
// `tight`: whether the gaps are, too.
void expect_cpu(const FoldGram& gram, const Jobs& all, double tolerance, bool counts,
                bool tight = true) {
  const DescentCudaPopulation found = all.on_device_of(gram, Context(1));
  const DescentPopulation expected =
      coordinate_descent_cpu(gram, all.jobs, all.settings, all.start, Context(1));
  const int64_t d = gram.n_features, t = gram.n_targets;
  const std::vector<double> coef = found.coef.download(Context(1));
  for (size_t b = 0; b < all.jobs.size(); ++b) {
    SCOPED_TRACE(::testing::Message() << "job " << b << ", alpha " << all.settings[b].alpha
                                      << ", l1_ratio " << all.settings[b].l1_ratio);
    const auto row = static_cast<int64_t>(b);
    ASSERT_EQ(found.reliable[b], expected.reliable[b]);
    double size = 0;
    for (size_t c = 0; c < all.jobs.size(); ++c)
      if (all.jobs[c].split == all.jobs[b].split)
        size = std::max(size, expected.coef[c].cwiseAbs().maxCoeff());
    for (int64_t k = 0; k < t; ++k) {
      const int64_t at = row * t + k;
      for (int64_t j = 0; j < d; ++j)
        ASSERT_NEAR(coef[static_cast<size_t>(at * d + j)], expected.coef[b](j, k),
                    tolerance * size);
      ASSERT_NEAR(found.intercept[static_cast<size_t>(at)], expected.intercept[b](k),
                  tolerance * (10 + size) * static_cast<double>(d));
      const auto place = static_cast<size_t>(at);
      ASSERT_NEAR(found.tolerance[place], expected.tolerance(row, k),
                  1e-12 * expected.tolerance(row, k));
      ASSERT_EQ(found.converged[place], expected.converged(row, k));
      if (counts) {
        ASSERT_EQ(found.sweeps[place], expected.sweeps(row, k));
      }
      if (!tight) continue;
      ASSERT_NEAR(found.gap[place], expected.gap(row, k),
                  (counts ? 1e-6 : 1) * expected.gap(row, k) + 1e-3 * expected.tolerance(row, k));
    }
  }
}

TEST(DescentCuda, PathsAreThoseOfTheCpu) {
  for (const int64_t d : {1, 2, 31, 32, 33, 60, 100})
    for (const int64_t t : {1, 3}) {
      if (d > 33 && t > 1) continue;
      SCOPED_TRACE(::testing::Message() << d << " features, " << t << " targets");
      const auto problem = correlated(4 * d + 40, d, t, 0.5, d == 31);
      const FoldGram gram =
          problem.gram(folds_of(problem.X.rows(), mixed_splits(problem.X.rows())));
      for (const bool exact : {true, false})
        for (const bool positive : {false, true}) {
          SCOPED_TRACE(::testing::Message() << (exact ? "exact" : "") << positive);
          expect_cpu(gram, paths(gram, {0.1, 0.5, 1.0}, 12, 1e-3, exact, positive), 1e-10, true);
        }
    }
}

TEST(DescentCuda, OtherWidths) {
  for (const int64_t d : {129, 200, 224, 250, 360}) {
    SCOPED_TRACE(::testing::Message() << d << " features");
    const auto problem = correlated(2 * d, d, 1, 0.3);
    const FoldGram gram = problem.gram(all_rows(2 * d));
    expect_cpu(gram, paths(gram, {1.0}, 4, 1e-2, true), 1e-10, true);
    expect_cpu(gram, paths(gram, {0.7}, 4, 1e-2, false), 1e-10, true);
  }
}

TEST(DescentCuda, NewtonStepsWhereSweepsSettleSlowly) {
  for (const double share : {0.95, 0.99})
    for (const int64_t d : {20, 70}) {
      SCOPED_TRACE(::testing::Message() << share << ", " << d);
      const auto problem = correlated(3 * d, d, 1, share);
      const FoldGram gram = problem.gram(all_rows(3 * d));
      for (const bool positive : {false, true}) {
        expect_cpu(gram, paths(gram, {0.99, 1.0}, 10, 1e-4, true, positive), 1e-9, false);
        expect_cpu(gram, paths(gram, {0.99, 1.0}, 10, 1e-4, false, positive), 1e-9, true);
      }
    }
}

TEST(DescentCuda, StartsOfTheirOwn) {
  const auto problem = correlated(90, 12, 2, 0.6);
  const FoldGram gram = problem.gram(folds_of(90, mixed_splits(90)));
  for (const bool exact : {true, false}) {
    Jobs all = paths(gram, {0.3, 1.0}, 5, 1e-2, exact);
    Random random(3);
    for (size_t b = 0; b < all.jobs.size(); ++b) {
      Eigen::MatrixXd start = Eigen::MatrixXd::Zero(12, 2);
      if (b % 3 != 0)
        for (double& value : start.reshaped()) value = random.normal();
      all.start.push_back(start);
    }
    expect_cpu(gram, all, 1e-10, true);
  }
}

TEST(DescentCuda, WithoutPenalties) {
  const auto problem = correlated(80, 9, 1, 0.4);
  const FoldGram gram = problem.gram(folds_of(80, mixed_splits(80)));
  for (const bool positive : {false, true})
    for (const bool exact : {false, true})
      for (const double l1_ratio : {0.0, 1.0})
        for (const double alpha : {0.0, 0.3}) {
          SCOPED_TRACE(::testing::Message() << positive << exact << l1_ratio << alpha);
          Jobs all;
          DescentSettings each;
          each.alpha = alpha;
          each.l1_ratio = l1_ratio;
          each.positive = positive;
          each.exact = exact;
          all.add(1, true, each);
          all.add(2, false, each);
          expect_cpu(gram, all, exact ? 1e-9 : 1e-6, exact, false);
        }
}

TEST(DescentCuda, OneSweepIsNotEnough) {
  const auto problem = correlated(50, 10, 1, 0.9);
  const FoldGram gram = problem.gram(all_rows(50));
  for (const bool exact : {false, true}) {
    Jobs all = paths(gram, {0.5, 1.0}, 6, 1e-5, exact);
    for (DescentSettings& each : all.settings) each.max_iter = 1;
    expect_cpu(gram, all, 1e-10, true);
    const DescentCudaPopulation found = all.on_device_of(gram, Context(1));
    EXPECT_EQ(found.converged[5], 0);
    EXPECT_GT(found.gap[5], found.tolerance[5]);
    EXPECT_EQ(found.sweeps[5], 1);
  }
}

TEST(DescentCuda, ConstantAndRepeatedColumns) {
  LinearProblem<double> problem(50, 6, 1, false);
  for (int64_t i = 0; i < 50; ++i) {
    problem.X(i, 2) = 1e6;
    problem.X(i, 4) = problem.X(i, 3);
  }
  problem.set_targets();
  const FoldGram gram = problem.gram(all_rows(50));
  expect_cpu(gram, paths(gram, {0.5, 0.9}, 5, 1e-2, true), 1e-9, true);
  // Of the lasso's many solutions any will do.
  const Jobs lasso = paths(gram, {1.0}, 5, 1e-2, true);
  const DescentCudaPopulation found = lasso.on_device_of(gram, Context(1));
  const std::vector<double> coef = found.coef.download(Context(1));
  for (size_t b = 0; b < 5; ++b) {  // those with an intercept
    EXPECT_EQ(coef[b * 6 + 2], 0);
    EXPECT_EQ(found.converged[b], 1);
    for (size_t j = 0; j < 6; ++j) EXPECT_TRUE(std::isfinite(coef[b * 6 + j]));
  }
  LinearProblem<double> flat(50, 3, 1, false);
  for (int64_t i = 0; i < 50; ++i) {
    for (int64_t j = 0; j < 3; ++j) flat.X(i, j) = 2;
    flat.Y(i, 0) = 7;
  }
  Jobs nothing;
  nothing.add(0, true, {});
  expect_cpu(flat.gram(all_rows(50)), nothing, 1e-12, true);
}

TEST(DescentCuda, FloatGrams) {
  const auto problem = correlated<float>(120, 40, 1, 0.9, true);
  const FoldGram gram = problem.gram(folds_of(120, mixed_splits(120)));
  expect_cpu(gram, paths(gram, {0.5, 1.0}, 8, 1e-3, true), 1e-9, false);
  expect_cpu(gram, paths(gram, {0.5, 1.0}, 8, 1e-3, false), 1e-9, true);
}

// What the Gram cannot tell, as on the CPU.
TEST(DescentCuda, LostDigits) {
  LinearProblem<double> problem(60, 4, 1, false);
  Random random(1);
  for (int64_t i = 0; i < 60; ++i) problem.X(i, 1) = i < 30 ? 0.0 : 1e6 + random.normal();
  std::vector<OwnedSplit> splits = k_fold(60, 2);
  const FoldGram gram = problem.gram(folds_of(60, splits));
  Jobs all;
  for (const int64_t split : {0, 1})
    for (const bool fit_intercept : {true, false}) all.add(split, fit_intercept, {});
  expect_cpu(gram, all, 1e-9, false, false);
  const auto reliable = all.on_device_of(gram, Context(1)).reliable;
  EXPECT_EQ(reliable, (std::vector<uint8_t>{0, 1, 1, 1}));
  for (int64_t i = 0; i < 60; ++i) problem.X(i, 2) *= 1e200;
  const FoldGram large = problem.gram(folds_of(60, splits));
  EXPECT_EQ(all.on_device_of(large, Context(1)).reliable, (std::vector<uint8_t>(4, 0)));
}

// Pieces that begin at zero end at the same minima.
TEST(DescentCuda, LongPathsAreCut) {
  const auto problem = correlated(200, 64, 1, 0.5);
  const FoldGram gram = problem.gram(folds_of(200, k_fold(200, 2)));
  expect_cpu(gram, paths(gram, {0.5, 1.0}, 80, 1e-3, true), 1e-9, false, false);
  const Jobs rough = paths(gram, {0.5, 1.0}, 80, 1e-3, false);
  expect_cpu(gram, rough, 2e-2, false, false);
  const DescentCudaPopulation found = rough.on_device_of(gram, Context(1));
  for (size_t b = 0; b < rough.jobs.size(); ++b) EXPECT_LE(found.gap[b], found.tolerance[b]);
}

TEST(DescentCuda, LongWalksAreSeveralLaunches) {
  const int64_t d = 300;
  const auto problem = correlated(600, d, 1, 0.5);
  const FoldGram gram = problem.gram(all_rows(600));
  Jobs all = paths(gram, {1.0}, 13, 1e-3, true);
  const int64_t before = simulated_launches();
  expect_cpu(gram, all, 1e-9, false, false);
  EXPECT_GE(simulated_launches() - before, 4);  // moments, their preparation, and two at least
}

TEST(DescentCuda, SameBitsTwiceAndNothingLeft) {
  const auto problem = correlated(150, 40, 2, 0.9);
  const FoldGram gram = problem.gram(folds_of(150, mixed_splits(150)));
  const Jobs all = paths(gram, {0.5, 1.0}, 10, 1e-4, true);
  const int64_t before = simulated_memory_used();
  {
    const DescentCudaPopulation one = all.on_device_of(gram, Context(1)),
                                two = all.on_device_of(gram, Context(3));
    EXPECT_TRUE(one.coef.on_host().empty());  // so many stay on the device
    EXPECT_EQ(one.coef.download(Context(1)), two.coef.download(Context(1)));
    EXPECT_EQ(one.intercept, two.intercept);
    EXPECT_EQ(one.gap, two.gap);
    EXPECT_EQ(one.sweeps, two.sweeps);
  }
  EXPECT_EQ(simulated_memory_used(), before);
  EXPECT_THROW(all.on_device_of(gram, ImpatientContext(1)), Stop);
  EXPECT_EQ(simulated_memory_used(), before);
}

// Groups and chains that do not fit into the memory together take turns.
TEST(DescentCuda, LittleMemory) {
  const auto problem = correlated(150, 30, 1, 0.5);
  const FoldGram gram = problem.gram(folds_of(150, bootstrap(150, 12, 3)));
  const Jobs all = paths(gram, {0.5, 1.0}, 5, 1e-2, true);
  const auto expected = all.on_device_of(gram, Context(1));
  set_simulated_memory(simulated_memory_used() + (int64_t{2} << 20));
  const auto found = all.on_device_of(gram, Context(1));
  set_simulated_memory(int64_t{1} << 30);
  EXPECT_EQ(found.coef.download(Context(1)), expected.coef.download(Context(1)));
  EXPECT_EQ(found.reliable, expected.reliable);
}

TEST(DescentCuda, RefusesWiderData) {
  const LinearProblem<double> problem(20, kWidestDescentCuda + 1, 1, false);
  const FoldGram gram = problem.gram(all_rows(20));
  Jobs all;
  all.add(0, true, {});
  EXPECT_THROW(all.on_device_of(gram, Context(1)), InvalidInput);
}

}  // namespace
}  // namespace manyfit::testing
