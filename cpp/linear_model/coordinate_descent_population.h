// The paths of a population side by side, from the Gram or from the rows, whatever solves a path:
//   solve(ColumnSource&, const PathGroup&, mean (d,), target_mean (t,))
#pragma once

#include <Eigen/Core>
#include <map>
#include <utility>
#include <vector>

#include "linear_model/coordinate_descent_gram_columns.h"
#include "linear_model/coordinate_descent_groups.h"
#include "linear_model/coordinate_descent_row_columns.h"
#include "linear_model/groups.h"

namespace manyfit {

template <class Solve>
void solve_from_gram(const FoldGram& gram, const std::vector<LinearJob>& jobs,
                     const std::vector<DescentSettings>& settings, const Context& context,
                     LinearPopulation& population, Solve&& solve) {
  const std::vector<PathGroup> paths = paths_of(jobs, settings);
  const std::vector<LinearGroup> groups = grouped(jobs);
  std::map<std::pair<int64_t, bool>, size_t> place;
  for (size_t s = 0; s < groups.size(); ++s) place[{groups[s].split, groups[s].fit_intercept}] = s;
  std::vector<Moments> train(groups.size());
  context.parallel_for("linear models", static_cast<int64_t>(groups.size()), [&](int64_t s) {
    const LinearGroup& group = groups[static_cast<size_t>(s)];
    train[static_cast<size_t>(s)] = moments(gram, group.split, Part::train, group.fit_intercept);
  });
  const double limit = condition_limit(gram.precision);
  context.parallel_for("linear models", static_cast<int64_t>(paths.size()), [&](int64_t p) {
    const PathGroup& path = paths[static_cast<size_t>(p)];
    const Moments& own = train[place.at({path.split, path.fit_intercept})];
    if (!told_by_gram(own, gram.precision, limit)) {
      for (const size_t b : path.jobs) population.abandon(b, gram.n_features, gram.n_targets);
      return;
    }
    GramColumns source(own, gram.precision);
    solve(source, path, own.mean, own.target_mean);
  });
}

template <class T, class Solve>
void solve_from_rows(MatrixView<const T> X, MatrixView<const T> Y, VectorView<const T> w,
                     const Folds& folds, const std::vector<LinearJob>& jobs,
                     const std::vector<DescentSettings>& settings, const Context& context,
                     LinearPopulation& population, Solve&& solve) {
  const std::vector<PathGroup> paths = paths_of(jobs, settings);
  const auto run = [&](const PathGroup& path) {
    RowColumns<T> source(X, Y, w, folds, path, context);
    if (!source.squares.allFinite() || !source.cross.allFinite() ||
        !source.target_squares.allFinite()) {
      for (const size_t b : path.jobs) population.abandon(b, X.cols, Y.cols);
      return;
    }
    solve(source, path, source.mean, source.target_mean);
  };
  // One path shares each of its passes among the threads, several run side by side.
  if (paths.size() == 1) {
    run(paths[0]);
  } else {
    context.parallel_for("linear models", static_cast<int64_t>(paths.size()),
                         [&](int64_t p) { run(paths[static_cast<size_t>(p)]); });
  }
}

}  // namespace manyfit
