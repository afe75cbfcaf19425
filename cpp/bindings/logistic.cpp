#include "linear_model/logistic.h"

#include <optional>

#include "bindings/numpy.h"
#include "linear_model/logistic_population.h"
#include "linear_model/logistic_port.h"

namespace manyfit::bindings {
namespace {

using Numbers = py::array_t<double, py::array::c_style | py::array::forcecast>;

// One entry of each list for each job; starts hold None or (outputs, features + 1) arrays.
std::vector<LogisticJob> logistic_jobs(const std::vector<int64_t>& splits,
                                       const std::vector<int64_t>& class_weight,
                                       const std::vector<double>& C,
                                       const std::vector<double>& l1_ratio,
                                       const std::vector<double>& tol,
                                       const std::vector<int64_t>& max_iter,
                                       const std::vector<std::optional<Numbers>>& start) {
  std::vector<LogisticJob> jobs;
  for (size_t b = 0; b < splits.size(); ++b)
    jobs.push_back({splits[b], class_weight.at(b), C.at(b), l1_ratio.at(b), tol.at(b),
                    max_iter.at(b), start.at(b) ? start[b]->data() : nullptr});
  return jobs;
}

void check_codes(VectorView<const int64_t> codes, int64_t n_classes) {
  if (n_classes < 2) throw InvalidInput("n_classes must be at least 2");
  for (int64_t i = 0; i < codes.size; ++i)
    if (codes[i] < 0 || codes[i] >= n_classes) throw InvalidInput("codes must be classes");
}

void check_jobs(const std::vector<LogisticJob>& jobs,
                const std::vector<std::optional<Numbers>>& start, const Folds& folds,
                int64_t class_weights, int64_t parameters) {
  for (size_t b = 0; b < jobs.size(); ++b) {
    if (jobs[b].split < 0 || jobs[b].split >= folds.n_splits())
      throw InvalidInput("splits must lie in [0, " + std::to_string(folds.n_splits()) + ")");
    if (jobs[b].class_weight < 0 || jobs[b].class_weight >= class_weights)
      throw InvalidInput("class_weight must lie in [0, " + std::to_string(class_weights) + ")");
    if (start[b] && start[b]->size() != parameters)
      throw InvalidInput("start must hold " + std::to_string(parameters) + " numbers");
  }
}

py::tuple as_tuple(const LogisticPopulation& population, int64_t K, int64_t p) {
  const auto n_jobs = static_cast<int64_t>(population.coef.size());
  py::array_t<double> coef({n_jobs, K, p});
  for (int64_t b = 0; b < n_jobs; ++b)
    std::memcpy(coef.mutable_data(b), population.coef[b].data(), p * K * sizeof(double));
  const auto flags = [](const std::vector<uint8_t>& values) {
    return std::vector<bool>(values.begin(), values.end());
  };
  return py::make_tuple(std::move(coef), population.iterations, flags(population.converged),
                        flags(population.finite));
}

std::vector<Eigen::MatrixXd> models_of(const Numbers& coef, const std::vector<int64_t>& splits,
                                       const Folds& folds, int64_t K, int64_t p) {
  const auto n_models = static_cast<int64_t>(splits.size());
  if (coef.size() != n_models * K * p) throw InvalidInput("coef must suit X, n_classes and splits");
  for (const int64_t split : splits)
    if (split < 0 || split >= folds.n_splits())
      throw InvalidInput("splits must lie in [0, " + std::to_string(folds.n_splits()) + ")");
  std::vector<Eigen::MatrixXd> models;
  for (int64_t b = 0; b < n_models; ++b)
    models.emplace_back(Eigen::Map<const Eigen::MatrixXd>(coef.data() + b * K * p, p, K));
  return models;
}

py::array_t<double> as_array(const std::vector<LogisticScore>& scores) {
  py::array_t<double> result({static_cast<int64_t>(scores.size()), int64_t{3}});
  for (size_t b = 0; b < scores.size(); ++b) {
    const auto row = static_cast<int64_t>(b);
    result.mutable_at(row, 0) = scores[b].weight;
    result.mutable_at(row, 1) = scores[b].right;
    result.mutable_at(row, 2) = scores[b].loss;
  }
  return result;
}

// Passes that another module has over rows of these folds.
LogisticPort& port_of(const py::capsule& capsule, const Folds& folds) {
  if (capsule.name() == nullptr || std::string(capsule.name()) != kLogisticPort)
    throw InvalidInput("passes must be a capsule named " + std::string(kLogisticPort));
  auto& port = *capsule.get_pointer<LogisticPort>();
  if (port.rows() != folds.n_rows || port.atoms() != folds.n_atoms())
    throw InvalidInput("folds must be those of the passes");
  return port;
}

}  // namespace

void bind_logistic(py::module_& m) {
  m.attr("logistic_newton_size") = kLogisticNewtonSize;
  m.attr("logistic_proximal_size") = kLogisticProximalSize;
  m.def(
      "logistic",
      [](const py::array& X, const py::array& codes, const py::object& w, const Folds& folds,
         int64_t n_classes, bool fit_intercept, const py::array& class_weights,
         const std::vector<int64_t>& splits, const std::vector<int64_t>& class_weight,
         const std::vector<double>& C, const std::vector<double>& l1_ratio,
         const std::vector<double>& tol, const std::vector<int64_t>& max_iter,
         const std::vector<std::optional<Numbers>>& start, const Execution& execution) {
        const auto jobs = logistic_jobs(splits, class_weight, C, l1_ratio, tol, max_iter, start);
        const auto labels = vector_view<int64_t>(codes, "codes");
        const Eigen::MatrixXd by_class = to_eigen(matrix_view<double>(class_weights, "class"));
        check_codes(labels, n_classes);
        return by_dtype(X, [&]<class T>(T) {
          const Table<T> table(X, py::none(), w);
          if (labels.size != table.X.rows || by_class.cols() != n_classes || n_classes < 2)
            throw InvalidInput("codes and class_weights must suit X and n_classes");
          const int64_t p = table.X.cols + 1, K = n_classes == 2 ? 1 : n_classes;
          check_jobs(jobs, start, folds, by_class.rows(), p * K);
          const LogisticPopulation population = run(execution, [&](const Context& context) {
            return logistic_cpu<T>(table.X, labels, table.weight, folds, n_classes, fit_intercept,
                                   by_class, jobs, context);
          });
          return as_tuple(population, K, p);
        });
      },
      py::arg("X"), py::arg("codes"), py::arg("sample_weight"), py::arg("folds"),
      py::arg("n_classes"), py::arg("fit_intercept"), py::arg("class_weights"), py::arg("splits"),
      py::arg("class_weight"), py::arg("C"), py::arg("l1_ratio"), py::arg("tol"),
      py::arg("max_iter"), py::arg("start"), py::arg("execution"));
  m.def(
      "logistic_scores",
      [](const py::array& X, const py::array& codes, const py::object& w, const Folds& folds,
         int64_t n_classes, const std::vector<int64_t>& splits, const Numbers& coef,
         const Execution& execution) {
        const auto labels = vector_view<int64_t>(codes, "codes");
        check_codes(labels, n_classes);
        return by_dtype(X, [&]<class T>(T) {
          const Table<T> table(X, py::none(), w);
          const int64_t p = table.X.cols + 1, K = n_classes == 2 ? 1 : n_classes;
          if (labels.size != table.X.rows) throw InvalidInput("codes must have as many rows as X");
          const auto models = models_of(coef, splits, folds, K, p);
          const auto scores = run(execution, [&](const Context& context) {
            return logistic_scores_cpu<T>(table.X, labels, table.weight, folds, n_classes, splits,
                                          models, context);
          });
          return as_array(scores);
        });
      },
      py::arg("X"), py::arg("codes"), py::arg("sample_weight"), py::arg("folds"),
      py::arg("n_classes"), py::arg("splits"), py::arg("coef"), py::arg("execution"));
  // `logistic` and `logistic_scores` on rows that another module holds.
  m.def(
      "logistic_passes",
      [](const py::capsule& passes, const Folds& folds, const std::vector<int64_t>& splits,
         const std::vector<int64_t>& class_weight, const std::vector<double>& C,
         const std::vector<double>& l1_ratio, const std::vector<double>& tol,
         const std::vector<int64_t>& max_iter, const std::vector<std::optional<Numbers>>& start,
         const Execution& execution) {
        LogisticPort& port = port_of(passes, folds);
        const auto jobs = logistic_jobs(splits, class_weight, C, l1_ratio, tol, max_iter, start);
        const int64_t p = port.parameters(), K = port.outputs();
        check_jobs(jobs, start, folds, port.class_weights(), p * K);
        const LogisticPopulation population = run(execution, [&](const Context& context) {
          LogisticClient client(port);
          return logistic_population(client, folds, jobs, context);
        });
        return as_tuple(population, K, p);
      },
      py::arg("passes"), py::arg("folds"), py::arg("splits"), py::arg("class_weight"), py::arg("C"),
      py::arg("l1_ratio"), py::arg("tol"), py::arg("max_iter"), py::arg("start"),
      py::arg("execution"));
  m.def(
      "logistic_passes_scores",
      [](const py::capsule& passes, const Folds& folds, const std::vector<int64_t>& splits,
         const Numbers& coef, const Execution& execution) {
        LogisticPort& port = port_of(passes, folds);
        const auto models = models_of(coef, splits, folds, port.outputs(), port.parameters());
        return as_array(run(execution, [&](const Context& context) {
          const LogisticClient client(port);
          return logistic_scores(client, folds, splits, models, context);
        }));
      },
      py::arg("passes"), py::arg("folds"), py::arg("splits"), py::arg("coef"),
      py::arg("execution"));
}

}  // namespace manyfit::bindings
