// Waits that end: a deadlock fails its test instead of holding up the others.
#pragma once

#include <chrono>
#include <functional>

#include "core/context.h"

namespace manyfit::testing {

inline constexpr auto kPatience = std::chrono::seconds(60);

// Runs `body` on a thread of its own and waits for its end. One that does not come cannot be taken
// back: the test program then says so and aborts.
void within_patience(const std::function<void()>& body);

// Runs `body` in a forked child; returns its exit status (`body`'s result), or -1 for a child that
// was killed by a signal or had to be.
int in_forked_child(const std::function<int()>& body);

struct Stop {};  // what the monitors below throw

// Counts its calls, and throws Stop at number `patience`.
class CountingMonitor : public Monitor {
 public:
  explicit CountingMonitor(int patience) : patience_(patience) {}
  void poll(const char*, double) override {
    if (++calls_ >= patience_) throw Stop();
  }
  int calls() const { return calls_; }

 private:
  int patience_;
  int calls_ = 0;
};

// A context whose monitor throws Stop when the calling thread looks up for the `patience`-th time.
class ImpatientContext {
 public:
  explicit ImpatientContext(int threads, int patience = 1);
  operator const Context&() const { return context_; }
  const Context& get() const { return context_; }

 private:
  CountingMonitor monitor_;
  Context context_;
};

}  // namespace manyfit::testing
