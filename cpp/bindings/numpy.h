// What every binding of the core needs: arrays as views, results as NumPy arrays.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <Eigen/Core>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "bindings/execution.h"
#include "bindings/views.h"

namespace manyfit::bindings {

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
