#include "core/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <latch>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "core/context.h"
#include "core/errors.h"
#include "patience.h"
#include "sanitized.h"

namespace manyfit::testing {
namespace {

// How often each index is taken.
std::vector<int> taken(const Context& context, int64_t count) {
  std::vector<std::atomic<int>> counts(count);
  context.parallel_for("test", count, [&](int64_t i) { ++counts[i]; });
  return {counts.begin(), counts.end()};
}

TEST(ParallelFor, TakesEveryIndexOnce) {
  within_patience([] {
    for (const int threads : {1, 2, 3, 4, 8})
      for (const int64_t count : {0, 1, 2, 3, 7, 64, 1000})
        EXPECT_EQ(taken(Context(threads), count), std::vector<int>(count, 1))
            << threads << " threads, " << count << " tasks";
  });
}

TEST(ParallelFor, UsesNoMoreThreadsThanItMay) {
  within_patience([] {
    (void)taken(Context(8), 100);  // the pool has seven helpers from here on
    for (const int threads : {1, 2, 3}) {
      std::atomic<int> inside{0}, most{0};
      Context(threads).parallel_for("test", 200, [&](int64_t) {
        const int now = ++inside;
        for (int seen = most; now > seen && !most.compare_exchange_weak(seen, now);) {
        }
        std::this_thread::yield();
        --inside;
      });
      EXPECT_LE(most, threads);
    }
  });
}

TEST(ParallelFor, ReallyRunsSeveralTasksAtOnce) {
  within_patience([] {
    std::latch all_there(3);  // three tasks that wait for each other
    Context(3).parallel_for("test", 3, [&](int64_t) { all_there.arrive_and_wait(); });
  });
}

TEST(ParallelFor, WithinATaskRunsOnTheTasksThread) {
  within_patience([] {
    for (const int threads : {1, 2, 4}) {
      const Context context(threads);
      std::vector<std::atomic<int>> counts(5 * 6 * 7);
      EXPECT_FALSE(ThreadPool::inside_task());
      context.parallel_for("outer", 5, [&](int64_t i) {
        const auto own = std::this_thread::get_id();
        context.parallel_for("middle", 6, [&](int64_t j) {
          context.parallel_for("inner", 7, [&](int64_t k) {
            EXPECT_TRUE(ThreadPool::inside_task());
            EXPECT_EQ(std::this_thread::get_id(), own);
            ++counts[(i * 6 + j) * 7 + k];
          });
          EXPECT_TRUE(ThreadPool::inside_task());
        });
      });
      EXPECT_FALSE(ThreadPool::inside_task());
      for (const auto& count : counts) EXPECT_EQ(count, 1);
    }
  });
}

TEST(ThreadPool, RunsWithinItsOwnTasks) {
  within_patience([] {
    const auto nothing = [] {};
    for (const int inner : {1, 3}) {
      std::atomic<int> ran{0}, outside{0};
      ThreadPool::instance().run(
          4, 2,
          [&](int64_t) {
            ThreadPool::instance().run(
                5, inner, [&](int64_t) { ++ran; }, nothing);
            outside += !ThreadPool::inside_task();
          },
          nothing);
      EXPECT_EQ(ran, 20);
      EXPECT_EQ(outside, 0);
      EXPECT_FALSE(ThreadPool::inside_task());
    }
  });
}

TEST(ParallelFor, ServesManyCallersAtOnce) {
  within_patience([] {
    std::vector<std::thread> callers;
    std::atomic<int> wrong{0};
    for (int c = 0; c < 16; ++c)
      callers.emplace_back([&, c] {
        for (int run = 0; run < 40; ++run) {
          const int64_t count = 1 + (c * 7 + run) % 50;
          if (taken(Context(1 + c % 4), count) != std::vector<int>(count, 1)) ++wrong;
        }
      });
    for (std::thread& caller : callers) caller.join();
    EXPECT_EQ(wrong, 0);
  });
}

TEST(ParallelFor, SurvivesAThousandRapidRuns) {
  within_patience([] {
    std::atomic<int64_t> sum{0};
    for (int run = 0; run < 1000; ++run)
      Context(4).parallel_for("test", 5, [&](int64_t i) { sum += i; });
    EXPECT_EQ(sum, 10'000);
  });
}

// Which of the throwing tasks is reported: always the lowest, however the tasks were shared out.
TEST(ParallelFor, RethrowsTheLowestTasksException) {
  within_patience([] {
    for (const int threads : {1, 2, 3, 4})
      for (int run = 0; run < 500; ++run) {
        std::latch all_there(threads);  // then they throw at the same time
        std::string message;
        try {
          Context(threads).parallel_for("test", 3 * threads, [&](int64_t i) {
            if (i < threads) return all_there.arrive_and_wait();
            throw InvalidInput("task " + std::to_string(i));
          });
        } catch (const InvalidInput& error) {
          message = error.what();
        }
        ASSERT_EQ(message, "task " + std::to_string(threads));
      }
  });
}

TEST(ParallelFor, IsUsableAfterAnException) {
  within_patience([] {
    const Context context(3);
    for (int run = 0; run < 20; ++run) {
      EXPECT_THROW(context.parallel_for("test", 10, [](int64_t) { throw std::bad_alloc(); }),
                   std::bad_alloc);
      EXPECT_FALSE(ThreadPool::inside_task());
      EXPECT_EQ(taken(context, 100), std::vector<int>(100, 1));
    }
  });
}

TEST(ParallelFor, CarriesAnExceptionOutOfANestedOne) {
  within_patience([] {
    const Context context(3);
    EXPECT_THROW(context.parallel_for("outer", 6,
                                      [&](int64_t i) {
                                        context.parallel_for("inner", 6, [&](int64_t j) {
                                          if (i == 4 && j == 5) throw InvalidInput("inner");
                                        });
                                      }),
                 InvalidInput);
    EXPECT_EQ(taken(context, 10), std::vector<int>(10, 1));
  });
}

TEST(ParallelFor, StartsNoFurtherTasksAfterAnException) {
  std::atomic<int> ran{0};
  EXPECT_THROW(Context(1).parallel_for("test", 1000,
                                       [&](int64_t i) {
                                         ++ran;
                                         if (i == 10) throw InvalidInput("stop");
                                       }),
               InvalidInput);
  EXPECT_EQ(ran, 11);
}

// 0 when a child's own pool takes every index once.
int pool_works() {
  for (const int threads : {1, 2, 4})
    if (taken(Context(threads), 100) != std::vector<int>(100, 1)) return 1;
  return 0;
}

TEST(Fork, ChildHasAPoolOfItsOwn) {
  (void)taken(Context(4), 100);
  for (int run = 0; run < 20; ++run) ASSERT_EQ(in_forked_child(pool_works), 0);
  EXPECT_EQ(in_forked_child([] { return in_forked_child(pool_works); }), 0);  // a grandchild
  EXPECT_EQ(pool_works(), 0);
}

TEST(Fork, WhileOtherThreadsAreInThePool) {
#if defined(MANYFIT_SANITIZED)
  GTEST_SKIP()
      << "the sanitizer's own allocator hangs in a child forked while other threads allocate";
#endif
  within_patience([] {
    std::atomic<bool> enough{false};
    std::vector<std::thread> callers;
    for (int c = 0; c < 3; ++c)
      callers.emplace_back([&] {
        while (!enough) (void)taken(Context(3), 20);
      });
    int failed = 0;
    for (int run = 0; run < 30; ++run) failed += in_forked_child(pool_works) != 0;
    enough = true;
    for (std::thread& caller : callers) caller.join();
    EXPECT_EQ(failed, 0);
  });
}

TEST(Fork, WithinATask) {
#if defined(MANYFIT_SANITIZED)
  GTEST_SKIP()
      << "the sanitizer's own allocator hangs in a child forked while other threads allocate";
#endif
  within_patience([] {
    std::atomic<int> failed{0};
    Context(3).parallel_for("test", 6,
                            [&](int64_t) { failed += in_forked_child(pool_works) != 0; });
    EXPECT_EQ(failed, 0);
  });
}

class ThreadLimitsTest : public ::testing::Test {
 protected:
  void SetUp() override { TearDown(); }
  void TearDown() override {
    unsetenv("MANYFIT_NUM_THREADS");
    unsetenv("OMP_NUM_THREADS");
    set_default_threads(0);
  }
};

TEST_F(ThreadLimitsTest, AreThoseOfTheProcess) {
  const ThreadLimits limits = thread_limits();
  EXPECT_GE(limits.affinity, 1);
  EXPECT_GE(limits.quota, 0);
  EXPECT_EQ(limits.environment, 0);
  EXPECT_EQ(limits.set, 0);
  EXPECT_GE(default_threads(), 1);
  EXPECT_LE(default_threads(), limits.affinity);
}

TEST_F(ThreadLimitsTest, EnvironmentLowersTheNumberAndOursMayExceedIt) {
  setenv("OMP_NUM_THREADS", "1", 1);
  EXPECT_EQ(thread_limits().environment, 1);
  EXPECT_EQ(default_threads(), 1);
  setenv("OMP_NUM_THREADS", "1000,2", 1);
  EXPECT_EQ(thread_limits().environment, 1000);
  EXPECT_LE(default_threads(), thread_limits().affinity);
  setenv("MANYFIT_NUM_THREADS", "777", 1);
  EXPECT_EQ(thread_limits().environment, 777);
  EXPECT_EQ(default_threads(), 777);
}

TEST_F(ThreadLimitsTest, NonsenseInTheEnvironmentIsNoLimit) {
  const int usual = default_threads();
  for (const char* text : {"", "many", "0", "-3", "99999999999999999999"}) {
    setenv("MANYFIT_NUM_THREADS", text, 1);
    setenv("OMP_NUM_THREADS", text, 1);
    EXPECT_EQ(thread_limits().environment, 0) << text;
    EXPECT_EQ(default_threads(), usual) << text;
  }
}

TEST_F(ThreadLimitsTest, SettingTheNumberGoesBeforeAllElse) {
  setenv("MANYFIT_NUM_THREADS", "777", 1);
  set_default_threads(5);
  EXPECT_EQ(thread_limits().set, 5);
  EXPECT_EQ(default_threads(), 5);
  EXPECT_EQ(Context().threads(), 5);
  EXPECT_EQ(Context(2).threads(), 2);
  set_default_threads(-1);
  EXPECT_EQ(thread_limits().set, 0);
  EXPECT_EQ(default_threads(), 777);
}

}  // namespace
}  // namespace manyfit::testing
