#include "bindings/cuda/array.h"
#include "linear_model/evaluate_cuda.h"
#include "linear_model/predict_cuda.h"
#include "linear_model/ridge_cuda.h"

namespace manyfit::bindings {
namespace {

using Reals = py::array_t<double, py::array::c_style | py::array::forcecast>;
using Indices = py::array_t<int64_t, py::array::c_style | py::array::forcecast>;
using Bytes = py::array_t<uint8_t, py::array::c_style | py::array::forcecast>;

template <class T, int Flags>
std::vector<T> values_of(const py::array_t<T, Flags>& array) {
  return std::vector<T>(array.data(), array.data() + array.size());
}

std::vector<int64_t> places_of(const Indices& splits, const DeviceFolds& folds) {
  std::vector<int64_t> places = values_of(splits);
  for (const int64_t split : places)
    if (split < 0 || split >= folds.n_splits())
      throw InvalidInput("splits must lie in [0, " + std::to_string(folds.n_splits()) + "), got " +
                         std::to_string(split));
  return places;
}

// What core.ridge returns; many coefficients stay on the device.
py::tuple ridge(const DeviceGram& gram, const DeviceFolds& folds, const Indices& splits,
                const Bytes& fit_intercept, const Reals& alpha, const Execution& execution) {
  const auto jobs = static_cast<int64_t>(splits.size());
  if (alpha.ndim() != 2 || alpha.shape(0) != jobs || alpha.shape(1) != gram.n_targets)
    throw InvalidInput("alpha must have shape (" + std::to_string(jobs) + ", " +
                       std::to_string(gram.n_targets) + ")");
  if (fit_intercept.size() != splits.size())
    throw InvalidInput("fit_intercept must have one value for each job");
  const auto places = places_of(splits, folds);
  const auto penalties = values_of(alpha);
  const auto centred = values_of(fit_intercept);
  RidgeCudaPopulation found = run(execution, [&](const Context& context) {
    return ridge_cuda(gram, folds, places, centred, penalties, context);
  });
  py::array_t<bool> reliable(jobs);
  for (int64_t b = 0; b < jobs; ++b)
    reliable.mutable_at(b) = found.reliable[static_cast<size_t>(b)] != 0;
  return py::make_tuple(coef_array(std::move(found.coef), {jobs, gram.n_targets, gram.n_features}),
                        to_array(found.intercept, {jobs, gram.n_targets}), std::move(reliable));
}

// What core.squared_errors returns, of coefficients on the device.
py::tuple squared_errors(const DeviceGram& gram, const DeviceFolds& folds, const Indices& splits,
                         const Array& coef, const Reals& intercept, const Execution& execution) {
  const auto jobs = static_cast<int64_t>(splits.size());
  const int64_t t = gram.n_targets, d = gram.n_features;
  require_dtype<double>(coef, "coef");
  const bool plain = coef.strides == std::vector<int64_t>{t * d, d, 1};
  if (coef.device != &folds.device() || coef.shape != std::vector<int64_t>{jobs, t, d} || !plain ||
      intercept.size() != jobs * t)
    throw InvalidInput(
        "coef must have shape (jobs, targets, features), in C order on the device of the folds, "
        "and intercept (jobs, targets)");
  const auto places = places_of(splits, folds);
  const auto constants = values_of(intercept);
  const SquaredErrorsCuda found = run(execution, [&](const Context& context) {
    return squared_errors_cuda(gram, folds, places, static_cast<const double*>(coef.data),
                               constants, context);
  });
  return py::make_tuple(to_array(found.residual, {jobs, t}), to_array(found.total, {jobs, t}),
                        to_array(found.residual_rounding, {jobs, t}),
                        to_array(found.total_rounding, {jobs, t}), to_array(found.weight, {jobs}));
}

py::tuple predict(const Array& X, const Reals& coef, const Reals& intercept,
                  const Execution& execution) {
  return by_dtype(X, [&]<class T>(T) {
    const auto view = device_matrix<T>(X, "X");
    if (coef.ndim() != 2 || coef.shape(1) != view.cols || intercept.size() != coef.shape(0))
      throw InvalidInput("coef must have shape (targets, " + std::to_string(view.cols) +
                         ") and intercept (targets,)");
    Array out = new_array<T>(*X.device, {view.rows, coef.shape(0)});
    const auto factors = values_of(coef), constants = values_of(intercept);
    const bool finite = run(execution, [&](const Context& context) {
      return predict_cuda(*X.device, view, factors, constants, static_cast<T*>(out.data), context);
    });
    return py::make_tuple(std::move(out), finite);
  });
}

}  // namespace

void bind_linear_model(py::module_& m) {
  m.def("ridge", &ridge, py::arg("gram"), py::arg("folds"), py::arg("splits"),
        py::arg("fit_intercept"), py::arg("alpha"), py::arg("execution"));
  m.def(
      "widest_ridge", [](int device) { return widest_ridge_cuda(Device::at(device)); },
      py::arg("device"));
  m.def("squared_errors", &squared_errors, py::arg("gram"), py::arg("folds"), py::arg("splits"),
        py::arg("coef"), py::arg("intercept"), py::arg("execution"));
  m.def("predict", &predict, py::arg("X"), py::arg("coef"), py::arg("intercept"),
        py::arg("execution"));
}

}  // namespace manyfit::bindings
