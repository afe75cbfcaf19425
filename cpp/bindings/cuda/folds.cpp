#include <pybind11/stl.h>

#include "bindings/cuda/array.h"
#include "core/device_folds.h"

namespace manyfit::bindings {

void bind_folds(py::module_& m) {
  py::class_<DeviceFolds>(m, "Folds", py::module_local())
      .def(py::init([](int device, int64_t n_rows, std::vector<int64_t> atom_begin,
                       std::vector<int32_t> train, const std::vector<int64_t>& order) {
             return DeviceFolds(Device::at(device), n_rows, std::move(atom_begin), std::move(train),
                                order);
           }),
           py::arg("device"), py::arg("n_rows"), py::arg("atom_begin"), py::arg("train"),
           py::arg("order"))
      .def_readonly("n_rows", &DeviceFolds::n_rows)
      .def_property_readonly("n_atoms", &DeviceFolds::n_atoms)
      .def_property_readonly("device",
                             [](const DeviceFolds& folds) { return folds.device().index(); });
}

}  // namespace manyfit::bindings
