// The CUDA module: the kernels of device="cuda". It loads without a driver; what needs one says so.
#include "bindings/cuda/array.h"
#include "bindings/errors.h"
#if defined(MANYFIT_SIMULATED_DEVICE)
#include "core/device_simulated.h"
#endif

namespace {

namespace py = pybind11;
using namespace manyfit;
using bindings::Execution;

py::dict facts(int index) {
  Device& device = Device::at(index);
  const DeviceFacts& known = device.facts();
  return py::dict(py::arg("name") = known.name, py::arg("major") = known.major,
                  py::arg("minor") = known.minor, py::arg("memory") = known.memory,
                  py::arg("free") = device.free_memory(),
                  py::arg("multiprocessors") = known.multiprocessors,
                  py::arg("driver") = known.driver, py::arg("runtime") = known.runtime);
}

}  // namespace

PYBIND11_MODULE(_cuda, m, py::mod_gil_not_used()) {
  m.doc() = "manyfit's CUDA kernels; not a public interface.";
  py::register_local_exception_translator(manyfit::bindings::translate);
  m.attr("build") = MANYFIT_CUDA_BUILD;
  m.def("device_count", &device_count);
  m.def("facts", &facts, py::arg("device"));
  py::class_<Execution>(m, "Execution", py::module_local())
      .def(py::init([](int threads, py::object progress) {
             return Execution{threads, std::move(progress)};
           }),
           py::arg("threads") = 0, py::arg("progress") = py::none());
  m.def(
      "synchronize",
      [](int device, const Execution& execution) {
        Device& at = Device::at(device);
        manyfit::bindings::run(execution, [&](const Context& context) {
          at.synchronize(context);
          return 0;
        });
      },
      py::arg("device"), py::arg("execution"));
  manyfit::bindings::bind_arrays(m);
  manyfit::bindings::bind_folds(m);
  manyfit::bindings::bind_fold_gram(m);
  manyfit::bindings::bind_logistic(m);
  manyfit::bindings::bind_linear_model(m);
  manyfit::bindings::bind_coordinate_descent(m);
#if defined(MANYFIT_SIMULATED_DEVICE)
  m.attr("simulated") = true;
  m.def("set_simulated_memory", &set_simulated_memory, py::arg("bytes"));
  m.def("simulated_memory_used", &simulated_memory_used);
  m.def("simulated_launches", &simulated_launches);
  m.def("simulated_downloads", &simulated_downloads);
#else
  m.attr("simulated") = false;
#endif
}
