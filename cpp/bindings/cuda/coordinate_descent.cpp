#include "bindings/cuda/array.h"
#include "bindings/descent_rows.h"
#include "linear_model/coordinate_descent_cuda.h"

namespace manyfit::bindings {
namespace {

using Reals = py::array_t<double, py::array::c_style | py::array::forcecast>;

// What core.coordinate_descent returns, for jobs with coordinates in their order; many coefficients
// stay on the device.
py::tuple coordinate_descent(const DeviceGram& gram, const DeviceFolds& folds,
                             const py::array& settings, const py::object& start,
                             const Execution& execution) {
  const int64_t t = gram.n_targets, d = gram.n_features;
  std::vector<DescentCudaJob> jobs;
  for (const DescentRow& row : descent_rows(settings, folds.n_splits())) {
    if (row.seed >= 0)
      throw InvalidInput("coordinate_descent on a device takes coordinates in their order alone");
    jobs.push_back({row.split, row.fit_intercept, row.alpha, row.l1_ratio, row.tol, row.max_iter,
                    row.positive, row.exact});
  }
  const auto n = static_cast<int64_t>(jobs.size());
  std::vector<double> first;
  if (!start.is_none()) {
    const auto values = py::cast<Reals>(start);
    if (values.size() != n * t * d)
      throw InvalidInput("start must have shape (jobs, targets, features)");
    first.assign(values.data(), values.data() + values.size());
  }
  DescentCudaPopulation found = run(execution, [&](const Context& context) {
    return coordinate_descent_cuda(gram, folds, jobs, first, context);
  });
  py::array_t<bool> reliable(n);
  for (int64_t b = 0; b < n; ++b)
    reliable.mutable_at(b) = found.reliable[static_cast<size_t>(b)] != 0;
  return py::make_tuple(coef_array(std::move(found.coef), {n, t, d}),
                        to_array(found.intercept, {n, t}), std::move(reliable),
                        to_array(found.gap, {n, t}), to_array(found.tolerance, {n, t}),
                        to_array(found.sweeps, {n, t}), to_array(found.converged, {n, t}));
}

}  // namespace

void bind_coordinate_descent(py::module_& m) {
  m.def("coordinate_descent", &coordinate_descent, py::arg("gram"), py::arg("folds"),
        py::arg("settings"), py::arg("start"), py::arg("execution"));
  m.attr("widest_descent") = kWidestDescentCuda;
}

}  // namespace manyfit::bindings
