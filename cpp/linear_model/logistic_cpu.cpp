#include "linear_model/logistic.h"
#include "linear_model/logistic_population.h"
#include "linear_model/logistic_rows.h"

namespace manyfit {

template <class T>
LogisticPopulation logistic_cpu(MatrixView<const T> X, VectorView<const int64_t> codes,
                                VectorView<const T> w, const Folds& folds, int64_t n_classes,
                                bool fit_intercept, const Eigen::MatrixXd& class_weights,
                                const std::vector<LogisticJob>& jobs, const Context& context) {
  LogisticTable<T> rows(X, codes, w, folds, n_classes, fit_intercept, class_weights);
  return logistic_population(rows, folds, jobs, context);
}

template LogisticPopulation logistic_cpu(MatrixView<const float>, VectorView<const int64_t>,
                                         VectorView<const float>, const Folds&, int64_t, bool,
                                         const Eigen::MatrixXd&, const std::vector<LogisticJob>&,
                                         const Context&);
template LogisticPopulation logistic_cpu(MatrixView<const double>, VectorView<const int64_t>,
                                         VectorView<const double>, const Folds&, int64_t, bool,
                                         const Eigen::MatrixXd&, const std::vector<LogisticJob>&,
                                         const Context&);

}  // namespace manyfit
