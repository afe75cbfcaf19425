#include "core/row_gram.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "core/fold_gram.h"
#include "patience.h"
#include "reference.h"
#include "tables.h"

namespace manyfit::testing {
namespace {

template <class T>
class RowGramTest : public ::testing::Test {};
TYPED_TEST_SUITE(RowGramTest, FloatTypes, TypeName);

// Rows of X about the Gram's shift.
template <class T>
RealMatrix shifted(const Table<T>& X, const std::vector<double>& shift) {
  RealMatrix result(X.rows(), X.cols());
  for (int64_t i = 0; i < X.rows(); ++i)
    for (int64_t j = 0; j < X.cols(); ++j) result(i, j) = static_cast<Real>(X(i, j)) - shift[j];
  return result;
}

// Each product against its sum over the columns, to `rounding` units of T's rounding of the
// absolute products.
template <class T>
void expect_products(const RowGram& gram, const Table<T>& X, double rounding = 8) {
  const RealMatrix Z = shifted(X, gram.shift);
  const int64_t n = X.rows();
  ASSERT_EQ(gram.products.rows(), n);
  ASSERT_EQ(gram.products.cols(), n);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j <= i; ++j) {
      Real sum = 0, size = 0;
      for (int64_t k = 0; k < X.cols(); ++k) {
        sum += Z(i, k) * Z(j, k);
        size += std::abs(Z(i, k) * Z(j, k));
      }
      ASSERT_LE(std::abs(gram.products(i, j) - sum), rounding * kEpsilon<T> * size)
          << i << ", " << j;
      ASSERT_EQ(gram.products(i, j), gram.products(j, i));
    }
  for (int64_t i = 0; i < n; ++i) {
    Real along = 0, size = 0;
    for (int64_t k = 0; k < X.cols(); ++k) {
      along += Z(i, k) * gram.shift[k];
      size += std::abs(Z(i, k) * gram.shift[k]);
    }
    ASSERT_LE(std::abs(gram.along_shift(i) - along), 1e-14 * size);
  }
  Real square = 0;
  for (const double s : gram.shift) square += static_cast<Real>(s) * s;
  EXPECT_NEAR(gram.shift_square, static_cast<double>(square), 1e-14 * static_cast<double>(square));
}

TYPED_TEST(RowGramTest, AroundTheEdgesOfBlocksAndTiles) {
  int64_t number = 0;
  for (const int64_t n : {1, 2, 63, 64, 65, 130})
    for (const int64_t d : {1, 15, 16, 127, 128, 129, 300}) {
      const Layout layout = kLayouts[number++ % std::size(kLayouts)];
      SCOPED_TRACE(::testing::Message() << "n=" << n << " d=" << d << " " << name(layout));
      const Table<TypeParam> X = normal_table<TypeParam>(n, d, 1, layout, 2);
      // Sums of one number round the same way at every step of a tile.
      const double rounding = layout == Layout::repeated_column ? 64 : 8;
      expect_products(row_gram_cpu(X.view(), Context(2)), X, rounding);
    }
}

TYPED_TEST(RowGramTest, LargeMeansCostNoDigits) {
  const double mean = std::is_same_v<TypeParam, float> ? 1e4 : 1e8;
  const Table<TypeParam> X = normal_table<TypeParam>(40, 200, 1, Layout::c, mean);
  expect_products(row_gram_cpu(X.view(), Context(2)), X);
}

TYPED_TEST(RowGramTest, SameBitsForAnyNumberOfThreadsAndEveryLayout) {
  using T = TypeParam;
  within_patience([] {
    const int64_t n = 150, d = 333;
    const Table<T> X = normal_table<T>(n, d, 1);
    const RowGram one = row_gram_cpu(X.view(), Context(1));
    for (const int threads : {2, 3, 4}) {
      const RowGram many = row_gram_cpu(X.view(), Context(threads));
      EXPECT_EQ(many.products, one.products);
      EXPECT_EQ(many.along_shift, one.along_shift);
    }
    const Table<T> F(n, d, Layout::fortran, [&](int64_t i, int64_t j) { return X(i, j); });
    EXPECT_EQ(row_gram_cpu(F.view(), Context(2)).products, one.products);
  });
}

TYPED_TEST(RowGramTest, NotFiniteShowsOnTheDiagonal) {
  using T = TypeParam;
  for (const T bad : {std::numeric_limits<T>::quiet_NaN(), std::numeric_limits<T>::infinity()})
    for (const int64_t column : {0, 128, 199}) {
      Table<T> X = normal_table<T>(70, 200, 1);
      EXPECT_TRUE(row_gram_cpu(X.view(), Context(2)).products.diagonal().allFinite());
      X(66, column) = bad;
      EXPECT_FALSE(row_gram_cpu(X.view(), Context(2)).products.diagonal().allFinite());
    }
}

TYPED_TEST(RowGramTest, ShiftedTransposeProduct) {
  using T = TypeParam;
  for (const int64_t d : {1, 255, 256, 257, 600})
    for (const Layout layout : {Layout::c, Layout::fortran, Layout::reversed_columns}) {
      const Table<T> X = normal_table<T>(30, d, 1, layout, 5);
      const std::vector<double> shift = provisional_means(X.view());
      Random random(9);
      Eigen::MatrixXd A(30, 3);
      for (double& a : A.reshaped()) a = random.normal();
      const Eigen::MatrixXd product = shifted_transpose_product(X.view(), shift, A, Context(2));
      const RealMatrix expected = shifted(X, shift).transpose() * A.cast<Real>();
      EXPECT_LT(relative_distance(product, expected), 1e-14);
      EXPECT_EQ(shifted_transpose_product(X.view(), shift, A, Context(1)), product);
    }
}

}  // namespace
}  // namespace manyfit::testing
