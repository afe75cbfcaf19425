// The logistic and the multinomial loss of a column of scores, with their derivatives, in loops
// that a compiler turns into vectors: no call of the C library.
//
// exp: reduction to |r| <= ln 2 / 2 and a Taylor polynomial of degree 13 (remainder 4e-18).
// log1p(t), 0 <= t <= 1: 2 atanh(t / (2 + t)) by its series up to s^33 (remainder 2e-18). Both are
// right to about two units in the last place.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "core/block.h"

namespace manyfit {

// e^-a for a >= 0; smaller than e^-708 is e^-708.
MANYFIT_HOST_DEVICE double exp_negative(double a) {
  a = a < 708.0 ? a : 708.0;
  constexpr double magic = 0x1.8p52;  // adding it rounds to an integer, in the lowest bits
  const double shifted = a * 0x1.71547652b82fep0 + magic;
  const double k = shifted - magic;
  const double r = (k * 0x1.62e42fefa0000p-1 - a) + k * 0x1.cf79abc9e3b3ap-40;
  double p = 1.0 / 6227020800.0;
  p = p * r + 1.0 / 479001600.0;
  p = p * r + 1.0 / 39916800.0;
  p = p * r + 1.0 / 3628800.0;
  p = p * r + 1.0 / 362880.0;
  p = p * r + 1.0 / 40320.0;
  p = p * r + 1.0 / 5040.0;
  p = p * r + 1.0 / 720.0;
  p = p * r + 1.0 / 120.0;
  p = p * r + 1.0 / 24.0;
  p = p * r + 1.0 / 6.0;
  p = p * r + 0.5;
  p = p * r + 1.0;
  p = p * r + 1.0;
  uint64_t power;
  std::memcpy(&power, &shifted, sizeof power);
  power = (uint64_t{1023} - power) << 52;
  double scale;
  std::memcpy(&scale, &power, sizeof scale);
  return p * scale;
}

// log(1 + t) for 0 <= t <= 1.
MANYFIT_HOST_DEVICE double log1p_unit(double t) {
  const double s = t / (2.0 + t), q = s * s;
  double p = 1.0 / 33.0;
  p = p * q + 1.0 / 31.0;
  p = p * q + 1.0 / 29.0;
  p = p * q + 1.0 / 27.0;
  p = p * q + 1.0 / 25.0;
  p = p * q + 1.0 / 23.0;
  p = p * q + 1.0 / 21.0;
  p = p * q + 1.0 / 19.0;
  p = p * q + 1.0 / 17.0;
  p = p * q + 1.0 / 15.0;
  p = p * q + 1.0 / 13.0;
  p = p * q + 1.0 / 11.0;
  p = p * q + 1.0 / 9.0;
  p = p * q + 1.0 / 7.0;
  p = p * q + 1.0 / 5.0;
  p = p * q + 1.0 / 3.0;
  return 2.0 * s * (p * q + 1.0);
}

struct LogisticTerm {
  double loss, slope;
};

// weight times log(1 + e^(-y z)) and its derivative by z. A score that is not finite gives a loss
// that is not.
MANYFIT_HOST_DEVICE LogisticTerm binary_term(double y, double weight, double z) {
  const double m = y * z;
  const double t = exp_negative(std::abs(m));
  const double q = 1.0 / (1.0 + t);
  return {weight * ((-m < 0.0 ? 0.0 : -m) + log1p_unit(t) + (m - m)),
          -weight * y * (m >= 0 ? t * q : q)};
}

// Of n rows with scores z and signs y (+1, -1); the derivative takes z's place.
inline void binary_loss(const double* y, const double* weight, int64_t n, double* z, double* loss) {
  for (int64_t i = 0; i < n; ++i) {
    const LogisticTerm term = binary_term(y[i], weight[i], z[i]);
    loss[i] = term.loss;
    z[i] = term.slope;
  }
}

// Square root of weight times the second derivative, for scores z.
inline void binary_curvature(const double* weight, int64_t n, const double* z, double* root) {
  for (int64_t i = 0; i < n; ++i) {
    const double t = exp_negative(std::abs(z[i]));
    const double q = 1.0 / (1.0 + t);
    root[i] = std::sqrt(weight[i] * t) * q;
  }
}

// Scores z (n, classes), columns `stride` apart, become probabilities; log_sum[i] =
// log(sum_k e^(z_ik - highest_i)), kept apart from the highest score so that a small loss keeps its
// digits.
inline void softmax(int64_t n, int64_t classes, int64_t stride, double* z, double* highest,
                    double* log_sum) {
  for (int64_t i = 0; i < n; ++i) highest[i] = z[i];
  for (int64_t k = 1; k < classes; ++k)
    for (int64_t i = 0; i < n; ++i)
      highest[i] = z[k * stride + i] > highest[i] ? z[k * stride + i] : highest[i];
  for (int64_t i = 0; i < n; ++i) log_sum[i] = 0;
  for (int64_t k = 0; k < classes; ++k) {
    double* column = z + k * stride;
    for (int64_t i = 0; i < n; ++i) {
      const double gap = highest[i] - column[i];
      column[i] = exp_negative(gap) + (gap - gap);
      log_sum[i] += column[i];
    }
  }
  for (int64_t k = 0; k < classes; ++k)
    for (int64_t i = 0; i < n; ++i) z[k * stride + i] /= log_sum[i];
  for (int64_t i = 0; i < n; ++i) log_sum[i] = std::log(log_sum[i]);
}

}  // namespace manyfit
