#include <algorithm>

#include "bindings/cuda/array.h"
#include "core/fold_gram_cuda.h"

namespace manyfit::bindings {
namespace {

py::array_t<double> moments(const DeviceGram& gram, const Execution& execution) {
  py::array_t<double> result({gram.n_atoms, gram.stride, gram.stride});
  double* const to = result.mutable_data();
  if (!gram.on_host.empty())
    std::copy_n(gram.on_host.begin(), gram.size(), to);
  else if (gram.size() > 0)
    run(execution, [&](const Context& context) {
      gram.moments.device().download(to, gram.moments.data(),
                                     static_cast<size_t>(gram.size()) * sizeof(double), context);
      return 0;
    });
  return result;
}

void require_rows(int64_t rows, int64_t expected, const char* name) {
  if (rows != expected)
    throw InvalidInput(std::string(name) + " must have as many rows as X (" +
                       std::to_string(expected) + "), got " + std::to_string(rows));
}

void require_folds(int64_t rows, const DeviceFolds& folds) {
  if (rows != folds.n_rows || folds.atom_begin.back() > rows)
    throw InvalidInput("X and folds must have the same rows, got " + std::to_string(rows) +
                       " and " + std::to_string(folds.n_rows));
}

void require_device(const Array& array, const DeviceFolds& folds, const char* name) {
  if (array.device != &folds.device())
    throw InvalidInput(std::string(name) + " must be on the device of the folds (cuda:" +
                       std::to_string(folds.device().index()) +
                       "), got cuda:" + std::to_string(array.device->index()));
}

DeviceGram resident(const Array& X, const Array* Y, const Array* w, const DeviceFolds& folds,
                    const Execution& execution) {
  require_device(X, folds, "X");
  if (Y != nullptr) require_device(*Y, folds, "y");
  if (w != nullptr) require_device(*w, folds, "sample_weight");
  return by_dtype(X, [&]<class T>(T) {
    const MatrixView<const T> x = device_matrix<T>(X, "X");
    MatrixView<const T> y{nullptr, x.rows, 0, 0, 0};
    VectorView<const T> weight;
    if (Y != nullptr) y = device_matrix<T>(*Y, "y");
    if (w != nullptr) weight = device_vector<T>(*w, "sample_weight");
    require_rows(y.rows, x.rows, "y");
    if (w != nullptr) require_rows(weight.size, x.rows, "sample_weight");
    require_folds(x.rows, folds);
    return run(execution, [&](const Context& context) {
      return fold_gram_cuda(x, y, weight, folds, context);
    });
  });
}

DeviceGram streamed(const py::array& X, const py::object& Y, const py::object& w,
                    const DeviceFolds& folds, const Order& order, const Execution& execution) {
  return by_dtype(X, [&]<class T>(T) {
    const Table<T> table(X, Y, w);
    require_folds(table.X.rows, folds);
    require_order(order, folds, table.X.rows);
    const std::vector<int64_t> positions(order.data(), order.data() + order.size());
    return run(execution, [&](const Context& context) {
      return fold_gram_streamed_cuda(table.X, table.Y, table.weight, positions, folds, context);
    });
  });
}

}  // namespace

void bind_fold_gram(py::module_& m) {
  py::class_<DeviceGram>(m, "FoldGram", py::module_local(), py::dynamic_attr())
      .def_readonly("n_features", &DeviceGram::n_features)
      .def_readonly("n_targets", &DeviceGram::n_targets)
      .def_readonly("n_atoms", &DeviceGram::n_atoms)
      .def_readonly("stride", &DeviceGram::stride)
      .def_readonly("precision", &DeviceGram::precision)
      .def_property_readonly("shift",
                             [](const DeviceGram& gram) {
                               return py::array_t<double>(
                                   static_cast<py::ssize_t>(gram.shift.size()), gram.shift.data());
                             })
      .def_property_readonly("device",
                             [](const DeviceGram& gram) { return gram.moments.device().index(); })
      .def("moments", &moments, py::arg("execution"));
  m.def("fold_gram", &resident, py::arg("X"), py::arg("Y").none(true),
        py::arg("sample_weight").none(true), py::arg("folds"), py::arg("execution"));
  m.def("fold_gram_streamed", &streamed, py::arg("X"), py::arg("Y"), py::arg("sample_weight"),
        py::arg("folds"), py::arg("order"), py::arg("execution"));
}

}  // namespace manyfit::bindings
