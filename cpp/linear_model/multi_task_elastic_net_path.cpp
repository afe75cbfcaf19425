#include "linear_model/multi_task_elastic_net_path.h"

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
constexpr int kPolishes = 3;  // that may leave the gap above the tolerance
constexpr double kLoose = 3;  // times the tolerance, on the way to the penalty asked for
constexpr int64_t kSweepsOnTheWay = 100;
constexpr double kProximal = 1e-6;  // relative ridge where a support's columns are dependent
constexpr int kShorter = 6;         // steps tried that turn no row around
constexpr double kTurned = 1e-13;   // of a row's own direction, left by a step: no more than none
constexpr double kEnough = 0.05;    // of the decrease that a whole step promises, twice
constexpr int kSweepsInstead = 8;   // of a Newton step that cannot be taken
// Steps this much smaller than the targets (squared) no longer count.
constexpr double kRounding = 1e-26;
constexpr double kNoise = 4;  // roundings of a gradient, which leave a row at zero

}  // namespace

MultiTaskPath::MultiTaskPath(ColumnSource& source, const Context& context)
    : source_(source),
      context_(context),
      square_(source.target_squares.sum()),
      all_(source.cross.rows(), source.cross.cols()),
      value_(source.cross.cols()),
      step_(source.cross.cols()) {
  w_.resize(0, source.cross.cols());
  g_ = w_;
}

void MultiTaskPath::start(const Matrix& coef) {
  std::vector<int64_t> missing;
  for (int64_t j = 0; j < coef.rows(); ++j)
    if (source_.squares(j) > 0 && source_.place[static_cast<size_t>(j)] < 0 &&
        (coef.row(j).array() != 0).any())
      missing.push_back(j);
  if (!missing.empty()) source_.add(missing);
  sync();
  for (size_t i = 0; i < source_.chosen.size(); ++i)
    w_.row(static_cast<int64_t>(i)) = coef.row(source_.chosen[i]);
}

Eigen::MatrixXd MultiTaskPath::coef() const {
  Matrix coef = Matrix::Zero(all_.rows(), all_.cols());
  for (int64_t i = 0; i < w_.rows(); ++i)
    coef.row(source_.chosen[static_cast<size_t>(i)]) = w_.row(i);
  return coef;
}

std::vector<int64_t> MultiTaskPath::support() const {
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < w_.rows(); ++i)
    if ((w_.row(i).array() != 0).any()) rows.push_back(i);
  return rows;
}

// Brings the matrices to the size of the working set.
void MultiTaskPath::sync() {
  const int64_t before = w_.rows(), size = static_cast<int64_t>(source_.chosen.size());
  if (before == size) return;
  w_.conservativeResize(size, Eigen::NoChange);
  w_.bottomRows(size - before).setZero();
  g_.conservativeResize(size, Eigen::NoChange);
  diagonal_ = source_.gram.diagonal().head(size);
  noise_ = kNoise * source_.precision * std::sqrt(square_) * diagonal_.cwiseSqrt();
}

// The gradient of all columns, afresh.
void MultiTaskPath::refresh() {
  residual_ = {};
  Vector g;
  for (int64_t k = 0; k < all_.cols(); ++k) {
    const ColumnSource::Residual part = source_.gradient(k, w_.col(k), g);
    residual_.square += part.square;
    residual_.with_target += part.with_target;
    all_.col(k) = g;
  }
  for (int64_t i = 0; i < w_.rows(); ++i)
    g_.row(i) = all_.row(source_.chosen[static_cast<size_t>(i)]);
}

// As scikit-learn has the gap: the residual, scaled until it is dual feasible; without an l1
// penalty the smooth dual, or the squared gradient.
double MultiTaskPath::full_gap() {
  const double square = l2_ * w_.squaredNorm();
  largest_ = 0;
  if (l1_ == 0) {
    const double squares = all_.squaredNorm();
    if (l2_ == 0) return squares;
    return std::max(residual_.square + 0.5 * square - residual_.with_target + squares / (2 * l2_),
                    0.0);
  }
  for (int64_t j = 0; j < all_.rows(); ++j) {
    const int64_t i = source_.place[static_cast<size_t>(j)];
    const double norm = i < 0 ? all_.row(j).norm() : (all_.row(j) - l2_ * w_.row(i)).norm();
    largest_ = std::max(largest_, norm);
  }
  const double scale = largest_ > l1_ ? l1_ / largest_ : 1.0;
  const double primal = 0.5 * (residual_.square + square) + l1_ * w_.rowwise().norm().sum();
  const double dual =
      -0.5 * scale * scale * (residual_.square + square) + scale * residual_.with_target;
  return std::max(primal - dual, 0.0);
}

