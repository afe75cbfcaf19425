// The extension module: one for each CPU level, all with the same contents.
#include "bindings/coordinate_descent.h"
#include "bindings/errors.h"
#include "bindings/numpy.h"

namespace py = pybind11;

PYBIND11_MODULE(MANYFIT_MODULE_NAME, m, py::mod_gil_not_used()) {
  m.doc() = "manyfit's kernels; not a public interface.";
  py::register_local_exception_translator(manyfit::bindings::translate);
  manyfit::bindings::bind_core(m);
  manyfit::bindings::bind_linear_model(m);
  manyfit::bindings::bind_logistic(m);
  manyfit::bindings::bind_ridge_loo(m);
  manyfit::bindings::bind_coordinate_descent(m);
  manyfit::bindings::bind_sgd(m);
  manyfit::bindings::bind_decomposition(m);
  manyfit::bindings::bind_truncated_svd(m);
  manyfit::bindings::bind_incremental_pca(m);
  manyfit::bindings::bind_gradient_descent(m);
  manyfit::bindings::bind_huber(m);
  manyfit::bindings::bind_poisson(m);
}
