// One pool of threads for the process, made on first use and made anew in a forked child.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

namespace manyfit {

// The bounds on the number of threads; 0 where there is none.
struct ThreadLimits {
  int affinity = 0;     // CPUs this process may run on
  int quota = 0;        // CPUs its control group may use, rounded up
  int environment = 0;  // MANYFIT_NUM_THREADS, else OMP_NUM_THREADS
  int set = 0;          // by set_default_threads
};
ThreadLimits thread_limits();

// The smallest of the limits, at least 1. MANYFIT_NUM_THREADS may exceed the others.
int default_threads();

// 0 takes the limit away.
void set_default_threads(int threads);

class ThreadPool {
 public:
  ThreadPool();
  static ThreadPool& instance();

  // True on a thread that is running a task of some run().
  static bool inside_task();

  // Runs task(0) ... task(count - 1) on up to `threads` threads, the calling one among them;
  // returns when all have ended. The caller runs `while_waiting` about every 50 ms while it waits
  // for others. Neither may throw.
  void run(int64_t count, int threads, const std::function<void(int64_t)>& task,
           const std::function<void()>& while_waiting);

 private:
  struct State;
  void ensure_workers(int workers);

  std::shared_ptr<State> state_;
};

}  // namespace manyfit
