// Huber's objective (huber.h) along a line: residuals r - t u, coefficients c + t v, t >= 0, and
// for each t the best sigma. Rows lie in the folds' order. A value costs one read of r and u for
// each of the few steps to sigma.
#pragma once

#include <cstdint>
#include <vector>

#include "core/context.h"
#include "core/folds.h"

namespace manyfit {

// Targets and weights in the folds' order, cut into chunks within atoms.
struct HuberRows {
  struct Chunk {
    int64_t atom, begin, end;
  };
  const Folds* folds = nullptr;
  std::vector<double> targets, weights;
  std::vector<Chunk> chunks;

  void cut();
};

struct HuberLine {
  const HuberRows* rows = nullptr;
  int64_t split = 0;
  double epsilon = 1.35;
  double least_scale = 0;
  const double* residual = nullptr;  // r
  const double* change = nullptr;    // u
  double penalty_slope = 0;          // 2 alpha c'v
  double penalty_curvature = 0;      // 2 alpha v'v
};

struct HuberPoint {
  double length;  // t
  double scale;
};

// Where F is least along the line, up to a tenth of its slope at 0; length 0 where it does not
// fall. `scale` is where to begin with sigma.
HuberPoint huber_search(const HuberLine& line, double scale, const Context& context);

}  // namespace manyfit
