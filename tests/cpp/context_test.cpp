#include "core/context.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <latch>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/errors.h"
#include "patience.h"

namespace manyfit::testing {
namespace {

TEST(Context, WithoutAMonitorNothingStopsTheWork) {
  const Context context(2);
  for (int i = 0; i < 1000; ++i) EXPECT_NO_THROW(context.check());
}

// Looks up until it is told to stop.
[[noreturn]] void work_for_ever(const Context& context) {
  for (;;) context.check();
}

TEST(Context, MonitorsExceptionStopsTheWork) {
  within_patience([] {
    for (const int threads : {1, 2, 3, 4}) {
      CountingMonitor monitor(2);
      const Context context(threads, &monitor);
      std::atomic<int> ran{0};
      EXPECT_THROW(context.parallel_for("test", 1'000'000,
                                        [&](int64_t) {
                                          ++ran;
                                          work_for_ever(context);
                                        }),
                   Stop);
      EXPECT_LE(ran, threads);
      EXPECT_EQ(monitor.calls(), 2);
      EXPECT_THROW(context.check(), Cancelled);  // and it stays stopped
      EXPECT_THROW(context.parallel_for("test", 10, [](int64_t) {}), Cancelled);
    }
    std::atomic<int> ran{0};
    Context(4).parallel_for("test", 100, [&](int64_t) { ++ran; });
    EXPECT_EQ(ran, 100);
  });
}

// A task of lower index sees no more than that the work was stopped: why is for the monitor to say.
TEST(Context, MonitorsExceptionGoesBeforeItsConsequences) {
  within_patience([] {
    CountingMonitor monitor(1);
    const Context context(2, &monitor);
    const auto caller = std::this_thread::get_id();
    std::latch helper_is_there(1);
    std::atomic<bool> first{true};
    EXPECT_THROW(context.parallel_for("test", 1000,
                                      [&](int64_t) {
                                        if (std::this_thread::get_id() != caller)
                                          helper_is_there.count_down();
                                        else if (first.exchange(false))
                                          return helper_is_there.wait();  // so ours come later
                                        work_for_ever(context);
                                      }),
                 Stop);
  });
}

// The caller has nothing left to do and waits for the last task.
TEST(Context, MonitorIsAskedWhileTheCallerWaits) {
  within_patience([] {
    CountingMonitor monitor(2);
    const Context context(2, &monitor);
    const auto caller = std::this_thread::get_id();
    std::latch helper_is_there(1);
    EXPECT_THROW(context.parallel_for("test", 2,
                                      [&](int64_t) {
                                        if (std::this_thread::get_id() == caller)
                                          return helper_is_there.wait();
                                        helper_is_there.count_down();
                                        work_for_ever(context);
                                      }),
                 Stop);
    EXPECT_EQ(monitor.calls(), 2);
  });
}

struct Call {
  std::thread::id thread;
  std::string stage;
  double fraction;
};

TEST(Context, MonitorHearsOnTheCallersThreadHowFarTheStageHasCome) {
  within_patience([] {
    struct Recorder : Monitor {
      std::vector<Call> calls;
      void poll(const char* stage, double fraction) override {
        calls.push_back({std::this_thread::get_id(), stage, fraction});
      }
    } recorder;
    const Context context(3, &recorder);
    for (const char* stage : {"first", "second"}) {
      const size_t before = recorder.calls.size();
      // Tasks go on until the monitor has heard of the stage; there is always one left to be asked
      // about.
      std::atomic<bool> heard{false};
      const auto caller = std::this_thread::get_id();
      context.parallel_for(stage, 1'000'000, [&](int64_t) {
        while (!heard) {
          context.check();
          if (std::this_thread::get_id() == caller && recorder.calls.size() > before) heard = true;
        }
      });
    }
    ASSERT_GE(recorder.calls.size(), 2u);
    EXPECT_EQ(recorder.calls.front().stage, "first");
    EXPECT_EQ(recorder.calls.back().stage, "second");
    for (const Call& call : recorder.calls) {
      EXPECT_EQ(call.thread, std::this_thread::get_id());
      EXPECT_GE(call.fraction, 0);
      EXPECT_LE(call.fraction, 1);
    }
    for (size_t i = 1; i < recorder.calls.size(); ++i)
      if (recorder.calls[i].stage == recorder.calls[i - 1].stage) {
        EXPECT_GE(recorder.calls[i].fraction, recorder.calls[i - 1].fraction);
      }
  });
}

TEST(Detach, WithoutAMonitorRunsHere) {
  std::thread::id ran_on;
  Context(2).detach("test", [&] { ran_on = std::this_thread::get_id(); });
  EXPECT_EQ(ran_on, std::this_thread::get_id());
}

TEST(Detach, WithAMonitorRunsOnAThreadOfItsOwnAndIsWaitedFor) {
  within_patience([] {
    CountingMonitor monitor(1'000'000);
    const Context context(2, &monitor);
    const auto ran_on = std::make_shared<std::thread::id>();
    context.detach("test", [ran_on] { *ran_on = std::this_thread::get_id(); });
    EXPECT_NE(*ran_on, std::thread::id());
    EXPECT_NE(*ran_on, std::this_thread::get_id());
  });
}

TEST(Detach, WithinATaskOfAnotherThreadRunsThere) {
  within_patience([] {
    CountingMonitor monitor(1'000'000);
    const Context context(2, &monitor);
    const auto caller = std::this_thread::get_id();
    std::latch both(2);
    std::atomic<bool> there{false};
    context.parallel_for("test", 2, [&](int64_t) {
      both.arrive_and_wait();
      const auto own = std::this_thread::get_id();
      if (own != caller) context.detach("test", [&] { there = std::this_thread::get_id() == own; });
    });
    EXPECT_TRUE(there);
  });
}

TEST(Detach, PassesTheWorksExceptionOn) {
  within_patience([] {
    CountingMonitor monitor(1'000'000);
    EXPECT_THROW(Context(2, &monitor).detach("test", [] { throw InvalidInput("inside"); }),
                 InvalidInput);
    EXPECT_THROW(Context(2).detach("test", [] { throw InvalidInput("inside"); }), InvalidInput);
  });
}

// What a cancelled computation leaves behind lives as long as it needs, and no longer.
TEST(Detach, CancelledWaitEndsAtOnceAndTheWorkKeepsWhatItOwns) {
  struct Owned {
    std::latch may_end{1};
    std::promise<int> result;
    std::vector<int> data = std::vector<int>(1000, 7);
    std::shared_ptr<std::latch> destroyed = std::make_shared<std::latch>(1);
    ~Owned() { destroyed->count_down(); }
  };
  within_patience([] {
    auto owned = std::make_shared<Owned>();
    const std::weak_ptr<Owned> watched = owned;
    std::future<int> result = owned->result.get_future();
    {
      CountingMonitor monitor(1);
      const Context context(2, &monitor);
      EXPECT_THROW(context.detach("test",
                                  [owned = std::move(owned)] {
                                    owned->may_end.wait();
                                    owned->result.set_value(owned->data[999]);
                                  }),
                   Stop);
    }  // the caller's context and monitor are gone, the work is not
    std::shared_ptr<Owned> still = watched.lock();
    ASSERT_NE(still, nullptr);
    const std::shared_ptr<std::latch> destroyed = still->destroyed;
    still->may_end.count_down();
    EXPECT_EQ(result.get(), 7);
    still.reset();
    destroyed->wait();
  });
}

}  // namespace
}  // namespace manyfit::testing
