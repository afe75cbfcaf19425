// Arrays in device memory, as Python hands them over and gets them back.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "bindings/execution.h"
#include "bindings/views.h"
#include "core/device.h"
#include "core/device_folds.h"
#include "linear_model/coef_cuda.h"

namespace manyfit::bindings {

// An array on a device. `owner` keeps its memory alive: a buffer of ours, or a Python object.
struct Array {
  Device* device = nullptr;
  void* data = nullptr;
  std::string dtype;  // as in the array interface without byte order: "f4", "f8", "i8"
  std::vector<int64_t> shape;
  std::vector<int64_t> strides;  // in elements
  bool read_only = false;        // memory of another library that is not to be written
  std::shared_ptr<void> owner;

  int64_t itemsize() const { return dtype[1] - '0'; }
  int64_t size() const {
    int64_t n = 1;
    for (const int64_t extent : shape) n *= extent;
    return n;
  }
};

template <class T>
constexpr const char* dtype_name();
template <>
constexpr const char* dtype_name<float>() {
  return "f4";
}
template <>
constexpr const char* dtype_name<double>() {
  return "f8";
}
template <>
constexpr const char* dtype_name<int64_t>() {
  return "i8";
}
template <>
constexpr const char* dtype_name<int32_t>() {
  return "i4";
}

// C-contiguous, of the first numbers of a buffer.
template <class T>
Array array_of_buffer(DeviceBuffer<T> values, std::vector<int64_t> shape) {
  Array array;
  array.device = &values.device();
  array.dtype = dtype_name<T>();
  array.shape = std::move(shape);
  array.strides.resize(array.shape.size());
  int64_t step = 1;
  for (size_t i = array.shape.size(); i-- > 0; step *= array.shape[i]) array.strides[i] = step;
  auto buffer = std::make_shared<DeviceBuffer<T>>(std::move(values));
  array.data = buffer->data();
  array.owner = std::move(buffer);
  return array;
}

// A new array, C-contiguous.
template <class T>
Array new_array(Device& device, std::vector<int64_t> shape) {
  int64_t size = 1;
  for (const int64_t extent : shape) size *= extent;
  return array_of_buffer(DeviceBuffer<T>(device, size), std::move(shape));
}

// As an array of NumPy where they are few, else as one on the device.
py::object coef_array(DeviceCoef coef, std::vector<int64_t> shape);

py::array_t<double> to_array(const std::vector<double>& values, std::vector<py::ssize_t> shape);

// Positions in the order of folds, empty for 0, 1, 2, ...
using Order = py::array_t<int64_t, py::array::c_style | py::array::forcecast>;
void require_order(const Order& order, const DeviceFolds& folds, int64_t rows);

template <class T>
void require_dtype(const Array& array, const char* name) {
  if (array.dtype != dtype_name<T>())
    throw InvalidInput(std::string(name) + " must have dtype " + dtype_name<T>() +
                       " on the device, got " + array.dtype);
}

template <class T>
VectorView<const T> device_vector(const Array& array, const char* name) {
  require_dtype<T>(array, name);
  if (array.shape.size() != 1)
    throw InvalidInput(std::string(name) + " must have 1 dimension, got " +
                       std::to_string(array.shape.size()));
  return {static_cast<const T*>(array.data), array.shape[0], array.strides[0]};
}

// Of one or two dimensions; one stands for a single column.
template <class T>
MatrixView<const T> device_matrix(const Array& array, const char* name) {
  require_dtype<T>(array, name);
  const auto* data = static_cast<const T*>(array.data);
  if (array.shape.size() == 1) return {data, array.shape[0], 1, array.strides[0], 1};
  if (array.shape.size() != 2)
    throw InvalidInput(std::string(name) + " must have 2 dimensions, got " +
                       std::to_string(array.shape.size()));
  return {data, array.shape[0], array.shape[1], array.strides[0], array.strides[1]};
}

// f(float{}) or f(double{}), by an array's dtype.
template <class F>
auto by_dtype(const Array& array, F&& f) {
  if (array.dtype == "f4") return f(float{});
  if (array.dtype == "f8") return f(double{});
  throw InvalidInput("X must have dtype float32 or float64 on the device, got " + array.dtype);
}

void bind_arrays(py::module_& m);
void bind_folds(py::module_& m);
void bind_fold_gram(py::module_& m);
void bind_logistic(py::module_& m);
void bind_linear_model(py::module_& m);
void bind_coordinate_descent(py::module_& m);

}  // namespace manyfit::bindings
