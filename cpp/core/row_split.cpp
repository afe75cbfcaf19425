#include "core/row_split.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/linalg.h"
#include "core/spectrum.h"

namespace manyfit {
namespace {

constexpr double kEpsilon = std::numeric_limits<double>::epsilon();

// Of m roots or squares of them, relative to the largest.
double noise_share(double precision, int64_t m) { return 10 * precision * static_cast<double>(m); }

}  // namespace

template <class T>
RowSplit::RowSplit(VectorView<const T> w, const Folds& folds, int64_t split, bool centred)
    : centred(centred) {
  std::vector<double> weights;
  for (int64_t a = 0; a < folds.n_atoms(); ++a) {
    const int32_t count = folds.train[split * folds.n_atoms() + a];
    for (int64_t i = folds.atom_begin[a]; count > 0 && i < folds.atom_begin[a + 1]; ++i) {
      rows.push_back(folds.row(i));
      weights.push_back(count * (w.empty() ? 1.0 : static_cast<double>(w[folds.row(i)])));
    }
  }
  // A copy: Eigen's sums depend on where in memory a vector begins, and its own begin at the same
  // place always.
  weight = Eigen::Map<const Eigen::VectorXd>(weights.data(), size());
  root = weight.cwiseSqrt();
}

Eigen::MatrixXd RowSplit::products(const RowGram& gram) const {
  const int64_t m = size();
  Eigen::MatrixXd K(m, m);
  for (int64_t j = 0; j < m; ++j)
    for (int64_t i = 0; i < m; ++i) K(i, j) = gram.products(rows[i], rows[j]);
  if (centred) {
    const double total = weight.sum();
    const Eigen::VectorXd means = K * weight / total;
    const double mean = means.dot(weight) / total;
    K.colwise() -= means;
    K.rowwise() -= (means.array() - mean).matrix().transpose();
  } else {
    Eigen::VectorXd along(m);
    for (int64_t i = 0; i < m; ++i) along(i) = gram.along_shift(rows[i]);
    K.colwise() += along;
    K.rowwise() += (along.array() + gram.shift_square).matrix().transpose();
  }
  K.array().colwise() *= root.array();
  K.array().rowwise() *= root.transpose().array();
  return K;
}

RowSpectrum RowSplit::spectrum(const RowGram& gram, int64_t count, const Context& context) const {
  RowSpectrum result;
  Eigen::MatrixXd K = products(gram);
  result.squares = K.trace();
  const SymmetricEigen eigen = eigh_largest(std::move(K), count, context);
  result.values = eigen.values.reverse().cwiseMax(0).cwiseSqrt();
  result.u = eigen.vectors.rowwise().reverse();
  result.noise = std::sqrt(noise_share(gram.precision, size())) * result.values(0);
  result.limit = condition_limit(gram.precision);
  return result;
}

RowSpectrum RowSplit::spectrum(const RowQR& qr, int64_t count, const Context& context) const {
  const int64_t m = size();
  Eigen::MatrixXd B(qr.factor.rows(), m);
  for (int64_t i = 0; i < m; ++i) B.col(i) = qr.factor.col(1 + rows[i]);
  if (centred) {
    const Eigen::VectorXd mean = B * weight / weight.sum();
    B.colwise() -= mean;
  } else {
    const Eigen::VectorXd shift = qr.factor.col(0);
    B.colwise() += shift;
  }
  B.array().rowwise() *= root.transpose().array();
  Svd decomposition = svd(std::move(B), context);
  RowSpectrum result;
  count = std::min<int64_t>(count, decomposition.values.size());
  result.squares = decomposition.values.squaredNorm();
  result.values = decomposition.values.head(count);
  result.u = decomposition.vt.topRows(count).transpose();
  result.noise = noise_share(kEpsilon, m) * result.values(0);
  return result;
}

template <class T>
RowSplit::Combinations RowSplit::combine(MatrixView<const T> X, const std::vector<double>& shift,
                                         const Eigen::MatrixXd& a, const Context& context) const {
  const int64_t k = a.cols();
  Eigen::MatrixXd spread = Eigen::MatrixXd::Zero(X.rows, k + 1);  // the last column gives the mean
  const double total = weight.sum();
  for (int64_t i = 0; i < size(); ++i) {
    spread.row(rows[i]).head(k) = root(i) * a.row(i);
    spread(rows[i], k) = weight(i) / total;
  }
  const Eigen::RowVectorXd sums = spread.leftCols(k).colwise().sum();
  const Eigen::MatrixXd product = shifted_transpose_product(X, shift, spread, context);
  const Eigen::Map<const Eigen::VectorXd> origin(shift.data(), X.cols);
  Combinations result;
  result.mean = origin + product.col(k);
  if (centred)
    result.columns = product.leftCols(k) - product.col(k) * sums;
  else
    result.columns = product.leftCols(k) + origin * sums;
  return result;
}

#define MANYFIT_INSTANTIATE(T)                                                                 \
  template RowSplit::RowSplit(VectorView<const T>, const Folds&, int64_t, bool);               \
  template RowSplit::Combinations RowSplit::combine(                                           \
      MatrixView<const T>, const std::vector<double>&, const Eigen::MatrixXd&, const Context&) \
      const;
MANYFIT_INSTANTIATE(float)
MANYFIT_INSTANTIATE(double)
#undef MANYFIT_INSTANTIATE

}  // namespace manyfit
