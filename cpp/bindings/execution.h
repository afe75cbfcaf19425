// The one place where a computation leaves Python.
#pragma once

#include <pybind11/pybind11.h>

#include <utility>

#include "core/context.h"

namespace manyfit::bindings {

namespace py = pybind11;

// How a call runs: on how many threads (0: the default), and what it tells of its progress.
struct Execution {
  int threads = 0;
  py::object progress;  // callable(stage: str, fraction: float) or None
};

// Runs `work(context)` without the GIL. About every 50 ms the calling thread takes it to answer
// signals (so that Ctrl-C raises KeyboardInterrupt) and to report progress. Take views before; make
// arrays after.
template <class Work>
auto run(const Execution& execution, Work&& work) {
  struct PythonMonitor : Monitor {
    const Execution& execution;
    explicit PythonMonitor(const Execution& e) : execution(e) {}
    void poll(const char* stage, double fraction_done) override {
      const py::gil_scoped_acquire gil;
      if (PyErr_CheckSignals() != 0) throw py::error_already_set();
      if (!execution.progress.is_none()) execution.progress(stage, fraction_done);
    }
  };
  PythonMonitor monitor(execution);
  const py::gil_scoped_release no_gil;
  const Context context(execution.threads, &monitor);
  return work(context);
}

}  // namespace manyfit::bindings
