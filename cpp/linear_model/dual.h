// A split's training rows in the dual: weighted, centred inner products and targets.
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <vector>

#include "core/context.h"
#include "core/folds.h"
#include "core/linalg.h"
#include "core/row_gram.h"
#include "core/views.h"

namespace manyfit {

class DualData {
 public:
  template <class T>
  DualData(const RowGram& gram, MatrixView<const T> Y, VectorView<const T> w, const Folds& folds,
           int64_t split, bool centred);

  // a (rows, t) with (K + alpha[k]) a_k = target_k. False where the system is too ill-conditioned.
  bool solve(const Eigen::VectorXd& alpha, double limit, const Context& context,
             Eigen::MatrixXd& a) const;

  // a, weighted, at the places of its rows among all n.
  Eigen::MatrixXd spread(const Eigen::MatrixXd& a, int64_t n) const;

  // Coefficients (d, k) of spread weights (n, k); remembers the means for intercept().
  template <class T>
  Eigen::MatrixXd coefficients(MatrixView<const T> X, const std::vector<double>& shift,
                               Eigen::MatrixXd weights, const Context& context);
  Eigen::VectorXd intercept(const Eigen::MatrixXd& coef) const;

  Eigen::MatrixXd products;  // (rows, rows)
  Eigen::MatrixXd target;    // (rows, t)

 private:
  bool centred_;
  std::vector<int64_t> rows_;
  Eigen::VectorXd root_;         // sqrt of a row's weight times its multiplicity
  Eigen::VectorXd target_mean_;  // (t,)
  Eigen::VectorXd mean_;         // (d,)
};

// K = U diag(values) U'. Directions that rounding cannot tell from zero are dropped where there is
// no penalty, or nothing of the target along them.
struct DualSpectrum {
  Eigen::VectorXd values;   // descending
  Eigen::MatrixXd vectors;  // (rows, rows)
  double noise = 0;         // values at most this are taken as zero
  double limit = 1;         // of the condition number

  DualSpectrum() = default;
  DualSpectrum(const DualData& data, double precision, const Context& context);

  // As DualData::solve; alpha may be 0 for the minimum-norm solution.
  bool solve(const Eigen::VectorXd& alpha, const DualData& data, Eigen::MatrixXd& a) const;
  int64_t rank() const { return (values.array() > noise).count(); }
};

}  // namespace manyfit
