// What fitting logistic regressions asks of whoever holds the rows: sums over the rows of each
// atom, at points. The driver (logistic_population.h) decides the steps and knows the rows by this
// alone; LogisticTable answers on the CPU, LogisticPassesCuda on a device.
//
// A row is z = (x - shift, 1) or (x, 0): the last of its p = d + 1 coordinates belongs to the
// intercept. A model is (p, K), one output after the other. Everything passes as plain pointers and
// sizes, so that the two sides may be compiled apart; see logistic_port.h for two modules.
#pragma once

#include <cstdint>

#include "core/context.h"

namespace manyfit {

// A model whose loss is asked for, and on which atoms.
struct LogisticPoint {
  const double* coef;  // (p, K)
  int64_t class_weight;
  const uint8_t* atoms;  // (atoms,) flags
};

// Sums over the rows that a split leaves out.
struct LogisticScore {
  double weight = 0;
  double right = 0;  // weights of the rows whose class has the highest score
  double loss = 0;   // weight times log-loss
};

class LogisticPasses {
 public:
  virtual ~LogisticPasses() = default;

  virtual int64_t rows() const = 0;
  virtual int64_t parameters() const = 0;  // p
  virtual int64_t outputs() const = 0;     // K
  virtual int64_t atoms() const = 0;
  virtual const double* shift() const = 0;  // (p - 1,)

  // Later passes read one tile of so many; sums are those of the tiles read.
  virtual void sample(int64_t one_of) = 0;
  // Sum of the weights of the rows read, (atoms,).
  virtual void total_weight(int64_t class_weight, double* total, const Context& context) const = 0;
  // Of each point on each of its atoms (zero on others): loss (points, atoms), gradient
  // (points, atoms, p K).
  virtual void evaluate(const LogisticPoint* points, int64_t n_points, double* loss,
                        double* gradient, const Context& context) const = 0;
  // Sum over atoms of times[a] * Hessian, (p K, p K).
  virtual void hessian(const LogisticPoint& point, const double* times, double* result,
                       const Context& context) const = 0;
  // Sum over atoms of times[a] * v z^2, (p,).
  virtual void squares(int64_t class_weight, const double* times, double* result,
                       const Context& context) const = 0;
  // Of models in terms of x (not of x - shift), each on atoms taken times (models, atoms) often.
  virtual void left_out(const double* const* coef, const double* times, int64_t n_models,
                        LogisticScore* scores, const Context& context) const = 0;
};

}  // namespace manyfit
