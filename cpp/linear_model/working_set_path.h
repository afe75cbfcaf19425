// Coordinate descent along descending penalties, on a working set of columns.
//
//   min 1/2 |Y - Z C|^2 + l1 sum_j |C_j| + l2 / 2 |C|^2        C_j the rows of C (d, t)
//
// Z's columns are known by their inner products alone: Q = Z'Y, the Gram of the columns in the
// working set, and the gradient Q - Z'Z C of all columns, which a ColumnSource gives. A family of
// penalties says what |C_j| is, how a row is moved and how a Newton step is taken.
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <vector>

#include "core/context.h"
#include "linear_model/coordinate_descent.h"

namespace manyfit {

class ColumnSource {
 public:
  virtual ~ColumnSource() = default;

  Eigen::VectorXd squares;         // (d,) |z_j|^2; 0 for a column that does not vary
  Eigen::MatrixXd cross;           // (d, t) Z'Y
  Eigen::VectorXd target_squares;  // (t,)
  double weight = 1;               // W
  double precision = 0;            // relative rounding of these

  // The working set: columns in order of entry, and their Gram in its leading block.
  std::vector<int64_t> chosen;
  Eigen::MatrixXd gram;
  std::vector<int64_t> place;  // (d,) of a column in the working set, or -1
  size_t varying = 0;          // columns that do

  // Adds columns to the working set.
  void add(const std::vector<int64_t>& columns);

  struct Residual {
    double square = 0;       // |y - Z c|^2
    double with_target = 0;  // (y - Z c) . y
  };
  // The gradient (d,) of all columns at coefficients c of the working set.
  virtual Residual gradient(int64_t target, const Eigen::VectorXd& coef, Eigen::VectorXd& g) = 0;

 protected:
  void prepare();  // once squares are known
  // Fills gram's columns from `first` on, in rows up to and with the diagonal.
  virtual void fill(int64_t first) = 0;
};

class WorkingSetPath {
 public:
  virtual ~WorkingSetPath() = default;

  struct Outcome {
    double gap = 0;
    double tolerance = 0;
    int64_t sweeps = 0;
    bool converged = false;
    bool abandoned = false;  // the working set would be too large
  };
  Outcome solve(const DescentSettings& settings);

  void start(const Eigen::MatrixXd& coef);  // (d, t)
  Eigen::MatrixXd coef() const;             // (d, t)

 protected:
  using Matrix = Eigen::MatrixXd;
  using Vector = Eigen::VectorXd;

  // For the `targets` targets from `first` on.
  WorkingSetPath(ColumnSource& source, int64_t first, int64_t targets, const Context& context);

  // What l1 must hold for each row of a gradient of the smooth part.
  virtual Vector pulls(const Matrix& slope) const = 0;
  virtual double norm(const Matrix& coef) const = 0;  // sum_j |C_j|
  // Moves row i to its minimum, all others fixed; returns the squared change of the fit.
  virtual double update(int64_t i) = 0;
  virtual void newton() = 0;
  // Sweeps that cost as much as a Newton step on a support of so many rows.
  virtual int64_t sweeps_per_step(int64_t support) const = 0;
  // From within the tolerance to the minimum itself.
  virtual void polish(const DescentSettings& settings) = 0;

  bool zero() const { return (w_.array() == 0).all(); }
  std::vector<int64_t> support() const;
  // One update of each row; returns the largest squared change of the fit.
  double sweep(const DescentSettings& settings);
  // Up to a constant, for g the gradient at w.
  double objective(const Matrix& w, const Matrix& g) const;

  ColumnSource& source_;
  const Context& context_;
  double l1_ = 0, l2_ = 0;
  bool positive_ = false;
  double square_ = 0;        // |Y|^2
  Matrix w_, g_, q_;         // (working set, t) C, the gradient Z'(Y - Z C), Z'Y
  Vector diagonal_, noise_;  // of the working set's Gram; roundings of a row of g_

  // Steps this much smaller than the targets (squared) no longer count.
  static constexpr double kRounding = 1e-26;

 private:
  void sync();
  void refresh();
  void gather();
  bool admit(const std::vector<int64_t>& columns);
  void extrapolate(double alpha);
  void approach(const DescentSettings& settings, Outcome& outcome);
  void run(const DescentSettings& settings, Outcome& outcome);
  void descend(const DescentSettings& settings, double wanted, Outcome& outcome);
  double full_gap();
  double working_gap() const;
  std::vector<int64_t> violators(double gap) const;

  int64_t first_target_;
  Matrix all_;          // (d, t) gradient of all columns
  bool fresh_ = false;  // whether all_ is that at w_
  double largest_ = 0;  // pull of all_ - l2 C: what makes the residual dual feasible
  int64_t drawn_ = 0;
  double alpha_ = 0, alpha_before_ = 0;  // of w_ and before_, where they are solutions; else 0
  Matrix before_;
  ColumnSource::Residual residual_;
};

}  // namespace manyfit
