#include "linear_model/working_set_path.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/random.h"

namespace manyfit {
namespace {

constexpr int64_t kFirstColumns = 60;  // of a working set
constexpr int64_t kPatience = 8;       // sweeps before a Newton step on a small support
constexpr double kFurthest = 2;        // times the last step along the path
constexpr double kApproach = 2;        // ratio of the penalties on the way to the one asked for
constexpr double kInner = 0.1;         // share of the gap at which the working set may grow
constexpr int64_t kSweepsOnTheWay = 100;
constexpr int kPolishes = 3;    // that may leave the gap above the tolerance
constexpr int64_t kPiece = 64;  // columns of the Gram mirrored at once
constexpr double kNoise = 4;    // roundings of a gradient

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

WorkingSetPath::WorkingSetPath(ColumnSource& source, int64_t first, int64_t targets,
                               const Context& context)
    : source_(source),
      context_(context),
      square_(source.target_squares.segment(first, targets).sum()),
      w_(0, targets),
      g_(0, targets),
      q_(0, targets),
      first_target_(first),
      all_(source.squares.size(), targets) {}

void WorkingSetPath::start(const Matrix& coef) {
  std::vector<int64_t> missing;
  for (int64_t j = 0; j < coef.rows(); ++j)
    if (source_.squares(j) > 0 && source_.place[static_cast<size_t>(j)] < 0 &&
        (coef.row(j).array() != 0).any())
      missing.push_back(j);
  if (!missing.empty()) source_.add(missing);
  sync();
  for (int64_t i = 0; i < w_.rows(); ++i)
    w_.row(i) = coef.row(source_.chosen[static_cast<size_t>(i)]);
  fresh_ = false;
  alpha_ = 0;
}

Eigen::MatrixXd WorkingSetPath::coef() const {
  Matrix coef = Matrix::Zero(all_.rows(), all_.cols());
  for (int64_t i = 0; i < w_.rows(); ++i)
    coef.row(source_.chosen[static_cast<size_t>(i)]) = w_.row(i);
  return coef;
}

std::vector<int64_t> WorkingSetPath::support() const {
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < w_.rows(); ++i)
    if ((w_.row(i).array() != 0).any()) rows.push_back(i);
  return rows;
}

// Brings the matrices to the size of the working set, which other targets may have enlarged.
void WorkingSetPath::sync() {
  const int64_t before = w_.rows(), size = static_cast<int64_t>(source_.chosen.size());
  if (before == size) return;
  w_.conservativeResize(size, Eigen::NoChange);
  w_.bottomRows(size - before).setZero();
  g_.conservativeResize(size, Eigen::NoChange);
  q_.conservativeResize(size, Eigen::NoChange);
  for (int64_t i = before; i < size; ++i)
    q_.row(i) =
        source_.cross.row(source_.chosen[static_cast<size_t>(i)]).segment(first_target_, q_.cols());
  diagonal_ = source_.gram.diagonal().head(size);
  noise_ = kNoise * source_.precision * std::sqrt(square_) * diagonal_.cwiseSqrt();
}

// The gradient of all columns, afresh; from zero it is known.
void WorkingSetPath::refresh() {
  if (zero()) {
    all_ = source_.cross.middleCols(first_target_, all_.cols());
    residual_ = {square_, square_};
  } else {
    residual_ = {};
    Vector g;
    for (int64_t k = 0; k < all_.cols(); ++k) {
      const ColumnSource::Residual part = source_.gradient(first_target_ + k, w_.col(k), g);
      residual_.square += part.square;
      residual_.with_target += part.with_target;
      all_.col(k) = g;
    }
  }
  gather();
  fresh_ = true;
}

// Takes the working set's part of the gradient of all columns.
void WorkingSetPath::gather() {
  for (int64_t i = 0; i < w_.rows(); ++i)
    g_.row(i) = all_.row(source_.chosen[static_cast<size_t>(i)]);
}

// Columns into the working set; false where that grows too large. The gradient of all columns must
// be fresh.
bool WorkingSetPath::admit(const std::vector<int64_t>& columns) {
  if (static_cast<int64_t>(source_.chosen.size() + columns.size()) > kLargestWorkingSet)
    return false;
  source_.add(columns);
  sync();
  gather();
  return true;
}

double WorkingSetPath::objective(const Matrix& w, const Matrix& g) const {
  return -0.5 * (q_.cwiseProduct(w).sum() + g.cwiseProduct(w).sum()) + l1_ * norm(w) +
         0.5 * l2_ * w.squaredNorm();
}

// Formulation of the gap as scikit-learn has it: the residual, scaled until it is dual feasible;
// without an l1 penalty the smooth dual, or the squared gradient.
double WorkingSetPath::full_gap() {
  const double square = l2_ * w_.squaredNorm();
  if (l1_ == 0) {
    largest_ = 0;
    double squares = 0;
    for (int64_t j = 0; j < all_.rows(); ++j) {
      const int64_t i = source_.place[static_cast<size_t>(j)];
      const bool bound = positive_ && (l2_ > 0 || i < 0 || w_(i, 0) == 0);
      squares += (bound ? all_.row(j).cwiseMax(0.0).eval() : all_.row(j).eval()).squaredNorm();
    }
    if (l2_ == 0) return squares;
    return std::max(residual_.square + 0.5 * square - residual_.with_target + squares / (2 * l2_),
                    0.0);
  }
  Matrix slope = all_;
  if (l2_ > 0)
    for (int64_t i = 0; i < w_.rows(); ++i)
      slope.row(source_.chosen[static_cast<size_t>(i)]) -= l2_ * w_.row(i);
  largest_ = std::max(pulls(slope).maxCoeff(), 0.0);
  const double scale = largest_ > l1_ ? l1_ / largest_ : 1.0;
  const double primal = 0.5 * (residual_.square + square) + l1_ * norm(w_);
  const double dual =
      -0.5 * scale * scale * (residual_.square + square) + scale * residual_.with_target;
  return std::max(primal - dual, 0.0);
}

// The same of the problem on the working set alone, from what the sweeps keep.
double WorkingSetPath::working_gap() const {
  const double along_target = q_.cwiseProduct(w_).sum(), square = l2_ * w_.squaredNorm();
  const double residual = square_ - along_target - g_.cwiseProduct(w_).sum();  // |Y - Z C|^2
  const double scale = l1_ / std::max(pulls(g_ - l2_ * w_).maxCoeff(), l1_);
  return 0.5 * (residual + square) * (1 + scale * scale) + l1_ * norm(w_) -
         scale * (square_ - along_target);
}

double WorkingSetPath::sweep(const DescentSettings& settings) {
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

// Sweeps the working set until its gap is at most `wanted` (without an l1 penalty: until no step
// changes the fit by that much, squared). Where that takes as long as a Newton step, takes one.
void WorkingSetPath::descend(const DescentSettings& settings, double wanted, Outcome& outcome) {
  int64_t since = 0;
  fresh_ = false;
  while (outcome.sweeps < settings.max_iter) {
    context_.check();
    ++outcome.sweeps;
    const double moved = sweep(settings);
    if (moved <= kRounding * square_) return;
    if ((l1_ > 0 ? working_gap() : moved) <= wanted) return;
    if (++since < kPatience) continue;
    if (since >= sweeps_per_step(static_cast<int64_t>(support().size()))) {
      newton();
      since = 0;
    }
  }
}

// Columns outside the working set that a step would take away from zero, the most promising first,
// at most as many as the working set should grow by. Those that the gap proves to be zero at the
// minimum are left out.
std::vector<int64_t> WorkingSetPath::violators(double gap) const {
  if (source_.chosen.size() == source_.varying) return {};
  const double noise = 100 * source_.precision * std::sqrt(square_);
  const double radius = l1_ > 0 ? std::sqrt(2 * gap) / l1_ : 0;
  const double dual = std::max(largest_, l1_);  // |Y - Z C| over this is dual feasible
  const Vector pull = pulls(all_);
  std::vector<std::pair<double, int64_t>> found;
  for (int64_t j = 0; j < pull.size(); ++j) {
    if (source_.place[static_cast<size_t>(j)] >= 0 || source_.squares(j) == 0) continue;
    const double root = std::sqrt(source_.squares(j));
    if (pull(j) <= l1_ * (1 + 1e-12) + noise * root) continue;
    if (l1_ > 0 && (1 - pull(j) / dual) > radius * std::sqrt(source_.squares(j) + l2_)) continue;
    found.emplace_back(-(pull(j) - l1_) / root, j);
  }
  const auto most = l1_ == 0 ? found.size() : std::max<size_t>(kFirstColumns, support().size());
  if (found.size() > most) {
    std::nth_element(found.begin(), found.begin() + static_cast<int64_t>(most), found.end());
    found.resize(most);
  }
  std::sort(found.begin(), found.end());
  std::vector<int64_t> columns;
  for (const auto& [score, j] : found) columns.push_back(j);
  return columns;
}

WorkingSetPath::Outcome WorkingSetPath::solve(const DescentSettings& settings) {
  const double scale = settings.alpha * source_.weight;
  const double l1 = scale * settings.l1_ratio;
  l1_ = l1;
  l2_ = scale * (1 - settings.l1_ratio);
  positive_ = settings.positive;
  drawn_ = 0;
  Outcome outcome;
  outcome.tolerance = settings.tol * square_;
  sync();
  if (fresh_) gather();
  extrapolate(settings.alpha);
  if (!fresh_) refresh();
  outcome.gap = full_gap();
  if (square_ == 0 && zero()) {
    outcome.converged = true;
    return outcome;
  }
  const bool approached = l1 > 0 && zero() && source_.chosen.size() < source_.varying;
  if (approached) {
    approach(settings, outcome);
    if (outcome.abandoned) return outcome;
  }
  run(settings, outcome);
  if (approached) outcome.sweeps = std::max<int64_t>(outcome.sweeps, 1);
  outcome.gap = std::max(outcome.gap, source_.precision * square_);  // a bound, rounding included
  return outcome;
}

// Begins at a smaller penalty where the line through the last two solutions leads: between two
// changes of its support the lasso's path is straight.
void WorkingSetPath::extrapolate(double alpha) {
  const double ratio = (alpha_ - alpha) / (alpha_before_ - alpha_);
  const bool on_path = alpha_before_ > alpha_ && alpha_ > alpha && ratio <= kFurthest &&
                       source_.chosen.size() == source_.varying && w_.rows() == before_.rows();
  const Matrix now = w_;
  if (on_path) {
    Matrix w = now + ratio * (now - before_), g = g_;
    for (int64_t i = 0; i < w.rows(); ++i) {
      if (!(w.row(i).dot(now.row(i)) > 0)) w.row(i).setZero();
      const auto column = source_.gram.col(i).head(g.rows());
      for (int64_t k = 0; k < w.cols(); ++k) {
        const double change = w(i, k) - now(i, k);
        if (change != 0) g.col(k) -= change * column;
      }
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
void WorkingSetPath::approach(const DescentSettings& settings, Outcome& outcome) {
  const double l1 = l1_, first = largest_ / kApproach;
  for (double larger = first; larger > 1.5 * l1; larger /= kApproach) {
    l1_ = larger;
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
  l1_ = l1;
  outcome.gap = full_gap();
}

void WorkingSetPath::run(const DescentSettings& settings, Outcome& outcome) {
  const double floor = 100 * source_.precision * square_;  // of what the gap can tell
  // Of the working set's gap; without an l1 penalty, of the largest squared change of the fit.
  double least =
      l1_ > 0 ? kInner * outcome.tolerance : std::min(settings.tol * settings.tol, 1e-6) * square_;
  int polished = 0;
  for (bool first = true;; first = false) {
    context_.check();
    std::vector<int64_t> entering = violators(outcome.gap);
    if (outcome.gap <= outcome.tolerance) {
      outcome.converged = true;
      if (!settings.exact) {
        if (!first) return;  // a sweep at least, for a path to move
      } else if (entering.empty()) {
        fresh_ = false;
        polish(settings);
        refresh();
        outcome.gap = full_gap();
        entering = violators(outcome.gap);
        outcome.converged = outcome.gap <= std::max(outcome.tolerance, floor);
        if (entering.empty() && (outcome.converged || ++polished == kPolishes)) return;
      }
    }
    if (outcome.sweeps >= settings.max_iter) return;
    double wanted = least;
    if (!entering.empty()) {
      if (!admit(entering)) {
        outcome.abandoned = true;
        return;
      }
      if (l1_ > 0) wanted = std::max(least, kInner * outcome.gap);
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
