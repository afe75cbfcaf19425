#include <cmath>
#include <limits>
#include <type_traits>

#include "core/linalg.h"
#include "linear_model/poisson.h"
#include "linear_model/tile_pass.h"

namespace manyfit {
namespace {

constexpr double kDecrease = 1e-4;    // Armijo's share of the promised decrease
constexpr double kQuadratic = 1e-13;  // Newton decrement from which one more step is exact
constexpr int kMostHalvings = 40;
constexpr double kLeastCondition = 1e-14;

struct PoissonLoss {
  static constexpr int kSlopes = 1;
  static constexpr int kTerms = 2;
  void operator()(double prediction, double y, RowTerms& row) const {
    const double mean = std::exp(prediction);
    row.curvature = mean;
    row.slopes[0] = mean - y;
    row.terms[0] = mean - y * prediction;
    row.terms[1] = 1;
  }
};

// A job's search: `free` are the coefficients it may choose, after the intercept if it has one.
struct Search {
  const PoissonJob* job = nullptr;
  Eigen::MatrixXd basis;  // point = basis * free
  Eigen::VectorXd free, before, step;
  double loss = 0, promised = 0, length = 1;
  int halvings = 0;
  bool evaluated = false, running = true;
  PoissonModel model;

  void stop(NewtonStatus status) {
    running = false;
    model.status = status;
  }
};

// What sums over the rows leave undecided, relative to the loss.
struct Rounding {
  double loss;
  double decrement;
};

// Takes the sums at `free`, and moves on to the next point to try.
void advance(Search& search, const TileSums& sums, const Rounding& rounding,
             const Context& context) {
  const PoissonJob& job = *search.job;
  const int64_t first = job.fit_intercept ? 1 : 0, d = search.free.size() - first;
  const auto coef = search.free.tail(d);
  const double weight = sums.scalars[1];
  const double loss = sums.scalars[0] / weight + job.alpha * coef.squaredNorm() / 2;
  if (search.evaluated) {
    const double slack = rounding.loss * (1 + std::abs(search.loss));
    const bool decreased =
        loss <= search.loss + kDecrease * search.length * search.promised + slack;
    if (!decreased) {  // also where it is NaN or infinite
      if (++search.halvings > kMostHalvings) return search.stop(NewtonStatus::failed);
      search.length /= 2;
      search.free = search.before + search.length * search.step;
      return;
    }
    ++search.model.n_iter;
  }
  if (!std::isfinite(loss)) return search.stop(NewtonStatus::failed);
  search.evaluated = true;
  search.loss = loss;
  Eigen::VectorXd gradient = search.basis.transpose() * sums.vectors[0] / weight;
  gradient.tail(d) += job.alpha * coef;
  Eigen::MatrixXd hessian = search.basis.transpose() * sums.gram * search.basis / weight;
  hessian.diagonal().tail(d).array() += job.alpha;
  const Cholesky factor(std::move(hessian), context);
  if (!(factor.reciprocal_condition() > kLeastCondition)) return search.stop(NewtonStatus::failed);
  Eigen::MatrixXd step = -gradient;
  factor.solve(step);
  const double decrement = -gradient.dot(step.col(0)) / 2;
  const bool small = gradient.cwiseAbs().maxCoeff() <= job.tolerance &&
                     decrement <= std::min(job.tolerance, kQuadratic);
  if (small || decrement <= rounding.decrement * (1 + std::abs(loss))) {
    search.free += step.col(0);
    return search.stop(NewtonStatus::converged);
  }
  if (search.model.n_iter >= job.max_iter) return search.stop(NewtonStatus::stopped);
  search.before = search.free;
  search.step = step.col(0);
  search.promised = -2 * decrement;
  search.length = 1;
  search.halvings = 0;
  search.free = search.before + search.step;
}

// Mean target of each split's training rows.
template <class T>
std::vector<double> target_means(VectorView<const T> y, VectorView<const T> w, const Folds& folds) {
  std::vector<double> sums(folds.n_splits()), weights(folds.n_splits());
  for (int64_t a = 0; a < folds.n_atoms(); ++a) {
    double sum = 0, weight = 0;
    for (int64_t i = folds.atom_begin[a]; i < folds.atom_begin[a + 1]; ++i) {
      const double own = w.empty() ? 1.0 : static_cast<double>(w[folds.row(i)]);
      sum += own * static_cast<double>(y[folds.row(i)]);
      weight += own;
    }
    for (int64_t s = 0; s < folds.n_splits(); ++s) {
      sums[s] += folds.train[s * folds.n_atoms() + a] * sum;
      weights[s] += folds.train[s * folds.n_atoms() + a] * weight;
    }
  }
  for (size_t s = 0; s < sums.size(); ++s) sums[s] /= weights[s];
  return sums;
}

}  // namespace

template <class T>
std::vector<PoissonModel> poisson_cpu(MatrixView<const T> X, VectorView<const T> y,
                                      VectorView<const T> w, const Folds& folds,
                                      const std::vector<PoissonJob>& jobs, const Context& context) {
  const int64_t d = X.cols;
  const TileRows<T> rows{X, y, w, folds, provisional_means(X)};
  const Eigen::VectorXd shift = Eigen::Map<const Eigen::VectorXd>(rows.shift.data(), d);
  const std::vector<double> means = target_means(y, w, folds);
  const Rounding rounding =
      std::is_same_v<T, float> ? Rounding{1e-6, 1e-9} : Rounding{1e-14, 1e-15};
  std::vector<Search> searches(jobs.size());
  for (size_t b = 0; b < jobs.size(); ++b) {
    Search& search = searches[b];
    search.job = &jobs[b];
    search.basis = point_basis(rows.shift, jobs[b].fit_intercept);
    search.free = Eigen::VectorXd::Zero(search.basis.cols());
    if (jobs[b].start.size() > 0) {
      search.free.tail(d) = jobs[b].start.head(d);
      if (jobs[b].fit_intercept)
        search.free(0) = jobs[b].start(d) + shift.dot(jobs[b].start.head(d));
    } else if (jobs[b].fit_intercept) {
      if (!(means[jobs[b].split] > 0))  // no finite intercept is best
        search.stop(NewtonStatus::failed);
      else
        search.free(0) = std::log(means[jobs[b].split]);
    }
  }
  while (true) {
    std::vector<TileJob<PoissonLoss>> points;
    std::vector<size_t> running;
    for (size_t b = 0; b < jobs.size(); ++b) {
      if (!searches[b].running) continue;
      running.push_back(b);
      points.push_back({jobs[b].split, searches[b].basis * searches[b].free, {}});
    }
    if (running.empty()) break;
    const auto sums = tile_pass(rows, points, "Poisson regression", context);
    const auto task = [&](int64_t i) { advance(searches[running[i]], sums[i], rounding, context); };
    if (d >= kLargeMatrix)
      for (size_t i = 0; i < running.size(); ++i) task(static_cast<int64_t>(i));
    else
      context.parallel_for("Poisson regression", static_cast<int64_t>(running.size()), task);
  }
  std::vector<PoissonModel> models;
  for (Search& search : searches) {
    search.model.coef = search.free.tail(d);
    if (search.job->fit_intercept)
      search.model.intercept = search.free(0) - shift.dot(search.model.coef);
    models.push_back(std::move(search.model));
  }
  return models;
}

template std::vector<PoissonModel> poisson_cpu(MatrixView<const float>, VectorView<const float>,
                                               VectorView<const float>, const Folds&,
                                               const std::vector<PoissonJob>&, const Context&);
template std::vector<PoissonModel> poisson_cpu(MatrixView<const double>, VectorView<const double>,
                                               VectorView<const double>, const Folds&,
                                               const std::vector<PoissonJob>&, const Context&);

}  // namespace manyfit
