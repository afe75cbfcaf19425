// Registers the kernels of Lasso and elastic net.
#pragma once

#include <pybind11/pybind11.h>

namespace manyfit::bindings {

void bind_coordinate_descent(pybind11::module_& m);

}  // namespace manyfit::bindings
