#include <pybind11/stl.h>

#include <optional>
#include <utility>

#include "bindings/cuda/array.h"
#include "linear_model/logistic_passes_cuda.h"
#include "linear_model/logistic_port.h"

namespace manyfit::bindings {
namespace {

using Numbers = py::array_t<double, py::array::c_style | py::array::forcecast>;

// Passes over rows on a device, with all that they look at.
struct Passes {
  py::object X;  // an Array, or one of NumPy whose rows are streamed
  Order order;   // of those
  Array codes;
  py::object folds;  // a Folds of this module
  Array w;
  std::unique_ptr<LogisticPasses> passes;
  std::unique_ptr<LogisticServer> server;
};

std::shared_ptr<Passes> passes_of(const py::object& X, const Array& codes, const py::object& w,
                                  const py::object& folds, int64_t n_classes, bool fit_intercept,
                                  const Numbers& class_weights, const Execution& execution,
                                  const std::optional<Order>& given_order) {
  const auto& atoms = py::cast<const DeviceFolds&>(folds);
  auto result = std::make_shared<Passes>();
  result->X = X;
  if (given_order) result->order = *given_order;
  const Order& order = result->order;
  result->codes = codes;
  result->folds = folds;
  if (!w.is_none()) result->w = py::cast<Array>(w);
  if (n_classes < 2) throw InvalidInput("n_classes must be at least 2");
  if (class_weights.ndim() != 2 || class_weights.shape(1) != n_classes)
    throw InvalidInput("class_weights must suit n_classes");
  const Device* others[] = {codes.device, w.is_none() ? codes.device : result->w.device};
  for (const Device* other : others)
    if (other != &atoms.device())
      throw InvalidInput("X, codes, sample_weight and folds must lie on one device");
  const auto make = [&]<class T>(const MatrixView<const T>& x, bool on_host) {
    const VectorView<const int64_t> labels = device_vector<int64_t>(codes, "codes");
    VectorView<const T> weights;
    if (!w.is_none()) weights = device_vector<T>(result->w, "sample_weight");
    if (labels.size != x.rows || atoms.n_rows != x.rows || (!w.is_none() && weights.size != x.rows))
      throw InvalidInput("codes, sample_weight and folds must have as many rows as X (" +
                         std::to_string(x.rows) + ")");
    if (on_host) require_order(order, atoms, x.rows);
    const int64_t table = class_weights.shape(0);
    const double* const by_class = class_weights.data();
    const int64_t* const positions = order.size() == 0 ? nullptr : order.data();
    result->passes = run(execution, [&](const Context& context) {
      if (on_host)
        return logistic_passes_streamed_cuda<T>(x, positions, labels, weights, atoms, n_classes,
                                                fit_intercept, by_class, table, context);
      return logistic_passes_cuda<T>(x, labels, weights, atoms, n_classes, fit_intercept, by_class,
                                     table, context);
    });
  };
  if (py::isinstance<Array>(X)) {
    const auto& on_device = py::cast<const Array&>(X);
    if (on_device.device != &atoms.device())
      throw InvalidInput("X, codes, sample_weight and folds must lie on one device");
    by_dtype(on_device, [&]<class T>(T) { make(device_matrix<T>(on_device, "X"), false); });
  } else {
    const auto on_host = py::cast<py::array>(X);
    by_dtype(on_host, [&]<class T>(T) { make(matrix_view<T>(on_host, "X"), true); });
  }
  result->server = std::make_unique<LogisticServer>(*result->passes, class_weights.shape(0));
  return result;
}

// For core.logistic_passes; keeps the passes alive.
py::capsule port_of(const std::shared_ptr<Passes>& passes) {
  auto owner = std::make_unique<std::shared_ptr<Passes>>(passes);
  LogisticPort* port = passes->server.get();
  PyObject* capsule = PyCapsule_New(port, kLogisticPort, [](PyObject* self) {
    delete static_cast<std::shared_ptr<Passes>*>(PyCapsule_GetContext(self));
  });
  if (capsule == nullptr) throw py::error_already_set();
  PyCapsule_SetContext(capsule, owner.release());
  return py::reinterpret_steal<py::capsule>(capsule);
}

}  // namespace

void bind_logistic(py::module_& m) {
  py::class_<Passes, std::shared_ptr<Passes>>(m, "LogisticPasses", py::module_local())
      .def(py::init(&passes_of), py::arg("X"), py::arg("codes"), py::arg("sample_weight"),
           py::arg("folds"), py::arg("n_classes"), py::arg("fit_intercept"),
           py::arg("class_weights"), py::arg("execution"), py::arg("order") = py::none())
      .def("port", &port_of);
  m.def(
      "logistic_rows_fit",
      [](int64_t rows, int64_t bytes, int device) {
        return logistic_rows_fit(Device::at(device), rows, bytes);
      },
      py::arg("rows"), py::arg("bytes"), py::arg("device"));
}

}  // namespace manyfit::bindings
