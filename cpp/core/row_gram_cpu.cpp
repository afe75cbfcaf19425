#include <algorithm>
#include <limits>

#include "core/fold_gram.h"
#include "core/gram_kernel.h"
#include "core/row_gram.h"
#include "core/row_packer.h"

namespace manyfit {
namespace {

constexpr int64_t kBlock = 64;  // rows of X that one task pairs with another such block

// Columns [begin, begin + n) of rows [first, first + kBlock) of X, packed as rows of X'.
template <class T>
void pack(MatrixView<const T> X, const std::vector<double>& shift, int64_t first, int64_t begin,
          int64_t n, T* panel) {
  constexpr int W = GramTile<T>::width;
  for (int64_t i = 0; i < kBlock; ++i) {
    T* out = panel + i / W * kTileRows * W + i % W;
    if (first + i >= X.rows) {
      for (int64_t r = 0; r < n; ++r) out[r * W] = T(0);
      continue;
    }
    const T* x = X.row(first + i) + begin * X.col_stride;
    for (int64_t r = 0; r < n; ++r)
      out[r * W] = x[r * X.col_stride] - static_cast<T>(shift[begin + r]);
  }
}

}  // namespace

template <class T>
RowGram row_gram_cpu(MatrixView<const T> X, const Context& context) {
  constexpr int W = GramTile<T>::width;
  RowGram result;
  result.precision = std::is_same_v<T, float> ? 1e-8 : std::numeric_limits<double>::epsilon();
  result.shift = provisional_means(X);
  result.products.resize(X.rows, X.rows);
  const int64_t blocks = (X.rows + kBlock - 1) / kBlock;
  context.parallel_for("row Gram", blocks * (blocks + 1) / 2, [&](int64_t task) {
    int64_t bi = 0;
    while (task > bi) task -= ++bi;
    const int64_t bj = task;
    const AlignedBuffer<T> a(GramTile<T>::panel_size(kBlock)), b(GramTile<T>::panel_size(kBlock));
    const AlignedBuffer<double> sums(kBlock * kBlock);
    for (int64_t begin = 0; begin < X.cols; begin += kTileRows) {
      context.check();
      const int64_t n = std::min<int64_t>(kTileRows, X.cols - begin);
      pack(X, result.shift, bi * kBlock, begin, n, a.data());
      if (bi != bj) pack(X, result.shift, bj * kBlock, begin, n, b.data());
      Prefetch none;
      for (int64_t i = 0; i < kBlock; i += GramTile<T>::rows)
        gram_block_row(a.data() + i / W * kTileRows * W + i % W, bi == bj ? a.data() : b.data(),
                       kBlock / W, n, sums.data() + i * kBlock, kBlock, none);
    }
    for (int64_t i = bi * kBlock; i < std::min(X.rows, (bi + 1) * kBlock); ++i)
      for (int64_t j = bj * kBlock; j < std::min(i + 1, (bj + 1) * kBlock); ++j)
        result.products(i, j) = result.products(j, i) =
            sums.data()[(i - bi * kBlock) * kBlock + j - bj * kBlock];
  });
  const Eigen::VectorXd shift = Eigen::Map<const Eigen::VectorXd>(result.shift.data(), X.cols);
  result.shift_square = shift.squaredNorm();
  result.along_shift.resize(X.rows);
  context.parallel_for("row Gram", X.rows, [&](int64_t i) {
    double sum = 0;
    for (int64_t j = 0; j < X.cols; ++j)
      sum += (static_cast<double>(X(i, j)) - shift(j)) * shift(j);
    result.along_shift(i) = sum;
  });
  return result;
}

template <class T>
Eigen::MatrixXd shifted_transpose_product(MatrixView<const T> X, const std::vector<double>& shift,
                                          const Eigen::MatrixXd& A, const Context& context) {
  constexpr int64_t columns = 256;
  Eigen::MatrixXd result(X.cols, A.cols());
  context.parallel_for("coefficients", (X.cols + columns - 1) / columns, [&](int64_t task) {
    const int64_t begin = task * columns, n = std::min(columns, X.cols - begin);
    Eigen::MatrixXd block(n, X.rows);
    for (int64_t i = 0; i < X.rows; ++i)
      for (int64_t j = 0; j < n; ++j)
        block(j, i) = static_cast<double>(X(i, begin + j)) - shift[begin + j];
    result.middleRows(begin, n).noalias() = block * A;
  });
  return result;
}

template RowGram row_gram_cpu(MatrixView<const float>, const Context&);
template RowGram row_gram_cpu(MatrixView<const double>, const Context&);
template Eigen::MatrixXd shifted_transpose_product(MatrixView<const float>,
                                                   const std::vector<double>&,
                                                   const Eigen::MatrixXd&, const Context&);
template Eigen::MatrixXd shifted_transpose_product(MatrixView<const double>,
                                                   const std::vector<double>&,
                                                   const Eigen::MatrixXd&, const Context&);

}  // namespace manyfit
