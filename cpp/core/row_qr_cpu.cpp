#include <algorithm>

#include "core/fold_gram.h"
#include "core/linalg.h"
#include "core/row_qr.h"

namespace manyfit {
namespace {

constexpr int64_t kMaxChunks = 16;

// The factor of columns [begin, end) of X, as rows, with the shift in front.
template <class T>
Eigen::MatrixXd factor_columns(MatrixView<const T> X, const std::vector<double>& shift,
                               int64_t begin, int64_t end, const Context& context) {
  Eigen::MatrixXd A(end - begin, 1 + X.rows);
  for (int64_t j = begin; j < end; ++j) A(j - begin, 0) = shift[j];
  for (int64_t i = 0; i < X.rows; ++i)
    for (int64_t j = begin; j < end; ++j)
      A(j - begin, 1 + i) = static_cast<double>(X(i, j)) - shift[j];
  return qr_factor(std::move(A), context);
}

}  // namespace

template <class T>
RowQR row_qr_cpu(MatrixView<const T> X, const Context& context) {
  RowQR qr;
  qr.shift = provisional_means(X);
  const int64_t p = 1 + X.rows;
  const int64_t chunks = std::clamp<int64_t>(X.cols / (4 * p), 1, kMaxChunks);
  std::vector<Eigen::MatrixXd> parts(chunks);
  const auto task = [&](int64_t c) {
    parts[c] = factor_columns(X, qr.shift, X.cols * c / chunks, X.cols * (c + 1) / chunks, context);
  };
  if (p >= kLargeMatrix) {
    for (int64_t c = 0; c < chunks; ++c) {
      context.check();
      task(c);
    }
  } else {
    context.parallel_for("row QR", chunks, task);
  }
  if (chunks == 1) {
    qr.factor = std::move(parts[0]);
    return qr;
  }
  Eigen::MatrixXd stack(chunks * p, p);
  for (int64_t c = 0; c < chunks; ++c) stack.middleRows(c * p, p) = parts[c];
  qr.factor = qr_factor(std::move(stack), context);
  return qr;
}

template RowQR row_qr_cpu(MatrixView<const float>, const Context&);
template RowQR row_qr_cpu(MatrixView<const double>, const Context&);

}  // namespace manyfit
