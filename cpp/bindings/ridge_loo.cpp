#include "linear_model/ridge_loo.h"

#include "bindings/numpy.h"

namespace manyfit::bindings {
namespace {

std::vector<LeaveOneOutJob> leave_one_out_jobs(const std::vector<int64_t>& splits,
                                               const std::vector<bool>& fit_intercept,
                                               const std::vector<std::vector<double>>& alphas,
                                               const std::vector<bool>& keep, int64_t n_splits) {
  if (splits.size() != fit_intercept.size() || splits.size() != alphas.size() ||
      splits.size() != keep.size())
    throw InvalidInput("splits, fit_intercept, alphas and keep must have the same length");
  std::vector<LeaveOneOutJob> jobs;
  for (size_t b = 0; b < splits.size(); ++b) {
    if (splits[b] < 0 || splits[b] >= n_splits)
      throw InvalidInput("splits must lie in [0, " + std::to_string(n_splits) + "), got " +
                         std::to_string(splits[b]));
    if (alphas[b].empty()) throw InvalidInput("alphas must not be empty");
    for (const double alpha : alphas[b])
      if (!(alpha > 0)) throw InvalidInput("alphas must be > 0, got " + std::to_string(alpha));
    jobs.push_back({splits[b], fit_intercept[b], alphas[b], keep[b]});
  }
  return jobs;
}

// For each job: squares (alphas, targets), residuals (rows, targets, alphas) or None, reliable.
py::list arrays_of(const std::vector<LeaveOneOut>& results) {
  py::list list;
  for (const LeaveOneOut& result : results) {
    py::object residuals = py::none();
    if (result.residuals.rows() > 0) {
      py::array_t<double> array({static_cast<int64_t>(result.residuals.rows()),
                                 static_cast<int64_t>(result.squares.cols()),
                                 static_cast<int64_t>(result.squares.rows())});
      std::memcpy(array.mutable_data(), result.residuals.data(),
                  result.residuals.size() * sizeof(double));
      residuals = std::move(array);
    }
    list.append(py::make_tuple(to_numpy(result.squares), std::move(residuals), result.reliable));
  }
  return list;
}

template <class Form>
void def_ridge_loo(py::module_& m) {
  m.def(
      "ridge_loo",
      [](const Form& form, const py::array& X, const py::object& Y, const py::object& w,
         const std::vector<int64_t>& splits, const std::vector<bool>& fit_intercept,
         const std::vector<std::vector<double>>& alphas, const std::vector<bool>& keep,
         const Execution& execution) {
        return by_dtype(X, [&]<class T>(T) {
          const Table<T> table(X, Y, w);
          if (table.X.rows != form.folds.n_rows || table.X.cols != form.n_features ||
              table.Y.cols != form.n_targets)
            throw InvalidInput("X and y must be those that the prepared form was made from");
          const auto jobs =
              leave_one_out_jobs(splits, fit_intercept, alphas, keep, form.folds.n_splits());
          return arrays_of(run(execution, [&](const Context& context) {
            return ridge_loo_cpu(form, table.X, table.Y, table.weight, jobs, context);
          }));
        });
      },
      py::arg("prepared"), py::arg("X"), py::arg("Y"), py::arg("sample_weight"), py::arg("splits"),
      py::arg("fit_intercept"), py::arg("alphas"), py::arg("keep"), py::arg("execution"));
}

template <class Form>
void def_ridge_loo_dual(py::module_& m) {
  m.def(
      "ridge_loo_dual",
      [](const Form& form, const py::array& X, const py::object& Y, const py::object& w,
         const Folds& folds, const std::vector<int64_t>& splits,
         const std::vector<bool>& fit_intercept, const std::vector<std::vector<double>>& alphas,
         const std::vector<bool>& keep, const Execution& execution) {
        return by_dtype(X, [&]<class T>(T) {
          const Table<T> table(X, Y, w);
          const auto jobs =
              leave_one_out_jobs(splits, fit_intercept, alphas, keep, folds.n_splits());
          return arrays_of(run(execution, [&](const Context& context) {
            return ridge_loo_cpu(form, table.Y, table.weight, folds, jobs, context);
          }));
        });
      },
      py::arg("prepared"), py::arg("X"), py::arg("Y"), py::arg("sample_weight"), py::arg("folds"),
      py::arg("splits"), py::arg("fit_intercept"), py::arg("alphas"), py::arg("keep"),
      py::arg("execution"));
}

}  // namespace

void bind_ridge_loo(py::module_& m) {
  def_ridge_loo<FoldGram>(m);
  def_ridge_loo<FoldQR>(m);
  def_ridge_loo_dual<RowGram>(m);
  def_ridge_loo_dual<RowQR>(m);
}

}  // namespace manyfit::bindings
