#include "decomposition/incremental_pca.h"

#include "bindings/numpy.h"

namespace manyfit::bindings {
namespace {

Eigen::VectorXd state_vector(const py::dict& state, const char* name) {
  const auto view = vector_view<double>(state[name], name);
  Eigen::VectorXd result(view.size);
  for (int64_t i = 0; i < view.size; ++i) result(i) = view[i];
  return result;
}

IncrementalComponents state_of(const py::object& given, int64_t n_features) {
  IncrementalComponents state;
  if (given.is_none()) return state;
  const auto values = py::cast<py::dict>(given);
  state.seen = py::cast<int64_t>(values["seen"]);
  state.mean = state_vector(values, "mean");
  state.variance = state_vector(values, "variance");
  state.values = state_vector(values, "values");
  state.components =
      to_eigen(matrix_view<double>(py::cast<py::array>(values["components"]), "components"));
  if (state.seen < 1 || state.mean.size() != n_features || state.variance.size() != n_features ||
      state.components.cols() != n_features || state.components.rows() != state.values.size())
    throw InvalidInput("the fitted state must fit X");
  return state;
}

}  // namespace

void bind_incremental_pca(py::module_& m) {
  m.def(
      "incremental_pca",
      [](const py::array& X, const py::object& rows, const std::vector<int64_t>& begin,
         const std::vector<int64_t>& counts, const py::object& start, const Execution& execution) {
        return by_dtype(X, [&]<class T>(T) {
          const auto view = matrix_view<T>(X, "X");
          const auto given = vector_view<int64_t>(rows, "rows");
          std::vector<int64_t> order(given.size);
          for (int64_t i = 0; i < given.size; ++i) order[i] = given[i];
          const IncrementalComponents state = state_of(start, view.cols);
          const auto fits = run(execution, [&](const Context& context) {
            return incremental_pca_cpu(view, order, begin, counts, state, context);
          });
          py::list result;
          for (const IncrementalComponents& fit : fits)
            result.append(py::dict(py::arg("seen") = fit.seen, py::arg("mean") = to_numpy(fit.mean),
                                   py::arg("variance") = to_numpy(fit.variance),
                                   py::arg("values") = to_numpy(fit.values),
                                   py::arg("components") = to_numpy(fit.components),
                                   py::arg("noise_variance") = fit.noise_variance));
          return result;
        });
      },
      py::arg("X"), py::arg("rows"), py::arg("begin"), py::arg("counts"), py::arg("start"),
      py::arg("execution"));
}

}  // namespace manyfit::bindings
