#include "linear_model/coordinate_descent_population.h"
#include "linear_model/multi_task_elastic_net.h"
#include "linear_model/multi_task_elastic_net_path.h"

namespace manyfit {
namespace {

// What solves the paths of a population into it.
auto into(DescentPopulation& population, const std::vector<DescentSettings>& settings,
          const std::vector<Eigen::MatrixXd>& start, const Context& context) {
  return [&](ColumnSource& source, const PathGroup& path, const Eigen::VectorXd& mean,
             const Eigen::VectorXd& target_mean) {
    MultiTaskPath descent(source, context);
    for (const size_t b : path.jobs) {
      const auto row = static_cast<int64_t>(b);
      if (!start.empty()) descent.start(start[b]);
      const MultiTaskPath::Outcome outcome = descent.solve(settings[b]);
      if (outcome.abandoned) population.reliable[b] = 0;
      population.coef[b] = descent.coef();
      population.intercept[b].setZero(target_mean.size());
      if (path.fit_intercept)
        population.intercept[b] = target_mean - population.coef[b].transpose() * mean;
      population.gap(row, 0) = outcome.gap / source.weight;
      population.tolerance(row, 0) = outcome.tolerance / source.weight;
      population.sweeps(row, 0) = static_cast<double>(outcome.sweeps);
      population.converged(row, 0) = outcome.converged ? 1 : 0;
    }
  };
}

}  // namespace

DescentPopulation multi_task_elastic_net_cpu(const FoldGram& gram,
                                             const std::vector<LinearJob>& jobs,
                                             const std::vector<DescentSettings>& settings,
                                             const std::vector<Eigen::MatrixXd>& start,
                                             const Context& context) {
  DescentPopulation population(jobs.size(), 1);
  solve_from_gram(gram, jobs, settings, context, population,
                  into(population, settings, start, context));
  return population;
}

template <class T>
DescentPopulation multi_task_elastic_net_cpu(MatrixView<const T> X, MatrixView<const T> Y,
                                             VectorView<const T> w, const Folds& folds,
                                             const std::vector<LinearJob>& jobs,
                                             const std::vector<DescentSettings>& settings,
                                             const std::vector<Eigen::MatrixXd>& start,
                                             const Context& context) {
  DescentPopulation population(jobs.size(), 1);
  solve_from_rows(X, Y, w, folds, jobs, settings, context, population,
                  into(population, settings, start, context));
  return population;
}

template DescentPopulation multi_task_elastic_net_cpu(
    MatrixView<const float>, MatrixView<const float>, VectorView<const float>, const Folds&,
    const std::vector<LinearJob>&, const std::vector<DescentSettings>&,
    const std::vector<Eigen::MatrixXd>&, const Context&);
template DescentPopulation multi_task_elastic_net_cpu(
    MatrixView<const double>, MatrixView<const double>, VectorView<const double>, const Folds&,
    const std::vector<LinearJob>&, const std::vector<DescentSettings>&,
    const std::vector<Eigen::MatrixXd>&, const Context&);

}  // namespace manyfit
