#include "decomposition/incremental_pca.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "reference.h"
#include "tables.h"

namespace manyfit::testing {
namespace {

template <class T>
class IncrementalPcaTest : public ::testing::Test {};
TYPED_TEST_SUITE(IncrementalPcaTest, FloatTypes, TypeName);

template <class T>
constexpr double kGram = std::is_same_v<T, float> ? 2e-6 : 4e-14;

struct Reference {
  Real seen = 0;
  RealVector mean, variance, values;
  RealMatrix components;
  Real noise = 0;
};

// The definition: batch after batch, the SVD of the stacked matrix.
Reference reference(const RealMatrix& X, const std::vector<int64_t>& begin, int64_t count) {
  Reference state;
  for (size_t i = 0; i + 1 < begin.size(); ++i) {
    const RealMatrix batch = X.middleRows(begin[i], begin[i + 1] - begin[i]);
    const RealVector ones = RealVector::Ones(batch.rows());
    const RealVector mean = weighted_mean(batch, ones);
    const Real size = static_cast<Real>(batch.rows()), total = state.seen + size;
    const bool first = state.seen == 0;
    RealMatrix A(batch.rows() + (first ? 0 : count + 1), X.cols());
    A.bottomRows(batch.rows()) = minus(batch, mean);
    if (!first) {
      A.topRows(count) = state.values.asDiagonal() * state.components;
      A.row(count) = std::sqrt(state.seen / total * size) * (state.mean - mean).transpose();
    }
    const ReferenceSvd svd = jacobi_svd(A);
    state.values = svd.values.head(count);
    state.components = svd.v.leftCols(count).transpose();
    state.noise = 0;
    if (count != batch.rows() && count != X.cols())
      state.noise = svd.values.tail(svd.values.size() - count).squaredNorm() /
                    static_cast<Real>(svd.values.size() - count) / (total - 1);
    const RealMatrix so_far = X.topRows(begin[i + 1]);
    const RealVector all = RealVector::Ones(so_far.rows());
    state.mean = weighted_mean(so_far, all);
    state.variance = minus(so_far, state.mean).cwiseAbs2().colwise().sum().transpose() / total;
    state.seen = total;
  }
  return state;
}

void expect_state(const IncrementalComponents& actual, const Reference& expected,
                  double tolerance) {
  ASSERT_EQ(actual.values.size(), expected.values.size());
  const auto largest = static_cast<double>(expected.values(0));
  EXPECT_EQ(actual.seen, static_cast<int64_t>(expected.seen));
  EXPECT_LT(relative_distance(actual.mean, expected.mean), tolerance);
  EXPECT_LT(relative_distance(actual.variance, expected.variance), tolerance);
  EXPECT_LT(distance(actual.values, expected.values), tolerance * largest);
  EXPECT_NEAR(actual.noise_variance, static_cast<double>(expected.noise),
              tolerance * static_cast<double>(expected.variance.sum()));
  const int64_t count = actual.values.size();
  EXPECT_LT(distance(actual.components * actual.components.transpose(),
                     Eigen::MatrixXd::Identity(count, count)),
            1e-12);
  for (int64_t i = 0; i < count; ++i) {
    const Real cosine = actual.components.row(i).cast<Real>().dot(expected.components.row(i));
    EXPECT_LT(1 - std::abs(static_cast<double>(cosine)), 1e3 * tolerance) << "component " << i;
    EXPECT_GT(actual.components.row(i).maxCoeff(), -actual.components.row(i).minCoeff());
  }
}

// Columns of spreads well apart, means that drift from row to row.
template <class T>
Table<T> drifting(int64_t n, int64_t d, Layout layout = Layout::c, double mean = 2) {
  Random random(23);
  return Table<T>(n, d, layout, [&](int64_t i, int64_t j) {
    return mean + 0.01 * static_cast<double>(i) +
           random.normal() * std::exp2(-0.4 * static_cast<double>(j));
  });
}

template <class T>
RealMatrix real(const Table<T>& X) {
  return all_rows_of(X.view(), no_targets<T>(X.rows()), {}).X;
}

TYPED_TEST(IncrementalPcaTest, FollowsTheDefinition) {
  using T = TypeParam;
  const std::vector<int64_t> begin = {0, 30, 60, 71, 110};
  for (const Layout layout : {Layout::c, Layout::fortran, Layout::reversed_columns})
    for (const int64_t d : {3, 9}) {
      SCOPED_TRACE(::testing::Message() << name(layout) << " d=" << d);
      const Table<T> X = drifting<T>(110, d, layout);
      const Context context(2);
      const std::vector<int64_t> counts = {1, 2, 3, d};
      const auto actual = incremental_pca_cpu(X.view(), {}, begin, counts, {}, context);
      ASSERT_EQ(actual.size(), counts.size());
      for (size_t b = 0; b < counts.size(); ++b)
        expect_state(actual[b], reference(real(X), begin, counts[b]), kGram<T>);
    }
}

TYPED_TEST(IncrementalPcaTest, FewerRowsThanColumns) {
  using T = TypeParam;
  const std::vector<int64_t> begin = {0, 6, 12, 19};
  const Table<T> X = drifting<T>(19, 40);
  const Context context(2);
  const auto actual = incremental_pca_cpu(X.view(), {}, begin, {1, 3, 5}, {}, context);
  expect_state(actual[0], reference(real(X), begin, 1), 4e-14);
  expect_state(actual[1], reference(real(X), begin, 3), 4e-14);
  expect_state(actual[2], reference(real(X), begin, 5), 4e-14);
}

// In pieces, each going on from the state of the one before; on rows in another order.
TYPED_TEST(IncrementalPcaTest, GoesOnFromAState) {
  using T = TypeParam;
  const Table<T> X = drifting<T>(90, 5);
  const Context context(2);
  const auto whole = incremental_pca_cpu(X.view(), {}, {0, 30, 60, 90}, {3}, {}, context)[0];
  IncrementalComponents state;
  for (int64_t i = 0; i < 3; ++i) {
    std::vector<int64_t> rows(30);
    std::iota(rows.begin(), rows.end(), 30 * i);
    std::reverse(rows.begin(), rows.end());
    state = incremental_pca_cpu(X.view(), rows, {0, 30}, {3}, state, context)[0];
  }
  EXPECT_LT(relative_distance(state.values, whole.values), kGram<T>);
  EXPECT_LT(relative_distance(state.mean, whole.mean), 1e-6);
  EXPECT_LT(distance(state.components, whole.components), 100 * kGram<T>);
}

TEST(IncrementalPcaAccuracy, KeepsSmallValues) {
  const RealMatrix exact = conditioned(120, 5, 1e7L, 3);
  const Table<double> X(120, 5, Layout::c,
                        [&](int64_t i, int64_t j) { return static_cast<double>(exact(i, j)); });
  const std::vector<int64_t> begin = {0, 40, 80, 120};
  const Context context(2);
  const auto actual = incremental_pca_cpu(X.view(), {}, begin, {5}, {}, context)[0];
  const Reference expected = reference(real(X), begin, 5);
  for (int64_t i = 0; i < 5; ++i)
    EXPECT_NEAR(actual.values(i) / static_cast<double>(expected.values(i)), 1, 1e-7);
}

TEST(IncrementalPcaAccuracy, LargeMeans) {
  const Table<double> X = drifting<double>(120, 4, Layout::c, 1e8);
  const std::vector<int64_t> begin = {0, 40, 80, 120};
  const Context context(2);
  const auto actual = incremental_pca_cpu(X.view(), {}, begin, {2}, {}, context)[0];
  const Reference expected = reference(real(X), begin, 2);
  EXPECT_LT(relative_distance(actual.values, expected.values), 1e-7);
  EXPECT_LT(relative_distance(actual.variance, expected.variance), 1e-7);
}

TEST(IncrementalPcaAccuracy, SameBitsForAnyNumberOfThreads) {
  const Table<double> X = drifting<double>(3000, 12);
  std::vector<int64_t> begin;
  for (int64_t i = 0; i <= 3000; i += 60) begin.push_back(i);
  const auto fit = [&](int threads) {
    return incremental_pca_cpu(X.view(), {}, begin, {1, 4, 12}, {}, Context(threads));
  };
  const auto one = fit(1);
  for (const int threads : {2, 3, 4}) {
    const auto more = fit(threads);
    for (size_t b = 0; b < one.size(); ++b) EXPECT_EQ(one[b].components, more[b].components);
  }
}

TEST(IncrementalPcaInput, NotFinite) {
  for (const int64_t d : {4, 200}) {
    Table<double> X = drifting<double>(60, d);
    X(33, 2) = std::nan("");
    EXPECT_TRUE(incremental_pca_cpu(X.view(), {}, {0, 20, 40, 60}, {2}, {}, Context(2)).empty());
  }
}

}  // namespace
}  // namespace manyfit::testing
