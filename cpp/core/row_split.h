// The rows a split trains on where they are fewer than the columns, as
//   A = diag(root) (X[rows] - 1 mean'),   root_i^2 a row's weight times how often the split takes
//   it,
// mean the weighted mean, or zero where the rows are not centred. Every solution is A' a for some a
// (m,): a few combinations of the rows.
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <limits>
#include <vector>

#include "core/context.h"
#include "core/folds.h"
#include "core/row_gram.h"
#include "core/row_qr.h"
#include "core/views.h"

namespace manyfit {

// A = U diag(values) V' for V (d, m) that is never formed; A' u_i = values(i) v_i.
struct RowSpectrum {
  Eigen::VectorXd values;  // descending
  Eigen::MatrixXd u;       // (m, values)
  double squares = 0;      // sum of the squares of all values, also of those not asked for
  double noise = 0;        // values at most this may be nothing but rounding
  // Of the squares' condition number, where they are what was decomposed; infinite otherwise.
  double limit = std::numeric_limits<double>::infinity();
};

class RowSplit {
 public:
  template <class T>
  RowSplit(VectorView<const T> w, const Folds& folds, int64_t split, bool centred);

  int64_t size() const { return static_cast<int64_t>(rows.size()); }
  // A A' (m, m).
  Eigen::MatrixXd products(const RowGram& gram) const;
  RowSpectrum spectrum(const RowGram& gram, int64_t count, const Context& context) const;
  RowSpectrum spectrum(const RowQR& qr, int64_t count, const Context& context) const;

  struct Combinations {
    Eigen::MatrixXd columns;  // (d, k) A' a
    Eigen::VectorXd mean;     // (d,) weighted mean of the rows
  };
  template <class T>
  Combinations combine(MatrixView<const T> X, const std::vector<double>& shift,
                       const Eigen::MatrixXd& a, const Context& context) const;

  bool centred;
  std::vector<int64_t> rows;
  Eigen::VectorXd weight;  // (m,)
  Eigen::VectorXd root;    // (m,)
};

}  // namespace manyfit