// Row i to its minimum, all others fixed; returns the squared change of the fit.
double MultiTaskPath::update(int64_t i) {
  const double square = diagonal_(i);
  value_ = g_.row(i) + square * w_.row(i);
  const double norm = value_.norm();
  const double left = l1_ == 0 ? 1.0 : (norm > l1_ + noise_(i) ? 1 - l1_ / norm : 0.0);
  step_ = left / (square + l2_) * value_ - w_.row(i).transpose();
  const double change = step_.squaredNorm();
  if (change == 0) return 0;
  if (left == 0)
    w_.row(i).setZero();
  else
    w_.row(i) += step_.transpose();
  const auto column = source_.gram.col(i).head(g_.rows());
  for (int64_t k = 0; k < step_.size(); ++k) g_.col(k) -= step_(k) * column;
  return change * (square + l2_);
}

// One update of each row; returns the largest squared change of the fit.
double MultiTaskPath::sweep(const DescentSettings& settings) {
  const int64_t size = w_.rows();
  const Philox random(settings.seed, 1);
  double largest = 0;
  for (int64_t k = 0; k < size; ++k) {
    int64_t i = k;
    if (settings.random)
      i = static_cast<int64_t>(random.words(static_cast<uint64_t>(drawn_++))[0] %
                               static_cast<uint64_t>(size));
    largest = std::max(largest, update(i));
  }
  return largest;
}

// Sweeps the working set until no step changes the fit by more than `small` (squared). Where that
// takes as long as a Newton step, takes one.
void MultiTaskPath::descend(const DescentSettings& settings, double small, Outcome& outcome) {
  int64_t since = 0;
  while (outcome.sweeps < settings.max_iter) {
    context_.check();
    ++outcome.sweeps;
    if (sweep(settings) <= small) return;
    ++since;
    if (since >= kPatience &&
        since >= static_cast<int64_t>(support().size()) / (2 * step_.size())) {
      newton();
      since = 0;
    }
  }
}

// Newton's step for the given rows of C. With U their directions and e = l1 / |C_j| the Hessian is
//   H = P - V E V',   P = A x I,   A = Gram + l2 + E,   V v = the rows v_j U_j,
// so that H^-1 = P^-1 + P^-1 V E^1/2 M^-1 E^1/2 V' P^-1 with M = I - E^1/2 (A^-1 o U U') E^1/2.
// False where H is too near to singular for the Gram's precision.
bool MultiTaskPath::newton_direction(const std::vector<int64_t>& rows, const Matrix& downhill,
                                     double extra, Matrix& step) const {
  const auto size = static_cast<int64_t>(rows.size());
  const double least = 1e3 * source_.precision;
  Matrix A(size, size), U(size, w_.cols());
  Vector root(size);  // of e
  for (int64_t j = 0; j < size; ++j) {
    const int64_t column = rows[static_cast<size_t>(j)];
    for (int64_t i = 0; i < size; ++i) A(i, j) = source_.gram(rows[static_cast<size_t>(i)], column);
    const double norm = w_.row(column).norm();
    const double e = l1_ > 0 ? l1_ / norm : 0.0;
    A(j, j) += l2_ + extra * A(j, j) + e;
    root(j) = std::sqrt(e);
    if (l1_ > 0) U.row(j) = root(j) / norm * w_.row(column);
  }
  const Cholesky factor(std::move(A), context_);
  if (!(factor.reciprocal_condition() > least)) return false;
  step = downhill;
  factor.solve(step);
  if (l1_ == 0) return step.allFinite();
  Matrix inverse = Matrix::Identity(size, size);
  factor.solve(inverse);
  Matrix M = Matrix::Identity(size, size) - inverse.cwiseProduct(U * U.transpose());
  const Cholesky rest(std::move(M), context_);
  if (!(rest.reciprocal_condition() > least)) return false;
  Matrix along = U.cwiseProduct(step).rowwise().sum();
  rest.solve(along);
  Matrix correction = along.col(0).asDiagonal() * U;
  factor.solve(correction);
  step += correction;
  return step.allFinite();
}

