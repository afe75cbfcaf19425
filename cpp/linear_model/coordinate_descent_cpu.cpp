#include <cmath>
#include <map>
#include <numeric>
#include <utility>

#include "linear_model/coordinate_descent.h"
#include "linear_model/coordinate_descent_groups.h"
#include "linear_model/groups.h"

namespace manyfit {
namespace {

// Up to so many columns, all of them are in the working set from the start.
constexpr int64_t kSmallGram = 512;
// Centring leaves so many roundings of a column's squares.
constexpr double kNoise = 64;

// A split's columns as its Gram tells them.
class GramColumns final : public ColumnSource {
 public:
  GramColumns(const Moments& moments, double relative_rounding) : moments_(moments) {
    precision = relative_rounding;
    weight = moments.weight;
    cross = moments.cross;
    target_squares = moments.target_squares.cwiseMax(0.0);
    squares = moments.gram.diagonal();
    std::vector<int64_t> varying;
    for (int64_t j = 0; j < squares.size(); ++j) {
      if (squares(j) <= kNoise * precision * moments.shifted_squares(j)) {
        squares(j) = 0;
        cross.row(j).setZero();
      } else {
        varying.push_back(j);
      }
    }
    prepare();
    if (squares.size() <= kSmallGram) add(varying);
  }

  Residual gradient(int64_t target, const Eigen::VectorXd& coef, Eigen::VectorXd& g) override {
    g = cross.col(target);
    const Eigen::VectorXd q = g;
    double along_target = 0, along_gradient = 0;
    for (int64_t i = 0; i < coef.size(); ++i)
      if (coef(i) != 0) g -= coef(i) * moments_.gram.col(chosen[static_cast<size_t>(i)]);
    for (int64_t j = 0; j < g.size(); ++j)
      if (squares(j) == 0) g(j) = 0;
    for (int64_t i = 0; i < coef.size(); ++i) {
      along_target += coef(i) * q(chosen[static_cast<size_t>(i)]);
      along_gradient += coef(i) * g(chosen[static_cast<size_t>(i)]);
    }
    const double square = target_squares(target);
    return {std::max(square - along_target - along_gradient, 0.0), square - along_target};
  }

 private:
  void fill(int64_t first) override {
    for (int64_t j = first; j < static_cast<int64_t>(chosen.size()); ++j)
      for (int64_t i = 0; i <= j; ++i)
        gram(i, j) = moments_.gram(chosen[static_cast<size_t>(i)], chosen[static_cast<size_t>(j)]);
  }

  const Moments& moments_;
};

// Whether every column either kept its digits in centring, or does not vary at all.
bool told_by_gram(const Moments& moments, double precision, double limit) {
  for (int64_t j = 0; j < moments.gram.rows(); ++j) {
    const double left = moments.gram(j, j), before = moments.shifted_squares(j);
    if (left > kNoise * precision * before && left * limit < before) return false;
  }
  return moments.gram.allFinite() && moments.cross.allFinite() &&
         moments.target_squares.allFinite();
}

}  // namespace

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
