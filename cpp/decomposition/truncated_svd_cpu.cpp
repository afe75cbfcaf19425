#include <algorithm>
#include <limits>

#include "core/linalg.h"
#include "core/row_split.h"
#include "core/spectrum.h"
#include "decomposition/components.h"
#include "decomposition/truncated_svd.h"

namespace manyfit {
namespace {

constexpr double kNoLimit = std::numeric_limits<double>::infinity();

// Sum over the rows of X about `mean` of the squares of all columns.
template <class T>
double squares_about(MatrixView<const T> X, const RowSplit& rows, const Eigen::VectorXd& mean,
                     const Context& context) {
  double total = 0;
  for (int64_t i = 0; i < rows.size(); ++i) {
    context.check();
    double sum = 0;
    for (int64_t j = 0; j < X.cols; ++j) {
      const double distance = static_cast<double>(X(rows.rows[i], j)) - mean(j);
      sum += distance * distance;
    }
    total += rows.weight(i) * sum;
  }
  return total;
}

}  // namespace

bool TruncatedSvd::reliable() const {
  const double most = values(0), least = values(values.size() - 1);
  return limit == kNoLimit || most * most <= limit * least * least;
}

std::vector<TruncatedSvd> truncated_svd_cpu(const FoldGram& gram,
                                            const std::vector<int64_t>& splits,
                                            const std::vector<int64_t>& counts,
                                            const Context& context) {
  return for_each_split<TruncatedSvd>(
      gram.folds, gram.n_features, splits, counts, context, [&](int64_t split, int64_t count) {
        const double rows = static_cast<double>(gram.folds.training_rows(split));
        const Moments centred = moments(gram, split, Part::train, true);
        SymmetricEigen eigen =
            eigh_largest(moments(gram, split, Part::train, false).gram, count, context);
        TruncatedSvd result;
        result.values = eigen.values.reverse().cwiseMax(0).cwiseSqrt();
        result.components = eigen.vectors.rowwise().reverse().transpose();
        const Eigen::MatrixXd along = result.components * centred.gram;
        result.variance =
            along.cwiseProduct(result.components).rowwise().sum().cwiseMax(0.0) / rows;
        result.total_variance = std::max(0.0, centred.gram.trace()) / rows;
        result.limit = condition_limit(gram.precision);
        fix_signs(result.components);
        return result;
      });
}

std::vector<TruncatedSvd> truncated_svd_cpu(const FoldQR& qr, const std::vector<int64_t>& splits,
                                            const std::vector<int64_t>& counts,
                                            const Context& context) {
  return for_each_split<TruncatedSvd>(
      qr.folds, qr.n_features, splits, counts, context, [&](int64_t split, int64_t count) {
        const double rows = static_cast<double>(qr.folds.training_rows(split));
        const TrainFactor centred = train_factor(qr, split, true, context);
        const Svd decomposition = svd(train_factor(qr, split, false, context).factor, context);
        TruncatedSvd result;
        result.values = decomposition.values.head(count);
        result.components = decomposition.vt.topRows(count);
        const Eigen::MatrixXd along = centred.factor * result.components.transpose();
        result.variance = along.colwise().squaredNorm().transpose() / rows;
        result.total_variance = centred.factor.squaredNorm() / rows;
        result.limit = kNoLimit;
        fix_signs(result.components);
        return result;
      });
}

template <class RowForm, class T>
std::vector<TruncatedSvd> truncated_svd_cpu(const RowForm& form, MatrixView<const T> X,
                                            const Folds& folds, const std::vector<int64_t>& splits,
                                            const std::vector<int64_t>& counts,
                                            const Context& context) {
  return for_each_split<TruncatedSvd>(
      folds, X.cols, splits, counts, context, [&](int64_t split, int64_t count) {
        const RowSplit rows(VectorView<const T>(), folds, split, false);
        // A row drawn several times is one row of greater weight: it adds no direction.
        const int64_t known = std::min(count, rows.size());
        const double n = rows.weight.sum();
        const RowSpectrum spectrum = rows.spectrum(form, known, context);
        TruncatedSvd result;
        result.values = Eigen::VectorXd::Zero(count);
        result.values.head(known) = spectrum.values;
        result.limit = spectrum.limit;
        // Component i is A' u_i / values(i); the rows stand at values(i) u_i / root along it.
        auto combined = rows.combine(X, form.shift, spectrum.u, context);
        Eigen::MatrixXd directions = Eigen::MatrixXd::Zero(X.cols, count);
        directions.leftCols(known) = combined.columns;
        orthonormalise(directions);
        result.components = directions.transpose();
        result.variance = Eigen::VectorXd::Zero(count);
        for (int64_t i = 0; i < known; ++i) {
          const Eigen::VectorXd place =
              spectrum.values(i) * spectrum.u.col(i).cwiseQuotient(rows.root);
          const double mean = place.dot(rows.weight) / n;
          const Eigen::VectorXd squares = (place.array() - mean).square();
          result.variance(i) = squares.dot(rows.weight) / n;
        }
        result.total_variance = squares_about(X, rows, combined.mean, context) / n;
        fix_signs(result.components);
        return result;
      });
}

#define MANYFIT_INSTANTIATE(RowForm, T)                                               \
  template std::vector<TruncatedSvd> truncated_svd_cpu(                               \
      const RowForm&, MatrixView<const T>, const Folds&, const std::vector<int64_t>&, \
      const std::vector<int64_t>&, const Context&);
MANYFIT_INSTANTIATE(RowGram, float)
MANYFIT_INSTANTIATE(RowGram, double)
MANYFIT_INSTANTIATE(RowQR, float)
MANYFIT_INSTANTIATE(RowQR, double)
#undef MANYFIT_INSTANTIATE

}  // namespace manyfit
