#include "patience.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <future>
#include <thread>

namespace manyfit::testing {

void within_patience(const std::function<void()>& body) {
  std::promise<void> promise;
  std::future<void> ended = promise.get_future();
  std::thread thread([&] {
    try {
      body();
      promise.set_value();
    } catch (...) {
      promise.set_exception(std::current_exception());
    }
  });
  if (ended.wait_for(kPatience) != std::future_status::ready) {
    std::fprintf(stderr, "the test did not end: deadlock\n");
    std::abort();
  }
  thread.join();
  ended.get();
}

int in_forked_child(const std::function<int()>& body) {
  int ends[2];  // the child's death closes the pipe
  if (pipe(ends) != 0) throw std::runtime_error("pipe failed");
  const pid_t child = fork();
  if (child < 0) throw std::runtime_error("fork failed");
  if (child == 0) {
    close(ends[0]);
    int status = 99;
    try {
      status = body();
    } catch (...) {
    }
    _exit(status);
  }
  close(ends[1]);
  pollfd death{ends[0], POLLIN, 0};
  // Less than a whole test may take, so that it is the child that is found to hang.
  const auto wait = std::chrono::duration_cast<std::chrono::milliseconds>(kPatience) / 3;
  if (poll(&death, 1, static_cast<int>(wait.count())) == 0) kill(child, SIGKILL);
  int status = 0;
  waitpid(child, &status, 0);
  close(ends[0]);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

ImpatientContext::ImpatientContext(int threads, int patience)
    : monitor_(patience), context_(threads, &monitor_, std::chrono::milliseconds(0)) {}

}  // namespace manyfit::testing
