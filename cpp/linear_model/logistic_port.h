// LogisticPasses of one extension module as seen from another (core/boundary.h). The module that
// has the rows hands over a PyCapsule with a LogisticPort; `core.logistic_passes` runs the driver
// on it. A port is an abstract class of pointers, integers and doubles alone: both modules are
// built by one compiler, so its table of functions is the same in both. None of its functions
// throws.
#pragma once

#include <cstdint>

#include "core/boundary.h"
#include "linear_model/logistic_passes.h"

namespace manyfit {

inline constexpr const char* kLogisticPort = "manyfit.logistic_port";

class LogisticPort {
 public:
  virtual ~LogisticPort() = default;
  virtual int64_t rows() const noexcept = 0;
  virtual int64_t parameters() const noexcept = 0;
  virtual int64_t outputs() const noexcept = 0;
  virtual int64_t atoms() const noexcept = 0;
  virtual int64_t class_weights() const noexcept = 0;  // rows of the table of class weights
  virtual const double* shift() const noexcept = 0;
  virtual void sample(int64_t one_of, const BoundaryCaller& caller) noexcept = 0;
  virtual void total_weight(int64_t class_weight, double* total,
                            const BoundaryCaller& caller) noexcept = 0;
  virtual void evaluate(const LogisticPoint* points, int64_t n_points, double* loss,
                        double* gradient, const BoundaryCaller& caller) noexcept = 0;
  virtual void hessian(const LogisticPoint& point, const double* times, double* result,
                       const BoundaryCaller& caller) noexcept = 0;
  virtual void squares(int64_t class_weight, const double* times, double* result,
                       const BoundaryCaller& caller) noexcept = 0;
  virtual void left_out(const double* const* coef, const double* times, int64_t n_models,
                        LogisticScore* scores, const BoundaryCaller& caller) noexcept = 0;
};

// The side that has the rows.
class LogisticServer final : public LogisticPort {
 public:
  LogisticServer(LogisticPasses& passes, int64_t class_weights)
      : passes_(passes), class_weights_(class_weights) {}

  int64_t rows() const noexcept override { return passes_.rows(); }
  int64_t parameters() const noexcept override { return passes_.parameters(); }
  int64_t outputs() const noexcept override { return passes_.outputs(); }
  int64_t atoms() const noexcept override { return passes_.atoms(); }
  int64_t class_weights() const noexcept override { return class_weights_; }
  const double* shift() const noexcept override { return passes_.shift(); }

  void sample(int64_t one_of, const BoundaryCaller& caller) noexcept override {
    serve(caller, [&](const Context&) { passes_.sample(one_of); });
  }
  void total_weight(int64_t class_weight, double* total,
                    const BoundaryCaller& caller) noexcept override {
    serve(caller, [&](const Context& c) { passes_.total_weight(class_weight, total, c); });
  }
  void evaluate(const LogisticPoint* points, int64_t n_points, double* loss, double* gradient,
                const BoundaryCaller& caller) noexcept override {
    serve(caller, [&](const Context& c) { passes_.evaluate(points, n_points, loss, gradient, c); });
  }
  void hessian(const LogisticPoint& point, const double* times, double* result,
               const BoundaryCaller& caller) noexcept override {
    serve(caller, [&](const Context& c) { passes_.hessian(point, times, result, c); });
  }
  void squares(int64_t class_weight, const double* times, double* result,
               const BoundaryCaller& caller) noexcept override {
    serve(caller, [&](const Context& c) { passes_.squares(class_weight, times, result, c); });
  }
  void left_out(const double* const* coef, const double* times, int64_t n_models,
                LogisticScore* scores, const BoundaryCaller& caller) noexcept override {
    serve(caller, [&](const Context& c) { passes_.left_out(coef, times, n_models, scores, c); });
  }

 private:
  LogisticPasses& passes_;
  int64_t class_weights_;
};

// The driver's side.
class LogisticClient final : public LogisticPasses {
 public:
  explicit LogisticClient(LogisticPort& port) : port_(port) {}

  int64_t rows() const override { return port_.rows(); }
  int64_t parameters() const override { return port_.parameters(); }
  int64_t outputs() const override { return port_.outputs(); }
  int64_t atoms() const override { return port_.atoms(); }
  const double* shift() const override { return port_.shift(); }

  void sample(int64_t one_of) override {
    call_across(Context(1), [&](const BoundaryCaller& c) { port_.sample(one_of, c); });
  }
  void total_weight(int64_t class_weight, double* total, const Context& context) const override {
    call_across(context,
                [&](const BoundaryCaller& c) { port_.total_weight(class_weight, total, c); });
  }
  void evaluate(const LogisticPoint* points, int64_t n_points, double* loss, double* gradient,
                const Context& context) const override {
    call_across(context, [&](const BoundaryCaller& c) {
      port_.evaluate(points, n_points, loss, gradient, c);
    });
  }
  void hessian(const LogisticPoint& point, const double* times, double* result,
               const Context& context) const override {
    call_across(context, [&](const BoundaryCaller& c) { port_.hessian(point, times, result, c); });
  }
  void squares(int64_t class_weight, const double* times, double* result,
               const Context& context) const override {
    call_across(context,
                [&](const BoundaryCaller& c) { port_.squares(class_weight, times, result, c); });
  }
  void left_out(const double* const* coef, const double* times, int64_t n_models,
                LogisticScore* scores, const Context& context) const override {
    call_across(context,
                [&](const BoundaryCaller& c) { port_.left_out(coef, times, n_models, scores, c); });
  }

 private:
  LogisticPort& port_;
};

}  // namespace manyfit
