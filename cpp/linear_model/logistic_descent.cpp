#include "linear_model/logistic_descent.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace manyfit {
namespace {

constexpr double kSlow = 0.09;       // a step that leaves more of the gain than this is slow
constexpr double kRounding = 1e-14;  // of a loss, relative
constexpr double kNoise = 1e-16;     // of a small one, a difference of larger numbers
constexpr size_t kPairs = 12;        // of BFGS
constexpr int64_t kMaxRejected = 40;
constexpr int64_t kMaxPolish = 20;
constexpr int kMaxSweeps = 500;

double soft_threshold(double value, double by) {
  return value > by ? value - by : value < -by ? value + by : 0.0;
}

}  // namespace

LogisticDescent::LogisticDescent(const DescentRules& rules, const Eigen::VectorXd& shift,
                                 Eigen::MatrixXd start)
    : rules_(rules),
      shift_(shift),
      p_(start.rows()),
      outputs_(start.cols()),
      coef_(start),
      candidate_(std::move(start)) {}

void LogisticDescent::set_hessian(Hessian hessian, bool here) {
  hessian_ = std::move(hessian);
  stale_ = !here;
  factor_.reset();
  model_.resize(0, 0);
  wants_hessian_ = false;
  gain_before_ = 0;
}

void LogisticDescent::set_diagonal(Eigen::VectorXd diagonal) {
  diagonal_ = std::move(diagonal);
  for (int64_t i = 0; i < diagonal_.size(); ++i) {
    if (penalised(i)) diagonal_(i) += rules_.l2;
    if (!(diagonal_(i) > 0)) diagonal_(i) = 1;
  }
}

double LogisticDescent::penalty(const Eigen::MatrixXd& coef) const {
  const auto w = coef.topRows(p_ - 1);
  return rules_.l2 / 2 * w.squaredNorm() + rules_.l1 * w.cwiseAbs().sum();
}

void LogisticDescent::finish(bool converged) {
  done_ = true;
  converged_ = converged;
}

// H + l2 with a term along which the loss does not change: adding one number to all outputs'
// parameters of a coordinate.
void LogisticDescent::factorise(const Context& context) {
  const int64_t size = p_ * outputs_;
  model_ = *hessian_;
  for (int64_t i = 0; i < size; ++i)
    if (penalised(i)) model_(i, i) += rules_.l2;
  if (outputs_ > 1) {
    const bool free = rules_.l2 == 0 && rules_.l1 == 0;
    for (int64_t j = free ? 0 : p_ - 1; j < p_; ++j) {
      double mean = 0;
      for (int64_t k = 0; k < outputs_; ++k)
        mean += model_(k * p_ + j, k * p_ + j) / static_cast<double>(outputs_);
      for (int64_t k = 0; k < outputs_; ++k)
        for (int64_t l = 0; l < outputs_; ++l)
          model_(k * p_ + j, l * p_ + j) += mean / static_cast<double>(outputs_);
    }
  }
  for (int64_t i = 0; i < size; ++i)
    if (!(model_(i, i) > 0)) model_(i, i) = 1;
  if (rules_.l1 > 0) return;
  double lift = 0;
  for (int attempt = 0; attempt < 8; ++attempt) {
    Eigen::MatrixXd lifted = model_;
    lifted.diagonal() *= 1 + lift;
    factor_ = std::make_unique<Cholesky>(std::move(lifted), context);
    if (factor_->reciprocal_condition() > 1e-15) break;
    lift = lift == 0 ? 1e-12 : lift * 100;
  }
  model_.resize(0, 0);
}

Eigen::VectorXd LogisticDescent::newton_step(const Context& context) {
  if (!factor_) factorise(context);
  Eigen::MatrixXd step = -gradient_;
  factor_->solve(step);
  return step.col(0);
}

