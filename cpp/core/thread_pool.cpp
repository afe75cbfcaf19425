#include "core/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <fstream>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#if defined(__linux__)
#include <sched.h>
#endif

#include "core/per_process.h"

namespace manyfit {
namespace {

thread_local bool running_task = false;
std::atomic<int> threads_set{0};

// This thread runs a task; after one that was run within another it still does.
class TaskMark {
 public:
  TaskMark() : before_(std::exchange(running_task, true)) {}
  ~TaskMark() { running_task = before_; }
  TaskMark(const TaskMark&) = delete;
  TaskMark& operator=(const TaskMark&) = delete;

 private:
  bool before_;
};

int affinity_count() {
#if defined(__linux__)
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return CPU_COUNT(&set);
#endif
  return static_cast<int>(std::thread::hardware_concurrency());
}

// Control group v2 ("max 100000" or "150000 100000"), then v1; read once, as containers fix it at
// start.
int quota_count() {
  static const int count = [] {
    const auto rounded = [](double quota, double period) {
      return quota > 0 && period > 0 ? std::max(1, static_cast<int>((quota + period - 1) / period))
                                     : 0;
    };
    if (std::ifstream v2("/sys/fs/cgroup/cpu.max"); v2) {
      std::string quota;
      double period = 0;
      v2 >> quota >> period;
      return quota == "max" ? 0 : rounded(std::atof(quota.c_str()), period);
    }
    double quota = 0;
    double period = 0;
    std::ifstream("/sys/fs/cgroup/cpu/cpu.cfs_quota_us") >> quota;
    std::ifstream("/sys/fs/cgroup/cpu/cpu.cfs_period_us") >> period;
    return rounded(quota, period);
  }();
  return count;
}

int environment_count(const char* name) {
  const char* text = std::getenv(name);
  if (text == nullptr) return 0;
  int count = 0;
  const auto [end, error] = std::from_chars(text, text + std::strlen(text), count);
  return error == std::errc() && count > 0 ? count
                                           : 0;  // OpenMP allows lists ("4,2"): the first counts
}

}  // namespace

ThreadLimits thread_limits() {
  const int own = environment_count("MANYFIT_NUM_THREADS");
  return {affinity_count(), quota_count(), own > 0 ? own : environment_count("OMP_NUM_THREADS"),
          threads_set};
}

int default_threads() {
  if (const int set = threads_set; set > 0) return set;
  if (const int own = environment_count("MANYFIT_NUM_THREADS"); own > 0) return own;
  const ThreadLimits limits = thread_limits();
  int threads = std::max(1, limits.affinity);
  for (const int limit : {limits.quota, limits.environment})
    if (limit > 0) threads = std::min(threads, limit);
  return threads;
}

void set_default_threads(int threads) { threads_set = std::max(0, threads); }

// One call of run(). Kept alive by the tickets of helpers that come late; those find no index left
// and touch nothing else.
struct Run {
  int64_t count;
  const std::function<void(int64_t)>* task;
  std::atomic<int64_t> next{0};
  std::atomic<int64_t> ended{0};
  std::mutex mutex;
  std::condition_variable all_ended;

  void work() {
    const TaskMark mark;
    for (int64_t i; (i = next.fetch_add(1)) < count;) {
      (*task)(i);
      if (ended.fetch_add(1) + 1 == count) {
        const std::lock_guard lock(mutex);
        all_ended.notify_all();
      }
    }
  }
};

struct ThreadPool::State {
  std::mutex mutex;
  std::condition_variable ticket_came;
  std::deque<std::shared_ptr<Run>> tickets;
  int workers = 0;
};

ThreadPool::ThreadPool() : state_(std::make_shared<State>()) {}

ThreadPool& ThreadPool::instance() { return per_process<ThreadPool>(); }

bool ThreadPool::inside_task() { return running_task; }

void ThreadPool::ensure_workers(int workers) {
  const std::lock_guard lock(state_->mutex);
  while (state_->workers < workers) {
    try {
      std::thread([state = state_] {
        for (;;) {
          std::shared_ptr<Run> run;
          {
            std::unique_lock wait(state->mutex);
            state->ticket_came.wait(wait, [&] { return !state->tickets.empty(); });
            run = std::move(state->tickets.front());
            state->tickets.pop_front();
          }
          run->work();
        }
      }).detach();
    } catch (const std::system_error&) {
      return;  // the system has no more threads to give: fewer do the same work
    }
    ++state_->workers;
  }
}

void ThreadPool::run(int64_t count, int threads, const std::function<void(int64_t)>& task,
                     const std::function<void()>& while_waiting) {
  const int helpers = static_cast<int>(std::min<int64_t>(threads, count)) - 1;
  if (helpers <= 0) {
    const TaskMark mark;
    for (int64_t i = 0; i < count; ++i) task(i);
    return;
  }
  ensure_workers(helpers);
  const auto run = std::make_shared<Run>();
  run->count = count;
  run->task = &task;
  {
    const std::lock_guard lock(state_->mutex);
    state_->tickets.insert(state_->tickets.end(), helpers, run);  // all or, where memory ends, none
  }
  state_->ticket_came.notify_all();
  run->work();
  std::unique_lock lock(run->mutex);
  while (!run->all_ended.wait_for(lock, std::chrono::milliseconds(50),
                                  [&] { return run->ended == count; })) {
    lock.unlock();
    while_waiting();
    lock.lock();
  }
}

}  // namespace manyfit
