#include <algorithm>
#include <cmath>
#include <limits>

#include "core/fold_gram.h"
#include "core/fold_qr.h"
#include "core/linalg.h"

namespace manyfit {
namespace {

constexpr int64_t kMaxChunks = 16;
constexpr int64_t kBlockBytes = int64_t{4} << 20;
constexpr double kRounding = 64 * std::numeric_limits<double>::epsilon();  // of a column of R

// [R; rows] -> R, block by block.
template <class T>
Eigen::MatrixXd factor_rows(MatrixView<const T> X, MatrixView<const T> Y, VectorView<const T> w,
                            const FoldQR& qr, int64_t begin, int64_t end, const Context& context) {
  const int64_t d = X.cols, t = Y.cols, p = 1 + d + t;
  // Every block adds a rounding of R: few and large ones keep digits, and are quick.
  const int64_t block = std::max<int64_t>(8 * p, kBlockBytes / (8 * p));
  Eigen::MatrixXd R = Eigen::MatrixXd::Zero(p, p);
  for (; begin < end; begin += block) {
    context.check();
    const int64_t n = std::min(block, end - begin);
    Eigen::MatrixXd A(p + n, p);
    A.topRows(p) = R;
    for (int64_t r = 0; r < n; ++r) {
      const int64_t row = qr.folds.row(begin + r);
      const double root = w.empty() ? 1.0 : std::sqrt(static_cast<double>(w[row]));
      A(p + r, 0) = root;
      for (int64_t j = 0; j < d; ++j)
        A(p + r, 1 + j) = root * (static_cast<double>(X(row, j)) - qr.shift[j]);
      for (int64_t j = 0; j < t; ++j)
        A(p + r, 1 + d + j) = root * (static_cast<double>(Y(row, j)) - qr.shift[d + j]);
    }
    R = qr_factor(std::move(A), context);
  }
  return R;
}

// The factor of several factors on top of each other.
Eigen::MatrixXd combined(const std::vector<Eigen::MatrixXd>& factors,
                         const std::vector<double>& scales, int64_t columns,
                         const Context& context) {
  Eigen::MatrixXd stack(columns * static_cast<int64_t>(factors.size()), columns);
  for (size_t i = 0; i < factors.size(); ++i)
    stack.middleRows(columns * i, columns) = scales[i] * factors[i];
  return qr_factor(std::move(stack), context);
}

}  // namespace

bool FoldQR::finite() const {
  return std::all_of(factors.begin(), factors.end(),
                     [](const Eigen::MatrixXd& factor) { return factor.allFinite(); });
}

template <class T>
FoldQR fold_qr_cpu(MatrixView<const T> X, MatrixView<const T> Y, VectorView<const T> w, Folds folds,
                   const Context& context) {
  FoldQR qr;
  qr.n_features = X.cols;
  qr.n_targets = Y.cols;
  qr.shift = provisional_means(X);
  const std::vector<double> target_shift = provisional_means(Y);
  qr.shift.insert(qr.shift.end(), target_shift.begin(), target_shift.end());
  qr.folds = std::move(folds);
  const int64_t p = 1 + X.cols + Y.cols;
  for (int64_t a = 0; a < qr.folds.n_atoms(); ++a) {
    const int64_t begin = qr.folds.atom_begin[a], size = qr.folds.atom_begin[a + 1] - begin;
    const int64_t chunks = std::clamp<int64_t>(size / (8 * p), 1, kMaxChunks);
    std::vector<Eigen::MatrixXd> parts(chunks);
    context.parallel_for("fold QR", chunks, [&](int64_t c) {
      parts[c] = factor_rows(X, Y, w, qr, begin + size * c / chunks,
                             begin + size * (c + 1) / chunks, context);
    });
    qr.factors.push_back(chunks == 1
                             ? std::move(parts[0])
                             : combined(parts, std::vector<double>(chunks, 1.0), p, context));
  }
  return qr;
}

template FoldQR fold_qr_cpu(MatrixView<const float>, MatrixView<const float>,
                            VectorView<const float>, Folds, const Context&);
template FoldQR fold_qr_cpu(MatrixView<const double>, MatrixView<const double>,
                            VectorView<const double>, Folds, const Context&);

TrainFactor train_factor(const FoldQR& qr, int64_t split, bool centred, const Context& context) {
  const int64_t d = qr.n_features, t = qr.n_targets, p = 1 + d + t;
  std::vector<Eigen::MatrixXd> parts;
  std::vector<double> scales;
  for (int64_t a = 0; a < qr.folds.n_atoms(); ++a) {
    const int32_t count = qr.folds.train[split * qr.folds.n_atoms() + a];
    if (count == 0) continue;
    parts.push_back(qr.factors[a]);
    scales.push_back(std::sqrt(static_cast<double>(count)));
  }
  Eigen::MatrixXd R = combined(parts, scales, p, context);
  const Eigen::Map<const Eigen::VectorXd> shift(qr.shift.data(), d),
      target_shift(qr.shift.data() + d, t);
  TrainFactor result;
  result.mean = shift + R.row(0).segment(1, d).transpose() / R(0, 0);
  result.target_mean = target_shift + R.row(0).tail(t).transpose() / R(0, 0);
  if (centred) {  // Q's first column is the ones: what is left below is about the mean
    result.factor = R.block(1, 1, d, d);
    // A column that does not vary leaves nothing but the rounding of its distance from the shift.
    for (int64_t j = 0; j < d; ++j)
      if (result.factor.col(j).norm() <= kRounding * R.col(1 + j).norm())
        result.factor.col(j).setZero();
    result.target = R.block(1, 1 + d, d, t);
    return result;
  }
  Eigen::MatrixXd unshifted = R.rightCols(d + t);
  unshifted.leftCols(d) += R.col(0) * shift.transpose();
  unshifted.rightCols(t) += R.col(0) * target_shift.transpose();
  const Eigen::MatrixXd again = qr_factor(std::move(unshifted), context);
  result.factor = again.topLeftCorner(d, d);
  result.target = again.block(0, d, d, t);
  return result;
}

}  // namespace manyfit