// A Newton step on the rows that are not zero, of the length that lowers the objective
// most; rows that it would turn around may stop at zero. Returns the squared change of the fit that
// the whole step would be, or 0 where none was taken. Where little comes of it, another follows on
// those rows that the step would not more than double: the norm of a row that is small against its
// step is far from quadratic, and holds up all others.
double MultiTaskPath::newton() {
  std::vector<int64_t> rows;
  if (l1_ > 0) {
    rows = support();
  } else {
    for (int64_t i = 0; i < w_.rows(); ++i) rows.push_back(i);
  }
  double moved = 0;
  for (size_t before = 0; !rows.empty() && rows.size() != before;) {
    before = rows.size();
    moved = std::max(moved, newton(rows));
  }
  return moved;
}

// The same for the given rows, of which it leaves those to go on with, or none.
double MultiTaskPath::newton(std::vector<int64_t>& rows) {
  const auto size = static_cast<int64_t>(rows.size());
  if (size >= kLargeMatrix) return 0;
  Matrix w(size, w_.cols()), downhill(size, w_.cols());
  Vector norms(size);
  for (int64_t j = 0; j < size; ++j) {
    const int64_t i = rows[static_cast<size_t>(j)];
    w.row(j) = w_.row(i);
    norms(j) = w.row(j).norm();
    downhill.row(j) = g_.row(i) - l2_ * w.row(j);
    if (l1_ > 0) downhill.row(j) -= l1_ / norms(j) * w.row(j);
  }
  Matrix direction;
  if (!newton_direction(rows, downhill, 0, direction) &&
      !newton_direction(rows, downhill, kProximal, direction))
    return 0;
  const double slope = downhill.cwiseProduct(direction).sum();
  if (!(slope > 0)) return 0;

  // How far it is to the first row that would be turned around.
  double reach = 1;
  for (int64_t j = 0; l1_ > 0 && j < size; ++j) {
    const double inner = direction.row(j).dot(w.row(j)), square = norms(j) * norms(j);
    if (inner < -square) reach = std::min(reach, -square / inner);
  }
  Matrix change(g_.rows(), g_.cols()), best_step, best_change;  // change: Gram times step
  double best = 0;
  int beyond = 0;  // steps shorter than that
  for (double length = 1;; length = std::max(length / 4, reach)) {
    // The whole way past zero, and stopping there.
    for (const bool stops : {false, true}) {
      Matrix step = length * direction;
      bool stopped = false;
      for (int64_t j = 0; stops && l1_ > 0 && j < size; ++j) {
        const double square = norms(j) * norms(j);
        if (square + step.row(j).dot(w.row(j)) > kTurned * square) continue;
        step.row(j) = -w.row(j);
        stopped = true;
      }
      if (stops && !stopped) break;
      change.setZero();
      for (int64_t j = 0; j < size; ++j) {
        const auto column = source_.gram.col(rows[static_cast<size_t>(j)]).head(g_.rows());
        for (int64_t k = 0; k < step.cols(); ++k) change.col(k) += step(j, k) * column;
      }
      const double value = objective_change(rows, w, norms, downhill, step, change);
      if (value < best) {
        best = value;
        best_step.swap(step);
        best_change = change;
      }
    }
    if (length > reach) continue;
    if (best < 0 || ++beyond == kShorter) break;
    reach = length / 4;
  }
  std::vector<int64_t> left;
  for (int64_t j = 0; best > -kEnough * slope && j < size; ++j)
    if (direction.row(j).norm() <= norms(j)) left.push_back(rows[static_cast<size_t>(j)]);
  rows.swap(left);  // left: the rows of this step
  if (best == 0) return 0;
  for (int64_t j = 0; j < size; ++j) {
    const int64_t i = left[static_cast<size_t>(j)];
    if (best_step.row(j) == -w.row(j))
      w_.row(i).setZero();
    else
      w_.row(i) += best_step.row(j);
  }
  g_ -= best_change;
  return slope;
}

// What a step of some rows w changes the objective by. Beyond the product with the direction
// downhill all terms are of second order, so that the smallest steps are told from rounding.
double MultiTaskPath::objective_change(const std::vector<int64_t>& rows, const Matrix& w,
                                       const Vector& norms, const Matrix& downhill,
                                       const Matrix& step, const Matrix& gram_step) const {
  double sum = 0.5 * l2_ * step.squaredNorm() - downhill.cwiseProduct(step).sum();
  for (int64_t j = 0; j < step.rows(); ++j) {
    sum += 0.5 * step.row(j).dot(gram_step.row(rows[static_cast<size_t>(j)]));
    if (l1_ == 0) continue;
    // |w + s| - |w| - w . s / |w|
    const double before = norms(j), after = (w.row(j) + step.row(j)).norm();
    const double inner = w.row(j).dot(step.row(j)), square = step.row(j).squaredNorm();
    const double both = before + after;
    sum += l1_ * (before * square - inner * (2 * inner + square) / both) / (before * both);
  }
  return sum;
}

