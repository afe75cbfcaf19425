#include <algorithm>

#include "core/linalg.h"
#include "linear_model/groups.h"
#include "linear_model/omp.h"

namespace manyfit {
namespace {

// One target: the columns taken so far, and least squares on them.
class Pursuit {
 public:
  Pursuit(const Eigen::MatrixXd& gram, const Eigen::VectorXd& cross)
      : gram_(gram), cross_(cross), coef_(Eigen::VectorXd::Zero(cross.size())) {}

  // Takes one more column. False where least squares on the taken ones would lose digits.
  bool step(double limit, const Context& context) {
    context.check();
    Eigen::VectorXd lean = (cross_ - gram_ * coef_).cwiseAbs();
    for (const int64_t j : taken_) lean(j) = 0;
    Eigen::Index best = 0;
    if (!(lean.maxCoeff(&best) > 0)) return true;  // nothing is left to explain
    taken_.push_back(best);
    const Cholesky cholesky(gram_(taken_, taken_), context);
    if (!(cholesky.reciprocal_condition() * limit >= 1)) return false;
    Eigen::MatrixXd solution = cross_(taken_);
    cholesky.solve(solution);
    coef_(taken_) = solution.col(0);
    return true;
  }

  const Eigen::VectorXd& coef() const { return coef_; }

 private:
  const Eigen::MatrixXd& gram_;
  Eigen::VectorXd cross_;
  Eigen::VectorXd coef_;
  std::vector<int64_t> taken_;
};

}  // namespace

LinearPopulation omp_cpu(const FoldGram& gram, const std::vector<LinearJob>& jobs,
                         const std::vector<int64_t>& counts, const Context& context) {
  LinearPopulation population(jobs.size());
  const double limit = condition_limit(gram.precision);
  for_each_group(grouped(jobs), gram.n_features, context, [&](const LinearGroup& group) {
    const Moments train = moments(gram, group.split, Part::train, group.fit_intercept);
    int64_t most = 0;
    for (const size_t b : group.jobs) {
      most = std::max(most, counts[b]);
      population.coef[b].setZero(gram.n_features, gram.n_targets);
      population.intercept[b].setZero(gram.n_targets);
    }
    for (int64_t k = 0; k < gram.n_targets; ++k) {
      Pursuit pursuit(train.gram, train.cross.col(k));
      bool reliable = true;
      for (int64_t taken = 1; taken <= most; ++taken) {
        reliable = reliable && pursuit.step(limit, context);
        for (const size_t b : group.jobs) {
          if (counts[b] != taken) continue;
          population.coef[b].col(k) = pursuit.coef();
          if (!reliable) population.reliable[b] = 0;
        }
      }
    }
    if (!group.fit_intercept) return;
    for (const size_t b : group.jobs)
      population.intercept[b] = train.target_mean - population.coef[b].transpose() * train.mean;
  });
  return population;
}

}  // namespace manyfit
