// Block coordinate descent on a working set of columns, for all targets and descending penalties.
//
//   min 1/2 |Y - Z C|^2 + l1 sum_j |C_j| + l2 / 2 |C|^2        C (d, t), C_j its row j
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <vector>

#include "core/context.h"
#include "linear_model/coordinate_descent_path.h"

namespace manyfit {

class MultiTaskPath {
 public:
  using Outcome = DescentPath::Outcome;

  MultiTaskPath(ColumnSource& source, const Context& context);
  Outcome solve(const DescentSettings& settings);

  void start(const Eigen::MatrixXd& coef);  // (d, t)
  Eigen::MatrixXd coef() const;             // (d, t)

 private:
  using Matrix = Eigen::MatrixXd;
  using Vector = Eigen::VectorXd;

  bool zero() const { return (w_.array() == 0).all(); }
  std::vector<int64_t> support() const;
  void run(const DescentSettings& settings, Outcome& outcome);
  void sync();
  void refresh();
  double full_gap();
  double sweep(const DescentSettings& settings);
  double update(int64_t i);
  void descend(const DescentSettings& settings, double small, Outcome& outcome);
  double newton();
  double newton(std::vector<int64_t>& rows);
  bool newton_direction(const std::vector<int64_t>& rows, const Matrix& downhill, double extra,
                        Matrix& step) const;
  double objective_change(const std::vector<int64_t>& rows, const Matrix& w, const Vector& norms,
                          const Matrix& downhill, const Matrix& step,
                          const Matrix& gram_step) const;
  void polish(const DescentSettings& settings);
  std::vector<int64_t> violators(double gap) const;

  ColumnSource& source_;
  const Context& context_;
  double l1_ = 0, l2_ = 0;
  double square_ = 0;   // |Y|^2
  double largest_ = 0;  // |row| of Z'(Y - Z C) - l2 C: what makes the residual dual feasible
  int64_t drawn_ = 0;
  Matrix w_, g_;         // (working set, t) C, and the gradient Z'(Y - Z C)
  Vector diagonal_;      // of the working set's Gram
  Vector noise_;         // of the norm of a row of g_
  Matrix all_;           // (d, t) gradient of all columns
  Vector value_, step_;  // (t,) of a row while it moves
  ColumnSource::Residual residual_;
};

}  // namespace manyfit
