#include "linear_model/coordinate_descent_path.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/linalg.h"
#include "core/random.h"

namespace manyfit {
namespace {

constexpr int64_t kFirstColumns = 100;  // of a working set
constexpr int64_t kPatience = 8;        // sweeps before a Newton step on a small support
constexpr int kPolishSteps = 60;
constexpr double kLoose = 3;  // times the tolerance, on the way to the penalty asked for
constexpr int64_t kSweepsOnTheWay = 100;
constexpr double kProximal = 1e-6;  // relative ridge where a support's columns are dependent
// Steps this much smaller than the target (squared) no longer count.
constexpr double kRounding = 1e-26;

double shrunk(double value, double l1, bool positive) {
  if (positive) return std::max(value - l1, 0.0);
  return value > l1 ? value - l1 : (value < -l1 ? value + l1 : 0.0);
}

double sign(double value) { return value > 0 ? 1.0 : (value < 0 ? -1.0 : 0.0); }

}  // namespace

void ColumnSource::prepare() { place.assign(static_cast<size_t>(squares.size()), -1); }

void ColumnSource::add(const std::vector<int64_t>& columns) {
  const auto first = static_cast<int64_t>(chosen.size());
  for (const int64_t j : columns) {
    place[static_cast<size_t>(j)] = static_cast<int64_t>(chosen.size());
    chosen.push_back(j);
  }
  const auto size = static_cast<int64_t>(chosen.size());
  if (size > gram.rows()) {
    const int64_t room = std::min(std::max(size, 2 * gram.rows()), squares.size());
    Eigen::MatrixXd larger(room, room);
    larger.topLeftCorner(first, first) = gram.topLeftCorner(first, first);
    gram.swap(larger);
  }
  fill(first);
  for (int64_t j = first; j < size; ++j)
    for (int64_t i = 0; i < j; ++i) gram(j, i) = gram(i, j);
}

DescentPath::DescentPath(ColumnSource& source, int64_t target, const Context& context)
    : source_(source),
      target_(target),
      context_(context),
      square_(source.target_squares(target)),
      all_(source.squares.size()) {}

void DescentPath::start(const Eigen::VectorXd& coef) {
  std::vector<int64_t> missing;
  for (int64_t j = 0; j < coef.size(); ++j)
    if (coef(j) != 0 && source_.squares(j) > 0 && source_.place[static_cast<size_t>(j)] < 0)
      missing.push_back(j);
  if (!missing.empty()) source_.add(missing);
  sync();
  for (size_t i = 0; i < source_.chosen.size(); ++i)
    w_(static_cast<int64_t>(i)) = coef(source_.chosen[i]);
}

Eigen::VectorXd DescentPath::coef() const {
  Eigen::VectorXd coef = Eigen::VectorXd::Zero(source_.squares.size());
  for (int64_t i = 0; i < w_.size(); ++i) coef(source_.chosen[static_cast<size_t>(i)]) = w_(i);
  return coef;
}

// Brings the vectors to the size of the working set, which other targets may have enlarged.
void DescentPath::sync() {
  const int64_t before = w_.size(), size = static_cast<int64_t>(source_.chosen.size());
  if (before == size) return;
  w_.conservativeResize(size);
  w_.tail(size - before).setZero();
  g_.conservativeResize(size);
  q_.conservativeResize(size);
  diagonal_.conservativeResize(size);
  for (int64_t i = before; i < size; ++i) {
    q_(i) = source_.cross(source_.chosen[static_cast<size_t>(i)], target_);
    diagonal_(i) = source_.gram(i, i);
  }
}

// The gradient of all columns, afresh.
void DescentPath::refresh() {
  residual_ = source_.gradient(target_, w_, all_);
  for (int64_t i = 0; i < w_.size(); ++i) g_(i) = all_(source_.chosen[static_cast<size_t>(i)]);
}

// Formulation of the gap as scikit-learn has it: the residual, scaled until it is dual feasible;
// without an l1 penalty the smooth dual, or the squared gradient.
double DescentPath::full_gap() {
  const double l1 = penalty_.l1, l2 = penalty_.l2;
  const double square = l2 * w_.squaredNorm();
  largest_ = 0;
  if (l1 == 0) {
    double squares = 0;
    for (int64_t j = 0; j < all_.size(); ++j) {
      const int64_t i = source_.place[static_cast<size_t>(j)];
      const bool bound = penalty_.positive && (l2 > 0 || i < 0 || w_(i) == 0);
      const double value = bound ? std::max(all_(j), 0.0) : all_(j);
      squares += value * value;
    }
    if (l2 == 0) return squares;
    return std::max(residual_.square + 0.5 * square - residual_.with_target + squares / (2 * l2),
                    0.0);
  }
  for (int64_t j = 0; j < all_.size(); ++j) {
    const int64_t i = source_.place[static_cast<size_t>(j)];
    const double value = i < 0 ? all_(j) : all_(j) - l2 * w_(i);
    largest_ = std::max(largest_, penalty_.positive ? value : std::abs(value));
  }
  const double scale = largest_ > l1 ? l1 / largest_ : 1.0;
  const double primal = 0.5 * (residual_.square + square) + l1 * w_.lpNorm<1>();
  const double dual =
      -0.5 * scale * scale * (residual_.square + square) + scale * residual_.with_target;
  return std::max(primal - dual, 0.0);
}

// Up to a constant, for g the gradient at w.
double DescentPath::objective(const Eigen::VectorXd& w, const Eigen::VectorXd& g) const {
  return -0.5 * (q_.dot(w) + g.dot(w)) + penalty_.l1 * w.lpNorm<1>() +
         0.5 * penalty_.l2 * w.squaredNorm();
}

// One update of each coordinate; returns the largest squared change of the fit.
double DescentPath::sweep(const DescentSettings& settings) {
  const int64_t size = w_.size();
  const double l1 = penalty_.l1, l2 = penalty_.l2;
  const bool positive = penalty_.positive;
  const Philox random(settings.seed, 1);
  double* const g = g_.data();
  double largest = 0;
  for (int64_t k = 0; k < size; ++k) {
    int64_t i = k;
    if (settings.random)
      i = static_cast<int64_t>(random.words(static_cast<uint64_t>(drawn_++))[0] %
                               static_cast<uint64_t>(size));
    const double old = w_(i), square = diagonal_(i);
    const double now = shrunk(g[i] + old * square, l1, positive) / (square + l2);
    const double step = now - old;
    if (step == 0) continue;
    w_(i) = now;
    const double* column = source_.gram.data() + i * source_.gram.rows();
    for (int64_t r = 0; r < size; ++r) g[r] -= step * column[r];
    largest = std::max(largest, step * step * (square + l2));
  }
  return largest;
}

// Sweeps the working set until no step changes the fit by more than `small` (squared). Where that
// takes as long as a factorisation of the support's Gram, takes a Newton step.
void DescentPath::descend(const DescentSettings& settings, double small, Outcome& outcome) {
  int64_t since = 0;
  while (outcome.sweeps < settings.max_iter) {
    context_.check();
    ++outcome.sweeps;
    if (sweep(settings) <= small) return;
    const auto support = static_cast<int64_t>((w_.array() != 0).count());
    if (++since >= std::max(kPatience, support / 6)) {
      newton();
      since = 0;
    }
  }
}

// To the minimum over the coefficients that are not zero, their signs kept: the whole way, with
// those that would change sign set to zero, or as far as the first of them.
DescentPath::Step DescentPath::newton() {
  const double l1 = penalty_.l1, l2 = penalty_.l2;
  const bool bounded = l1 > 0 || penalty_.positive;
  std::vector<int64_t> support;
  for (int64_t i = 0; i < w_.size(); ++i)
    if (w_(i) != 0 || !bounded) support.push_back(i);
  const auto size = static_cast<int64_t>(support.size());
  if (size == 0 || size >= kLargeMatrix) return Step::none;
  Eigen::MatrixXd step(size, 1);
  bool whole = false;
  for (const double extra : {0.0, kProximal}) {
    Eigen::MatrixXd system(size, size);
    for (int64_t j = 0; j < size; ++j) {
      const int64_t column = support[static_cast<size_t>(j)];
      for (int64_t i = 0; i < size; ++i)
        system(i, j) = source_.gram(support[static_cast<size_t>(i)], column);
      system(j, j) += l2 + extra * system(j, j);
      step(j, 0) = g_(column) - l1 * sign(w_(column)) - l2 * w_(column);
    }
    const Cholesky cholesky(std::move(system), context_);
    // Beyond that a step is noise of the Gram; dependent columns take a proximal one.
    if (!(cholesky.reciprocal_condition() > 1e3 * source_.precision)) continue;
    cholesky.solve(step);
    whole = extra == 0;
    break;
  }
  if (!step.allFinite()) return Step::none;

  Eigen::VectorXd w, g, best_w, best_g;
  double best = objective(w_, g_);
  bool moved = false;
  // How far it is to the first sign that would change.
  double reach = 1;
  for (int64_t j = 0; bounded && j < size; ++j) {
    const double value = w_(support[static_cast<size_t>(j)]), change = step(j, 0);
    if (value * (value + change) <= 0) reach = std::min(reach, -value / change);
  }
  // Beyond it, signs that would change stop at zero: further may be better, or not.
  const double first = whole ? 1 : std::min(1.0, 64 * reach);
  for (double length = first;; length = std::max(length / 4, reach)) {
    w = w_;
    g = g_;
    for (int64_t j = 0; j < size; ++j) {
      const int64_t i = support[static_cast<size_t>(j)];
      double now = w_(i) + length * step(j, 0);
      if (bounded && now * sign(w_(i)) <= 1e-13 * std::abs(w_(i))) now = 0;
      w(i) = now;
      const double change = now - w_(i);
      const double* column = source_.gram.data() + i * source_.gram.rows();
      for (int64_t r = 0; r < g.size(); ++r) g(r) -= change * column[r];
    }
    if (whole && reach == 1) {  // the minimum of the smooth problem
      w_.swap(w);
      g_.swap(g);
      return Step::whole;
    }
    const double value = objective(w, g);
    if (value < best) {
      best = value;
      best_w = w;
      best_g = g;
      moved = true;
    } else if (moved) {
      break;
    }
    if (length <= reach) break;
  }
  if (!moved) return Step::none;
  w_.swap(best_w);
  g_.swap(best_g);
  return Step::part;
}

// From within the tolerance to the minimum itself: Newton steps until a sweep finds nothing to do.
void DescentPath::polish(const DescentSettings& settings) {
  for (int i = 0; i < kPolishSteps; ++i) {
    context_.check();
    const Step step = newton();
    if (step == Step::whole) newton();  // refines what rounding left
    if (sweep(settings) <= kRounding * square_ && step != Step::part) return;
  }
}

// Columns outside the working set that a step would take away from zero, the most promising first,
// at most as many as the working set should grow by. Those that the gap proves to be zero at the
// minimum are left out.
std::vector<int64_t> DescentPath::violators(double gap) {
  const double l1 = penalty_.l1;
  const double noise = 100 * source_.precision * std::sqrt(square_);
  const double radius = l1 > 0 ? std::sqrt(2 * gap) / l1 : 0;
  const double dual = std::max(largest_, l1);  // |y - Z c| over this is dual feasible
  std::vector<std::pair<double, int64_t>> found;
  for (int64_t j = 0; j < all_.size(); ++j) {
    if (source_.place[static_cast<size_t>(j)] >= 0 || source_.squares(j) == 0) continue;
    const double value = penalty_.positive ? all_(j) : std::abs(all_(j));
    const double root = std::sqrt(source_.squares(j));
    if (value <= l1 * (1 + 1e-12) + noise * root) continue;
    if (l1 > 0 && (1 - value / dual) > radius * std::sqrt(source_.squares(j) + penalty_.l2))
      continue;
    found.emplace_back(-(value - l1) / root, j);
  }
  const auto support = static_cast<int64_t>((w_.array() != 0).count());
  const auto most = l1 == 0 ? found.size() : static_cast<size_t>(std::max(kFirstColumns, support));
  if (found.size() > most) {
    std::nth_element(found.begin(), found.begin() + static_cast<int64_t>(most), found.end());
    found.resize(most);
  }
  std::sort(found.begin(), found.end());
  std::vector<int64_t> columns;
  for (const auto& [score, j] : found) columns.push_back(j);
  return columns;
}

DescentPath::Outcome DescentPath::solve(const DescentSettings& settings) {
  const double scale = settings.alpha * source_.weight;
  const double l1 = scale * settings.l1_ratio;
  penalty_ = {l1, scale * (1 - settings.l1_ratio), settings.positive};
  drawn_ = 0;
  Outcome outcome;
  sync();
  refresh();
  outcome.gap = full_gap();
  outcome.tolerance = settings.tol * square_;
  if (square_ == 0 && (w_.array() == 0).all()) {
    outcome.converged = true;
    return outcome;
  }
  int64_t least = 0;  // sweeps, where there were some on the way
  // From zero to a small penalty by way of larger ones: so the working set grows with the support.
  if (l1 > 0 && source_.chosen.size() < static_cast<size_t>(all_.size()) &&
      (w_.array() == 0).all()) {
    DescentSettings loose = settings;
    loose.exact = false;
    loose.tol = kLoose * settings.tol;
    loose.max_iter = std::min(settings.max_iter, kSweepsOnTheWay);
    for (double larger = largest_ / 2; larger > 1.5 * l1; larger /= 2) {
      penalty_.l1 = larger;
      refresh();
      outcome.gap = full_gap();
      outcome.tolerance = loose.tol * square_;
      run(loose, outcome);
      outcome.sweeps = 0;
      least = 1;
      if (outcome.abandoned) return outcome;
    }
    penalty_.l1 = l1;
    refresh();
    outcome.gap = full_gap();
    outcome.tolerance = settings.tol * square_;
    outcome.converged = false;
  }
  run(settings, outcome);
  outcome.sweeps = std::max(outcome.sweeps, least);
  return outcome;
}

void DescentPath::run(const DescentSettings& settings, Outcome& outcome) {
  const double floor = 100 * source_.precision * square_;  // of what the gap can tell
  double small = std::min(settings.tol * settings.tol, 1e-6) * square_;
  bool first = true;
  for (;; first = false) {
    context_.check();
    std::vector<int64_t> entering = violators(outcome.gap);
    if (outcome.gap <= outcome.tolerance) {
      outcome.converged = true;
      if (!settings.exact) {
        if (!first) return;  // a sweep at least, for a path to move
      } else if (entering.empty()) {
        polish(settings);
        refresh();
        outcome.gap = full_gap();
        entering = violators(outcome.gap);
        if (entering.empty()) return;
      }
    }
    if (outcome.sweeps >= settings.max_iter) return;
    double enough = small;  // the largest squared change of the fit that ends the sweeps
    if (!entering.empty()) {
      if (static_cast<int64_t>(source_.chosen.size() + entering.size()) > kLargestWorkingSet) {
        outcome.abandoned = true;
        return;
      }
      source_.add(entering);
      sync();
      refresh();
      enough = std::max(small, 1e-2 * outcome.gap / static_cast<double>(w_.size()));
    } else if (!first) {
      if (small <= kRounding * square_) {  // as good as it gets
        outcome.converged = outcome.gap <= std::max(outcome.tolerance, floor);
        return;
      }
      small *= 1e-2;
      enough = small;
    }
    descend(settings, enough, outcome);
    refresh();
    outcome.gap = full_gap();
  }
}

}  // namespace manyfit
