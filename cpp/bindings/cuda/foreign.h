// Device arrays of other libraries: how they come in, and how ours go out.
#pragma once

#include <pybind11/stl.h>

#include <memory>
#include <string>
#include <vector>

#include "bindings/cuda/array.h"

namespace manyfit::bindings {

// `name` is the parameter the errors speak of.
Array array_from_dlpack(const py::object& object, const std::string& name);
Array array_from_interface(const py::object& object, const std::string& name);

// For waits that no caller reports the progress of.
inline Execution quiet() { return {0, py::none()}; }

[[noreturn]] void refuse_dtype(const std::string& name, const std::string& dtype);

std::vector<int64_t> c_strides(const std::vector<int64_t>& shape);

// Completes an array whose memory another library owns: checks that it lies on a device (on
// `expected`, unless null), and keeps `owner` until our work that reads it is done.
void adopt(Array& array, Device* expected, std::shared_ptr<void> owner, const std::string& name);

void bind_dlpack(py::class_<Array>& array);
void bind_interface(py::class_<Array>& array);

}  // namespace manyfit::bindings