// Minimises g'd + d'Hd / 2 + l1 |w + d|_1 by coordinate descent: all coordinates in turn, then
// those that are not zero until they rest.
Eigen::VectorXd LogisticDescent::proximal_step(const Context& context) {
  if (model_.size() == 0) factorise(context);
  const int64_t size = p_ * outputs_;
  const Eigen::Map<const Eigen::VectorXd> now(coef_.data(), size);
  Eigen::VectorXd step = Eigen::VectorXd::Zero(size), slope = gradient_;
  double first = 0;
  const auto move = [&](int64_t i) {
    const double h = model_(i, i), at = now(i) + step(i);
    const double to =
        penalised(i) ? soft_threshold(at - slope(i) / h, rules_.l1 / h) : at - slope(i) / h;
    const double change = to - at;
    if (change == 0) return 0.0;
    // Exactly zero where it is to be zero.
    step(i) = to == 0 ? -now(i) : step(i) + change;
    slope.noalias() += change * model_.col(i);
    return h * change * change;
  };
  const auto sweep = [&](bool all) {
    double largest = 0;
    for (int64_t i = 0; i < size; ++i)
      if (all || !penalised(i) || now(i) + step(i) != 0) largest = std::max(largest, move(i));
    return largest;
  };
  for (int outer = 0; outer < kMaxSweeps; ++outer) {
    context.check();
    const double largest = sweep(true);
    first = std::max(first, largest);
    if (largest <= 1e-20 * first) break;
    for (int inner = 0; inner < kMaxSweeps; ++inner)
      if (sweep(false) <= 1e-21 * first) break;
  }
  return step;
}

Eigen::VectorXd LogisticDescent::bfgs_step() const {
  Eigen::VectorXd q = gradient_;
  std::vector<double> alpha(pairs_.size());
  for (size_t i = pairs_.size(); i-- > 0;) {
    alpha[i] = pairs_[i].step.dot(q) / pairs_[i].product;
    q -= alpha[i] * pairs_[i].change;
  }
  double scale = 1;
  if (!pairs_.empty()) {
    const Pair& last = pairs_.back();
    scale = last.product / (last.change.array().square() / diagonal_.array()).sum();
  }
  q.array() *= scale / diagonal_.array();
  for (size_t i = 0; i < pairs_.size(); ++i) {
    const double beta = pairs_[i].change.dot(q) / pairs_[i].product;
    q += (alpha[i] - beta) * pairs_[i].step;
  }
  return -q;
}

Eigen::VectorXd LogisticDescent::quadratic_step(const Context& context) {
  if (!rules_.newton) return bfgs_step();
  return rules_.l1 > 0 ? proximal_step(context) : newton_step(context);
}

// Largest entry of the (least sub-) gradient, for parameters of x and not of x - shift.
double LogisticDescent::largest_gradient() const {
  double largest = 0;
  for (int64_t k = 0; k < outputs_; ++k) {
    const double intercept = gradient_(k * p_ + p_ - 1);
    largest = std::max(largest, std::abs(intercept));
    for (int64_t j = 0; j + 1 < p_; ++j) {
      const double g = gradient_(k * p_ + j) + shift_(j) * intercept, w = coef_(j, k);
      const double sub = w != 0 ? std::abs(g + (w > 0 ? rules_.l1 : -rules_.l1))
                                : std::max(std::abs(g) - rules_.l1, 0.0);
      largest = std::max(largest, sub);
    }
  }
  return largest;
}

// Whether to stop here: the step found promises `gain_`.
bool LogisticDescent::at_rest(double largest) {
  const bool flat = largest <= rules_.tol;
  const auto large = [](const auto& values) { return values.cwiseAbs().maxCoeff(); };
  if (flat && gain_ <= rules_.target && large(step_) <= rules_.short_step * large(coef_))
    return true;
  // Nothing is left but to push separated rows further apart.
  const bool bounded = flat && std::isfinite(rules_.tol);
  const bool endless = rules_.l1 + rules_.l2 < 1e-12 || !std::isfinite(rules_.short_step);
  if (bounded && endless && gain_ > 0.05 * loss_ && loss_ <= 10 * rules_.tol) return true;
  if (bounded && gain_ <= 1e-3 * rules_.tol && ++polished_ > kMaxPolish) return true;
  // Rounding ends what steps can gain.
  if (gain_ <= 1e-11 * std::abs(value_)) {
    stalled_ = gain_ > 0.25 * best_gain_ ? stalled_ + 1 : 0;
    best_gain_ = std::min(best_gain_, gain_);
    if (stalled_ >= 4) return true;
  }
  return false;
}

