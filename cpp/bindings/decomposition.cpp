#include "bindings/numpy.h"
#include "decomposition/pca.h"

namespace manyfit::bindings {
namespace {

// (mean (d,), variance (k,), components (k, d), total variance, reliable)
py::tuple arrays_of(const PrincipalComponents& fit) {
  return py::make_tuple(to_numpy(fit.mean), to_numpy(fit.variance), to_numpy(fit.components),
                        fit.total_variance, fit.reliable);
}

py::list arrays_of(const std::vector<PrincipalComponents>& fits) {
  py::list result;
  for (const PrincipalComponents& fit : fits) result.append(arrays_of(fit));
  return result;
}

template <class Prepared>
void bind_pca(py::module_& m) {
  m.def(
      "pca",
      [](const Prepared& prepared, const std::vector<int64_t>& splits,
         const std::vector<int64_t>& counts, const Execution& execution) {
        return arrays_of(run(execution, [&](const Context& context) {
          return pca_cpu(prepared, splits, counts, context);
        }));
      },
      py::arg("prepared"), py::arg("splits"), py::arg("counts"), py::arg("execution"));
}

template <class RowForm>
void bind_pca_dual(py::module_& m) {
  m.def(
      "pca_dual",
      [](const RowForm& form, const py::array& X, const Folds& folds,
         const std::vector<int64_t>& splits, const std::vector<int64_t>& counts,
         const Execution& execution) {
        return by_dtype(X, [&]<class T>(T) {
          const auto view = matrix_view<T>(X, "X");
          return arrays_of(run(execution, [&](const Context& context) {
            return pca_cpu(form, view, folds, splits, counts, context);
          }));
        });
      },
      py::arg("prepared"), py::arg("X"), py::arg("folds"), py::arg("splits"), py::arg("counts"),
      py::arg("execution"));
}

}  // namespace

void bind_decomposition(py::module_& m) {
  bind_pca<FoldGram>(m);
  bind_pca<FoldQR>(m);
  bind_pca_dual<RowGram>(m);
  bind_pca_dual<RowQR>(m);
}

}  // namespace manyfit::bindings
