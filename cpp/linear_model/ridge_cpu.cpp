#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

#include "core/linalg.h"
#include "core/spectrum.h"
#include "linear_model/dual.h"
#include "linear_model/groups.h"
#include "linear_model/ridge.h"

namespace manyfit {
namespace {

// A decomposition costs about as much as this many Cholesky solves.
constexpr size_t kShareFrom = 12;

// A loss of six digits of sixteen: not worth another way.
constexpr double kFewLost = 1e6;
// Beyond this columns are taken as dependent, and alpha = 0 asks for the solution of least norm.
constexpr double kAllLost = 1e12;

std::vector<double> distinct(const Eigen::VectorXd& alpha) {
  std::vector<double> values(alpha.begin(), alpha.end());
  std::sort(values.begin(), values.end());
  values.erase(std::unique(values.begin(), values.end()), values.end());
  return values;
}

// (gram + alpha) coef = cross by one Cholesky for each distinct penalty. False where the condition
// exceeds the limit.
bool solve_directly(const Eigen::MatrixXd& gram, const Eigen::MatrixXd& cross,
                    const Eigen::VectorXd& alpha, double limit, const Context& context,
                    Eigen::MatrixXd& coef) {
  coef.resize(cross.rows(), cross.cols());
  for (const double penalty : distinct(alpha)) {
    Eigen::MatrixXd system = gram;
    system.diagonal().array() += penalty;
    const Cholesky cholesky(std::move(system), context);
    if (!(cholesky.reciprocal_condition() * limit >= 1)) return false;
    Eigen::MatrixXd solution = cross;
    cholesky.solve(solution);
    for (int64_t k = 0; k < alpha.size(); ++k)
      if (alpha(k) == penalty) coef.col(k) = solution.col(k);
  }
  return true;
}

double condition(const Spectrum& spectrum, const Eigen::VectorXd& alpha) {
  const double largest = std::pow(spectrum.values(0), 2),
               smallest = std::pow(spectrum.values.tail(1)(0), 2);
  const double penalty = alpha.minCoeff();
  return (largest + penalty) / (smallest + penalty);
}

}  // namespace

LinearPopulation ridge_cpu(const FoldGram& gram, const std::vector<LinearJob>& jobs,
                           const Eigen::MatrixXd& alpha, const Context& context) {
  LinearPopulation population(jobs.size());
  const double limit = condition_limit(gram.precision);
  for_each_group(grouped(jobs), gram.n_features, context, [&](const LinearGroup& group) {
    const Moments train = moments(gram, group.split, Part::train, group.fit_intercept);
    if (!train.gram.allFinite()) {  // squares overflowed
      for (const size_t b : group.jobs) population.abandon(b, gram.n_features, gram.n_targets);
      return;
    }
    Spectrum shared;
    if (group.jobs.size() >= kShareFrom) shared = spectrum(train, context);
    for (const size_t b : group.jobs) {
      const Eigen::VectorXd penalties = alpha.row(b).transpose();
      Eigen::MatrixXd coef(gram.n_features, gram.n_targets);
      if (!keeps_digits(train, penalties.minCoeff(), limit)) {
        population.abandon(b, gram.n_features, gram.n_targets);
        continue;
      }
      if (shared.values.size() > 0 && condition(shared, penalties) <= limit) {
        coef = ridge_solution(shared, penalties, 0.0);
      } else if (!solve_directly(train.gram, train.cross, penalties, limit, context, coef)) {
        population.abandon(b, gram.n_features, gram.n_targets);
        continue;
      }
      population.intercept[b].setZero(gram.n_targets);
      if (group.fit_intercept)
        population.intercept[b] = train.target_mean - coef.transpose() * train.mean;
      population.coef[b] = std::move(coef);
    }
  });
  return population;
}

LinearPopulation ridge_cpu(const FoldQR& qr, const std::vector<LinearJob>& jobs,
                           const Eigen::MatrixXd& alpha, const Context& context) {
  LinearPopulation population(jobs.size());
  for_each_group(grouped(jobs), qr.n_features, context, [&](const LinearGroup& group) {
    const TrainFactor train = train_factor(qr, group.split, group.fit_intercept, context);
    const Spectrum shared = spectrum(train, context);
    const Eigen::MatrixXd gram = train.factor.transpose() * train.factor;
    const Eigen::MatrixXd cross = train.factor.transpose() * train.target;
    const double cutoff = std::numeric_limits<double>::epsilon() *
                          static_cast<double>(qr.n_features) * shared.values(0);
    for (const size_t b : group.jobs) {
      const Eigen::VectorXd penalties = alpha.row(b).transpose();
      // Singular values lose the root of their condition, but measure small columns by the largest;
      // a Cholesky scales each column and loses its condition: the better bound wins.
      const bool penalised = penalties.minCoeff() > 0;
      const double lost = std::min(std::sqrt(condition(shared, penalties)), kAllLost);
      if (lost <= kFewLost ||
          !solve_directly(gram, cross, penalties, lost, context, population.coef[b]))
        population.coef[b] = ridge_solution(shared, penalties, penalised ? 0.0 : cutoff);
      population.intercept[b].setZero(qr.n_targets);
      if (group.fit_intercept)
        population.intercept[b] = train.target_mean - population.coef[b].transpose() * train.mean;
    }
  });
  return population;
}

namespace {

// One job in the dual. The spectrum is made when the first job asks for it; a Gram can do without.
template <class RowForm>
bool solve_dual(const DualData& train, const RowForm& form, const Eigen::VectorXd& alpha,
                bool share, const Context& context, RowSpectrum& shared, Eigen::MatrixXd& a) {
  if constexpr (std::is_same_v<RowForm, RowGram>)
    if (!share && alpha.minCoeff() > 0)
      return train.solve(train.rows.products(form), alpha, condition_limit(form.precision), context,
                         a);
  if (shared.values.size() == 0) shared = train.rows.spectrum(form, train.rows.size(), context);
  return train.solve(shared, alpha, 0.0, a);
}

}  // namespace

template <class RowForm, class T>
LinearPopulation ridge_cpu(const RowForm& form, MatrixView<const T> X, MatrixView<const T> Y,
                           VectorView<const T> w, const Folds& folds,
                           const std::vector<LinearJob>& jobs, const Eigen::MatrixXd& alpha,
                           const Context& context) {
  LinearPopulation population(jobs.size());
  if (!form.finite()) {  // squares overflowed
    for (size_t b = 0; b < jobs.size(); ++b) population.abandon(b, X.cols, Y.cols);
    return population;
  }
  for_each_group(grouped(jobs), X.rows, context, [&](const LinearGroup& group) {
    const DualData train(Y, w, folds, group.split, group.fit_intercept);
    const bool share = group.jobs.size() >= kShareFrom;
    RowSpectrum shared;
    Eigen::MatrixXd a = Eigen::MatrixXd::Zero(
        train.rows.size(), static_cast<int64_t>(group.jobs.size()) * Y.cols);  // jobs side by side
    for (size_t g = 0; g < group.jobs.size(); ++g) {
      const size_t b = group.jobs[g];
      Eigen::MatrixXd solution;
      population.reliable[b] =
          solve_dual(train, form, alpha.row(b).transpose(), share, context, shared, solution);
      if (population.reliable[b]) a.middleCols(static_cast<int64_t>(g) * Y.cols, Y.cols) = solution;
    }
    const auto combined = train.rows.combine(X, form.shift, a, context);
    for (size_t g = 0; g < group.jobs.size(); ++g) {
      const size_t b = group.jobs[g];
      population.coef[b] = combined.columns.middleCols(static_cast<int64_t>(g) * Y.cols, Y.cols);
      population.intercept[b] = train.intercept(population.coef[b], combined.mean);
    }
  });
  return population;
}

#define MANYFIT_INSTANTIATE(RowForm, T)                                                            \
  template LinearPopulation ridge_cpu(                                                             \
      const RowForm&, MatrixView<const T>, MatrixView<const T>, VectorView<const T>, const Folds&, \
      const std::vector<LinearJob>&, const Eigen::MatrixXd&, const Context&);
MANYFIT_INSTANTIATE(RowGram, float)
MANYFIT_INSTANTIATE(RowGram, double)
MANYFIT_INSTANTIATE(RowQR, float)
MANYFIT_INSTANTIATE(RowQR, double)
#undef MANYFIT_INSTANTIATE

}  // namespace manyfit
