#include "linear_model/gradient_descent.h"

#include "bindings/numpy.h"

namespace manyfit::bindings {
namespace {

py::array_t<double> shaped(const std::vector<double>& values, std::vector<py::ssize_t> shape) {
  py::array_t<double> array(std::move(shape));
  if (!values.empty())
    std::memcpy(array.mutable_data(), values.data(), values.size() * sizeof(double));
  return array;
}

// (coef (outputs, d), intercept (outputs,), steps, end, loss, gradient norm, coefs, intercepts)
py::tuple descent(const GradientFit& fit) {
  static const char* const ends[] = {"converged", "exhausted", "diverged"};
  const auto outputs = fit.coef.rows(), d = fit.coef.cols();
  const auto noted = static_cast<py::ssize_t>(fit.intercepts.size()) / outputs;
  return py::make_tuple(to_numpy(Eigen::MatrixXd(fit.coef)), to_numpy(fit.intercept), fit.steps,
                        ends[static_cast<int>(fit.end)],
                        shaped(fit.loss, {static_cast<py::ssize_t>(fit.loss.size())}),
                        shaped(fit.gradient_norm, {static_cast<py::ssize_t>(fit.loss.size())}),
                        shaped(fit.coefs, {noted, outputs, d}),
                        shaped(fit.intercepts, {noted, outputs}));
}

}  // namespace

void bind_gradient_descent(py::module_& m) {
  m.def(
      "gradient_descent",
      [](const py::array& X, const py::object& y, const py::object& codes, int64_t classes,
         const py::object& w, const Folds& folds, const std::vector<int64_t>& splits,
         const std::vector<double>& learning_rate, const std::vector<double>& momentum,
         const std::vector<double>& tol, const std::vector<int64_t>& max_iter,
         const std::vector<bool>& fit_intercept, const std::vector<bool>& trace,
         const py::array& start, const Execution& execution) {
        const auto from = matrix_view<double>(start, "start");  // (jobs, outputs (d + 1))
        const size_t B = splits.size();
        for (const size_t length : {learning_rate.size(), momentum.size(), tol.size(),
                                    max_iter.size(), fit_intercept.size(), trace.size()})
          if (length != B) throw InvalidInput("every job must have every parameter");
        return by_dtype(X, [&]<class T>(T) {
          const Table<T> table(X, py::none(), w);
          const auto targets = vector_view<T>(y, "y");
          const auto labels = vector_view<int64_t>(codes, "y");
          const int64_t d = table.X.cols, outputs = labels.empty() || classes == 2 ? 1 : classes;
          if ((labels.empty() ? targets.size : labels.size) != table.X.rows)
            throw InvalidInput("y must have as many rows as X");
          if (from.rows != static_cast<int64_t>(B) || from.cols != outputs * (d + 1))
            throw InvalidInput("start must have shape (jobs, outputs * (features + 1))");
          std::vector<GradientJob> jobs(B);
          for (size_t b = 0; b < B; ++b) {
            if (splits[b] < 0 || splits[b] >= folds.n_splits())
              throw InvalidInput("splits must belong to the folds");
            jobs[b] = {splits[b],
                       learning_rate[b],
                       momentum[b],
                       tol[b],
                       max_iter[b],
                       fit_intercept[b],
                       trace[b],
                       RowMatrixXd(outputs, d),
                       Eigen::VectorXd(outputs)};
            for (int64_t k = 0; k < outputs; ++k) {
              for (int64_t j = 0; j < d; ++j)
                jobs[b].coef(k, j) = from(static_cast<int64_t>(b), k * d + j);
              jobs[b].intercept(k) = from(static_cast<int64_t>(b), outputs * d + k);
            }
          }
          const auto fits = run(execution, [&](const Context& context) {
            return gradient_descent_cpu(table.X, targets, labels, classes, table.weight, folds,
                                        jobs, context);
          });
          py::list result;
          for (const GradientFit& fit : fits) result.append(descent(fit));
          return result;
        });
      },
      py::arg("X"), py::arg("y"), py::arg("codes"), py::arg("classes"), py::arg("sample_weight"),
      py::arg("folds"), py::arg("splits"), py::arg("learning_rate"), py::arg("momentum"),
      py::arg("tol"), py::arg("max_iter"), py::arg("fit_intercept"), py::arg("trace"),
      py::arg("start"), py::arg("execution"));
}

}  // namespace manyfit::bindings
