#include "decomposition/pca.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "patience.h"
#include "reference.h"
#include "tables.h"

namespace manyfit::testing {
namespace {

template <class T>
class PcaTest : public ::testing::Test {};
TYPED_TEST_SUITE(PcaTest, FloatTypes, TypeName);

// Of variances in units of the largest, from second moments in T.
template <class T>
constexpr double kGram = std::is_same_v<T, float> ? 5e-7 : 1e-14;

struct ReferencePca {
  RealVector mean, variance;
  RealMatrix components;  // rows
  Real total = 0;
};

ReferencePca reference_pca(const RealMatrix& X) {
  const RealVector ones = RealVector::Ones(X.rows());
  const ReferenceSvd svd = jacobi_svd(design(X, ones, true));
  const Real divisor = static_cast<Real>(X.rows() - 1);
  ReferencePca result{weighted_mean(X, ones), svd.values.cwiseAbs2() / divisor, svd.v.transpose(),
                      svd.values.squaredNorm() / divisor};
  for (auto row : result.components.rowwise()) {
    Eigen::Index largest = 0;
    row.cwiseAbs().maxCoeff(&largest);
    if (row(largest) < 0) row *= -1;
  }
  return result;
}

// Components are compared where their variance stands apart from its neighbours' by a tenth.
void expect_components(const PrincipalComponents& actual, const ReferencePca& expected,
                       int64_t count, double tolerance) {
  ASSERT_EQ(actual.variance.size(), count);
  ASSERT_EQ(actual.components.rows(), count);
  ASSERT_EQ(actual.components.cols(), expected.components.cols());
  EXPECT_LT(relative_distance(actual.mean, expected.mean), tolerance);
  const auto largest = static_cast<double>(expected.variance(0));
  EXPECT_LT(distance(actual.variance, expected.variance.head(count)), tolerance * largest);
  EXPECT_NEAR(actual.total_variance, static_cast<double>(expected.total),
              tolerance * static_cast<double>(expected.total));
  EXPECT_LT(distance(actual.components * actual.components.transpose(),
                     Eigen::MatrixXd::Identity(count, count)),
            1e-12);
  for (int64_t i = 0; i < count; ++i) {
    const Real own = expected.variance(i);
    const Real above = i > 0 ? expected.variance(i - 1) : 2 * own;
    const Real below = i + 1 < expected.variance.size() ? expected.variance(i + 1) : 0;
    const double gap = static_cast<double>(std::min(above - own, own - below));
    if (gap < 1e-4 * largest) continue;
    const Real cosine = actual.components.row(i).cast<Real>().dot(expected.components.row(i));
    EXPECT_LT(1 - std::abs(cosine), std::pow(tolerance * largest / gap, 2) + 4e-15)
        << "component " << i;
    // The sign follows the entry of largest size, where that is not a matter of rounding.
    Eigen::Index place = 0;
    const double size = actual.components.row(i).cwiseAbs().maxCoeff(&place);
    EXPECT_EQ(actual.components(i, place), size) << "component " << i;
  }
}

template <class T>
RealMatrix chosen_rows(const Table<T>& X, const std::vector<int64_t>& rows) {
  return rows_of(X.view(), no_targets<T>(X.rows()), {}, rows).X;
}

template <class T>
Table<T> spread_table(int64_t n, int64_t d, Layout layout = Layout::c, double mean = 3) {
  Random random(11);
  return Table<T>(n, d, layout, [&](int64_t, int64_t j) {
    return mean + random.normal() / (1 + static_cast<double>(j));
  });
}

std::vector<OwnedSplit> mixed_splits(int64_t n) {
  std::vector<OwnedSplit> splits = k_fold(n, 3);
  for (OwnedSplit& split : bootstrap(n, 2, 5)) splits.push_back(std::move(split));
  return splits;
}

// Several counts of one split: the smaller ones are the head of the largest.
struct Wanted {
  std::vector<int64_t> splits, counts;
  explicit Wanted(int64_t n_splits) {
    for (int64_t s = 0; s < n_splits; ++s)
      for (const int64_t count : {2, 0, 1, 1000}) {
        splits.push_back(s);
        counts.push_back(count);
      }
  }
};

template <class T>
void expect_all(const std::vector<PrincipalComponents>& actual, const Table<T>& X,
                const std::vector<OwnedSplit>& splits, const Wanted& wanted, double tolerance) {
  ASSERT_EQ(actual.size(), wanted.splits.size());
  for (size_t b = 0; b < actual.size(); ++b) {
    SCOPED_TRACE(::testing::Message()
                 << "split " << wanted.splits[b] << ", count " << wanted.counts[b]);
    const auto& train = splits[wanted.splits[b]].train;
    const int64_t all = std::min<int64_t>(static_cast<int64_t>(train.size()), X.cols());
    const int64_t count = wanted.counts[b] == 0 ? all : std::min(wanted.counts[b], all);
    expect_components(actual[b], reference_pca(chosen_rows(X, train)), count, tolerance);
  }
}

TYPED_TEST(PcaTest, GramAndFactorGiveTheReference) {
  using T = TypeParam;
  for (const int64_t d : {1, 3, 12})
    for (const Layout layout : {Layout::c, Layout::fortran}) {
      SCOPED_TRACE(::testing::Message() << "d=" << d << " " << name(layout));
      const Table<T> X = spread_table<T>(90, d, layout);
      const auto splits = mixed_splits(90);
      const Wanted wanted(static_cast<int64_t>(splits.size()));
      const Folds folds = folds_of(90, splits);
      const Context context(2);
      expect_all(pca_cpu(fold_gram_cpu(X.view(), no_targets<T>(90), {}, folds, context),
                         wanted.splits, wanted.counts, context),
                 X, splits, wanted, 4 * kGram<T>);
      expect_all(pca_cpu(fold_qr_cpu(X.view(), no_targets<T>(90), {}, folds, context),
                         wanted.splits, wanted.counts, context),
                 X, splits, wanted, 4e-15);
    }
}

TYPED_TEST(PcaTest, RowFormsGiveTheReference) {
  using T = TypeParam;
  const Table<T> X = spread_table<T>(15, 40);
  // Without repetitions: with them the last variances are zero, and their directions any.
  const auto splits = k_fold(15, 3);
  const Wanted wanted(3);
  const Context context(2);
  const Folds folds = folds_of(15, splits);
  expect_all(pca_cpu(row_gram_cpu(X.view(), context), X.view(), folds, wanted.splits, wanted.counts,
                     context),
             X, splits, wanted, 10 * kGram<T>);
  expect_all(pca_cpu(row_qr_cpu(X.view(), context), X.view(), folds, wanted.splits, wanted.counts,
                     context),
             X, splits, wanted, 4e-15);
}

TYPED_TEST(PcaTest, RowFormsOfRepeatedRowsKeepComponentsOrthonormal) {
  using T = TypeParam;
  const Table<T> X = spread_table<T>(15, 40);
  const auto splits = bootstrap(15, 3, 5);
  const Wanted wanted(3);
  const Context context(2);
  const Folds folds = folds_of(15, splits);
  expect_all(pca_cpu(row_gram_cpu(X.view(), context), X.view(), folds, wanted.splits, wanted.counts,
                     context),
             X, splits, wanted, 10 * kGram<T>);
  expect_all(pca_cpu(row_qr_cpu(X.view(), context), X.view(), folds, wanted.splits, wanted.counts,
                     context),
             X, splits, wanted, 4e-15);
}

// More components than blocks of them that leave each other at once, the last of no variance.
TYPED_TEST(PcaTest, ManyComponentsOfFewRows) {
  using T = TypeParam;
  const int64_t n = 75, d = 200;
  const Table<T> X = normal_table<T>(n, d, 1);
  const ReferencePca expected = reference_pca(all_rows_of(X.view(), no_targets<T>(n), {}).X);
  const Context context(2);
  for (const int64_t count : {1, 33, 75}) {
    SCOPED_TRACE(count);
    const auto by_gram =
        pca_cpu(row_gram_cpu(X.view(), context), X.view(), all_rows(n), {0}, {count}, context)[0];
    const auto by_qr =
        pca_cpu(row_qr_cpu(X.view(), context), X.view(), all_rows(n), {0}, {count}, context)[0];
    expect_components(by_gram, expected, count, 10 * kGram<T>);
    expect_components(by_qr, expected, count, 4e-15);
    EXPECT_TRUE(by_gram.reliable);
    EXPECT_TRUE(by_qr.reliable);
    if (count == n) {
      EXPECT_EQ(by_gram.variance(n - 1), 0);
    }
  }
}

// A variance that the rows' inner products lose: they say so, and their factor has it.
TEST(PcaAccuracy, RowFactorKeepsSmallVariances) {
  const RealMatrix exact = conditioned(60, 6, 1e6L, 3);
  const Table<double> X(6, 60, Layout::c,
                        [&](int64_t i, int64_t j) { return static_cast<double>(exact(j, i)); });
  const RealVector expected =
      reference_pca(all_rows_of(X.view(), no_targets<double>(6), {}).X).variance;
  const Context context(2);
  EXPECT_FALSE(pca_cpu(row_gram_cpu(X.view(), context), X.view(), all_rows(6), {0}, {0}, context)[0]
                   .reliable);
  const auto by_qr =
      pca_cpu(row_qr_cpu(X.view(), context), X.view(), all_rows(6), {0}, {0}, context)[0];
  EXPECT_TRUE(by_qr.reliable);
  for (int64_t i = 0; i < 5; ++i)
    EXPECT_NEAR(by_qr.variance(i) / static_cast<double>(expected(i)), 1, 1e-8);
}

// The same data by every way there is.
TYPED_TEST(PcaTest, AllWaysAgree) {
  using T = TypeParam;
  const int64_t n = 30, d = 29, count = 8;
  const Table<T> X = spread_table<T>(n, d);
  const Context context(2);
  const std::vector<int64_t> split = {0}, counts = {count};
  const auto by_svd =
      pca_cpu(row_qr_cpu(X.view(), context), X.view(), all_rows(n), split, counts, context)[0];
  const std::vector<PrincipalComponents> others = {
      pca_cpu(fold_gram_cpu(X.view(), no_targets<T>(n), {}, all_rows(n), context), split, counts,
              context)[0],
      pca_cpu(fold_qr_cpu(X.view(), no_targets<T>(n), {}, all_rows(n), context), split, counts,
              context)[0],
      pca_cpu(row_gram_cpu(X.view(), context), X.view(), all_rows(n), split, counts, context)[0]};
  for (size_t i = 0; i < others.size(); ++i) {
    SCOPED_TRACE(i);
    EXPECT_LT(relative_distance(others[i].variance, by_svd.variance), 10 * kGram<T>);
    EXPECT_LT(distance(others[i].components, by_svd.components), 2e4 * kGram<T>);
    EXPECT_LT(relative_distance(others[i].mean, by_svd.mean), kGram<T>);
    EXPECT_NEAR(others[i].total_variance / by_svd.total_variance, 1, 10 * kGram<T>);
  }
}

// Variances that fall by ten orders of magnitude: the factor has them all, relative to each one's
// own size.
TEST(PcaAccuracy, FactorKeepsSmallVariances) {
  const RealMatrix exact = conditioned(300, 6, 1e5L, 3);
  const Table<double> X(300, 6, Layout::c,
                        [&](int64_t i, int64_t j) { return static_cast<double>(exact(i, j)); });
  const RealVector expected =
      reference_pca(all_rows_of(X.view(), no_targets<double>(300), {}).X).variance;
  const Context context(2);
  const auto by_qr =
      pca_cpu(fold_qr_cpu(X.view(), no_targets<double>(300), {}, all_rows(300), context), {0}, {0},
              context)[0];
  for (int64_t i = 0; i < 6; ++i)
    EXPECT_NEAR(by_qr.variance(i) / static_cast<double>(expected(i)), 1, 1e-10);
}

TYPED_TEST(PcaTest, LargeMeansCostNoDigits) {
  using T = TypeParam;
  const double mean = std::is_same_v<T, float> ? 1e4 : 1e8;
  const Table<T> X = spread_table<T>(200, 5, Layout::c, mean);
  const auto expected = reference_pca(all_rows_of(X.view(), no_targets<T>(200), {}).X);
  const Context context(2);
  const auto by_gram =
      pca_cpu(fold_gram_cpu(X.view(), no_targets<T>(200), {}, all_rows(200), context), {0}, {0},
              context)[0];
  EXPECT_LT(distance(by_gram.variance, expected.variance), 10 * kGram<T>);
  const auto by_qr = pca_cpu(fold_qr_cpu(X.view(), no_targets<T>(200), {}, all_rows(200), context),
                             {0}, {0}, context)[0];
  EXPECT_LT(distance(by_qr.variance, expected.variance), 1e-13);
}

// No variance anywhere, or in all but a few directions: components are orthonormal all the same.
TYPED_TEST(PcaTest, DegenerateDataHaveFiniteAnswers) {
  using T = TypeParam;
  const Context context(2);
  const auto check = [&](const PrincipalComponents& pca, const char* way) {
    SCOPED_TRACE(way);
    const int64_t count = pca.components.rows();
    EXPECT_TRUE(pca.components.allFinite());
    EXPECT_TRUE(pca.mean.allFinite());
    EXPECT_GE(pca.variance.minCoeff(), 0);
    EXPECT_LT(distance(pca.components * pca.components.transpose(),
                       Eigen::MatrixXd::Identity(count, count)),
              1e-12);
  };
  for (const auto& [n, d] : {std::pair<int64_t, int64_t>{20, 4}, {3, 8}})
    for (const int64_t varying : {0, 1, 2}) {
      SCOPED_TRACE(::testing::Message() << n << " x " << d << ", " << varying << " columns vary");
      const Table<T> X(n, d, Layout::c, [&](int64_t i, int64_t j) {
        return j < varying ? static_cast<double>((i * (j + 1)) % 3) : 0.1;
      });
      check(pca_cpu(fold_gram_cpu(X.view(), no_targets<T>(n), {}, all_rows(n), context), {0}, {0},
                    context)[0],
            "Gram");
      check(pca_cpu(fold_qr_cpu(X.view(), no_targets<T>(n), {}, all_rows(n), context), {0}, {0},
                    context)[0],
            "factor");
      if (n >= d) continue;
      check(pca_cpu(row_gram_cpu(X.view(), context), X.view(), all_rows(n), {0}, {0}, context)[0],
            "row Gram");
      check(pca_cpu(row_qr_cpu(X.view(), context), X.view(), all_rows(n), {0}, {0}, context)[0],
            "row factor");
    }
}

TYPED_TEST(PcaTest, SameBitsForAnyNumberOfThreads) {
  using T = TypeParam;
  within_patience([] {
    const Table<T> tall = spread_table<T>(3000, 12), wide = spread_table<T>(15, 40);
    const auto splits = mixed_splits(3000), few = k_fold(15, 3);
    const auto fit = [&](int threads) {
      const Context context(threads);
      const Folds folds = folds_of(3000, splits);
      const Wanted wanted(5), wanted_few(3);
      std::vector<std::vector<PrincipalComponents>> results = {
          pca_cpu(fold_gram_cpu(tall.view(), no_targets<T>(3000), {}, folds, context),
                  wanted.splits, wanted.counts, context),
          pca_cpu(fold_qr_cpu(tall.view(), no_targets<T>(3000), {}, folds, context), wanted.splits,
                  wanted.counts, context),
          pca_cpu(row_gram_cpu(wide.view(), context), wide.view(), folds_of(15, few),
                  wanted_few.splits, wanted_few.counts, context),
          pca_cpu(row_qr_cpu(wide.view(), context), wide.view(), folds_of(15, few),
                  wanted_few.splits, wanted_few.counts, context)};
      return results;
    };
    const auto one = fit(1);
    for (const int threads : {2, 3, 4}) {
      const auto many = fit(threads);
      for (size_t way = 0; way < one.size(); ++way)
        for (size_t b = 0; b < one[way].size(); ++b) {
          EXPECT_TRUE(many[way][b].components == one[way][b].components) << way;
          EXPECT_TRUE(many[way][b].variance == one[way][b].variance) << way;
          EXPECT_TRUE(many[way][b].mean == one[way][b].mean) << way;
          EXPECT_EQ(many[way][b].total_variance, one[way][b].total_variance) << way;
        }
    }
  });
}

}  // namespace
}  // namespace manyfit::testing
