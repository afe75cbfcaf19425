// NumPy arrays as views.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <string>

#include "core/errors.h"
#include "core/views.h"

namespace manyfit::bindings {

namespace py = pybind11;

template <class T>
int64_t element_stride(const py::array& array, int axis, const char* name) {
  const py::ssize_t bytes = array.strides(axis);
  if (bytes % static_cast<py::ssize_t>(sizeof(T)) != 0)
    throw InvalidInput(std::string(name) +
                       " must have strides that are multiples of its item size, got " +
                       std::to_string(bytes));
  return bytes / static_cast<py::ssize_t>(sizeof(T));
}

template <class T>
const T* checked_data(const py::array& array, int dimensions, const char* name) {
  if (array.ndim() != dimensions)
    throw InvalidInput(std::string(name) + " must have " + std::to_string(dimensions) +
                       " dimensions, got " + std::to_string(array.ndim()));
  if (!py::isinstance<py::array_t<T>>(array))
    throw InvalidInput(std::string(name) + " must have dtype " +
                       std::string(py::str(py::dtype::of<T>())) + ", got " +
                       std::string(py::str(array.dtype())));
  if (reinterpret_cast<uintptr_t>(array.data()) % alignof(T) != 0)
    throw InvalidInput(std::string(name) + " must be aligned to its item size");
  return static_cast<const T*>(array.data());
}

// None gives an empty view.
template <class T>
VectorView<const T> vector_view(const py::object& object, const char* name) {
  if (object.is_none()) return {};
  const auto array = py::cast<py::array>(object);
  const T* data = checked_data<T>(array, 1, name);
  return {data, array.shape(0), element_stride<T>(array, 0, name)};
}

template <class T>
MatrixView<const T> matrix_view(const py::array& array, const char* name) {
  const T* data = checked_data<T>(array, 2, name);
  return {data, array.shape(0), array.shape(1), element_stride<T>(array, 0, name),
          element_stride<T>(array, 1, name)};
}

// The rows that X, Y and the weights share, as views of one type.
template <class T>
struct Table {
  MatrixView<const T> X;
  MatrixView<const T> Y;
  VectorView<const T> weight;

  // Y: None for no targets.
  Table(const py::array& x, const py::object& y, const py::object& w)
      : X(matrix_view<T>(x, "X")),
        Y{nullptr, X.rows, 0, 0, 0},
        weight(vector_view<T>(w, "sample_weight")) {
    if (!y.is_none()) Y = matrix_view<T>(py::cast<py::array>(y), "y");
    require_rows(Y.rows, "y");
    if (!w.is_none()) require_rows(weight.size, "sample_weight");
  }

 private:
  void require_rows(int64_t rows, const char* name) const {
    if (rows != X.rows)
      throw InvalidInput(std::string(name) + " must have as many rows as X (" +
                         std::to_string(X.rows) + "), got " + std::to_string(rows));
  }
};

// f(float{}) or f(double{}), by X's dtype.
template <class F>
auto by_dtype(const py::array& X, F&& f) {
  if (py::isinstance<py::array_t<float>>(X)) return f(float{});
  if (py::isinstance<py::array_t<double>>(X)) return f(double{});
  throw InvalidInput("X must have dtype float32 or float64, got " +
                     std::string(py::str(X.dtype())));
}

}  // namespace manyfit::bindings
