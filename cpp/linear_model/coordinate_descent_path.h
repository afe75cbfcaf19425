// Coordinate descent on a working set of columns, for one target and descending penalties.
//
//   min 1/2 |y - Z c|^2 + l1 |c|_1 + l2 / 2 |c|^2        (c >= 0 where asked for)
//
// Z's columns are known by their inner products alone: q = Z'y, the Gram of the columns in the
// working set, and the gradient q - Z'Z c of all columns, which a ColumnSource gives.
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

class DescentPath {
 public:
  DescentPath(ColumnSource& source, int64_t target, const Context& context);

  struct Outcome {
    double gap = 0;
    double tolerance = 0;
    int64_t sweeps = 0;
    bool converged = false;
    bool abandoned = false;  // the working set would be too large
  };
  Outcome solve(const DescentSettings& settings);

  void start(const Eigen::VectorXd& coef);  // (d,)
  Eigen::VectorXd coef() const;             // (d,)

 private:
  struct Penalty {
    double l1, l2;
    bool positive;
  };

  void run(const DescentSettings& settings, Outcome& outcome);
  void sync();
  void refresh();
  void gather();
  bool admit(const std::vector<int64_t>& columns);
  void extrapolate(double alpha);
  void approach(const DescentSettings& settings, Outcome& outcome);
  double full_gap();
  double objective(const Eigen::VectorXd& w, const Eigen::VectorXd& g) const;
  double working_gap() const;
  double sweep(const DescentSettings& settings);
  void descend(const DescentSettings& settings, double wanted, Outcome& outcome);
  enum class Step { whole, part, none };
  Step newton();
  void polish(const DescentSettings& settings);
  std::vector<int64_t> violators(double gap);

  ColumnSource& source_;
  int64_t target_;
  const Context& context_;
  Penalty penalty_{};
  bool fresh_ = false;  // whether all_ is the gradient at w_
  double square_ = 0;   // |y|^2
  double largest_ = 0;  // of |Z'(y - Z c) - l2 c|: what makes the residual dual feasible
  double alpha_ = 0, alpha_before_ = 0;  // of w_ and before_, where they are solutions; else 0
  Eigen::VectorXd before_;
  int64_t drawn_ = 0;
  Eigen::VectorXd w_, g_, q_, diagonal_;  // of the working set
  Eigen::VectorXd all_;                   // (d,) gradient of all columns
  ColumnSource::Residual residual_;
};

}  // namespace manyfit