void LogisticDescent::propose(const Context& context) {
  if (done_ || !started_) return;
  if (!searching_) {
    const double largest = largest_gradient();
    if (iterations_ >= rules_.max_iter) return finish(largest <= rules_.tol);
    if (rules_.newton && (!hessian_ || (rules_.fresh && stale_))) {
      wants_hessian_ = true;
      return;
    }
    step_ = quadratic_step(context);
    const Eigen::Map<const Eigen::VectorXd> now(coef_.data(), coef_.size());
    slope_ = gradient_.dot(step_);
    if (rules_.l1 > 0)
      for (int64_t i = 0; i < step_.size(); ++i)
        if (penalised(i)) slope_ += rules_.l1 * (std::abs(now(i) + step_(i)) - std::abs(now(i)));
    if (!std::isfinite(slope_) || !step_.allFinite()) return finish(false);
    gain_ = -slope_ / 2;
    if (gain_before_ > 0 && gain_ > kSlow * gain_before_ && rules_.newton && stale_) {
      wants_hessian_ = true;
      return;
    }
    if (!(slope_ < 0)) {
      if (!rules_.newton && !pairs_.empty()) {
        pairs_.clear();
        return propose(context);
      }
      return finish(largest <= rules_.tol || gain_ >= -1e-12 * std::abs(value_));
    }
    if (best_gain_ == 0) best_gain_ = gain_;
    if (at_rest(largest)) return finish(true);
    searching_ = true;
    length_ = 1;
    rejected_ = 0;
  }
  const Eigen::Map<const Eigen::MatrixXd> step(step_.data(), p_, outputs_);
  candidate_ = coef_ + length_ * step;
}

void LogisticDescent::receive(double loss, const Eigen::VectorXd& gradient) {
  const double value = loss + penalty(candidate_);
  if (!started_) {
    started_ = true;
    finite_ = std::isfinite(value) && gradient.allFinite();
    if (!finite_) return finish(false);
    accept(value, loss, gradient);
    iterations_ = 0;
    return;
  }
  const bool better =
      std::isfinite(value) && gradient.allFinite() &&
      value <= value_ + 1e-4 * length_ * slope_ + kRounding * std::abs(value_) + kNoise;
  if (!better) return reject(value);
  accept(value, loss, gradient);
}

void LogisticDescent::accept(double value, double loss, Eigen::VectorXd gradient) {
  for (int64_t i = 0; i < gradient.size(); ++i)
    if (penalised(i)) gradient(i) += rules_.l2 * candidate_(i % p_, i / p_);
  if (!rules_.newton && searching_) {
    Pair pair{length_ * step_, gradient - gradient_, 0};
    pair.product = pair.step.dot(pair.change);
    if (pair.product > 1e-14 * pair.step.norm() * pair.change.norm()) {
      pairs_.push_back(std::move(pair));
      if (pairs_.size() > kPairs) pairs_.pop_front();
    }
  }
  coef_ = candidate_;
  gradient_ = std::move(gradient);
  value_ = value;
  loss_ = loss;
  // Short steps tell nothing of the Hessian's age: a new one is made.
  gain_before_ = searching_ ? (length_ == 1 ? gain_ : 1e-300) : 0;
  if (searching_) stale_ = true;
  ++iterations_;
  searching_ = false;
}

void LogisticDescent::reject(double value) {
  if (rules_.newton && stale_) {  // first see whether it is the Hessian's fault
    searching_ = false;
    wants_hessian_ = true;
    candidate_ = coef_;
    return;
  }
  if (++rejected_ > kMaxRejected)
    return finish(largest_gradient() <= rules_.tol || gain_ <= 1e-10 * std::abs(value_));
  const double rise = value - value_ - length_ * slope_;
  const double best =
      std::isfinite(value) && rise > 0 ? -slope_ * length_ * length_ / (2 * rise) : 0;
  length_ = std::clamp(best, 0.1 * length_, 0.5 * length_);
}

}  // namespace manyfit
