// Element numbers beyond 2^31.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstddef>
#include <vector>

#include "core/fold_gram.h"
#include "core/fold_qr.h"
#include "core/row_gram.h"
#include "core/row_qr.h"
#include "decomposition/pca.h"
#include "sanitized.h"
#include "tables.h"

namespace manyfit::testing {
namespace {

// More elements than 2^31 in little memory: row i + 1 is row i, shifted by one place, of 0, 1, 0,
// 1, ...
TEST(LargeIndex, MoreThanTwoBillionElements) {
#if defined(MANYFIT_SANITIZED)
  GTEST_SKIP() << "takes minutes under a sanitizer";
#else
  const int64_t n = (int64_t{1} << 25) + 2, d = 65;
  ASSERT_GT(n * d, int64_t{1} << 31);
  std::vector<float> memory(n + d);
  for (size_t i = 0; i < memory.size(); ++i) memory[i] = static_cast<float>(i % 2);
  const float four = 4;
  const FoldGram gram =
      fold_gram_cpu(MatrixView<const float>{memory.data(), n, d, 1, 1}, no_targets<float>(n),
                    VectorView<const float>{&four, n, 0}, all_rows(n), Context());
  // The shift is 0 and 1 in turn; about it, even rows are zero and odd rows 1, -1, 1, ... All sums
  // are integers.
  const auto z = [](int64_t j) {
    return j % 2 == 1 ? 1.0 : -1.0;
  };  // j counts from the column of ones
  for (int64_t i = 1; i <= d; ++i) {
    ASSERT_EQ(gram.shift[i - 1], static_cast<double>((i - 1) % 2));
    for (int64_t j = 1; j <= i; ++j)
      ASSERT_EQ(gram.atom(0)[i * gram.stride + j], static_cast<double>(2 * n) * z(i) * z(j));
    EXPECT_EQ(gram.atom(0)[i * gram.stride], static_cast<double>(2 * n) * z(i));
  }
  EXPECT_EQ(gram.atom(0)[0], static_cast<double>(4 * n));
#endif
}

// Address space of which only the pages that are written exist.
template <class T>
class SparseMemory {
 public:
  explicit SparseMemory(int64_t elements) : bytes_(static_cast<size_t>(elements) * sizeof(T)) {
    void* memory = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) return;
    madvise(memory, bytes_, MADV_NOHUGEPAGE);
    data_ = static_cast<T*>(memory);
  }
  ~SparseMemory() {
    if (data_ != nullptr) munmap(data_, bytes_);
  }
  SparseMemory(const SparseMemory&) = delete;
  SparseMemory& operator=(const SparseMemory&) = delete;
  T* data() const { return data_; }

 private:
  size_t bytes_;
  T* data_ = nullptr;
};

template <class T>
class LargeIndexTest : public ::testing::Test {};
TYPED_TEST_SUITE(LargeIndexTest, FloatTypes, TypeName);

// Every kernel that reads X gives what it gives for a compact copy.
template <class T>
void expect_same_as_compact(const Table<T>& compact, int64_t row_stride, int64_t col_stride) {
  const int64_t n = compact.rows(), d = compact.cols();
  const int64_t last = (n - 1) * row_stride + (d - 1) * col_stride;
  ASSERT_GT(last, int64_t{1} << 31);
  const SparseMemory<T> memory(last + 1);
  if (memory.data() == nullptr) GTEST_SKIP() << "the system does not lend so much address space";
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < d; ++j) memory.data()[i * row_stride + j * col_stride] = compact(i, j);
  const MatrixView<const T> X{memory.data(), n, d, row_stride, col_stride};
  const MatrixView<const T> none = no_targets<T>(n);
  const VectorView<const T> far_weights{memory.data(), n, row_stride};  // column 0 of X
  const VectorView<const T> weights{compact.view().data, n, compact.view().row_stride};
  const Context context(2);
  const Folds folds = folds_of(n, shuffled_k_fold(n, 3, 1));
  EXPECT_EQ(fold_gram_cpu(X, X, far_weights, folds, context).moments,
            fold_gram_cpu(compact.view(), compact.view(), weights, folds, context).moments);
  EXPECT_TRUE(fold_qr_cpu(X, none, far_weights, folds, context).factors ==
              fold_qr_cpu(compact.view(), none, weights, folds, context).factors);
  EXPECT_TRUE(row_gram_cpu(X, context).products == row_gram_cpu(compact.view(), context).products);
  EXPECT_TRUE(row_qr_cpu(X, context).factor == row_qr_cpu(compact.view(), context).factor);
}

// Positive, so that a column may serve as weights.
template <class T>
Table<T> positive_table(int64_t n, int64_t d) {
  Random random(3);
  return Table<T>(n, d, Layout::c, [&](int64_t, int64_t) { return 1 + random.uniform(); });
}

TYPED_TEST(LargeIndexTest, RowsFarApart) {
  expect_same_as_compact(positive_table<TypeParam>(300, 20), int64_t{1} << 23, 1);
}

TYPED_TEST(LargeIndexTest, ColumnsFarApart) {
  expect_same_as_compact(positive_table<TypeParam>(50, 4), 1, int64_t{1} << 30);
}

}  // namespace
}  // namespace manyfit::testing
