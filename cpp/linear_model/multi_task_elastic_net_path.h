// Block coordinate descent on a working set of columns, for all targets and descending penalties.
//
//   min 1/2 |Y - Z C|^2 + l1 sum_j |C_j| + l2 / 2 |C|^2        C (d, t), C_j its row j
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <vector>

#include "linear_model/working_set_path.h"

namespace manyfit {

class MultiTaskPath final : public WorkingSetPath {
 public:
  MultiTaskPath(ColumnSource& source, const Context& context)
      : WorkingSetPath(source, 0, source.cross.cols(), context),
        value_(source.cross.cols()),
        step_(source.cross.cols()) {}

 private:
  Vector pulls(const Matrix& slope) const override { return slope.rowwise().norm(); }
  double norm(const Matrix& coef) const override { return coef.rowwise().norm().sum(); }
  double update(int64_t i) override;
  void newton() override { step(); }
  int64_t sweeps_per_step(int64_t support) const override { return support / (2 * step_.size()); }
  void polish(const DescentSettings& settings) override;

  double step();
  double step(std::vector<int64_t>& rows);
  bool newton_direction(const std::vector<int64_t>& rows, const Matrix& downhill, double extra,
                        Matrix& step) const;
  double objective_change(const std::vector<int64_t>& rows, const Matrix& w, const Vector& norms,
                          const Matrix& downhill, const Matrix& step,
                          const Matrix& gram_step) const;

  Vector value_, step_;  // (t,) of a row while it moves
};

}  // namespace manyfit
