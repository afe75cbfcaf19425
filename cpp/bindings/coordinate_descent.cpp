#include "linear_model/coordinate_descent.h"

#include "bindings/coordinate_descent.h"
#include "bindings/descent_rows.h"
#include "bindings/numpy.h"
#include "linear_model/multi_task_elastic_net.h"

namespace manyfit::bindings {
namespace {

struct DescentJobs {
  std::vector<LinearJob> jobs;
  std::vector<DescentSettings> settings;
  std::vector<Eigen::MatrixXd> start;

  // start: (jobs, targets, features) or None.
  DescentJobs(const py::array& table, const py::object& first, int64_t n_splits, int64_t targets,
              int64_t features) {
    for (const DescentRow& row : descent_rows(table, n_splits)) {
      jobs.push_back({row.split, row.fit_intercept});
      DescentSettings each;
      each.alpha = row.alpha;
      each.l1_ratio = row.l1_ratio;
      each.tol = row.tol;
      each.max_iter = row.max_iter;
      each.positive = row.positive;
      each.random = row.seed >= 0;
      each.seed = static_cast<uint64_t>(std::max(row.seed, 0.0));
      each.exact = row.exact;
      settings.push_back(each);
    }
    if (first.is_none()) return;
    const auto values = py::cast<py::array_t<double, py::array::c_style>>(first);
    if (values.size() != static_cast<int64_t>(jobs.size()) * targets * features)
      throw InvalidInput("start must have shape (jobs, targets, features)");
    for (int64_t b = 0; b < static_cast<int64_t>(jobs.size()); ++b)
      start.emplace_back(Eigen::Map<const Eigen::MatrixXd>(values.data() + b * targets * features,
                                                           features, targets));
  }
};

// coef (jobs, targets, features), intercept (jobs, targets), reliable (jobs,), then gap, tolerance,
// sweeps and converged, each (jobs, targets), or (jobs, 1) where the targets are fitted together.
py::tuple descent_arrays(const DescentPopulation& population, int64_t features, int64_t targets) {
  const auto jobs = static_cast<int64_t>(population.coef.size());
  py::array_t<double> coef({jobs, targets, features}), intercept({jobs, targets});
  py::array_t<bool> reliable(jobs);
  for (int64_t b = 0; b < jobs; ++b) {
    const auto place = static_cast<size_t>(b);
    std::memcpy(coef.mutable_data(b), population.coef[place].data(),
                static_cast<size_t>(features * targets) * sizeof(double));
    std::memcpy(intercept.mutable_data(b), population.intercept[place].data(),
                static_cast<size_t>(targets) * sizeof(double));
    reliable.mutable_at(b) = population.reliable[place] != 0;
  }
  return py::make_tuple(std::move(coef), std::move(intercept), std::move(reliable),
                        to_numpy(population.gap), to_numpy(population.tolerance),
                        to_numpy(population.sweeps), to_numpy(population.converged));
}

// fit(gram, ...) and fit(X, Y, w, folds, ...) as `name` and `name`_columns.
template <class Fit>
void def_descent(py::module_& m, const std::string& name, Fit fit) {
  m.def(
      name.c_str(),
      [fit](const FoldGram& gram, const py::array& settings, const py::object& start,
            const Execution& execution) {
        const DescentJobs given(settings, start, gram.folds.n_splits(), gram.n_targets,
                                gram.n_features);
        return descent_arrays(run(execution,
                                  [&](const Context& context) {
                                    return fit(gram, given.jobs, given.settings, given.start,
                                               context);
                                  }),
                              gram.n_features, gram.n_targets);
      },
      py::arg("prepared"), py::arg("settings"), py::arg("start"), py::arg("execution"));
  m.def((name + "_columns").c_str(),
        [fit](const py::array& X, const py::object& Y, const py::object& w, const Folds& folds,
              const py::array& settings, const py::object& start, const Execution& execution) {
          return by_dtype(X, [&]<class T>(T) {
            const Table<T> table(X, Y, w);
            const DescentJobs given(settings, start, folds.n_splits(), table.Y.cols, table.X.cols);
            return descent_arrays(run(execution,
                                      [&](const Context& context) {
                                        return fit(table.X, table.Y, table.weight, folds,
                                                   given.jobs, given.settings, given.start,
                                                   context);
                                      }),
                                  table.X.cols, table.Y.cols);
          });
        },
        py::arg("X"), py::arg("Y"), py::arg("sample_weight"), py::arg("folds"), py::arg("settings"),
        py::arg("start"), py::arg("execution"));
}

}  // namespace

void bind_coordinate_descent(py::module_& m) {
  def_descent(m, "coordinate_descent",
              [](const auto&... given) { return coordinate_descent_cpu(given...); });
  def_descent(m, "multi_task_elastic_net",
              [](const auto&... given) { return multi_task_elastic_net_cpu(given...); });
}

}  // namespace manyfit::bindings
