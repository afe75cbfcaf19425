// What both kernels do alike: jobs gathered into paths, and a path solved.
#pragma once

#include <algorithm>
#include <map>
#include <tuple>
#include <vector>

#include "linear_model/coordinate_descent_path.h"

namespace manyfit {

// Jobs of one split, centring and mixture of penalties, alphas descending.
struct PathGroup {
  int64_t split;
  bool fit_intercept;
  std::vector<size_t> jobs;
};

inline std::vector<PathGroup> paths_of(const std::vector<LinearJob>& jobs,
                                       const std::vector<DescentSettings>& settings) {
  std::map<std::tuple<int64_t, bool, double, bool>, size_t> places;
  std::vector<PathGroup> paths;
  for (size_t b = 0; b < jobs.size(); ++b) {
    const auto [place, added] = places.try_emplace(
        {jobs[b].split, jobs[b].fit_intercept, settings[b].l1_ratio, settings[b].positive},
        paths.size());
    if (added) paths.push_back({jobs[b].split, jobs[b].fit_intercept, {}});
    paths[place->second].jobs.push_back(b);
  }
  for (PathGroup& path : paths)
    std::stable_sort(path.jobs.begin(), path.jobs.end(),
                     [&](size_t a, size_t b) { return settings[a].alpha > settings[b].alpha; });
  return paths;
}

// mean (d,), target_mean (t,): of the rows the split trains on.
inline void solve_path(ColumnSource& source, const PathGroup& path, const Eigen::VectorXd& mean,
                       const Eigen::VectorXd& target_mean,
                       const std::vector<DescentSettings>& settings,
                       const std::vector<Eigen::MatrixXd>& start, const Context& context,
                       DescentPopulation& population) {
  const int64_t d = source.squares.size(), t = source.cross.cols();
  for (const size_t b : path.jobs) {
    population.coef[b].resize(d, t);
    population.intercept[b].setZero(t);
  }
  for (int64_t k = 0; k < t; ++k) {
    DescentPath descent(source, k, context);
    for (const size_t b : path.jobs) {
      const auto row = static_cast<int64_t>(b);
      if (!start.empty()) descent.start(start[b].col(k));
      const DescentPath::Outcome outcome = descent.solve(settings[b]);
      if (outcome.abandoned) population.reliable[b] = 0;
      population.coef[b].col(k) = descent.coef();
      if (path.fit_intercept)
        population.intercept[b](k) = target_mean(k) - mean.dot(population.coef[b].col(k));
      population.gap(row, k) = outcome.gap / source.weight;
      population.tolerance(row, k) = outcome.tolerance / source.weight;
      population.sweeps(row, k) = static_cast<double>(outcome.sweeps);
      population.converged(row, k) = outcome.converged ? 1 : 0;
    }
  }
}

}  // namespace manyfit
