#include "core/row_qr.h"

#include <gtest/gtest.h>

#include <limits>

#include "patience.h"
#include "reference.h"
#include "tables.h"

namespace manyfit::testing {
namespace {

template <class T>
class RowQRTest : public ::testing::Test {};
TYPED_TEST_SUITE(RowQRTest, FloatTypes, TypeName);

// [shift, rows of X about it], as columns.
template <class T>
RealMatrix columns_of(const Table<T>& X, const std::vector<double>& shift) {
  RealMatrix result(X.cols(), 1 + X.rows());
  for (int64_t j = 0; j < X.cols(); ++j) {
    result(j, 0) = shift[j];
    for (int64_t i = 0; i < X.rows(); ++i) result(j, 1 + i) = static_cast<Real>(X(i, j)) - shift[j];
  }
  return result;
}

// R is a triangle with R'R the inner products, to the last digits of each.
template <class T>
void expect_factor(const RowQR& qr, const Table<T>& X) {
  const RealMatrix A = columns_of(X, qr.shift);
  const RealMatrix R = qr.factor.template cast<Real>();
  ASSERT_EQ(R.rows(), 1 + X.rows());
  ASSERT_EQ(R.cols(), 1 + X.rows());
  for (int64_t j = 0; j < R.cols(); ++j)
    for (int64_t i = j + 1; i < R.rows(); ++i) ASSERT_EQ(qr.factor(i, j), 0);
  const RealMatrix expected = A.transpose() * A, actual = R.transpose() * R;
  for (int64_t j = 0; j < R.cols(); ++j)
    for (int64_t i = 0; i <= j; ++i)
      ASSERT_LE(std::abs(actual(i, j) - expected(i, j)),
                1e-14 * std::sqrt(expected(i, i) * expected(j, j)))
          << i << ", " << j;
}

TYPED_TEST(RowQRTest, EveryShape) {
  int64_t number = 0;
  for (const int64_t n : {1, 2, 30})
    for (const int64_t d : {1, 15, 31, 130, 900}) {
      const Layout layout = kLayouts[number++ % std::size(kLayouts)];
      SCOPED_TRACE(::testing::Message() << "n=" << n << " d=" << d << " " << name(layout));
      const Table<TypeParam> X = normal_table<TypeParam>(n, d, 1, layout, 2);
      expect_factor(row_qr_cpu(X.view(), Context(2)), X);
    }
}

TYPED_TEST(RowQRTest, LargeMeansCostNoDigits) {
  const double mean = std::is_same_v<TypeParam, float> ? 1e4 : 1e8;
  const Table<TypeParam> X = normal_table<TypeParam>(20, 200, 1, Layout::c, mean);
  expect_factor(row_qr_cpu(X.view(), Context(2)), X);
}

TYPED_TEST(RowQRTest, SameBitsForAnyNumberOfThreads) {
  within_patience([] {
    const Table<TypeParam> X = normal_table<TypeParam>(20, 600, 1);
    const RowQR one = row_qr_cpu(X.view(), Context(1));
    for (const int threads : {2, 3, 4})
      EXPECT_EQ(row_qr_cpu(X.view(), Context(threads)).factor, one.factor);
  });
}

TYPED_TEST(RowQRTest, NotFiniteShows) {
  using T = TypeParam;
  for (const T bad : {std::numeric_limits<T>::quiet_NaN(), std::numeric_limits<T>::infinity()})
    for (const int64_t column : {0, 128, 399}) {
      Table<T> X = normal_table<T>(12, 400, 1);
      EXPECT_TRUE(row_qr_cpu(X.view(), Context(2)).finite());
      X(7, column) = bad;
      EXPECT_FALSE(row_qr_cpu(X.view(), Context(2)).finite());
    }
}

}  // namespace
}  // namespace manyfit::testing
