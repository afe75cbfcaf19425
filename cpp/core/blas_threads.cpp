#include "core/blas_threads.h"

#include <mutex>

#include "core/linalg.h"

namespace manyfit {
namespace {

int (*get_threads)() = nullptr;
void (*set_threads)(int) = nullptr;

// The setting belongs to the process: the first of several fits at once lowers it, the last restores it.
std::mutex mutex;
int users = 0;
int before = 0;

}  // namespace

void install_blas_threads(int (*get)(), void (*set)(int)) {
  get_threads = get;
  set_threads = set;
}

BlasThreads::BlasThreads(int64_t size)
    : limited_(get_threads != nullptr && set_threads != nullptr && size < kLargeMatrix) {
  if (!limited_) return;
  const std::lock_guard lock(mutex);
  if (users++ > 0) return;
  before = get_threads();
  if (before != 1) set_threads(1);
}

BlasThreads::~BlasThreads() {
  if (!limited_) return;
  const std::lock_guard lock(mutex);
  if (--users == 0 && before != 1) set_threads(before);
}

}  // namespace manyfit
