// OpenBLAS brings threads of its own, its answers depend on their number in the last bits, and
// where it has no memory for a work buffer it tries again for ever.
#pragma once

#include <cstdint>

namespace manyfit {

// Where the BLAS lets its number of threads be set; both may be null.
void install_blas_threads(int (*get)(), void (*set)(int));

// Alive around every call of BLAS and LAPACK. On matrices below kLargeMatrix they use one thread,
// so that they may run on ours and answer with the same bits whatever the number of threads; large
// ones keep what the user set. Throws std::bad_alloc where there is no memory for the work buffers.
class BlasThreads {
 public:
  explicit BlasThreads(int64_t size);
  ~BlasThreads();
  BlasThreads(const BlasThreads&) = delete;
  BlasThreads& operator=(const BlasThreads&) = delete;

 private:
  bool limited_;
  int threads_;
};

}  // namespace manyfit
