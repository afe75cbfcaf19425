#include "core/views.h"

#include <gtest/gtest.h>

#include <vector>

#include "tables.h"

namespace manyfit::testing {
namespace {

TEST(VectorView, StridesCountElementsAndMayBeNegativeOrZero) {
  const std::vector<int> memory = {0, 1, 2, 3, 4, 5};
  const VectorView<const int> even{memory.data(), 3, 2};
  const VectorView<const int> backwards{memory.data() + 5, 6, -1};
  const VectorView<const int> repeated{memory.data() + 4, 1000, 0};
  EXPECT_EQ(even[2], 4);
  EXPECT_EQ(backwards[0], 5);
  EXPECT_EQ(backwards[5], 0);
  EXPECT_EQ(repeated[999], 4);
}

TEST(VectorView, IsEmptyWithoutMemoryOrWithoutElements) {
  const int one = 1;
  EXPECT_TRUE((VectorView<const int>{}.empty()));
  EXPECT_TRUE((VectorView<const int>{&one, 0, 1}.empty()));
  EXPECT_FALSE((VectorView<const int>{&one, 1, 1}.empty()));
}

TEST(VectorView, WritesThrough) {
  std::vector<int> memory(4, 0);
  const VectorView<int> odd{memory.data() + 3, 2, -2};
  odd[0] = 7;
  odd[1] = 8;
  EXPECT_EQ(memory, (std::vector<int>{0, 8, 0, 7}));
}

template <class T>
class MatrixViewTest : public ::testing::Test {};
TYPED_TEST_SUITE(MatrixViewTest, FloatTypes, TypeName);

TYPED_TEST(MatrixViewTest, EveryLayoutHoldsTheSameMatrix) {
  using T = TypeParam;
  const auto value = [](int64_t i, int64_t j) { return static_cast<double>(10 * i + j); };
  for (const Layout layout : kLayouts) {
    SCOPED_TRACE(name(layout));
    const Table<T> table(4, 3, layout, value);
    const MatrixView<const T> view = table.view();
    for (int64_t i = 0; i < 4; ++i)
      for (int64_t j = 0; j < 3; ++j) {
        const int64_t row = layout == Layout::repeated_row ? 3 : i;
        const int64_t column = layout == Layout::repeated_column ? 2 : j;
        EXPECT_EQ(view(i, j), value(row, column));
        EXPECT_EQ(&view.row(i)[j * view.col_stride], &view(i, j));
        EXPECT_EQ(&view.transposed()(j, i), &view(i, j));
      }
    EXPECT_EQ(view.transposed().rows, 3);
    EXPECT_EQ(view.transposed().cols, 4);
  }
}

// Addresses alone: nothing is read. 2^33 elements lie between the first and the last.
TYPED_TEST(MatrixViewTest, OffsetsBeyondThirtyTwoBits) {
  using T = TypeParam;
  const auto address = [](const T* p) { return reinterpret_cast<uintptr_t>(p); };
  const uintptr_t base = uintptr_t{1} << 45;
  const int64_t n = int64_t{1} << 31;
  const MatrixView<const T> view{reinterpret_cast<const T*>(base), n, 4, 4, 1};
  EXPECT_EQ(address(&view(n - 1, 3)), base + (uint64_t{1} << 33) * sizeof(T) - sizeof(T));
  EXPECT_EQ(address(view.row(n - 1)), base + ((uint64_t{1} << 33) - 4) * sizeof(T));
  EXPECT_EQ(address(&view.transposed()(3, n - 1)), address(&view(n - 1, 3)));
  const VectorView<const T> column{reinterpret_cast<const T*>(base), n, -4};
  EXPECT_EQ(address(&column[n - 1]), base - ((uint64_t{1} << 33) - 4) * sizeof(T));
}

}  // namespace
}  // namespace manyfit::testing
