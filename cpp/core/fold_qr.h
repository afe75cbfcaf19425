// The accurate twin of the fold Gram: for the rows of each atom, the triangular factor R of
//   sqrt(w) * [1, X - shift_x, Y - shift_y]
// so that R'R is the fold Gram's M, but without squaring the condition number. Factors of atoms
// combine by one small QR into those of a split. Computed in double. X (n, d); Y (n, t); w (n,) or
// empty. About 2 n (1 + d + t)^2 multiply-adds, one read of X; memory a few (1 + d + t)^2 per
// thread. Source: Demmel, Grigori, Hoemmen, Langou: Communication-optimal parallel and sequential
// QR (2012), TSQR.
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <vector>

#include "core/context.h"
#include "core/folds.h"
#include "core/views.h"

namespace manyfit {

struct FoldQR {
  int64_t n_features = 0;
  int64_t n_targets = 0;
  std::vector<double> shift;             // (d + t)
  std::vector<Eigen::MatrixXd> factors;  // one (1 + d + t)^2 upper triangle an atom
  Folds folds;

  // False where X, Y or w held NaN or infinity.
  bool finite() const;
};

template <class T>
FoldQR fold_qr_cpu(MatrixView<const T> X, MatrixView<const T> Y, VectorView<const T> w, Folds folds,
                   const Context& context);

// What a split trains on: X about its mean (or zero) is Q * factor, and target = Q' y.
struct TrainFactor {
  Eigen::VectorXd mean;         // (d,)
  Eigen::VectorXd target_mean;  // (t,)
  Eigen::MatrixXd factor;       // (d, d) upper triangle
  Eigen::MatrixXd target;       // (d, t)
};
TrainFactor train_factor(const FoldQR& qr, int64_t split, bool centred, const Context& context);

}  // namespace manyfit
