#include "bindings/numpy.h"
#include "core/blas_threads.h"
#include "core/column_ranges.h"
#include "core/fold_gram.h"
#include "core/fold_qr.h"
#include "core/folds.h"
#include "core/linalg.h"
#include "core/mapped_gram.h"
#include "core/random.h"
#include "core/row_gram.h"
#include "core/row_qr.h"
#include "core/thread_pool.h"

// For threadpoolctl, which finds them by name.
extern "C" {
__attribute__((visibility("default"))) int manyfit_get_num_threads() {
  return manyfit::default_threads();
}
__attribute__((visibility("default"))) void manyfit_set_num_threads(int threads) {
  manyfit::set_default_threads(threads);
}
}

namespace manyfit::bindings {
namespace {

void install_routines(const py::dict& routines) {
  for (const auto& [name, object] : routines) {
    const auto capsule = py::reinterpret_borrow<py::capsule>(object);
    void* routine = PyCapsule_GetPointer(capsule.ptr(), PyCapsule_GetName(capsule.ptr()));
    if (routine == nullptr) throw py::error_already_set();
    install_lapack(py::cast<std::string>(name), routine);
  }
}

Part part_named(const std::string& name) {
  if (name == "train") return Part::train;
  if (name == "test") return Part::test;
  throw InvalidInput("part must be 'train' or 'test', got '" + name + "'");
}

void bind_system(py::module_& m) {
  m.def("lapack_routines", &lapack_routines);
  m.def("blas_routines", [] { return std::vector<std::string>(); });
  m.def("install_lapack", &install_routines, py::arg("routines"));
  m.def(
      "install_blas_threads",
      [](uintptr_t get, uintptr_t set) {
        install_blas_threads(reinterpret_cast<int (*)()>(get),
                             reinterpret_cast<void (*)(int)>(set));
      },
      py::arg("get"), py::arg("set"));
  m.def("default_threads", &default_threads);
  m.def("set_default_threads", &set_default_threads, py::arg("threads"));
  m.def("thread_limits", [] {
    const ThreadLimits limits = thread_limits();
    return py::dict(py::arg("affinity") = limits.affinity, py::arg("quota") = limits.quota,
                    py::arg("environment") = limits.environment, py::arg("set") = limits.set);
  });
  m.def("build_info", [] {
    return py::dict(py::arg("cpu_level") = MANYFIT_CPU_LEVEL,
                    py::arg("compiler") = MANYFIT_COMPILER,
                    py::arg("flags") = MANYFIT_COMPILE_FLAGS,
                    py::arg("build_type") = MANYFIT_BUILD_TYPE, py::arg("eigen") = MANYFIT_EIGEN,
                    py::arg("pybind11") = MANYFIT_PYBIND11, py::arg("cuda") = MANYFIT_CUDA_BUILD);
  });
  py::class_<Execution>(m, "Execution")
      .def(py::init([](int threads, py::object progress) {
             return Execution{threads, std::move(progress)};
           }),
           py::arg("threads") = 0, py::arg("progress") = py::none())
      .def_readonly("threads", &Execution::threads)
      .def_readonly("progress", &Execution::progress);
  m.def(
      "philox_words",
      [](uint64_t seed, uint64_t stream, uint64_t index) {
        return Philox(seed, stream).words(index);
      },
      py::arg("seed"), py::arg("stream"), py::arg("index"));
}

// A vector of some folds as an array, without a copy.
template <auto Member>
py::array array_of(const py::object& folds) {
  const auto& values = folds.cast<const Folds&>().*Member;
  using T = std::remove_cvref_t<decltype(values[0])>;
  py::array_t<T> array(static_cast<py::ssize_t>(values.size()), values.data(), folds);
  array.attr("flags").attr("writeable") = false;
  return array;
}

void bind_folds(py::module_& m) {
  // Dynamic attributes: what a device keeps of these folds.
  py::class_<Folds>(m, "Folds", py::dynamic_attr())
      .def_readonly("n_rows", &Folds::n_rows)
      .def_property_readonly("n_atoms", &Folds::n_atoms)
      .def_property_readonly("splits", [](const Folds& folds) { return folds.splits; })
      .def_property_readonly("order", &array_of<&Folds::order>)
      .def_property_readonly("atom_begin", &array_of<&Folds::atom_begin>)
      .def_property_readonly("train", &array_of<&Folds::train>)
      .def_property_readonly("test", &array_of<&Folds::test>)
      .def(
          "__eq__", [](const Folds& a, const Folds& b) { return a == b; }, py::is_operator())
      .def("training_rows", &Folds::training_rows, py::arg("split"))
      .def(
          "trained_on",
          [](const Folds& folds, int64_t split) {
            py::array_t<bool> result(folds.n_atoms());
            for (int64_t a = 0; a < folds.n_atoms(); ++a)
              result.mutable_at(a) = folds.train[split * folds.n_atoms() + a] > 0;
            return result;
          },
          py::arg("split"));
  m.def("all_rows", &all_rows, py::arg("n_rows"));
  m.def("one_split", &one_split, py::arg("sizes"), py::arg("train"), py::arg("test"));
  m.def(
      "make_folds",
      [](int64_t n_rows, const std::vector<std::pair<py::array, py::array>>& splits,
         int64_t max_atoms) {
        std::vector<Split> views;
        for (const auto& [train, test] : splits)
          views.push_back({vector_view<int64_t>(train, "cv"), vector_view<int64_t>(test, "cv")});
        const py::gil_scoped_release no_gil;
        return make_folds(n_rows, views, max_atoms);
      },
      py::arg("n_rows"), py::arg("splits"), py::arg("max_atoms"));
}

// A form made from the rows of X, Y and the weights for some folds: make(X, Y, w, folds, context).
template <class Make>
void def_from_rows(py::module_& m, const char* name, Make make) {
  m.def(
      name,
      [make](const py::array& X, const py::object& Y, const py::object& w, const Folds& folds,
             const Execution& execution) {
        return by_dtype(X, [&]<class T>(T) {
          const Table<T> table(X, Y, w);
          return run(execution, [&](const Context& context) {
            return make(table.X, table.Y, table.weight, folds, context);
          });
        });
      },
      py::arg("X"), py::arg("Y"), py::arg("sample_weight"), py::arg("folds"), py::arg("execution"));
}

// A form made from all rows of X: make(X, context).
template <class Make>
void def_of_rows(py::module_& m, const char* name, Make make) {
  m.def(
      name,
      [make](const py::array& X, const Execution& execution) {
        return by_dtype(X, [&]<class T>(T) {
          const auto view = matrix_view<T>(X, "X");
          return run(execution, [&](const Context& context) { return make(view, context); });
        });
      },
      py::arg("X"), py::arg("execution"));
}

using Reals = py::array_t<double, py::array::c_style | py::array::forcecast>;

Eigen::VectorXd vector_of(const Reals& array) {
  return Eigen::Map<const Eigen::VectorXd>(array.data(), array.size());
}

void bind_prepared(py::module_& m) {
  py::class_<FoldGram>(m, "FoldGram", py::dynamic_attr())
      .def_static(
          "from_moments",
          [](int64_t n_features, int64_t n_targets, double precision, const Reals& shift,
             const Reals& values, const Folds& folds) {
            const int64_t p = 1 + n_features + n_targets;
            if (n_features < 0 || n_targets < 0 || shift.ndim() != 1 || shift.size() != p - 1)
              throw InvalidInput("shift must have an entry for each feature and target (" +
                                 std::to_string(p - 1) + "), got " + std::to_string(shift.size()));
            if (values.ndim() != 3 || values.shape(0) != folds.n_atoms() ||
                values.shape(1) != values.shape(2) || values.shape(1) < p)
              throw InvalidInput("moments must have shape (" + std::to_string(folds.n_atoms()) +
                                 " atoms, p, p) with p of " + std::to_string(p) + " or more");
            FoldGram gram;
            gram.n_features = n_features;
            gram.n_targets = n_targets;
            gram.stride = values.shape(1);
            gram.precision = precision;
            gram.shift.assign(shift.data(), shift.data() + shift.size());
            gram.moments.assign(values.data(), values.data() + values.size());
            gram.folds = folds;
            return gram;
          },
          py::arg("n_features"), py::arg("n_targets"), py::arg("precision"), py::arg("shift"),
          py::arg("moments"), py::arg("folds"))
      .def_property_readonly("finite", &FoldGram::finite)
      .def_readonly("folds", &FoldGram::folds)
      .def_readonly("precision", &FoldGram::precision)
      .def_readonly("growth", &FoldGram::growth)
      .def(
          "mapped",
          [](const FoldGram& gram, int64_t split, const Reals& centre, const Reals& map,
             const Reals& offset, const Folds& folds) {
            const Eigen::VectorXd c = vector_of(centre), b = vector_of(offset);
            if (map.ndim() == 1) {
              const Eigen::VectorXd scales = vector_of(map);
              const py::gil_scoped_release no_gil;
              return mapped_gram(gram, split, c, scales, b, folds);
            }
            const Eigen::MatrixXd A = to_eigen(matrix_view<double>(map, "map"));
            const py::gil_scoped_release no_gil;
            return mapped_gram(gram, split, c, A, b, folds);
          },
          py::arg("split"), py::arg("centre"), py::arg("map"), py::arg("offset"), py::arg("folds"))
      .def(
          "moments",
          [](const FoldGram& gram, int64_t split, const std::string& part, bool centred) {
            const Moments result = moments(gram, split, part_named(part), centred);
            return py::dict(
                py::arg("weight") = result.weight, py::arg("mean") = to_numpy(result.mean),
                py::arg("target_mean") = to_numpy(result.target_mean),
                py::arg("gram") = to_numpy(result.gram), py::arg("cross") = to_numpy(result.cross),
                py::arg("target_squares") = to_numpy(result.target_squares));
          },
          py::arg("split"), py::arg("part"), py::arg("centred"));
  py::class_<FoldQR>(m, "FoldQR")
      .def_property_readonly("finite", &FoldQR::finite)
      .def_readonly("folds", &FoldQR::folds);
  py::class_<RowGram>(m, "RowGram").def_property_readonly("finite", &RowGram::finite);
  py::class_<RowQR>(m, "RowQR").def_property_readonly("finite", &RowQR::finite);
  def_from_rows(m, "fold_gram",
                [](auto X, auto Y, auto w, const Folds& folds, const Context& context) {
                  return fold_gram_cpu(X, Y, w, folds, context);
                });
  def_from_rows(m, "fold_qr",
                [](auto X, auto Y, auto w, const Folds& folds, const Context& context) {
                  return fold_qr_cpu(X, Y, w, folds, context);
                });
  m.def(
      "column_ranges",
      [](const py::array& X, const Folds& folds, const Execution& execution) {
        return by_dtype(X, [&]<class T>(T) {
          const auto view = matrix_view<T>(X, "X");
          if (view.rows != folds.n_rows) throw InvalidInput("X and folds must have the same rows");
          const ColumnRanges ranges = run(execution, [&](const Context& context) {
            return column_ranges_cpu(view, folds, context);
          });
          return py::make_tuple(to_numpy(Eigen::MatrixXd(ranges.low.transpose())),
                                to_numpy(Eigen::MatrixXd(ranges.high.transpose())));
        });
      },
      py::arg("X"), py::arg("folds"), py::arg("execution"));
  def_of_rows(m, "row_gram",
              [](auto X, const Context& context) { return row_gram_cpu(X, context); });
  def_of_rows(m, "row_qr", [](auto X, const Context& context) { return row_qr_cpu(X, context); });
}

}  // namespace

void bind_core(py::module_& m) {
  bind_system(m);
  bind_folds(m);
  bind_prepared(m);
}

}  // namespace manyfit::bindings
