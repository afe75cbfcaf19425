#include <algorithm>

#include "core/linalg.h"
#include "core/row_split.h"
#include "decomposition/components.h"
#include "decomposition/pca.h"

namespace manyfit {
std::vector<PrincipalComponents> pca_cpu(const FoldGram& gram, const std::vector<int64_t>& splits,
                                         const std::vector<int64_t>& counts,
                                         const Context& context) {
  return for_each_split<PrincipalComponents>(
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
  return for_each_split<PrincipalComponents>(
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
  return for_each_split<PrincipalComponents>(
      folds, X.cols, splits, counts, context, [&](int64_t split, int64_t count) {
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
