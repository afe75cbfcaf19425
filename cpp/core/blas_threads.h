// OpenBLAS brings threads of its own, and its answers depend on their number in the last bits.
#pragma once

#include <cstdint>

namespace manyfit {

// Where the BLAS lets its number of threads be set; both may be null.
void install_blas_threads(int (*get)(), void (*set)(int));

// While alive, BLAS and LAPACK calls on matrices of this size use one thread, so that they may run on ours and
// answer with the same bits whatever the number of threads. Large ones keep what the user set.
class BlasThreads {
 public:
  explicit BlasThreads(int64_t size);
  ~BlasThreads();
  BlasThreads(const BlasThreads&) = delete;
  BlasThreads& operator=(const BlasThreads&) = delete;

 private:
  bool limited_;
};

}  // namespace manyfit
