#include "bindings/numpy.h"
#include "linear_model/evaluate.h"
#include "linear_model/linear_regression.h"
#include "linear_model/nonnegative.h"
#include "linear_model/ridge.h"

namespace manyfit::bindings {
namespace {

// Jobs as two parallel arrays: which split, and whether an intercept is fitted.
std::vector<LinearJob> jobs_of(const std::vector<int64_t>& splits,
                               const std::vector<bool>& fit_intercept, int64_t n_splits) {
  if (splits.size() != fit_intercept.size())
    throw InvalidInput("splits and fit_intercept must have the same length");
  std::vector<LinearJob> jobs;
  for (size_t b = 0; b < splits.size(); ++b) {
    if (splits[b] < 0 || splits[b] >= n_splits)
      throw InvalidInput("splits must lie in [0, " + std::to_string(n_splits) + "), got " +
                         std::to_string(splits[b]));
    jobs.push_back({splits[b], fit_intercept[b]});
  }
  return jobs;
}

Eigen::MatrixXd penalties(const py::array& alpha, size_t jobs, int64_t targets) {
  const auto view = matrix_view<double>(alpha, "alpha");
  if (view.rows != static_cast<int64_t>(jobs) || view.cols != targets)
    throw InvalidInput("alpha must have shape (jobs, targets)");
  return to_eigen(view);
}

// (coef (jobs, targets, features), intercept (jobs, targets), reliable (jobs,))
py::tuple arrays_of(const LinearPopulation& population, int64_t features, int64_t targets) {
  const auto jobs = static_cast<int64_t>(population.coef.size());
  py::array_t<double> coef({jobs, targets, features}), intercept({jobs, targets});
  py::array_t<bool> reliable(jobs);
  for (int64_t b = 0; b < jobs; ++b) {
    std::memcpy(coef.mutable_data(b), population.coef[b].data(),
                features * targets * sizeof(double));
    std::memcpy(intercept.mutable_data(b), population.intercept[b].data(),
                targets * sizeof(double));
    reliable.mutable_at(b) = population.reliable[b] != 0;
  }
  return py::make_tuple(std::move(coef), std::move(intercept), std::move(reliable));
}

// The same, then rank (jobs,) and a list of singular values.
py::tuple arrays_of(const LeastSquaresPopulation& population, int64_t features, int64_t targets) {
  py::list singular;
  for (const auto& values : population.singular) singular.append(to_numpy(values));
  const py::tuple linear =
      arrays_of(static_cast<const LinearPopulation&>(population), features, targets);
  return py::make_tuple(linear[0], linear[1], linear[2], population.rank, singular);
}

// fit(prepared, jobs, alpha, context) for a form made for some folds.
template <class Prepared, class Fit>
void def_penalised(py::module_& m, const char* name, Fit fit) {
  m.def(
      name,
      [fit](const Prepared& prepared, const std::vector<int64_t>& splits,
            const std::vector<bool>& fit_intercept, const py::array& alpha,
            const Execution& execution) {
        const auto jobs = jobs_of(splits, fit_intercept, prepared.folds.n_splits());
        const Eigen::MatrixXd penalty = penalties(alpha, jobs.size(), prepared.n_targets);
        return arrays_of(
            run(execution,
                [&](const Context& context) { return fit(prepared, jobs, penalty, context); }),
            prepared.n_features, prepared.n_targets);
      },
      py::arg("prepared"), py::arg("splits"), py::arg("fit_intercept"), py::arg("alpha"),
      py::arg("execution"));
}

template <class RowForm>
void def_ridge_dual(py::module_& m) {
  m.def(
      "ridge_dual",
      [](const RowForm& form, const py::array& X, const py::object& Y, const py::object& w,
         const Folds& folds, const std::vector<int64_t>& splits,
         const std::vector<bool>& fit_intercept, const py::array& alpha,
         const Execution& execution) {
        return by_dtype(X, [&]<class T>(T) {
          const Table<T> table(X, Y, w);
          const auto jobs = jobs_of(splits, fit_intercept, folds.n_splits());
          const Eigen::MatrixXd penalty = penalties(alpha, jobs.size(), table.Y.cols);
          return arrays_of(run(execution,
                               [&](const Context& context) {
                                 return ridge_cpu(form, table.X, table.Y, table.weight, folds, jobs,
                                                  penalty, context);
                               }),
                           table.X.cols, table.Y.cols);
        });
      },
      py::arg("prepared"), py::arg("X"), py::arg("Y"), py::arg("sample_weight"), py::arg("folds"),
      py::arg("splits"), py::arg("fit_intercept"), py::arg("alpha"), py::arg("execution"));
}

void bind_ridge(py::module_& m) {
  const auto ridge = [](const auto& prepared, const auto& jobs, const auto& alpha,
                        const Context& context) {
    return ridge_cpu(prepared, jobs, alpha, context);
  };
  def_penalised<FoldGram>(m, "ridge", ridge);
  def_penalised<FoldQR>(m, "ridge", ridge);
  def_penalised<FoldGram>(m, "nonnegative", nonnegative_cpu);
  def_ridge_dual<RowGram>(m);
  def_ridge_dual<RowQR>(m);
}

template <class Prepared>
void def_linear_regression(py::module_& m) {
  m.def(
      "linear_regression",
      [](const Prepared& prepared, const std::vector<int64_t>& splits,
         const std::vector<bool>& fit_intercept, double relative_cutoff,
         const Execution& execution) {
        const auto jobs = jobs_of(splits, fit_intercept, prepared.folds.n_splits());
        return arrays_of(run(execution,
                             [&](const Context& context) {
                               return linear_regression_cpu(prepared, jobs, relative_cutoff,
                                                            context);
                             }),
                         prepared.n_features, prepared.n_targets);
      },
      py::arg("prepared"), py::arg("splits"), py::arg("fit_intercept"), py::arg("relative_cutoff"),
      py::arg("execution"));
}

template <class RowForm>
void def_linear_regression_dual(py::module_& m) {
  m.def(
      "linear_regression_dual",
      [](const RowForm& form, const py::array& X, const py::object& Y, const py::object& w,
         const Folds& folds, const std::vector<int64_t>& splits,
         const std::vector<bool>& fit_intercept, double relative_cutoff,
         const Execution& execution) {
        return by_dtype(X, [&]<class T>(T) {
          const Table<T> table(X, Y, w);
          const auto jobs = jobs_of(splits, fit_intercept, folds.n_splits());
          return arrays_of(run(execution,
                               [&](const Context& context) {
                                 return linear_regression_cpu(form, table.X, table.Y, table.weight,
                                                              folds, jobs, relative_cutoff,
                                                              context);
                               }),
                           table.X.cols, table.Y.cols);
        });
      },
      py::arg("prepared"), py::arg("X"), py::arg("Y"), py::arg("sample_weight"), py::arg("folds"),
      py::arg("splits"), py::arg("fit_intercept"), py::arg("relative_cutoff"),
      py::arg("execution"));
}

void bind_linear_regression(py::module_& m) {
  def_linear_regression<FoldGram>(m);
  def_linear_regression<FoldQR>(m);
  def_linear_regression_dual<RowGram>(m);
  def_linear_regression_dual<RowQR>(m);
}

void bind_evaluate(py::module_& m) {
  m.def(
      "squared_errors",
      [](const FoldGram& gram,
         const py::array_t<int64_t, py::array::c_style | py::array::forcecast>& places,
         const py::array_t<double, py::array::c_style>& coef,
         const py::array_t<double, py::array::c_style>& intercept, const Execution& execution) {
        const std::vector<int64_t> splits(places.data(), places.data() + places.size());
        const int64_t d = gram.n_features, t = gram.n_targets,
                      B = static_cast<int64_t>(splits.size());
        const auto jobs =
            jobs_of(splits, std::vector<bool>(splits.size(), true), gram.folds.n_splits());
        if (coef.size() != B * t * d || intercept.size() != B * t)
          throw InvalidInput(
              "coef must have shape (jobs, targets, features) and intercept (jobs, targets)");
        std::vector<Eigen::MatrixXd> coefs;
        std::vector<Eigen::VectorXd> intercepts;
        for (int64_t b = 0; b < B; ++b) {
          coefs.emplace_back(Eigen::Map<const Eigen::MatrixXd>(coef.data() + b * d * t, d, t));
          intercepts.emplace_back(Eigen::Map<const Eigen::VectorXd>(intercept.data() + b * t, t));
        }
        const SquaredErrors errors = run(execution, [&](const Context& context) {
          return squared_errors_cpu(gram, jobs, coefs, intercepts, context);
        });
        return py::make_tuple(to_numpy(errors.residual), to_numpy(errors.total),
                              to_numpy(errors.residual_rounding), to_numpy(errors.total_rounding),
                              to_numpy(errors.weight));
      },
      py::arg("prepared"), py::arg("splits"), py::arg("coef"), py::arg("intercept"),
      py::arg("execution"));
}

}  // namespace

void bind_linear_model(py::module_& m) {
  bind_ridge(m);
  bind_linear_regression(m);
  bind_evaluate(m);
}

}  // namespace manyfit::bindings
