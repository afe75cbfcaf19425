#include <pybind11/stl.h>

#include "bindings/cuda/array.h"
#include "core/device_folds.h"

namespace manyfit::bindings {
namespace {

template <class T>
using Values = py::array_t<T, py::array::c_style | py::array::forcecast>;

template <class T>
std::vector<T> vector_of(const Values<T>& array) {
  return std::vector<T>(array.data(), array.data() + array.size());
}

}  // namespace

void bind_folds(py::module_& m) {
  py::class_<DeviceFolds>(m, "Folds", py::module_local())
      .def(py::init([](int device, int64_t n_rows, const Values<int64_t>& atom_begin,
                       const Values<int32_t>& train, const Values<int64_t>& order,
                       const Values<int32_t>& test) {
             return DeviceFolds(Device::at(device), n_rows, vector_of(atom_begin), vector_of(train),
                                vector_of(order), vector_of(test));
           }),
           py::arg("device"), py::arg("n_rows"), py::arg("atom_begin"), py::arg("train"),
           py::arg("order"), py::arg("test") = Values<int32_t>())
      .def_readonly("n_rows", &DeviceFolds::n_rows)
      .def_property_readonly("n_atoms", &DeviceFolds::n_atoms)
      .def_property_readonly("device",
                             [](const DeviceFolds& folds) { return folds.device().index(); });
}

}  // namespace manyfit::bindings
