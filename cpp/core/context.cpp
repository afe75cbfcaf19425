#include "core/context.h"

#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <system_error>

#include "core/errors.h"
#include "core/thread_pool.h"

namespace manyfit {
namespace {

constexpr auto kPollEvery = std::chrono::milliseconds(50);

// The exception of the lowest task that failed.
class FirstError {
 public:
  void store(int64_t index, std::exception_ptr error) {
    const std::lock_guard lock(mutex_);
    if (!error_ || index < index_) {
      index_ = index;
      error_ = std::move(error);
    }
  }
  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  std::mutex mutex_;
  int64_t index_ = 0;
  std::exception_ptr error_;
};

}  // namespace

Context::Context(int threads, Monitor* monitor)
    : threads_(threads > 0 ? threads : default_threads()),
      monitor_(monitor),
      caller_(std::this_thread::get_id()),
      next_poll_(std::chrono::steady_clock::now() + kPollEvery) {}

void Context::check() const {
  if (stop_.load(std::memory_order_relaxed)) throw Cancelled();
  if (monitor_ != nullptr && std::this_thread::get_id() == caller_) poll();
}

void Context::poll() const {
  const auto now = std::chrono::steady_clock::now();
  if (now < next_poll_) return;
  next_poll_ = now + kPollEvery;
  try {
    monitor_->poll(stage_, static_cast<double>(done_) / static_cast<double>(count_));
  } catch (...) {
    stop_ = true;
    throw;
  }
}

void Context::parallel_for(const char* stage, int64_t count, const std::function<void(int64_t)>& task) const {
  if (count <= 0) return;
  if (ThreadPool::inside_task()) {
    for (int64_t i = 0; i < count; ++i) task(i);
    return;
  }
  stage_ = stage;
  count_ = count;
  done_ = 0;
  FirstError error;
  std::atomic<bool> failed{false};
  const auto guarded = [&](int64_t i) {
    if (failed.load(std::memory_order_relaxed)) return;
    try {
      check();
      task(i);
    } catch (...) {
      failed = true;
      error.store(i, std::current_exception());
    }
    ++done_;
  };
  ThreadPool::instance().run(count, threads_, guarded, [&] {
    try {
      check();
    } catch (...) {
      failed = true;
      error.store(-1, std::current_exception());
    }
  });
  error.rethrow();
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
  while (!state->changed.wait_for(lock, kPollEvery, [&] { return state->finished; })) {
    lock.unlock();
    check();
    lock.lock();
  }
  if (state->error) std::rethrow_exception(state->error);
}

}  // namespace manyfit
