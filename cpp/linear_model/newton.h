// How a job of Newton's method ended.
#pragma once

namespace manyfit {

enum class NewtonStatus {
  converged = 0,
  stopped = 1,  // iterations used up
  failed = 2,   // singular, without a minimum, or beyond the precision of the data's type
};

}  // namespace manyfit
