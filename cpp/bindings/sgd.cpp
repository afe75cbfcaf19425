#include "linear_model/sgd.h"

#include <string>

#include "bindings/numpy.h"

namespace manyfit::bindings {
namespace {

SgdLoss sgd_loss_named(const std::string& name) {
  static const std::pair<const char*, SgdLoss> losses[] = {
      {"squared_error", SgdLoss::squared_error},
      {"huber", SgdLoss::huber},
      {"epsilon_insensitive", SgdLoss::epsilon_insensitive},
      {"squared_epsilon_insensitive", SgdLoss::squared_epsilon_insensitive},
      {"hinge", SgdLoss::hinge},
      {"squared_hinge", SgdLoss::squared_hinge},
      {"perceptron", SgdLoss::perceptron},
      {"log_loss", SgdLoss::log_loss},
      {"modified_huber", SgdLoss::modified_huber},
  };
  for (const auto& [known, loss] : losses)
    if (name == known) return loss;
  throw InvalidInput("loss must be one that is known, got " + name);
}

SgdRate sgd_rate_named(const std::string& name) {
  static const std::pair<const char*, SgdRate> rates[] = {
      {"constant", SgdRate::constant},
      {"optimal", SgdRate::optimal},
      {"invscaling", SgdRate::invscaling},
      {"adaptive", SgdRate::adaptive},
      {"pa1", SgdRate::pa1},
      {"pa2", SgdRate::pa2},
  };
  for (const auto& [known, rate] : rates)
    if (name == known) return rate;
  throw InvalidInput("learning_rate must be one that is known, got " + name);
}

template <class T>
std::vector<T> sgd_weights(const py::handle& object, int64_t d, const char* name) {
  if (object.is_none()) return {};
  const auto view = vector_view<T>(py::reinterpret_borrow<py::object>(object), name);
  if (view.size != d)
    throw InvalidInput(std::string(name) + " must have one value per column of X");
  std::vector<T> values(static_cast<size_t>(d));
  for (int64_t j = 0; j < d; ++j) values[static_cast<size_t>(j)] = view[j];
  return values;
}

template <class T>
SgdJob<T> sgd_job(const py::dict& of, size_t streams, int64_t d) {
  SgdJob<T> job;
  job.stream = of["stream"].cast<size_t>();
  if (job.stream >= streams) throw InvalidInput("stream must be one of those given");
  job.loss = sgd_loss_named(of["loss"].cast<std::string>());
  job.epsilon = of["epsilon"].cast<double>();
  const auto penalty = of["penalty"].cast<std::string>();
  job.l2 = penalty == "l2" || penalty == "elasticnet";
  job.l1 = penalty == "l1" || penalty == "elasticnet";
  job.alpha = of["alpha"].cast<double>();
  job.l1_ratio = penalty == "elasticnet" ? of["l1_ratio"].cast<double>() : job.l1 ? 1.0 : 0.0;
  job.rate = sgd_rate_named(of["learning_rate"].cast<std::string>());
  job.eta0 = of["eta0"].cast<double>();
  job.power_t = of["power_t"].cast<double>();
  job.max_iter = of["max_iter"].cast<int64_t>();
  job.tol = of["tol"].cast<double>();
  job.patience = of["n_iter_no_change"].cast<int64_t>();
  job.early_stopping = of["early_stopping"].cast<bool>();
  job.fit_intercept = of["fit_intercept"].cast<bool>();
  job.positive = of["positive"].cast<int64_t>();
  job.positive_weight = of["positive_weight"].cast<double>();
  job.negative_weight = of["negative_weight"].cast<double>();
  job.average = of["average"].cast<int64_t>();
  job.t = of["t"].cast<double>();
  job.coef = sgd_weights<T>(of["coef"], d, "coef");
  job.intercept = of["intercept"].cast<double>();
  job.average_coef = sgd_weights<T>(of["average_coef"], d, "average_coef");
  job.average_intercept = of["average_intercept"].cast<double>();
  if (job.coef.empty()) throw InvalidInput("coef must be given");
  if (job.average > 0 && job.average_coef.empty())
    throw InvalidInput("average_coef must be given where average > 0");
  return job;
}

std::vector<SgdStream> sgd_streams(const py::list& given, int64_t n) {
  std::vector<SgdStream> streams;
  for (const py::handle& item : given) {
    const auto of = py::reinterpret_borrow<py::tuple>(item);
    SgdStream stream;
    stream.rows = vector_view<int64_t>(of[0], "rows");
    stream.held_out = vector_view<uint8_t>(of[1], "held_out");
    stream.seed = of[2].cast<uint32_t>();
    stream.shuffle = of[3].cast<bool>();
    for (int64_t i = 0; i < stream.rows.size; ++i)
      if (stream.rows[i] < 0 || stream.rows[i] >= n) throw InvalidInput("rows must be rows of X");
    if (!stream.held_out.empty() &&
        stream.held_out.size != (stream.rows.empty() ? n : stream.rows.size))
      throw InvalidInput("held_out must have one entry per row of the stream");
    streams.push_back(stream);
  }
  return streams;
}

template <class T>
py::array_t<T> sgd_array(const std::vector<T>& values) {
  return py::array_t<T>(static_cast<py::ssize_t>(values.size()), values.data());
}

}  // namespace

void bind_sgd(py::module_& m) {
  m.def(
      "sgd",
      [](const py::array& X, const py::object& y, const py::object& codes, const py::object& w,
         const py::list& streams, const py::list& jobs, const Execution& execution) {
        return by_dtype(X, [&]<class T>(T) {
          const Table<T> table(X, py::none(), w);
          const auto targets = vector_view<T>(y, "y");
          const auto labels = vector_view<int64_t>(codes, "y");
          if ((labels.empty() ? targets.size : labels.size) != table.X.rows)
            throw InvalidInput("y must have as many rows as X");
          const auto views = sgd_streams(streams, table.X.rows);
          std::vector<SgdJob<T>> list;
          for (const py::handle& job : jobs)
            list.push_back(
                sgd_job<T>(py::reinterpret_borrow<py::dict>(job), views.size(), table.X.cols));
          run(execution, [&](const Context& context) {
            sgd_cpu(table.X, targets, labels, table.weight, views, list, context);
          });
          py::list result;
          for (const SgdJob<T>& job : list)
            result.append(py::make_tuple(sgd_array(job.coef), job.intercept,
                                         sgd_array(job.average_coef), job.average_intercept,
                                         job.epochs, job.overflowed));
          return result;
        });
      },
      py::arg("X"), py::arg("y"), py::arg("codes"), py::arg("sample_weight"), py::arg("streams"),
      py::arg("jobs"), py::arg("execution"));
}

}  // namespace manyfit::bindings
