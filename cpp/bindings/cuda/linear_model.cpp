#include <cstring>

#include "bindings/cuda/array.h"
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

py::tuple ridge(const DeviceGram& gram, const DeviceFolds& folds, const Indices& splits,
                const Bytes& fit_intercept, const Reals& alpha, const Execution& execution) {
  const auto jobs = static_cast<int64_t>(splits.size());
  if (alpha.ndim() != 2 || alpha.shape(0) != jobs || alpha.shape(1) != gram.n_targets)
    throw InvalidInput("alpha must have shape (" + std::to_string(jobs) + ", " +
                       std::to_string(gram.n_targets) + ")");
  if (fit_intercept.size() != splits.size())
    throw InvalidInput("fit_intercept must have one value for each job");
  const auto places = values_of(splits);
  for (const int64_t split : places)
    if (split < 0 || split >= folds.n_splits())
      throw InvalidInput("splits must lie in [0, " + std::to_string(folds.n_splits()) + "), got " +
                         std::to_string(split));
  const auto penalties = values_of(alpha);
  const auto centred = values_of(fit_intercept);
  const RidgeCudaPopulation found = run(execution, [&](const Context& context) {
    return ridge_cuda(gram, folds, places, centred, penalties, context);
  });
  Reals coef({jobs, gram.n_targets, gram.n_features}), intercept({jobs, gram.n_targets});
  py::array_t<bool> reliable(jobs);
  std::memcpy(coef.mutable_data(), found.coef.data(), found.coef.size() * sizeof(double));
  std::memcpy(intercept.mutable_data(), found.intercept.data(),
              found.intercept.size() * sizeof(double));
  for (int64_t b = 0; b < jobs; ++b)
    reliable.mutable_at(b) = found.reliable[static_cast<size_t>(b)] != 0;
  return py::make_tuple(coef, intercept, reliable);
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
  m.def("predict", &predict, py::arg("X"), py::arg("coef"), py::arg("intercept"),
        py::arg("execution"));
}

}  // namespace manyfit::bindings
