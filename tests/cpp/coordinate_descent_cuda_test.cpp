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
void expect_cpu(const FoldGram& gram, const Jobs& all, double tolerance, bool counts,
                bool tight = true) {
  const DescentCudaPopulation found = all.on_device_of(gram, Context(1));
  const DescentPopulation expected =
      coordinate_descent_cpu(gram, all.jobs, all.settings, all.start, Context(1));
  const int64_t d = gram.n_features, t = gram.n_targets;
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
        ASSERT_NEAR(found.coef[static_cast<size_t>(at * d + j)], expected.coef[b](j, k),
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

}  // namespace
}  // namespace manyfit::testing
