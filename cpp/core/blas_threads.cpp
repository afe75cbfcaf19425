#include "core/blas_threads.h"

#include <cstdlib>
#include <mutex>
#include <new>

#include "core/linalg.h"
#include "core/per_process.h"

namespace manyfit {
namespace {

int (*get_threads)() = nullptr;
void (*set_threads)(int) = nullptr;

// OpenBLAS takes one for each thread that is inside it, and keeps it for later calls.
constexpr size_t kBufferBytes = (size_t{33} << 20);

struct Calls {
  std::mutex mutex;
  // The setting belongs to the process: the first of several calls at once lowers it, the last
  // restores it.
  int limited = 0;
  int before = 0;
  int threads = 0;  // inside BLAS now
  int buffers = 0;  // taken so far

  // Makes sure that OpenBLAS will find the memory it is about to ask for.
  void require_buffers(int wanted) {
    if (wanted <= buffers) return;
    void* probe = std::malloc(kBufferBytes * static_cast<size_t>(wanted - buffers));
    if (probe == nullptr) throw std::bad_alloc();
    std::free(probe);
    buffers = wanted;
  }
};

}  // namespace

void install_blas_threads(int (*get)(), void (*set)(int)) {
  get_threads = get;
  set_threads = set;
}

BlasThreads::BlasThreads(int64_t size)
    : limited_(get_threads != nullptr && set_threads != nullptr && size < kLargeMatrix),
      threads_(1) {
  if (!limited_ && get_threads != nullptr) threads_ += get_threads();
  Calls& calls = per_process<Calls>();
  const std::lock_guard lock(calls.mutex);
  calls.require_buffers(calls.threads + threads_);
  calls.threads += threads_;
  if (!limited_ || calls.limited++ > 0) return;
  calls.before = get_threads();
  if (calls.before != 1) set_threads(1);
}

BlasThreads::~BlasThreads() {
  Calls& calls = per_process<Calls>();
  const std::lock_guard lock(calls.mutex);
  calls.threads -= threads_;
  if (limited_ && --calls.limited == 0 && calls.before != 1) set_threads(calls.before);
}

}  // namespace manyfit
