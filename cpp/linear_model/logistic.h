// Logistic regression, binary or multinomial, for a population of jobs. Job b minimises over the
// rows i its split trains on
//   C_b * sum_i v_i loss(y_i, x_i . w + c) + (1 - r_b) / 2 |w|^2 + r_b |w|_1,
// v_i the row's weight times that of its class; the intercepts c are not penalised. With two
// classes there is one column of coefficients, with K > 2 there are K.
//
// Every pass over tiles of X serves all jobs that still iterate: their scores are one product of
// the tile, their gradients another. Steps are Newton's, with a Hessian kept as long as it serves:
// it is made on a sample of the rows, and of all splits together, and made anew for a job whose
// steps do not gain enough. Penalties |w|_1 are handled by coordinate descent on the quadratic
// model; problems too large for a Hessian by limited-memory BFGS. Cost of a pass: 4 n d (columns of
// all jobs) operations; of a Hessian: n (d K)^2 / 2. Source: Lee, Sun, Saunders 2014 (proximal
// Newton); Nocedal, Wright 2006, ch. 7.
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <vector>

#include "core/context.h"
#include "core/folds.h"
#include "core/views.h"
#include "linear_model/logistic_passes.h"

namespace manyfit {

struct LogisticJob {
  int64_t split = 0;
  int64_t class_weight = 0;  // row of the class weights
  double C = 1;              // infinite: no penalty
  double l1_ratio = 0;
  double tol = 1e-4;  // on the largest entry of the gradient of the mean loss
  int64_t max_iter = 100;
  const double* start = nullptr;  // (K, d + 1) intercepts last; null: zero
};

struct LogisticPopulation {
  std::vector<Eigen::MatrixXd> coef;  // [b] (d + 1, K), intercepts in the last row
  std::vector<int64_t> iterations;    // [b]
  std::vector<uint8_t> converged;     // [b]
  std::vector<uint8_t> finite;        // [b] false where the loss of the start was not finite
};

// Parameters of a model: (d + 1) * K. Beyond this no Hessian is formed, and l1_ratio must be 0.
inline constexpr int64_t kLogisticNewtonSize = 512;
inline constexpr int64_t kLogisticProximalSize = 2048;

// X (n, d); codes (n,) in [0, n_classes); w (n,) or empty; class_weights (rows, n_classes).
template <class T>
LogisticPopulation logistic_cpu(MatrixView<const T> X, VectorView<const int64_t> codes,
                                VectorView<const T> w, const Folds& folds, int64_t n_classes,
                                bool fit_intercept, const Eigen::MatrixXd& class_weights,
                                const std::vector<LogisticJob>& jobs, const Context& context);

// Of models coef[b] (d + 1, K) on what splits[b] leaves out: 2 n d (columns of a split's models).
template <class T>
std::vector<LogisticScore> logistic_scores_cpu(
    MatrixView<const T> X, VectorView<const int64_t> codes, VectorView<const T> w,
    const Folds& folds, int64_t n_classes, const std::vector<int64_t>& splits,
    const std::vector<Eigen::MatrixXd>& coef, const Context& context);

}  // namespace manyfit
