// Memory that runs out at a chosen moment, on whatever thread: the test program's operator new
// counts. (Eigen takes its memory from malloc, which is left alone.)
#pragma once

#include <cstdint>

namespace manyfit::testing {

// While alive, allocation number `number` from now on (0: the next) throws std::bad_alloc.
class FailingAllocation {
 public:
  explicit FailingAllocation(int64_t number);
  ~FailingAllocation();
  FailingAllocation(const FailingAllocation&) = delete;
  FailingAllocation& operator=(const FailingAllocation&) = delete;

  static bool happened();
};

}  // namespace manyfit::testing
