// NumPy arrays as views, results as NumPy arrays, and the one place where a computation leaves
// Python.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <Eigen/Core>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "core/context.h"
#include "core/errors.h"
#include "core/views.h"

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

inline py::array_t<double> to_numpy(const Eigen::VectorXd& vector) {
  py::array_t<double> array(vector.size());
  std::memcpy(array.mutable_data(), vector.data(), vector.size() * sizeof(double));
  return array;
}

inline py::array_t<double> to_numpy(const Eigen::MatrixXd& matrix) {
  py::array_t<double> array({matrix.rows(), matrix.cols()});
  Eigen::Map<Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>(
      array.mutable_data(), matrix.rows(), matrix.cols()) = matrix;
  return array;
}

template <class T>
Eigen::MatrixXd to_eigen(MatrixView<const T> view) {
  Eigen::MatrixXd matrix(view.rows, view.cols);
  for (int64_t j = 0; j < view.cols; ++j)
    for (int64_t i = 0; i < view.rows; ++i) matrix(i, j) = static_cast<double>(view(i, j));
  return matrix;
}

void bind_core(py::module_& m);
void bind_linear_model(py::module_& m);
void bind_logistic(py::module_& m);
void bind_ridge_loo(py::module_& m);
void bind_sgd(py::module_& m);
void bind_decomposition(py::module_& m);
void bind_truncated_svd(py::module_& m);
void bind_incremental_pca(py::module_& m);
void bind_gradient_descent(py::module_& m);
void bind_huber(py::module_& m);
void bind_poisson(py::module_& m);

}  // namespace manyfit::bindings
