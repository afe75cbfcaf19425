// Second moments of the rows of each atom of some folds, in one pass over X.
//
//   M_a = sum over rows i of atom a of  w[i] * z_i z_i',   z_i = [1, x_i - shift_x, y_i - shift_y]
//
// X (n, d); Y (n, t); w (n,) or empty for ones. The shift is a provisional mean, so large means
// cost no digits; centring on a split's own mean is algebra on M (moments()). Products within a
// tile of rows are summed in X's type, all else in double. Cost: n (1 + d + t)^2 / 2 multiply-adds
// and one read of X and Y; memory: (atoms + a few) * (1 + d + t)^2 doubles. Of the targets' own
// block only the diagonal is kept exactly: no fit needs more.
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <vector>

#include "core/context.h"
#include "core/folds.h"
#include "core/views.h"

namespace manyfit {

struct FoldGram {
  int64_t n_features = 0;
  int64_t n_targets = 0;
  int64_t stride = 0;           // of a row of M; at least 1 + d + t
  double precision = 0;         // relative rounding of an entry of M
  double growth = 1;            // how much more it is where M came of another (mapped_gram.h)
  std::vector<double> shift;    // (d + t)
  std::vector<double> moments;  // (atoms, stride, stride), lower triangles
  Folds folds;

  const double* atom(int64_t a) const { return moments.data() + a * stride * stride; }
  // False where X, Y or w held NaN or infinity, or their squares overflowed.
  bool finite() const;
};

template <class T>
FoldGram fold_gram_cpu(MatrixView<const T> X, MatrixView<const T> Y, VectorView<const T> w,
                       Folds folds, const Context& context);

enum class Part { train, test };

// Moments of the rows a split trains or tests on, about their weighted mean, or about zero.
struct Moments {
  double weight = 0;               // sum of w
  Eigen::VectorXd mean;            // (d,) weighted means, also when not centred
  Eigen::VectorXd target_mean;     // (t,)
  Eigen::MatrixXd gram;            // (d, d) sum w (x - mean)(x - mean)'
  Eigen::MatrixXd cross;           // (d, t) sum w (x - mean)(y - target_mean)'
  Eigen::VectorXd target_squares;  // (t,) sum w (y - target_mean)^2
  Eigen::VectorXd
      shifted_squares;  // (d,) sum w (x - shift)^2: gram's diagonal carries their rounding
};
Moments moments(const FoldGram& gram, int64_t split, Part part, bool centred);

// A provisional mean of each column, from rows spread evenly over X.
template <class T>
std::vector<double> provisional_means(MatrixView<const T> X);

}  // namespace manyfit
