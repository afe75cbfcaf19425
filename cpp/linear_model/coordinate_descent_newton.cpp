// The Newton step of coordinate descent: to the minimum over the coefficients that are not zero.
#include <cmath>
#include <optional>
#include <utility>

#include "core/linalg.h"
#include "linear_model/coordinate_descent_path.h"

namespace manyfit {
namespace {

constexpr double kProximal = 1e-6;  // relative ridge where a support's columns are dependent
constexpr size_t kMostStops = 128;  // then a new factorisation is cheaper

double sign(double value) { return value > 0 ? 1.0 : (value < 0 ? -1.0 : 0.0); }

// Minimises a convex quadratic with Hessian H over values whose signs are kept, from within: along
// the Newton step to the first value that reaches zero, which stays there, and on along the step of
// the others, until nothing stops it. All steps come from the factor of H: the inverse of H without
// row and column k is H^-1 - u u' / u(k), u = H^-1 e(k).
class SignedStep {
 public:
  SignedStep(const Cholesky& hessian, Eigen::VectorXd value, Eigen::VectorXd step)
      : hessian_(hessian),
        value_(std::move(value)),
        step_(std::move(step)),
        column_(static_cast<size_t>(value_.size()), -1) {}

  // Whether the minimum was reached; else a point on the way there.
  bool run() {
    for (;;) {
      double reach = 1;
      const int64_t first = next(reach);
      if (first < 0) break;
      value_ += reach * step_;
      value_(first) = 0;
      if (!stop(first, 1 - reach)) return false;
    }
    value_ += step_;
    return true;
  }

  const Eigen::VectorXd& value() const { return value_; }
  bool stopped() const { return !stopped_.empty(); }

 private:
  bool crosses(int64_t j) const {
    return value_(j) != 0 && value_(j) * (value_(j) + step_(j)) <= 0;
  }

  // The value that the step takes to zero first, and how far that is; -1: none.
  int64_t next(double& reach) const {
    int64_t first = -1;
    for (int64_t j = 0; j < value_.size(); ++j) {
      if (!crosses(j)) continue;
      const double length = -value_(j) / step_(j);
      if (first >= 0 && length >= reach) continue;
      reach = length;
      first = j;
    }
    return first;
  }

  // Column k of H^-1, solved for together with those of all values that may stop next.
  auto inverse(int64_t k) {
    if (column_[static_cast<size_t>(k)] < 0) {
      std::vector<int64_t> wanted{k};
      for (int64_t j = 0; j < value_.size(); ++j)
        if (j != k && column_[static_cast<size_t>(j)] < 0 && crosses(j)) wanted.push_back(j);
      const int64_t known = columns_.cols(), more = static_cast<int64_t>(wanted.size());
      Eigen::MatrixXd units = Eigen::MatrixXd::Zero(value_.size(), more);
      for (int64_t i = 0; i < more; ++i) {
        units(wanted[static_cast<size_t>(i)], i) = 1;
        column_[static_cast<size_t>(wanted[static_cast<size_t>(i)])] = known + i;
      }
      hessian_.solve(units);
      columns_.conservativeResize(value_.size(), known + more);
      columns_.rightCols(more) = units;
    }
    return columns_.col(column_[static_cast<size_t>(k)]);
  }

  // Holds value k at zero, and turns what is left of the step.
  bool stop(int64_t k, double left) {
    if (stopped_.size() == kMostStops) return false;
    Eigen::VectorXd u = inverse(k);
    for (const Stop& other : stopped_) u -= other.u * (other.u(k) / other.u(other.at));
    if (!(u(k) > 0)) return false;
    step_ = left * (step_ - u * (step_(k) / u(k)));
    stopped_.push_back({k, std::move(u)});
    for (const Stop& other : stopped_) step_(other.at) = 0;
    return step_.allFinite();
  }

  struct Stop {
    int64_t at;
    Eigen::VectorXd u;
  };
  const Cholesky& hessian_;
  Eigen::VectorXd value_, step_;
  std::vector<int64_t> column_;  // of a value's column of H^-1 in columns_, or -1
  Eigen::MatrixXd columns_;
  std::vector<Stop> stopped_;
};

}  // namespace

// To the minimum over the coefficients that are not zero, their signs kept: the whole way, or with
// some of them stopped at zero.
DescentPath::Step DescentPath::step() {
  const double l1 = l1_, l2 = l2_;
  const bool bounded = l1 > 0 || positive_;
  std::vector<int64_t> support;
  for (int64_t i = 0; i < w_.rows(); ++i)
    if (w_(i, 0) != 0 || !bounded) support.push_back(i);
  const auto size = static_cast<int64_t>(support.size());
  if (size == 0 || size >= kLargeMatrix) return Step::none;
  std::optional<Cholesky> hessian;
  bool whole = false;
  for (const double extra : {0.0, kProximal}) {
    Eigen::MatrixXd system(size, size);
    for (int64_t j = 0; j < size; ++j) {
      const double* const column =
          source_.gram.data() + support[static_cast<size_t>(j)] * source_.gram.rows();
      for (int64_t i = 0; i < size; ++i) system(i, j) = column[support[static_cast<size_t>(i)]];
      system(j, j) += l2 + extra * system(j, j);
    }
    hessian.emplace(std::move(system), context_, Cholesky::Conditioning::pivots);
    whole = extra == 0;
    // Beyond that a step is noise of the Gram; dependent columns take a proximal one.
    if (hessian->reciprocal_condition() > 1e3 * source_.precision) break;
    hessian.reset();
  }
  if (!hessian) return Step::none;

  Eigen::VectorXd before(size);
  Eigen::MatrixXd step(size, 1);
  for (int64_t j = 0; j < size; ++j) {
    const int64_t i = support[static_cast<size_t>(j)];
    before(j) = w_(i, 0);
    step(j, 0) = g_(i, 0) - l1 * sign(before(j)) - l2 * before(j);
  }
  hessian->solve(step);
  if (!step.allFinite()) return Step::none;
  Eigen::VectorXd after;
  if (bounded) {
    SignedStep signed_step(*hessian, before, step.col(0));
    whole = signed_step.run() && !signed_step.stopped() && whole;
    after = signed_step.value();
  } else {
    after = before + step.col(0);
  }

  Matrix w = w_, g = g_;
  for (int64_t j = 0; j < size; ++j) {
    const int64_t i = support[static_cast<size_t>(j)];
    const double now = bounded && after(j) * before(j) < 0 ? 0 : after(j);
    const double change = now - w_(i, 0);
    w(i, 0) = now;
    if (change == 0) continue;
    const double* const column = source_.gram.data() + i * source_.gram.rows();
    for (int64_t r = 0; r < g.rows(); ++r) g(r, 0) -= change * column[r];
  }
  if (!whole && !(objective(w, g) < objective(w_, g_))) return Step::none;
  w_.swap(w);
  g_.swap(g);
  return whole ? Step::whole : Step::part;
}

}  // namespace manyfit
