#include <cmath>
#include <numeric>

#include "core/linalg.h"
#include "linear_model/groups.h"
#include "linear_model/nonnegative.h"

namespace manyfit {
namespace {

// min c'Gc / 2 - b'c over c >= 0. False where it cannot be told reliably.
class ActiveSet {
 public:
  ActiveSet(const Eigen::MatrixXd& gram, const Eigen::VectorXd& cross, double limit,
            const Context& context)
      : G_(gram),
        b_(cross),
        limit_(limit),
        context_(context),
        coef_(Eigen::VectorXd::Zero(b_.size())) {}

  bool solve() {
    const Eigen::VectorXd scale = G_.diagonal().cwiseMax(0).cwiseSqrt();
    // A column of zeros takes no part.
    const double tolerance =
        1e-12 * (scale.array() > 0).select(b_.array().abs() / scale.array(), 0.0).maxCoeff();
    for (int64_t iteration = 0; iteration < 3 * b_.size() + 10; ++iteration) {
      context_.check();
      const Eigen::VectorXd gradient = b_ - G_ * coef_;
      int64_t best = -1;
      double steepest = tolerance;
      for (int64_t j = 0; j < b_.size(); ++j) {
        if (coef_(j) > 0 || !(scale(j) > 0)) continue;
        if (gradient(j) / scale(j) > steepest) steepest = gradient(j) / scale(j), best = j;
      }
      if (best < 0) return true;
      free_.push_back(best);
      if (!descend()) return false;
    }
    return false;
  }

  const Eigen::VectorXd& coef() const { return coef_; }

 private:
  // Goes to the minimum over the free coordinates; those that would turn negative on the way stop
  // at zero and leave.
  bool descend() {
    while (!free_.empty()) {
      const Cholesky cholesky(G_(free_, free_), context_);
      if (!(cholesky.reciprocal_condition() * limit_ >= 1)) return false;
      Eigen::MatrixXd goal = b_(free_);
      cholesky.solve(goal);
      double step = 1;
      for (size_t i = 0; i < free_.size(); ++i)
        if (goal(i, 0) <= 0)
          step = std::min(step, coef_(free_[i]) / (coef_(free_[i]) - goal(i, 0)));
      std::vector<int64_t> still_free;
      for (size_t i = 0; i < free_.size(); ++i) {
        const int64_t j = free_[i];
        const bool blocks = goal(i, 0) <= 0 &&
                            coef_(j) + step * (goal(i, 0) - coef_(j)) <= 1e-15 * std::abs(coef_(j));
        coef_(j) = blocks ? 0.0 : coef_(j) + step * (goal(i, 0) - coef_(j));
        if (!blocks) still_free.push_back(j);
      }
      const bool done = still_free.size() == free_.size();
      free_ = std::move(still_free);
      if (done) return true;
    }
    return true;
  }

  const Eigen::MatrixXd& G_;
  Eigen::VectorXd b_;
  double limit_;
  const Context& context_;
  Eigen::VectorXd coef_;
  std::vector<int64_t> free_;
};

}  // namespace

LinearPopulation nonnegative_cpu(const FoldGram& gram, const std::vector<LinearJob>& jobs,
                                 const Eigen::MatrixXd& alpha, const Context& context) {
  LinearPopulation population(jobs.size());
  const double limit = condition_limit(gram.precision);
  for_each_group(grouped(jobs), gram.n_features, context, [&](const LinearGroup& group) {
    const Moments train = moments(gram, group.split, Part::train, group.fit_intercept);
    if (!train.gram.allFinite()) {  // squares overflowed
      for (const size_t b : group.jobs) population.abandon(b, gram.n_features, gram.n_targets);
      return;
    }
    for (const size_t b : group.jobs) {
      population.coef[b].resize(gram.n_features, gram.n_targets);
      for (int64_t k = 0; k < gram.n_targets; ++k) {
        Eigen::MatrixXd system = train.gram;
        system.diagonal().array() += alpha(b, k);
        ActiveSet active(system, train.cross.col(k), limit, context);
        if (!keeps_digits(train, alpha(b, k), limit) || !active.solve()) population.reliable[b] = 0;
        population.coef[b].col(k) = active.coef();
      }
      population.intercept[b].setZero(gram.n_targets);
      if (group.fit_intercept)
        population.intercept[b] = train.target_mean - population.coef[b].transpose() * train.mean;
    }
  });
  return population;
}

}  // namespace manyfit
