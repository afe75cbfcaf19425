// Passes over tiles of rows for logistic regression: losses, gradients and Hessians at points, for
// each atom of the folds. A row is z = (x - shift, 1) or (x, 0): the last coordinate belongs to the
// intercept. Rows are read in their own type and computed in double.
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <vector>

#include "core/context.h"
#include "core/folds.h"
#include "core/gram_kernel.h"
#include "core/views.h"
#include "linear_model/logistic.h"

namespace manyfit {

// A model whose loss is asked for, and on which atoms.
struct LogisticPoint {
  const Eigen::MatrixXd* coef;  // (p, K)
  int64_t class_weight;
  std::vector<uint8_t> atoms;
};

// Sums over the rows of each atom.
struct LogisticSums {
  Eigen::VectorXd loss;      // (atoms,)
  Eigen::MatrixXd gradient;  // (p K, atoms)
};

class LogisticRows {
 public:
  LogisticRows(const Folds& folds, int64_t n_features, int64_t n_classes,
               const Eigen::MatrixXd& class_weights);
  virtual ~LogisticRows() = default;

  int64_t parameters() const { return d_ + 1; }                     // p
  int64_t outputs() const { return classes_ == 2 ? 1 : classes_; }  // K
  const Eigen::VectorXd& shift() const { return shift_; }
  const Folds& folds() const { return folds_; }

  // Later passes read one tile of so many; sums are those of the tiles read.
  void sample(int64_t one_of);
  // Sum of the weights of the rows read, (atoms,).
  Eigen::VectorXd total_weight(int64_t class_weight) const;

  void evaluate(const std::vector<LogisticPoint>& points, std::vector<LogisticSums>& sums,
                const Context& context) const;
  // Sum over atoms of times[a] * Hessian, (p K, p K), parameters of an output together.
  Eigen::MatrixXd hessian(const LogisticPoint& point, const Eigen::VectorXd& times,
                          const Context& context) const;
  // Sum over atoms of times[a] * v z^2, (p,).
  Eigen::VectorXd squares(int64_t class_weight, const Eigen::VectorXd& times,
                          const Context& context) const;
  // Of each model (p, K), in terms of x, on the rows that its split leaves out.
  std::vector<LogisticScore> left_out(const std::vector<int64_t>& splits,
                                      const std::vector<Eigen::MatrixXd>& coef,
                                      const Context& context) const;

 protected:
  // Rows at positions [begin, begin + n) of the folds' order, `stride` apart.
  virtual void pack(int64_t begin, int64_t n, double* z) const = 0;

  const Folds& folds_;
  int64_t d_, classes_, stride_;
  Eigen::VectorXd shift_;       // (d,)
  std::vector<int32_t> label_;  // by position
  std::vector<double> weight_;  // by position; empty: ones

 private:
  struct Chunk {
    int64_t atom, begin, end;
  };
  std::vector<Chunk> cut(int64_t bytes_of_part) const;
  void weights(int64_t begin, int64_t n, int64_t class_weight, double* out) const;
  void binary_hessian(const double* z, const double* weight, int64_t n, const Eigen::VectorXd& coef,
                      double* panel, double* out) const;
  void multinomial_hessian(const double* z, const double* weight, int64_t n,
                           const Eigen::MatrixXd& coef, double* panels, double* out) const;

  const Eigen::MatrixXd& class_weights_;
  int64_t step_ = 1;
};

template <class T>
class LogisticTable : public LogisticRows {
 public:
  LogisticTable(MatrixView<const T> X, VectorView<const int64_t> codes, VectorView<const T> w,
                const Folds& folds, int64_t n_classes, bool fit_intercept,
                const Eigen::MatrixXd& class_weights);

 protected:
  void pack(int64_t begin, int64_t n, double* z) const override;

 private:
  MatrixView<const T> X_;
  double one_;  // the intercept's coordinate
};

}  // namespace manyfit
