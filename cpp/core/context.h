// What a long computation is given: how many threads it may use, and somebody to ask whether to go
// on.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <thread>

namespace manyfit {

// The caller's side of a computation. `poll` runs on the calling thread, at most once in the
// interval of the context; it may throw to stop the work.
struct Monitor {
  virtual ~Monitor() = default;
  virtual void poll(const char* stage, double fraction_done) = 0;
};

class Context {
 public:
  // threads <= 0: as many as default_threads() allows.
  // poll_every: the monitor's interval; 0 asks it at every look.
  explicit Context(int threads = 0, Monitor* monitor = nullptr,
                   std::chrono::milliseconds poll_every = std::chrono::milliseconds(50));

  int threads() const { return threads_; }

  // Calls task(0) ... task(count - 1), in any order and on several threads; tasks write to separate
  // places. What a task computes must depend on its index alone: then the result has the same bits
  // for any number of threads. Rethrows the exception of the lowest task that threw. A call from
  // inside a task runs on that task's thread.
  void parallel_for(const char* stage, int64_t count,
                    const std::function<void(int64_t)>& task) const;
  // The same one after another on the calling thread, which so goes on answering Ctrl-C.
  void serial_for(const char* stage, int64_t count, const std::function<void(int64_t)>& task) const;

  // Runs `work` on a thread of its own and waits. When the caller is told to stop, the wait ends at
  // once and the thread finishes alone, so `work` must own what it touches. For calls that cannot
  // be interrupted (LAPACK) and may take long.
  void detach(const char* stage, std::function<void()> work) const;

  // Throws Cancelled, or what the monitor threw, if the work is to stop. Cheap: call it for every
  // tile.
  void check() const;

 private:
  void poll() const;

  int threads_;
  Monitor* monitor_;
  std::thread::id caller_;
  std::chrono::milliseconds poll_every_;
  mutable const char* stage_ = "";
  mutable std::chrono::steady_clock::time_point next_poll_;
  mutable std::atomic<bool> stop_{false};
  mutable std::atomic<int64_t> done_{0};
  mutable int64_t count_ = 1;
};

}  // namespace manyfit
