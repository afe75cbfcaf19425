#include <vector>

#include "linear_model/coordinate_descent.h"
#include "linear_model/coordinate_descent_groups.h"
#include "linear_model/coordinate_descent_row_columns.h"

namespace manyfit {

template <class T>
DescentPopulation coordinate_descent_cpu(MatrixView<const T> X, MatrixView<const T> Y,
                                         VectorView<const T> w, const Folds& folds,
                                         const std::vector<LinearJob>& jobs,
                                         const std::vector<DescentSettings>& settings,
                                         const std::vector<Eigen::MatrixXd>& start,
                                         const Context& context) {
  DescentPopulation population(jobs.size(), Y.cols);
  const std::vector<PathGroup> paths = paths_of(jobs, settings);
  const auto solve = [&](const PathGroup& path) {
    RowColumns<T> source(X, Y, w, folds, path, context);
    if (!source.squares.allFinite() || !source.cross.allFinite() ||
        !source.target_squares.allFinite()) {
      for (const size_t b : path.jobs) population.abandon(b, X.cols, Y.cols);
      return;
    }
    solve_path(source, path, source.mean, source.target_mean, settings, start, context, population);
  };
  // One path shares each of its passes among the threads, several run side by side.
  if (paths.size() == 1) {
    solve(paths[0]);
  } else {
    context.parallel_for("linear models", static_cast<int64_t>(paths.size()),
                         [&](int64_t p) { solve(paths[static_cast<size_t>(p)]); });
  }
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
