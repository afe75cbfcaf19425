#include <algorithm>
#include <map>
#include <numeric>

#include "core/linalg.h"
#include "core/spectrum.h"
#include "decomposition/pca.h"

namespace manyfit {
namespace {

void fix_signs(Eigen::MatrixXd& components) {
  for (int64_t i = 0; i < components.rows(); ++i) {
    Eigen::Index largest = 0;
    components.row(i).cwiseAbs().maxCoeff(&largest);
    if (components(i, largest) < 0) components.row(i) *= -1;
  }
}

// Makes column k a unit vector orthogonal to those before it. Where it is nothing but a mixture of
// those, the axis farthest from them takes its place.
void orthonormalise(Eigen::MatrixXd& columns, int64_t k) {
  const auto before = columns.leftCols(k);
  auto column = columns.col(k);
  double norm = column.norm();
  for (int pass = 0; norm > 0 && pass < 4; ++pass) {
    column /= norm;
    column -= before * (before.transpose() * column);
    norm = column.norm();
    if (pass > 0 && norm > 0.5) break;  // what is left is more than rounding
  }
  if (!(norm > 0.5)) {
    Eigen::Index axis = 0;
    before.rowwise().squaredNorm().minCoeff(&axis);
    column = Eigen::VectorXd::Unit(columns.rows(), axis);
    for (int pass = 0; pass < 2; ++pass) column -= before * (before.transpose() * column);
    norm = column.norm();
  }
  column /= norm;
}

PrincipalComponents leading(const PrincipalComponents& all, int64_t count) {
  return {all.mean, all.variance.head(count), all.components.topRows(count), all.total_variance};
}

// Each split decomposed once, for the largest count asked of it; smaller counts are its head.
std::vector<PrincipalComponents> for_each_split(
    const Folds& folds, int64_t d, const std::vector<int64_t>& splits,
    const std::vector<int64_t>& counts, const Context& context,
    const std::function<PrincipalComponents(int64_t split, int64_t count)>& decompose) {
  std::map<int64_t, int64_t> largest;
  std::vector<int64_t> wanted(counts);
  for (size_t b = 0; b < splits.size(); ++b) {
    const int64_t all = std::min(folds.training_rows(splits[b]), d);
    wanted[b] = counts[b] == 0 ? all : std::min(counts[b], all);
    largest[splits[b]] = std::max(largest[splits[b]], wanted[b]);
  }
  const std::vector<std::pair<int64_t, int64_t>> distinct(largest.begin(), largest.end());
  std::vector<PrincipalComponents> done(distinct.size());
  const auto task = [&](int64_t i) { done[i] = decompose(distinct[i].first, distinct[i].second); };
  if (d >= kLargeMatrix) {
    for (size_t i = 0; i < distinct.size(); ++i) {
      context.check();
      task(i);
    }
  } else {
    context.parallel_for("principal components", distinct.size(), task);
  }
  std::vector<PrincipalComponents> result;
  for (size_t b = 0; b < splits.size(); ++b) {
    const size_t i = std::distance(largest.begin(), largest.find(splits[b]));
    result.push_back(leading(done[i], wanted[b]));
  }
  return result;
}

}  // namespace

std::vector<PrincipalComponents> pca_cpu(const FoldGram& gram, const std::vector<int64_t>& splits,
                                         const std::vector<int64_t>& counts,
                                         const Context& context) {
  return for_each_split(
      gram.folds, gram.n_features, splits, counts, context, [&](int64_t split, int64_t count) {
        Moments train = moments(gram, split, Part::train, true);
        const double divisor = static_cast<double>(gram.folds.training_rows(split) - 1);
        PrincipalComponents result;
        result.total_variance = train.gram.trace() / divisor;
        SymmetricEigen eigen = eigh_largest(std::move(train.gram), count, context);
        result.variance = eigen.values.reverse().cwiseMax(0) / divisor;
        result.components = eigen.vectors.rowwise().reverse().transpose();
        result.mean = std::move(train.mean);
        fix_signs(result.components);
        return result;
      });
}

std::vector<PrincipalComponents> pca_cpu(const FoldQR& qr, const std::vector<int64_t>& splits,
                                         const std::vector<int64_t>& counts,
                                         const Context& context) {
  return for_each_split(
      qr.folds, qr.n_features, splits, counts, context, [&](int64_t split, int64_t count) {
        TrainFactor train = train_factor(qr, split, true, context);
        const double divisor = static_cast<double>(qr.folds.training_rows(split) - 1);
        const Svd decomposition = svd(std::move(train.factor), context);
        PrincipalComponents result;
        result.total_variance = decomposition.values.squaredNorm() / divisor;
        result.variance = decomposition.values.head(count).array().square() / divisor;
        result.components = decomposition.vt.topRows(count);
        result.mean = std::move(train.mean);
        fix_signs(result.components);
        return result;
      });
}

template <class T>
std::vector<PrincipalComponents> pca_cpu(const RowGram& gram, MatrixView<const T> X,
                                         const Folds& folds, const std::vector<int64_t>& splits,
                                         const std::vector<int64_t>& counts,
                                         const Context& context) {
  return for_each_split(folds, X.cols, splits, counts, context, [&](int64_t split, int64_t count) {
    std::vector<int64_t> rows;  // with repetitions
    for (int64_t a = 0; a < folds.n_atoms(); ++a)
      for (int32_t k = 0; k < folds.train[split * folds.n_atoms() + a]; ++k)
        for (int64_t i = folds.atom_begin[a]; i < folds.atom_begin[a + 1]; ++i)
          rows.push_back(folds.row(i));
    const int64_t n = static_cast<int64_t>(rows.size());
    Eigen::MatrixXd K(n, n);
    for (int64_t j = 0; j < n; ++j)
      for (int64_t i = 0; i < n; ++i) K(i, j) = gram.products(rows[i], rows[j]);
    const Eigen::VectorXd means = K.rowwise().mean();
    K.colwise() -= means;
    K.rowwise() -= (means.array() - means.mean()).matrix().transpose();
    PrincipalComponents result;
    const double divisor = static_cast<double>(n - 1);
    result.total_variance = K.trace() / divisor;
    const SymmetricEigen eigen = eigh_largest(std::move(K), count, context);
    const Eigen::VectorXd values = eigen.values.reverse().cwiseMax(0);
    // Component i is X_c' u_i / s_i; with a column of 1 / n for the mean.
    Eigen::MatrixXd weights = Eigen::MatrixXd::Zero(X.rows, count + 1);
    for (int64_t i = 0; i < n; ++i) {
      weights.row(rows[i]).head(count) += eigen.vectors.row(i).reverse();
      weights(rows[i], count) += 1.0 / static_cast<double>(n);
    }
    const Eigen::RowVectorXd sums = weights.leftCols(count).colwise().sum();
    const Eigen::MatrixXd product = shifted_transpose_product(X, gram.shift, weights, context);
    Eigen::MatrixXd directions = product.leftCols(count) - product.col(count) * sums;
    // Orthonormal to the last digit, whatever the division by a small s_i would have lost.
    for (int64_t k = 0; k < count; ++k) orthonormalise(directions, k);
    result.variance = values / divisor;
    result.components = directions.transpose();
    result.mean = Eigen::Map<const Eigen::VectorXd>(gram.shift.data(), X.cols) + product.col(count);
    fix_signs(result.components);
    return result;
  });
}

template <class T>
PrincipalComponents pca_svd_cpu(MatrixView<const T> X, int64_t count, const Context& context) {
  PrincipalComponents result;
  const std::vector<double> shift = provisional_means(X);
  Eigen::MatrixXd copy(X.rows, X.cols);
  for (int64_t i = 0; i < X.rows; ++i)
    for (int64_t j = 0; j < X.cols; ++j) copy(i, j) = static_cast<double>(X(i, j)) - shift[j];
  const Eigen::RowVectorXd rest = copy.colwise().mean();
  copy.rowwise() -= rest;
  result.mean = Eigen::Map<const Eigen::VectorXd>(shift.data(), X.cols) + rest.transpose();
  const Svd decomposition = svd(std::move(copy), context);
  const double divisor = static_cast<double>(X.rows - 1);
  const int64_t all = decomposition.values.size();
  count = count == 0 ? all : std::min(count, all);
  result.total_variance = decomposition.values.squaredNorm() / divisor;
  result.variance = decomposition.values.head(count).array().square() / divisor;
  result.components = decomposition.vt.topRows(count);
  fix_signs(result.components);
  return result;
}

template std::vector<PrincipalComponents> pca_cpu(const RowGram&, MatrixView<const float>,
                                                  const Folds&, const std::vector<int64_t>&,
                                                  const std::vector<int64_t>&, const Context&);
template std::vector<PrincipalComponents> pca_cpu(const RowGram&, MatrixView<const double>,
                                                  const Folds&, const std::vector<int64_t>&,
                                                  const std::vector<int64_t>&, const Context&);
template PrincipalComponents pca_svd_cpu(MatrixView<const float>, int64_t, const Context&);
template PrincipalComponents pca_svd_cpu(MatrixView<const double>, int64_t, const Context&);

}  // namespace manyfit
