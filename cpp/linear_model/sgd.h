// Stochastic gradient descent for linear models, one row after another: job b minimises
//   mean_i w[i] loss(y[i], x[i] . c + c0) + alpha ((1 - l1_ratio) |c|^2 / 2 + l1_ratio |c|_1)
// by c <- c - eta (loss' x[i] + alpha dR/dc) for row after row of its stream, epoch after epoch.
//
// X (n, d) with rows that lie together. O(n d) per epoch and job, nothing allocated per row. Jobs
// of one stream (which rows, in which order) run in lockstep: each row is brought into the cache
// once for all of them. What a job computes does not depend on the others. Updates and the order of
// rows are those of scikit-learn, so that the same seed gives its coefficients up to rounding.
// Sources: Bottou 2012, Stochastic Gradient Descent Tricks (the decay as a scale, averaging);
// Tsuruoka, Tsujii, Ananiadou 2009 (cumulative l1); Crammer et al. 2006 (passive-aggressive);
// Marsaglia 2003 (xorshift).
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "core/context.h"
#include "core/views.h"

namespace manyfit {

enum class SgdLoss {
  squared_error,
  huber,
  epsilon_insensitive,
  squared_epsilon_insensitive,
  hinge,
  squared_hinge,
  perceptron,
  log_loss,
  modified_huber,
};
enum class SgdRate { constant, optimal, invscaling, adaptive, pa1, pa2 };

// loss(y, p), and its derivative by p. y is -1 or 1 for classification, 0 or 1 for log_loss.
double sgd_loss(SgdLoss loss, double epsilon, double y, double p);
double sgd_slope(SgdLoss loss, double epsilon, double y, double p);

// Which rows, in which order.
struct SgdStream {
  VectorView<const int64_t> rows;      // empty: all rows of X
  VectorView<const uint8_t> held_out;  // by place in the stream; empty: none
  uint32_t seed = 0;
  bool shuffle = true;
};

template <class T>
struct SgdJob {
  size_t stream = 0;
  SgdLoss loss = SgdLoss::squared_error;
  double epsilon = 0.1;
  bool l2 = true, l1 = false;  // which terms the penalty has
  double alpha = 0, l1_ratio = 0;
  SgdRate rate = SgdRate::constant;
  double eta0 = 0.01, power_t = 0.5;
  int64_t max_iter = 1000;
  double tol = -std::numeric_limits<double>::infinity();
  int64_t patience = 5;         // epochs without improvement before it stops
  bool early_stopping = false;  // improvement of the score on the rows held out
  bool fit_intercept = true;
  int64_t positive = -1;  // classification: the code of the class that is 1; -1: regression
  double positive_weight = 1, negative_weight = 1;
  int64_t average = 0;  // averages from so many updates on; 0: never
  double t = 1;         // of the first update

  std::vector<T> coef, average_coef;  // (d,) where it starts, and the answer
  double intercept = 0, average_intercept = 0;
  int64_t epochs = 0;
  bool overflowed = false;
};

// The order of the next epoch, from that of the last one.
void sgd_shuffle(std::vector<int64_t>& order, uint32_t seed);

// Regression: `y` (n,); classification: `codes` (n,). Fits the jobs in place.
template <class T>
void sgd_cpu(MatrixView<const T> X, VectorView<const T> y, VectorView<const int64_t> codes,
             VectorView<const T> w, const std::vector<SgdStream>& streams,
             std::vector<SgdJob<T>>& jobs, const Context& context);

}  // namespace manyfit
