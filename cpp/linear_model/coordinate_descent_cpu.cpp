#include <map>
#include <utility>

#include "linear_model/coordinate_descent.h"
#include "linear_model/coordinate_descent_gram_columns.h"
#include "linear_model/coordinate_descent_groups.h"
#include "linear_model/groups.h"

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
    solve_path(source, path, own.mean, own.target_mean, settings, start, context, population);
  });
  return population;
}

}  // namespace manyfit
