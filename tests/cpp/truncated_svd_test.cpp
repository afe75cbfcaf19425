#include "decomposition/truncated_svd.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "reference.h"
#include "tables.h"

namespace manyfit::testing {
namespace {

template <class T>
class TruncatedSvdTest : public ::testing::Test {};
TYPED_TEST_SUITE(TruncatedSvdTest, FloatTypes, TypeName);

// Of squared singular values in units of the largest, from second moments in T.
template <class T>
constexpr double kGram = std::is_same_v<T, float> ? 2e-6 : 4e-14;

// The SVD of the rows as they are, and variances along its right vectors.
void expect_triplets(const TruncatedSvd& actual, const RealMatrix& X, int64_t count,
                     double tolerance) {
  const RealVector ones = RealVector::Ones(X.rows());
  const ReferenceSvd svd = jacobi_svd(X);
  ASSERT_EQ(actual.values.size(), count);
  ASSERT_EQ(actual.components.rows(), count);
  ASSERT_EQ(actual.components.cols(), X.cols());
  const RealVector squares = svd.values.head(count).cwiseAbs2();
  const auto largest = static_cast<double>(squares(0));
  EXPECT_LT(distance(actual.values.cwiseAbs2(), squares), tolerance * largest);
  EXPECT_LT(distance(actual.components * actual.components.transpose(),
                     Eigen::MatrixXd::Identity(count, count)),
            1e-12);
  const RealMatrix centred = minus(X, weighted_mean(X, ones));
  const Real n = static_cast<Real>(X.rows());
  EXPECT_NEAR(actual.total_variance, static_cast<double>(centred.squaredNorm() / n),
              tolerance * largest / static_cast<double>(n));
  const RealMatrix projected = centred * actual.components.transpose().cast<Real>();
  for (int64_t i = 0; i < count; ++i) {
    EXPECT_NEAR(actual.variance(i), static_cast<double>(projected.col(i).squaredNorm() / n),
                tolerance * largest / static_cast<double>(n))
        << "component " << i;
    const Real above = i > 0 ? svd.values(i - 1) : 2 * svd.values(i);
    const Real below = i + 1 < svd.values.size() ? svd.values(i + 1) : Real(0);
    const auto gap =
        static_cast<double>(std::min(above - svd.values(i), svd.values(i) - below) / svd.values(0));
    if (gap < 1e-3) continue;
    const Real cosine = actual.components.row(i).cast<Real>().dot(svd.v.col(i).transpose());
    EXPECT_LT(1 - std::abs(static_cast<double>(cosine)), tolerance / gap + 4e-15)
        << "component " << i;
    EXPECT_GT(actual.components.row(i).maxCoeff(), -actual.components.row(i).minCoeff());
  }
}

template <class T>
Table<T> falling_table(int64_t n, int64_t d, Layout layout = Layout::c, double mean = 1) {
  Random random(17);
  return Table<T>(n, d, layout, [&](int64_t, int64_t j) {
    return mean + random.normal() / (1 + 0.5 * static_cast<double>(j));
  });
}

template <class T>
RealMatrix training_rows(const Table<T>& X, const OwnedSplit& split) {
  return rows_of(X.view(), no_targets<T>(X.rows()), {}, split.train).X;
}

template <class T>
void expect_all(const std::vector<TruncatedSvd>& actual, const Table<T>& X,
                const std::vector<OwnedSplit>& splits, const std::vector<int64_t>& places,
                const std::vector<int64_t>& counts, double tolerance) {
  ASSERT_EQ(actual.size(), places.size());
  for (size_t b = 0; b < actual.size(); ++b) {
    SCOPED_TRACE(::testing::Message() << "split " << places[b] << ", count " << counts[b]);
    expect_triplets(actual[b], training_rows(X, splits[places[b]]), counts[b], tolerance);
  }
}

TYPED_TEST(TruncatedSvdTest, GramAndFactorGiveTheReference) {
  using T = TypeParam;
  for (const Layout layout : {Layout::c, Layout::fortran, Layout::reversed_rows})
    for (const double mean : {0.0, 20.0}) {
      SCOPED_TRACE(::testing::Message() << name(layout) << " mean " << mean);
      const Table<T> X = falling_table<T>(80, 7, layout, mean);
      std::vector<OwnedSplit> splits = k_fold(80, 3);
      for (OwnedSplit& split : bootstrap(80, 2, 5)) splits.push_back(std::move(split));
      const std::vector<int64_t> places = {0, 1, 2, 3, 4, 1, 3}, counts = {2, 7, 1, 3, 7, 1, 7};
      const Folds folds = folds_of(80, splits);
      const Context context(2);
      expect_all(truncated_svd_cpu(fold_gram_cpu(X.view(), no_targets<T>(80), {}, folds, context),
                                   places, counts, context),
                 X, splits, places, counts, kGram<T>);
      expect_all(truncated_svd_cpu(fold_qr_cpu(X.view(), no_targets<T>(80), {}, folds, context),
                                   places, counts, context),
                 X, splits, places, counts, 4e-14);
    }
}

TYPED_TEST(TruncatedSvdTest, RowFormsGiveTheReference) {
  using T = TypeParam;
  const Table<T> X = falling_table<T>(15, 40, Layout::c, 0.5);
  std::vector<OwnedSplit> splits = k_fold(15, 3);
  for (OwnedSplit& split : bootstrap(15, 1, 5)) splits.push_back(std::move(split));
  const std::vector<int64_t> places = {0, 1, 2, 3, 2}, counts = {2, 10, 1, 3, 4};
  const Folds folds = folds_of(15, splits);
  const Context context(2);
  expect_all(
      truncated_svd_cpu(row_gram_cpu(X.view(), context), X.view(), folds, places, counts, context),
      X, splits, places, counts, kGram<T>);
  expect_all(
      truncated_svd_cpu(row_qr_cpu(X.view(), context), X.view(), folds, places, counts, context), X,
      splits, places, counts, 4e-14);
}

// Squares lose the smallest value: the Gram says so for who asks for it, and the factor has it.
TEST(TruncatedSvdAccuracy, SaysWhereSquaresLoseDigits) {
  const RealMatrix exact = conditioned(60, 6, 1e6L, 3);
  const Context context(2);
  const auto expect = [&](const Table<double>& X, const TruncatedSvd& few, const TruncatedSvd& all,
                          const TruncatedSvd& by_factor) {
    EXPECT_TRUE(few.reliable());
    EXPECT_FALSE(all.reliable());
    EXPECT_TRUE(by_factor.reliable());
    const RealVector values =
        jacobi_svd(all_rows_of(X.view(), no_targets<double>(X.rows()), {}).X).values;
    EXPECT_LT(std::abs(static_cast<double>(by_factor.values(5) / values(5)) - 1), 1e-8);
  };
  const Table<double> tall(60, 6, Layout::c,
                           [&](int64_t i, int64_t j) { return static_cast<double>(exact(i, j)); });
  const Table<double> wide(6, 60, Layout::c,
                           [&](int64_t i, int64_t j) { return static_cast<double>(exact(j, i)); });
  const auto gram = truncated_svd_cpu(
      fold_gram_cpu(tall.view(), no_targets<double>(60), {}, all_rows(60), context), {0, 0}, {3, 6},
      context);
  const auto qr =
      truncated_svd_cpu(fold_qr_cpu(tall.view(), no_targets<double>(60), {}, all_rows(60), context),
                        {0}, {6}, context);
  expect(tall, gram[0], gram[1], qr[0]);
  const auto row_gram = truncated_svd_cpu(row_gram_cpu(wide.view(), context), wide.view(),
                                          all_rows(6), {0, 0}, {3, 6}, context);
  const auto row_qr = truncated_svd_cpu(row_qr_cpu(wide.view(), context), wide.view(), all_rows(6),
                                        {0}, {6}, context);
  expect(wide, row_gram[0], row_gram[1], row_qr[0]);
}

TEST(TruncatedSvdAccuracy, SameBitsForAnyNumberOfThreads) {
  const Table<double> X = falling_table<double>(3000, 20);
  const auto fit = [&](int threads) {
    const Context context(threads);
    return truncated_svd_cpu(
        fold_gram_cpu(X.view(), no_targets<double>(3000), {}, all_rows(3000), context), {0}, {5},
        context)[0];
  };
  const TruncatedSvd one = fit(1);
  for (const int threads : {2, 3, 4}) {
    const TruncatedSvd more = fit(threads);
    EXPECT_EQ(one.components, more.components);
    EXPECT_EQ(one.variance, more.variance);
  }
}

}  // namespace
}  // namespace manyfit::testing
