#include "linear_model/huber.h"

#include "bindings/numpy.h"
#include "core/folds.h"

namespace manyfit::bindings {
namespace {

HuberJob huber_job(const py::dict& settings) {
  HuberJob job;
  job.split = py::cast<int64_t>(settings["split"]);
  job.fit_intercept = py::cast<bool>(settings["fit_intercept"]);
  job.epsilon = py::cast<double>(settings["epsilon"]);
  job.alpha = py::cast<double>(settings["alpha"]);
  job.tolerance = py::cast<double>(settings["tol"]);
  job.max_iter = py::cast<int64_t>(settings["max_iter"]);
  const auto start = vector_view<double>(settings["start"], "start");
  job.start.resize(start.size);
  for (int64_t i = 0; i < start.size; ++i) job.start(i) = start[i];
  return job;
}

}  // namespace

// huber(X, y, w or None, folds, [settings], execution): [(coef, intercept, scale, n_iter, status)]
void bind_huber(py::module_& m) {
  m.def(
      "huber",
      [](const py::array& X, const py::array& y, const py::object& w, const Folds& folds,
         const std::vector<py::dict>& settings, const Execution& execution) {
        std::vector<HuberJob> jobs;
        const int64_t columns = X.ndim() == 2 ? X.shape(1) : 0;
        for (const py::dict& each : settings) {
          jobs.push_back(huber_job(each));
          if (jobs.back().split < 0 || jobs.back().split >= folds.n_splits())
            throw InvalidInput("split must be one of the folds'");
          if (jobs.back().start.size() != 0 && jobs.back().start.size() != columns + 2)
            throw InvalidInput("start must hold coefficients, an intercept and a scale");
        }
        return by_dtype(X, [&]<class T>(T) {
          const auto rows = matrix_view<T>(X, "X");
          const auto targets = vector_view<T>(y, "y");
          const auto weights = vector_view<T>(w, "sample_weight");
          if (targets.size != rows.rows || (!w.is_none() && weights.size != rows.rows))
            throw InvalidInput("y and sample_weight must have as many rows as X");
          const auto models = run(execution, [&](const Context& context) {
            return huber_cpu(rows, targets, weights, folds, jobs, context);
          });
          py::list result;
          for (const HuberModel& model : models)
            result.append(py::make_tuple(to_numpy(model.coef), model.intercept, model.scale,
                                         model.n_iter, static_cast<int>(model.status)));
          return result;
        });
      },
      py::arg("X"), py::arg("y"), py::arg("sample_weight"), py::arg("folds"), py::arg("jobs"),
      py::arg("execution"));
}

}  // namespace manyfit::bindings
