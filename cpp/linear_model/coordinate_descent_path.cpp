#include "linear_model/coordinate_descent_path.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/random.h"

namespace manyfit {
namespace {

constexpr int64_t kFirstColumns = 60;  // of a working set
constexpr int64_t kPatience = 8;       // sweeps before a Newton step on a small support
// A Newton step on a larger one, size^3 / 3, costs as much as size^2 / (12 columns) sweeps of
// size * columns, for it runs in blocks.
constexpr int64_t kStepShare = 12;
constexpr int kPolishSteps = 60;
constexpr double kFurthest = 2;  // times the last step along the path
constexpr double kApproach = 2;  // ratio of the penalties on the way to the one asked for
constexpr double kInner = 0.1;   // share of the gap at which the working set may grow
constexpr int64_t kSweepsOnTheWay = 100;
constexpr int64_t kPiece = 64;  // columns of the Gram mirrored at once
// Steps this much smaller than the target (squared) no longer count.
constexpr double kRounding = 1e-26;

double shrunk(double value, double l1, bool positive) {
  if (positive) return std::max(value - l1, 0.0);
  return value > l1 ? value - l1 : (value < -l1 ? value + l1 : 0.0);
}

}  // namespace

void ColumnSource::prepare() {
  place.assign(static_cast<size_t>(squares.size()), -1);
  varying = static_cast<size_t>((squares.array() > 0).count());
}

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
  for (int64_t begin = first; begin < size; begin += kPiece) {
    const int64_t n = std::min(kPiece, size - begin);
    for (int64_t j = begin; j < begin + n; ++j)
      for (int64_t i = begin; i < j; ++i) gram(j, i) = gram(i, j);
    gram.block(begin, 0, n, begin) = gram.block(0, begin, begin, n).transpose();
  }
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
  fresh_ = false;
  alpha_ = 0;
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

// The gradient of all columns, afresh; from zero it is known.
void DescentPath::refresh() {
  if ((w_.array() == 0).all()) {
    all_ = source_.cross.col(target_);
    residual_ = {square_, square_};
  } else {
    residual_ = source_.gradient(target_, w_, all_);
  }
  gather();
  fresh_ = true;
}

// Takes the working set's part of the gradient of all columns.
void DescentPath::gather() {
  for (int64_t i = 0; i < w_.size(); ++i) g_(i) = all_(source_.chosen[static_cast<size_t>(i)]);
}

// Columns into the working set; false where that grows too large. The gradient of all columns must
// be fresh.
bool DescentPath::admit(const std::vector<int64_t>& columns) {
  if (static_cast<int64_t>(source_.chosen.size() + columns.size()) > kLargestWorkingSet)
    return false;
  source_.add(columns);
  sync();
  gather();
  return true;
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

// The gap of the problem on the working set alone, from what the sweeps keep.
double DescentPath::working_gap() const {
  const double l1 = penalty_.l1, l2 = penalty_.l2;
  const double along_target = q_.dot(w_), square = l2 * w_.squaredNorm();
  const double residual = square_ - along_target - g_.dot(w_);  // |y - Z c|^2
  const auto slope = g_.array() - l2 * w_.array();
  const double largest =
      std::max(penalty_.positive ? slope.maxCoeff() : slope.abs().maxCoeff(), l1);
  const double scale = l1 / largest;
  return 0.5 * (residual + square) * (1 + scale * scale) + l1 * w_.lpNorm<1>() -
         scale * (square_ - along_target);
}

// Sweeps the working set until its gap is at most `wanted` (without an l1 penalty: until no step
// changes the fit by that much, squared). Where that takes as long as a factorisation of the
// support's Gram, takes a Newton step.
void DescentPath::descend(const DescentSettings& settings, double wanted, Outcome& outcome) {
  int64_t since = 0;
  fresh_ = false;
  while (outcome.sweeps < settings.max_iter) {
    context_.check();
    ++outcome.sweeps;
    const double moved = sweep(settings);
    if (moved <= kRounding * square_) return;
    if ((penalty_.l1 > 0 ? working_gap() : moved) <= wanted) return;
    const auto support = static_cast<int64_t>((w_.array() != 0).count());
    if (++since >= std::max(kPatience, support * support / (kStepShare * w_.size()))) {
      newton();
      since = 0;
    }
  }
}

// From within the tolerance to the minimum itself: Newton steps until a sweep finds nothing to do.
void DescentPath::polish(const DescentSettings& settings) {
  fresh_ = false;
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
  outcome.tolerance = settings.tol * square_;
  sync();
  if (fresh_) gather();
  extrapolate(settings.alpha);
  if (!fresh_) refresh();
  outcome.gap = full_gap();
  if (square_ == 0 && (w_.array() == 0).all()) {
    outcome.converged = true;
    return outcome;
  }
  const bool approached =
      l1 > 0 && (w_.array() == 0).all() && source_.chosen.size() < static_cast<size_t>(all_.size());
  if (approached) {
    approach(settings, outcome);
    if (outcome.abandoned) return outcome;
  }
  run(settings, outcome);
  if (approached) outcome.sweeps = std::max<int64_t>(outcome.sweeps, 1);
  return outcome;
}

// Begins at a smaller penalty where the line through the last two solutions leads: between two
// changes of its support the lasso's path is straight.
void DescentPath::extrapolate(double alpha) {
  const double ratio = (alpha_ - alpha) / (alpha_before_ - alpha_);
  const bool on_path = alpha_before_ > alpha_ && alpha_ > alpha && ratio <= kFurthest &&
                       source_.chosen.size() == source_.varying && w_.size() == before_.size();
  const Eigen::VectorXd now = w_;
  if (on_path) {
    Eigen::VectorXd w = w_, g = g_;
    for (int64_t i = 0; i < w.size(); ++i) {
      double value = now(i) + ratio * (now(i) - before_(i));
      if (value * now(i) <= 0) value = 0;
      const double change = value - now(i);
      if (change == 0) continue;
      w(i) = value;
      const double* const column = source_.gram.data() + i * source_.gram.rows();
      for (int64_t r = 0; r < g.size(); ++r) g(r) -= change * column[r];
    }
    if (objective(w, g) < objective(w_, g_)) {
      w_.swap(w);
      g_.swap(g);
      fresh_ = false;
    }
  }
  before_ = now;
  alpha_before_ = alpha_;
  alpha_ = alpha;
}

// From zero to a small penalty by way of larger ones, each solved roughly on the columns known so
// far: so the working set grows with the support, for one pass over all columns each.
void DescentPath::approach(const DescentSettings& settings, Outcome& outcome) {
  const double l1 = penalty_.l1;
  const double first = largest_ / kApproach;
  for (double larger = first; larger > 1.5 * l1; larger /= kApproach) {
    penalty_.l1 = larger;
    const double gap = full_gap();
    if (!admit(violators(gap))) {
      outcome.abandoned = true;
      return;
    }
    Outcome on_the_way;
    DescentSettings rough = settings;
    rough.max_iter = std::min(settings.max_iter, kSweepsOnTheWay);
    descend(rough, kInner * gap, on_the_way);
    refresh();
  }
  penalty_.l1 = l1;
  outcome.gap = full_gap();
}

void DescentPath::run(const DescentSettings& settings, Outcome& outcome) {
  const double floor = 100 * source_.precision * square_;  // of what the gap can tell
  // Of the working set's gap; without an l1 penalty, of the largest squared change of the fit.
  double least = penalty_.l1 > 0 ? kInner * outcome.tolerance
                                 : std::min(settings.tol * settings.tol, 1e-6) * square_;
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
    double wanted = least;
    if (!entering.empty()) {
      if (!admit(entering)) {
        outcome.abandoned = true;
        return;
      }
      if (penalty_.l1 > 0) wanted = std::max(least, kInner * outcome.gap);
    } else if (!first) {
      if (least <= kRounding * square_) {  // as good as it gets
        outcome.converged = outcome.gap <= std::max(outcome.tolerance, floor);
        return;
      }
      least *= 1e-2;
      wanted = least;
    }
    descend(settings, wanted, outcome);
    refresh();
    outcome.gap = full_gap();
  }
}

}  // namespace manyfit
