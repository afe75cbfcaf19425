#include <vector>

#include "linear_model/coordinate_descent.h"
#include "linear_model/coordinate_descent_population.h"

namespace manyfit {

template <class T>
DescentPopulation coordinate_descent_cpu(MatrixView<const T> X, MatrixView<const T> Y,
                                         VectorView<const T> w, const Folds& folds,
                                         const std::vector<LinearJob>& jobs,
                                         const std::vector<DescentSettings>& settings,
                                         const std::vector<Eigen::MatrixXd>& start,
                                         const Context& context) {
  DescentPopulation population(jobs.size(), Y.cols);
  solve_from_rows(X, Y, w, folds, jobs, settings, context, population,
                  [&](ColumnSource& source, const PathGroup& path, const Eigen::VectorXd& mean,
                      const Eigen::VectorXd& target_mean) {
                    solve_path(source, path, mean, target_mean, settings, start, context,
                               population);
                  });
  return population;
}

template DescentPopulation coordinate_descent_cpu(MatrixView<const float>, MatrixView<const float>,
                                                  VectorView<const float>, const Folds&,
                                                  const std::vector<LinearJob>&,
                                                  const std::vector<DescentSettings>&,
                                                  const std::vector<Eigen::MatrixXd>&,
                                                  const Context&);
template DescentPopulation coordinate_descent_cpu(
    MatrixView<const double>, MatrixView<const double>, VectorView<const double>, const Folds&,
    const std::vector<LinearJob>&, const std::vector<DescentSettings>&,
    const std::vector<Eigen::MatrixXd>&, const Context&);

}  // namespace manyfit
