#include "linear_model/coordinate_descent_path.h"

#include <algorithm>
#include <cmath>

namespace manyfit {
namespace {

constexpr int kPolishSteps = 60;
// A Newton step, size^3 / 3, costs as much as size^2 / (12 columns) sweeps of size * columns, for
// it runs in blocks.
constexpr int64_t kStepShare = 12;

double shrunk(double value, double l1, bool positive) {
  if (positive) return std::max(value - l1, 0.0);
  return value > l1 ? value - l1 : (value < -l1 ? value + l1 : 0.0);
}

}  // namespace

Eigen::VectorXd DescentPath::pulls(const Matrix& slope) const {
  if (positive_) return slope.col(0);
  return slope.col(0).cwiseAbs();
}

double DescentPath::update(int64_t i) {
  double* const g = g_.data();
  const double old = w_(i, 0), square = diagonal_(i);
  const double now = shrunk(g[i] + old * square, l1_, positive_) / (square + l2_);
  const double step = now - old;
  if (step == 0) return 0;
  w_(i, 0) = now;
  const double* const column = source_.gram.data() + i * source_.gram.rows();
  const int64_t size = g_.rows();
  for (int64_t r = 0; r < size; ++r) g[r] -= step * column[r];
  return step * step * (square + l2_);
}

int64_t DescentPath::sweeps_per_step(int64_t support) const {
  return support * support / (kStepShare * w_.rows());
}

// Newton steps until a sweep finds nothing to do.
void DescentPath::polish(const DescentSettings& settings) {
  for (int i = 0; i < kPolishSteps; ++i) {
    context_.check();
    const Step taken = step();
    if (taken == Step::whole) step();  // refines what rounding left
    if (sweep(settings) <= kRounding * square_ && taken != Step::part) return;
  }
}

}  // namespace manyfit
