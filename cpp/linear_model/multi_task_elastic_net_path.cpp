#include "linear_model/multi_task_elastic_net_path.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/linalg.h"

namespace manyfit {
namespace {

constexpr int kPolishSteps = 60;
constexpr double kProximal = 1e-6;  // relative ridge where a support's columns are dependent
constexpr int kShorter = 6;         // steps tried that turn no row around
constexpr double kTurned = 1e-13;   // of a row's own direction, left by a step: no more than none
constexpr double kEnough = 0.05;    // of the decrease that a whole step promises, twice
constexpr int kSweepsInstead = 8;   // of a Newton step that cannot be taken

}  // namespace

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
double MultiTaskPath::step() {
  std::vector<int64_t> rows;
  if (l1_ > 0) {
    rows = support();
  } else {
    for (int64_t i = 0; i < w_.rows(); ++i) rows.push_back(i);
  }
  double moved = 0;
  for (size_t before = 0; !rows.empty() && rows.size() != before;) {
    before = rows.size();
    moved = std::max(moved, step(rows));
  }
  return moved;
}

// The same for the given rows, of which it leaves those to go on with, or none.
double MultiTaskPath::step(std::vector<int64_t>& rows) {
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
    const double moved = step();
    for (int k = 1; moved == 0 && k < kSweepsInstead; ++k) sweep(settings);
    if (sweep(settings) > small)
      settled = 0;
    else if (moved <= small || ++settled == 3)  // what Newton still moves is rounding
      return;
  }
}

}  // namespace manyfit
