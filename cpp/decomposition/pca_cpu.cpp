#include <algorithm>
#include <map>
#include <numeric>

#include "core/linalg.h"
#include "core/row_split.h"
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

// Makes columns that are nearly orthogonal orthonormal to the last digit, whatever their lengths
// and whatever dividing by them would have lost. A block of columns leaves those before it by one
// matrix product.
void orthonormalise(Eigen::MatrixXd& columns) {
  constexpr int64_t kBlock = 32;
  for (int64_t begin = 0; begin < columns.cols(); begin += kBlock) {
    const int64_t size = std::min(kBlock, columns.cols() - begin);
    auto block = columns.middleCols(begin, size);
    for (int64_t k = 0; k < size; ++k)
      if (const double norm = block.col(k).norm(); norm > 0) block.col(k) /= norm;
    const auto before = columns.leftCols(begin);
    for (int pass = 0; begin > 0 && pass < 2; ++pass)
      block -= before * (before.transpose() * block);
    for (int64_t k = 0; k < size; ++k) {
      auto column = block.col(k);
      const auto earlier = block.leftCols(k);
      double norm = column.norm();
      if (norm > 0.5) {
        column -= earlier * (earlier.transpose() * column);
        column -= earlier * (earlier.transpose() * column);
        norm = column.norm();
      }
      if (norm > 0.5)
        column /= norm;
      else
        orthonormalise(columns, begin + k);
    }
  }
}

PrincipalComponents leading(const PrincipalComponents& all, int64_t count) {
  return {all.mean, all.variance.head(count), all.components.topRows(count), all.total_variance,
          all.reliable};
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

template <class RowForm, class T>
std::vector<PrincipalComponents> pca_cpu(const RowForm& form, MatrixView<const T> X,
                                         const Folds& folds, const std::vector<int64_t>& splits,
                                         const std::vector<int64_t>& counts,
                                         const Context& context) {
  return for_each_split(folds, X.cols, splits, counts, context, [&](int64_t split, int64_t count) {
    const RowSplit rows(VectorView<const T>(), folds, split, true);
    const double divisor = static_cast<double>(folds.training_rows(split) - 1);
    // About their mean m rows span m - 1 directions at most; what follows is zero.
    const int64_t m = rows.size(), known = std::min(count, std::max<int64_t>(m - 1, 1));
    const RowSpectrum spectrum = rows.spectrum(form, known, context);
    PrincipalComponents result;
    result.variance.setZero(count);
    if (m > 1) result.variance.head(known) = spectrum.values.array().square() / divisor;
    result.total_variance = spectrum.squares / divisor;
    const double least = spectrum.values(known - 1), most = spectrum.values(0);
    result.reliable = most * most <= spectrum.limit * least * least;
    // Component i is A' u_i / values(i).
    auto combined = rows.combine(X, form.shift, spectrum.u, context);
    Eigen::MatrixXd directions = Eigen::MatrixXd::Zero(X.cols, count);
    directions.leftCols(known) = combined.columns;
    orthonormalise(directions);
    result.components = directions.transpose();
    result.mean = std::move(combined.mean);
    fix_signs(result.components);
    return result;
  });
}

#define MANYFIT_INSTANTIATE(RowForm, T)                                                        \
  template std::vector<PrincipalComponents> pca_cpu(const RowForm&, MatrixView<const T>,       \
                                                    const Folds&, const std::vector<int64_t>&, \
                                                    const std::vector<int64_t>&, const Context&);
MANYFIT_INSTANTIATE(RowGram, float)
MANYFIT_INSTANTIATE(RowGram, double)
MANYFIT_INSTANTIATE(RowQR, float)
MANYFIT_INSTANTIATE(RowQR, double)
#undef MANYFIT_INSTANTIATE

}  // namespace manyfit
