#include <algorithm>
#include <cmath>
#include <limits>

#include "core/linalg.h"
#include "core/spectrum.h"
#include "linear_model/dual.h"
#include "linear_model/groups.h"
#include "linear_model/ridge.h"

namespace manyfit {
namespace {

// A decomposition costs about as much as this many Cholesky solves.
constexpr size_t kShareFrom = 8;

// coef columns with penalty `alpha` for all targets whose entry of `chosen` it is.
struct Penalties {
  std::vector<double> distinct;
  explicit Penalties(const Eigen::VectorXd& alpha) {
    for (const double a : alpha)
      if (std::find(distinct.begin(), distinct.end(), a) == distinct.end()) distinct.push_back(a);
  }
};

// One Cholesky solve for each distinct penalty. False where the system is too ill-conditioned.
bool solve_directly(const Moments& moments, const Eigen::VectorXd& alpha, double limit, const Context& context,
                    Eigen::MatrixXd& coef) {
  for (const double penalty : Penalties(alpha).distinct) {
    Eigen::MatrixXd system = moments.gram;
    system.diagonal().array() += penalty;
    const Cholesky cholesky(std::move(system), context);
    if (!(cholesky.reciprocal_condition() * limit >= 1)) return false;
    Eigen::MatrixXd solution = moments.cross;
    cholesky.solve(solution);
    for (int64_t k = 0; k < alpha.size(); ++k)
      if (alpha(k) == penalty) coef.col(k) = solution.col(k);
  }
  return true;
}

bool well_conditioned(const Spectrum& spectrum, const Eigen::VectorXd& alpha, double limit) {
  const double largest = std::pow(spectrum.values(0), 2), smallest = std::pow(spectrum.values.tail(1)(0), 2);
  const double penalty = alpha.minCoeff();
  return largest + penalty <= limit * (smallest + penalty);
}

}  // namespace

LinearPopulation ridge_cpu(const FoldGram& gram, const std::vector<LinearJob>& jobs, const Eigen::MatrixXd& alpha,
                           const Context& context) {
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
      if (shared.values.size() > 0 && well_conditioned(shared, penalties, limit)) {
        coef = ridge_solution(shared, penalties, 0.0);
      } else if (!solve_directly(train, penalties, limit, context, coef)) {
        population.abandon(b, gram.n_features, gram.n_targets);
        continue;
      }
      population.intercept[b].setZero(gram.n_targets);
      if (group.fit_intercept) population.intercept[b] = train.target_mean - coef.transpose() * train.mean;
      population.coef[b] = std::move(coef);
    }
  });
  return population;
}

LinearPopulation ridge_cpu(const FoldQR& qr, const std::vector<LinearJob>& jobs, const Eigen::MatrixXd& alpha,
                           const Context& context) {
  LinearPopulation population(jobs.size());
  for_each_group(grouped(jobs), qr.n_features, context, [&](const LinearGroup& group) {
    const TrainFactor train = train_factor(qr, group.split, group.fit_intercept, context);
    const Spectrum shared = spectrum(train, context);
    const double cutoff = std::numeric_limits<double>::epsilon() * static_cast<double>(qr.n_features) * shared.values(0);
    for (const size_t b : group.jobs) {
      const Eigen::VectorXd penalties = alpha.row(b).transpose();
      const double noise = penalties.minCoeff() > 0 ? 0.0 : cutoff;
      population.coef[b] = ridge_solution(shared, penalties, noise);
      population.intercept[b].setZero(qr.n_targets);
      if (group.fit_intercept)
        population.intercept[b] = train.target_mean - population.coef[b].transpose() * train.mean;
    }
  });
  return population;
}

template <class T>
LinearPopulation ridge_cpu(const RowGram& gram, MatrixView<const T> X, MatrixView<const T> Y, VectorView<const T> w,
                           const Folds& folds, const std::vector<LinearJob>& jobs, const Eigen::MatrixXd& alpha,
                           const Context& context) {
  LinearPopulation population(jobs.size());
  for_each_group(grouped(jobs), X.rows, context, [&](const LinearGroup& group) {
    DualData train(gram, Y, w, folds, group.split, group.fit_intercept);
    if (!train.products.allFinite()) {
      for (const size_t b : group.jobs) population.abandon(b, X.cols, Y.cols);
      return;
    }
    const bool share = group.jobs.size() >= kShareFrom;
    const DualSpectrum shared = share ? DualSpectrum(train, gram.precision, context) : DualSpectrum();
    Eigen::MatrixXd weights(X.rows, static_cast<int64_t>(group.jobs.size()) * Y.cols);  // a of every job and target
    for (size_t g = 0; g < group.jobs.size(); ++g) {
      const size_t b = group.jobs[g];
      const Eigen::VectorXd penalties = alpha.row(b).transpose();
      Eigen::MatrixXd a = Eigen::MatrixXd::Zero(train.target.rows(), Y.cols);
      if (penalties.minCoeff() > 0 && !share)
        population.reliable[b] = train.solve(penalties, condition_limit(gram.precision), context, a);
      else
        population.reliable[b] =
            (share ? shared : DualSpectrum(train, gram.precision, context)).solve(penalties, train, a);
      weights.middleCols(static_cast<int64_t>(g) * Y.cols, Y.cols) = train.spread(a, X.rows);
    }
    const Eigen::MatrixXd coef = train.coefficients(X, gram.shift, weights, context);
    for (size_t g = 0; g < group.jobs.size(); ++g) {
      const size_t b = group.jobs[g];
      population.coef[b] = coef.middleCols(static_cast<int64_t>(g) * Y.cols, Y.cols);
      population.intercept[b] = train.intercept(population.coef[b]);
    }
  });
  return population;
}

template LinearPopulation ridge_cpu(const RowGram&, MatrixView<const float>, MatrixView<const float>,
                                    VectorView<const float>, const Folds&, const std::vector<LinearJob>&,
                                    const Eigen::MatrixXd&, const Context&);
template LinearPopulation ridge_cpu(const RowGram&, MatrixView<const double>, MatrixView<const double>,
                                    VectorView<const double>, const Folds&, const std::vector<LinearJob>&,
                                    const Eigen::MatrixXd&, const Context&);

}  // namespace manyfit
