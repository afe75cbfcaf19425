// The passes of logistic_passes.h over tiles of rows, on the CPU. Rows are read in their own type
// and computed in double.
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <vector>

#include "core/context.h"
#include "core/folds.h"
#include "core/views.h"
#include "linear_model/logistic_passes.h"

namespace manyfit {

class LogisticRows : public LogisticPasses {
 public:
  LogisticRows(const Folds& folds, int64_t n_features, int64_t n_classes,
               const Eigen::MatrixXd& class_weights);

  int64_t rows() const override { return folds_.n_rows; }
  int64_t parameters() const override { return d_ + 1; }
  int64_t outputs() const override { return classes_ == 2 ? 1 : classes_; }
  int64_t atoms() const override { return folds_.n_atoms(); }
  const double* shift() const override { return shift_.data(); }

  void sample(int64_t one_of) override;
  void total_weight(int64_t class_weight, double* total, const Context& context) const override;
  void evaluate(const LogisticPoint* points, int64_t n_points, double* loss, double* gradient,
                const Context& context) const override;
  void hessian(const LogisticPoint& point, const double* times, double* result,
               const Context& context) const override;
  void squares(int64_t class_weight, const double* times, double* result,
               const Context& context) const override;
  void left_out(const double* const* coef, const double* times, int64_t n_models,
                LogisticScore* scores, const Context& context) const override;

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
