#include "core/context.h"

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <system_error>

#include "core/errors.h"
#include "core/thread_pool.h"

namespace manyfit {
namespace {

// Keeps the exception of the lowest task that failed.
class FirstError {
 public:
  explicit FirstError(int64_t tasks) : tasks_(tasks), index_(tasks) {}

  template <class F>
  void guard(int64_t index, F work) {
    try {
      work();
    } catch (const Cancelled&) {  // a consequence: what stopped the work goes before it
      store(tasks_);
    } catch (...) {
      store(index);
    }
  }
  // Tasks after one that failed need not begin. Those before it must: one of them may fail too.
  bool precedes(int64_t index) const { return index_.load(std::memory_order_relaxed) < index; }
  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  void store(int64_t index) {
    const std::lock_guard lock(mutex_);
    if (error_ && index >= index_) return;
    index_ = index;
    error_ = std::current_exception();
  }

  int64_t tasks_;
  std::atomic<int64_t> index_;
  std::mutex mutex_;
  std::exception_ptr error_;
};

}  // namespace

Context::Context(int threads, Monitor* monitor, std::chrono::milliseconds poll_every)
    : threads_(threads > 0 ? threads : default_threads()),
      monitor_(monitor),
      caller_(std::this_thread::get_id()),
      poll_every_(poll_every),
      next_poll_(std::chrono::steady_clock::now() + poll_every) {}

void Context::check() const {
  if (stop_.load(std::memory_order_relaxed)) throw Cancelled();
  if (monitor_ != nullptr && std::this_thread::get_id() == caller_) poll();
}

void Context::poll() const {
  const auto now = std::chrono::steady_clock::now();
  if (now < next_poll_) return;
  next_poll_ = now + poll_every_;
  try {
    monitor_->poll(stage_, static_cast<double>(done_) / static_cast<double>(count_));
  } catch (...) {
    stop_ = true;
    throw;
  }
}

void Context::parallel_for(const char* stage, int64_t count,
                           const std::function<void(int64_t)>& task) const {
  if (count <= 0) return;
  if (ThreadPool::inside_task()) {
    for (int64_t i = 0; i < count; ++i) task(i);
    return;
  }
  stage_ = stage;
  count_ = count;
  done_ = 0;
  FirstError error(count);
  const auto guarded = [&](int64_t i) {
    if (error.precedes(i)) return;
    error.guard(i, [&] {
      check();
      task(i);
    });
    ++done_;
  };
  ThreadPool::instance().run(count, threads_, guarded, [&] { error.guard(-1, [&] { check(); }); });
  error.rethrow();
}

void Context::serial_for(const char* stage, int64_t count,
                         const std::function<void(int64_t)>& task) const {
  if (!ThreadPool::inside_task()) {
    stage_ = stage;
    count_ = std::max<int64_t>(count, 1);
    done_ = 0;
  }
  for (int64_t i = 0; i < count; ++i) {
    check();
    task(i);
    if (!ThreadPool::inside_task()) ++done_;
  }
}

void Context::detach(const char* stage, std::function<void()> work) const {
  struct State {
    std::function<void()> work;
    std::mutex mutex;
    std::condition_variable changed;
    bool finished = false;
    std::exception_ptr error;
  };
  if (monitor_ == nullptr || std::this_thread::get_id() != caller_) return work();
  stage_ = stage;
  const auto state = std::make_shared<State>();
  state->work = std::move(work);
  try {
    std::thread([state] {
      std::exception_ptr error;
      try {
        state->work();
      } catch (...) {
        error = std::current_exception();
      }
      const std::lock_guard lock(state->mutex);
      state->error = error;
      state->finished = true;
      state->changed.notify_all();
    }).detach();
  } catch (const std::system_error&) {  // no thread to be had: do it here
    return state->work();
  }
  std::unique_lock lock(state->mutex);
  while (!state->changed.wait_for(lock, poll_every_, [&] { return state->finished; })) {
    lock.unlock();
    check();
    lock.lock();
  }
  if (state->error) std::rethrow_exception(state->error);
}

}  // namespace manyfit
