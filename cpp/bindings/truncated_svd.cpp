#include "decomposition/truncated_svd.h"

#include "bindings/numpy.h"

namespace manyfit::bindings {
namespace {

// (values (k,), components (k, d), variance (k,), total variance, reliable)
py::list svd_arrays(const std::vector<TruncatedSvd>& fits) {
  py::list result;
  for (const TruncatedSvd& fit : fits)
    result.append(py::make_tuple(to_numpy(fit.values), to_numpy(fit.components),
                                 to_numpy(fit.variance), fit.total_variance, fit.reliable()));
  return result;
}

template <class Prepared>
void bind_svd(py::module_& m) {
  m.def(
      "truncated_svd",
      [](const Prepared& prepared, const std::vector<int64_t>& splits,
         const std::vector<int64_t>& counts, const Execution& execution) {
        return svd_arrays(run(execution, [&](const Context& context) {
          return truncated_svd_cpu(prepared, splits, counts, context);
        }));
      },
      py::arg("prepared"), py::arg("splits"), py::arg("counts"), py::arg("execution"));
}

template <class RowForm>
void bind_svd_dual(py::module_& m) {
  m.def(
      "truncated_svd_dual",
      [](const RowForm& form, const py::array& X, const Folds& folds,
         const std::vector<int64_t>& splits, const std::vector<int64_t>& counts,
         const Execution& execution) {
        return by_dtype(X, [&]<class T>(T) {
          const auto view = matrix_view<T>(X, "X");
          return svd_arrays(run(execution, [&](const Context& context) {
            return truncated_svd_cpu(form, view, folds, splits, counts, context);
          }));
        });
      },
      py::arg("prepared"), py::arg("X"), py::arg("folds"), py::arg("splits"), py::arg("counts"),
      py::arg("execution"));
}

}  // namespace

void bind_truncated_svd(py::module_& m) {
  bind_svd<FoldGram>(m);
  bind_svd<FoldQR>(m);
  bind_svd_dual<RowGram>(m);
  bind_svd_dual<RowQR>(m);
}

}  // namespace manyfit::bindings
