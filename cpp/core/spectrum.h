// Singular values and right vectors of a split's training data, with the target in that basis: what
// serves every ridge penalty, the minimum-norm solution and the principal components alike.
#pragma once

#include <Eigen/Core>

#include "core/fold_gram.h"
#include "core/fold_qr.h"
#include "core/linalg.h"

namespace manyfit {

// The largest condition number of a Gram whose rounding still leaves the solution accurate: to 1e-9
// in double, and in float32 to what its own rounding of the data costs anyway.
inline double condition_limit(double precision) {
  return precision > 1e-12 ? 5e3 : 1e-9 / precision;
}

// X = U diag(values) vectors'; target = U' y. From a Gram, singular values below
// sqrt(precision) * values(0) are noise; from a triangular factor all are accurate.
struct Spectrum {
  Eigen::VectorXd values;   // (d,) descending
  Eigen::MatrixXd vectors;  // (d, d) columns
  Eigen::MatrixXd target;   // (d, t)
};

Spectrum spectrum(const Moments& moments, const Context& context);
Spectrum spectrum(const TrainFactor& factor, const Context& context);

// Columns k of the result minimise |y_k - X c|^2 + alpha[k] |c|^2. Directions whose singular value
// is at most the cutoff take no part.
Eigen::MatrixXd ridge_solution(const Spectrum& spectrum, const Eigen::VectorXd& alpha,
                               double cutoff);

}  // namespace manyfit