// From within the tolerance to the minimum itself: Newton steps until neither they nor a sweep find
// anything to do.
void MultiTaskPath::polish(const DescentSettings& settings) {
  const double small = kRounding * square_;
  int settled = 0;
  for (int i = 0; i < kPolishSteps; ++i) {
    context_.check();
    const double moved = newton();
    for (int k = 1; moved == 0 && k < kSweepsInstead; ++k) sweep(settings);
    if (sweep(settings) > small)
      settled = 0;
    else if (moved <= small || ++settled == 3)  // what Newton still moves is rounding
      return;
  }
}

// Columns outside the working set that a step would take away from zero, the most promising first,
// at most as many as the working set should grow by. Those that the gap proves to be zero at the
// minimum are left out.
std::vector<int64_t> MultiTaskPath::violators(double gap) const {
  std::vector<int64_t> columns;
  if (w_.rows() == all_.rows()) return columns;
  const double noise = 100 * source_.precision * std::sqrt(square_);
  const double radius = l1_ > 0 ? std::sqrt(2 * gap) / l1_ : 0;
  const double dual = std::max(largest_, l1_);  // |Y - Z C| over this is dual feasible
  std::vector<std::pair<double, int64_t>> found;
  for (int64_t j = 0; j < all_.rows(); ++j) {
    if (source_.place[static_cast<size_t>(j)] >= 0 || source_.squares(j) == 0) continue;
    const double norm = all_.row(j).norm(), root = std::sqrt(source_.squares(j));
    if (norm <= l1_ * (1 + 1e-12) + noise * root) continue;
    if (l1_ > 0 && (1 - norm / dual) > radius * std::sqrt(source_.squares(j) + l2_)) continue;
    found.emplace_back(-(norm - l1_) / root, j);
  }
  const auto most = l1_ == 0 ? found.size() : std::max<size_t>(kFirstColumns, support().size());
  if (found.size() > most) {
    std::nth_element(found.begin(), found.begin() + static_cast<int64_t>(most), found.end());
    found.resize(most);
  }
  std::sort(found.begin(), found.end());
  for (const auto& [score, j] : found) columns.push_back(j);
  return columns;
}

MultiTaskPath::Outcome MultiTaskPath::solve(const DescentSettings& settings) {
  const double scale = settings.alpha * source_.weight;
  l1_ = scale * settings.l1_ratio;
  l2_ = scale * (1 - settings.l1_ratio);
  drawn_ = 0;
  Outcome outcome;
  const auto begin = [&](double tol) {
    refresh();
    outcome.gap = full_gap();
    outcome.tolerance = tol * square_;
  };
  sync();
  begin(settings.tol);
  if (square_ == 0 && zero()) {
    outcome.converged = true;
    return outcome;
  }
  int64_t least = 0;  // sweeps, where there were some on the way
  // From zero to a small penalty by way of larger ones: so the working set grows with the support.
  if (l1_ > 0 && w_.rows() < all_.rows() && zero()) {
    DescentSettings loose = settings;
    loose.exact = false;
    loose.tol = kLoose * settings.tol;
    loose.max_iter = std::min(settings.max_iter, kSweepsOnTheWay);
    const double l1 = l1_;
    for (double larger = largest_ / 2; larger > 1.5 * l1; larger /= 2) {
      l1_ = larger;
      begin(loose.tol);
      run(loose, outcome);
      outcome.sweeps = 0;
      least = 1;
      if (outcome.abandoned) return outcome;
    }
    l1_ = l1;
    begin(settings.tol);
    outcome.converged = false;
  }
  run(settings, outcome);
  outcome.sweeps = std::max(outcome.sweeps, least);
  outcome.gap = std::max(outcome.gap, source_.precision * square_);  // a bound, rounding included
  return outcome;
}

void MultiTaskPath::run(const DescentSettings& settings, Outcome& outcome) {
  const double floor = 100 * source_.precision * square_;  // of what the gap can tell
  double small = std::min(settings.tol * settings.tol, 1e-6) * square_;
  int polished = 0;
  for (bool first = true;; first = false) {
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
        outcome.converged = outcome.gap <= std::max(outcome.tolerance, floor);
        if (entering.empty() && (outcome.converged || ++polished == kPolishes)) return;
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
      enough = std::max(small, 1e-2 * outcome.gap / static_cast<double>(w_.rows()));
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
