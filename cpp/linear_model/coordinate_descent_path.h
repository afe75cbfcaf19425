// The path of lasso and elastic net for one target: |c_j| absolute values, c >= 0 where asked for.
#pragma once

#include "linear_model/working_set_path.h"

namespace manyfit {

class DescentPath final : public WorkingSetPath {
 public:
  DescentPath(ColumnSource& source, int64_t target, const Context& context)
      : WorkingSetPath(source, target, 1, context) {}

 private:
  Vector pulls(const Matrix& slope) const override;
  double norm(const Matrix& coef) const override { return coef.lpNorm<1>(); }
  double update(int64_t i) override;
  void newton() override { step(); }
  int64_t sweeps_per_step(int64_t support) const override;
  void polish(const DescentSettings& settings) override;

  enum class Step { whole, part, none };
  Step step();
};

}  // namespace manyfit
