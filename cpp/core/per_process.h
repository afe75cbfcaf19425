// State that belongs to a process: a forked child must trust neither its parent's locks nor its
// threads.
#pragma once

#include <atomic>

#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
#endif

namespace manyfit {

inline int process_id() {
#if defined(__unix__) || defined(__APPLE__)
  return static_cast<int>(getpid());
#else
  return 0;
#endif
}

// The T of this process, made on first use. It lives until the process ends; a child's own takes
// the place of its parent's, which is forgotten.
template <class T>
T& per_process() {
  struct Owned {
    int process = process_id();
    T value;
  };
  static std::atomic<Owned*> current{nullptr};
  Owned* seen = current.load();
  while (seen == nullptr || seen->process != process_id()) {
    auto* fresh = new Owned();
    if (current.compare_exchange_strong(seen, fresh)) return fresh->value;
    delete fresh;
  }
  return seen->value;
}

}  // namespace manyfit
