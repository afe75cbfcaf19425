#include <algorithm>

#include "core/linalg.h"
#include "core/spectrum.h"
#include "linear_model/dual.h"
#include "linear_model/groups.h"
#include "linear_model/linear_regression.h"

namespace manyfit {
namespace {

// Jobs of one group are the same job.
void store(LeastSquaresPopulation& population, const LinearGroup& group,
           const Eigen::MatrixXd& coef, const Eigen::VectorXd& intercept, int64_t rank,
           const Eigen::VectorXd& singular, bool reliable) {
  for (const size_t b : group.jobs) {
    population.coef[b] = coef;
    population.intercept[b] = intercept;
    population.rank[b] = rank;
    population.singular[b] = singular;
    population.reliable[b] = reliable;
  }
}

}  // namespace

LeastSquaresPopulation linear_regression_cpu(const FoldGram& gram,
                                             const std::vector<LinearJob>& jobs,
                                             double relative_cutoff, const Context& context) {
  LeastSquaresPopulation population(jobs.size());
  // Squares of singular values are only as fine as the Gram; beyond this their roots lose half the
  // digits.
  const double finest =
      std::max(gram.precision > 1e-12 ? 1e-4 : 1e-10, 2 * relative_cutoff * relative_cutoff);
  for_each_group(grouped(jobs), gram.n_features, context, [&](const LinearGroup& group) {
    const Moments train = moments(gram, group.split, Part::train, group.fit_intercept);
    if (!train.gram.allFinite()) {  // squares overflowed
      for (const size_t b : group.jobs) population.abandon(b, gram.n_features, gram.n_targets);
      return;
    }
    const Eigen::VectorXd squares = eigenvalues(train.gram, context).reverse();
    const Cholesky cholesky(train.gram, context);
    const int64_t d = gram.n_features;
    const bool reliable = squares(d - 1) > finest * squares(0) &&
                          cholesky.reciprocal_condition() * condition_limit(gram.precision) >= 1 &&
                          keeps_digits(train, 0, condition_limit(gram.precision)) &&
                          gram.folds.training_rows(group.split) >= d;
    Eigen::MatrixXd coef = train.cross;
    Eigen::VectorXd intercept = Eigen::VectorXd::Zero(gram.n_targets);
    if (reliable) {
      cholesky.solve(coef);
      if (group.fit_intercept) intercept = train.target_mean - coef.transpose() * train.mean;
    }
    store(population, group, coef, intercept, d, squares.cwiseMax(0).cwiseSqrt(), reliable);
  });
  return population;
}

LeastSquaresPopulation linear_regression_cpu(const FoldQR& qr, const std::vector<LinearJob>& jobs,
                                             double relative_cutoff, const Context& context) {
  LeastSquaresPopulation population(jobs.size());
  for_each_group(grouped(jobs), qr.n_features, context, [&](const LinearGroup& group) {
    const TrainFactor train = train_factor(qr, group.split, group.fit_intercept, context);
    const Spectrum shared = spectrum(train, context);
    const double cutoff = relative_cutoff * shared.values(0);
    const Eigen::MatrixXd coef =
        ridge_solution(shared, Eigen::VectorXd::Zero(qr.n_targets), cutoff);
    Eigen::VectorXd intercept = Eigen::VectorXd::Zero(qr.n_targets);
    if (group.fit_intercept) intercept = train.target_mean - coef.transpose() * train.mean;
    const int64_t values = std::min(qr.folds.training_rows(group.split), qr.n_features);
    store(population, group, coef, intercept, (shared.values.array() > cutoff).count(),
          shared.values.head(values), true);
  });
  return population;
}

template <class RowForm, class T>
LeastSquaresPopulation linear_regression_cpu(const RowForm& form, MatrixView<const T> X,
                                             MatrixView<const T> Y, VectorView<const T> w,
                                             const Folds& folds, const std::vector<LinearJob>& jobs,
                                             double relative_cutoff, const Context& context) {
  LeastSquaresPopulation population(jobs.size());
  if (!form.finite()) {  // squares overflowed
    for (size_t b = 0; b < jobs.size(); ++b) population.abandon(b, X.cols, Y.cols);
    return population;
  }
  for_each_group(grouped(jobs), X.rows, context, [&](const LinearGroup& group) {
    const DualData train(Y, w, folds, group.split, group.fit_intercept);
    const RowSpectrum shared = train.rows.spectrum(form, train.rows.size(), context);
    // Roots of what is only rounding would look like small singular values; rows that a split takes
    // several times add zeros.
    const Eigen::VectorXd values =
        (shared.values.array() > shared.noise).select(shared.values, 0.0);
    Eigen::VectorXd singular =
        Eigen::VectorXd::Zero(std::min(folds.training_rows(group.split), X.cols));
    const int64_t known = std::min(values.size(), singular.size());
    singular.head(known) = values.head(known);
    const double cutoff = relative_cutoff * shared.values(0);
    Eigen::MatrixXd a;
    const bool reliable = train.solve(shared, Eigen::VectorXd::Zero(Y.cols), cutoff, a);
    const auto combined = train.rows.combine(X, form.shift, a, context);
    store(population, group, combined.columns, train.intercept(combined.columns, combined.mean),
          (shared.values.array() > std::max(shared.noise, cutoff)).count(), singular, reliable);
  });
  return population;
}

#define MANYFIT_INSTANTIATE(RowForm, T)                                                            \
  template LeastSquaresPopulation linear_regression_cpu(                                           \
      const RowForm&, MatrixView<const T>, MatrixView<const T>, VectorView<const T>, const Folds&, \
      const std::vector<LinearJob>&, double, const Context&);
MANYFIT_INSTANTIATE(RowGram, float)
MANYFIT_INSTANTIATE(RowGram, double)
MANYFIT_INSTANTIATE(RowQR, float)
MANYFIT_INSTANTIATE(RowQR, double)
#undef MANYFIT_INSTANTIATE

}  // namespace manyfit
