#include "linear_model/coordinate_descent.h"
#include "linear_model/coordinate_descent_population.h"

namespace manyfit {

DescentPopulation::DescentPopulation(size_t jobs, int64_t targets)
    : LinearPopulation(jobs),
      gap(Eigen::MatrixXd::Zero(static_cast<int64_t>(jobs), targets)),
      tolerance(gap),
      sweeps(gap),
      converged(gap) {}

DescentPopulation coordinate_descent_cpu(const FoldGram& gram, const std::vector<LinearJob>& jobs,
                                         const std::vector<DescentSettings>& settings,
                                         const std::vector<Eigen::MatrixXd>& start,
                                         const Context& context) {
  DescentPopulation population(jobs.size(), gram.n_targets);
  solve_from_gram(gram, jobs, settings, context, population,
                  [&](ColumnSource& source, const PathGroup& path, const Eigen::VectorXd& mean,
                      const Eigen::VectorXd& target_mean) {
                    solve_path(source, path, mean, target_mean, settings, start, context,
                               population);
                  });
  return population;
}

}  // namespace manyfit
