// One job's way to the minimum of  loss(W) + l2 / 2 |w|^2 + l1 |w|_1,  W (p, K) with the intercepts
// in the last row, unpenalised. Whoever owns it computes what it asks for: the mean loss and its
// gradient at candidate(), and where wants_hessian() the Hessian at the point it stands on. Thereby
// many jobs share the passes over the rows.
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <deque>
#include <limits>
#include <memory>
#include <vector>

#include "core/context.h"
#include "core/linalg.h"

namespace manyfit {

struct DescentRules {
  double l1 = 0, l2 = 0;
  double tol = 1e-4;
  int64_t max_iter = 100;
  double target = 1e-8;  // of the gain a further step promises
  double short_step = std::numeric_limits<double>::infinity();  // of its size, in the coefficients'
  bool newton = true;                                           // false: limited-memory BFGS
  bool fresh = false;                                           // a Hessian for every step
};

class LogisticDescent {
 public:
  using Hessian = std::shared_ptr<const Eigen::MatrixXd>;

  LogisticDescent(const DescentRules& rules, const Eigen::VectorXd& shift, Eigen::MatrixXd start);

  bool done() const { return done_; }
  bool converged() const { return converged_; }
  bool finite() const { return finite_; }
  int64_t iterations() const { return iterations_; }
  const Eigen::MatrixXd& coef() const { return coef_; }
  const Eigen::MatrixXd& candidate() const { return candidate_; }
  const Hessian& hessian() const { return hessian_; }
  bool hessian_is_current() const { return hessian_ && !stale_; }

  // What propose() ended with.
  bool wants_hessian() const { return wants_hessian_; }
  // Of the mean loss, (p K, p K); `here`: at the point the job stands on.
  void set_hessian(Hessian hessian, bool here);
  // Diagonal that BFGS starts from, (p K,).
  void set_diagonal(Eigen::VectorXd diagonal);

  // Finds the next candidate, or that the job is done, or that it wants a Hessian first.
  void propose(const Context& context);
  // The mean loss and its gradient (p K,) at the candidate.
  void receive(double loss, const Eigen::VectorXd& gradient);

 private:
  Eigen::VectorXd quadratic_step(const Context& context);
  Eigen::VectorXd newton_step(const Context& context);
  Eigen::VectorXd proximal_step(const Context& context);
  Eigen::VectorXd bfgs_step() const;
  void factorise(const Context& context);
  double penalty(const Eigen::MatrixXd& coef) const;
  double largest_gradient() const;
  bool at_rest(double largest);
  void finish(bool converged);
  void accept(double value, double loss, Eigen::VectorXd gradient);
  void reject(double value);
  bool penalised(int64_t i) const { return i % p_ != p_ - 1; }

  DescentRules rules_;
  const Eigen::VectorXd& shift_;
  int64_t p_, outputs_;
  Eigen::MatrixXd coef_, candidate_;
  Eigen::VectorXd gradient_;  // of loss and l2, (p K,)
  Eigen::VectorXd step_;
  double value_ = 0, loss_ = 0;  // the objective; its loss alone
  double slope_ = 0;             // of the objective along the step, < 0
  double gain_ = 0, gain_before_ = 0, best_gain_ = 0;
  double length_ = 1;
  int64_t iterations_ = 0, rejected_ = 0, stalled_ = 0, polished_ = 0;
  bool started_ = false, searching_ = false, stale_ = true, wants_hessian_ = false;
  bool done_ = false, converged_ = false, finite_ = true;

  Hessian hessian_;
  std::unique_ptr<Cholesky> factor_;
  Eigen::MatrixXd model_;  // Hessian with l2, for coordinate descent
  Eigen::VectorXd diagonal_;
  struct Pair {
    Eigen::VectorXd step, change;
    double product;
  };
  std::deque<Pair> pairs_;
};

}  // namespace manyfit
