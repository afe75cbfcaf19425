// Every kernel when it is told to stop, and when memory runs out: the exception arrives, nothing
// hangs, ends the process or leaks, and the next call answers as if nothing had happened.
#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <new>
#include <string>
#include <vector>

#include "allocation_faults.h"
#include "core/fold_gram.h"
#include "core/fold_qr.h"
#include "core/row_gram.h"
#include "decomposition/pca.h"
#include "linear_model/evaluate.h"
#include "linear_model/linear_regression.h"
#include "linear_model/nonnegative.h"
#include "linear_problem.h"
#include "patience.h"
#include "tables.h"

namespace manyfit::testing {
namespace {

// All numbers of a result, one after the other.
class Numbers {
 public:
  void add(double value) { values_.push_back(value); }
  void add(const std::vector<double>& more) {
    values_.insert(values_.end(), more.begin(), more.end());
  }
  void add(const Eigen::MatrixXd& matrix) {
    values_.insert(values_.end(), matrix.reshaped().begin(), matrix.reshaped().end());
  }
  void add(const std::vector<Eigen::MatrixXd>& matrices) {
    for (const auto& matrix : matrices) add(matrix);
  }
  void add(const std::vector<Eigen::VectorXd>& vectors) {
    for (const auto& vector : vectors) add(Eigen::MatrixXd(vector));
  }
  void add(const LinearPopulation& population) {
    add(population.coef);
    add(population.intercept);
  }
  void add(const std::vector<PrincipalComponents>& fits) {
    for (const auto& fit : fits) {
      add(Eigen::MatrixXd(fit.mean));
      add(Eigen::MatrixXd(fit.variance));
      add(fit.components);
      add(fit.total_variance);
    }
  }
  bool same_bits(const Numbers& other) const {
    return values_.size() == other.values_.size() &&
           std::memcmp(values_.data(), other.values_.data(), values_.size() * sizeof(double)) == 0;
  }

 private:
  std::vector<double> values_;
};

template <class... Parts>
Numbers numbers(const Parts&... parts) {
  Numbers result;
  (result.add(parts), ...);
  return result;
}

struct Kernel {
  std::string name;
  std::function<Numbers(const Context&)> run;
};

template <class T>
class InterruptionTest : public ::testing::Test {
 protected:
  static constexpr int64_t n = 260, m = 24;
  const LinearProblem<T> tall{n, 6, 2, true}, wide{m, 40, 2, true}, large{60, 540, 1, false};
  const std::vector<OwnedSplit> splits = shuffled_k_fold(n, 3, 1), few = shuffled_k_fold(m, 3, 1);
  const Folds folds = folds_of(n, splits), few_folds = folds_of(m, few);
  const FoldGram gram = tall.gram(folds);
  const FoldQR qr = tall.qr(folds);
  const RowGram rows = wide.row_gram();
  const RowQR row_qr = wide.row_qr();
  const std::vector<int64_t> every = {0, 1, 2}, all = {0, 0, 0};
  std::vector<LinearJob> jobs;
  Eigen::MatrixXd alpha;

  InterruptionTest() {
    for (int64_t s = 0; s < 3; ++s) jobs.insert(jobs.end(), 9, {s, true});
    alpha = Eigen::MatrixXd::Constant(27, 2, 5);
  }

  std::vector<Kernel> kernels() const {
    return {
        {"make_folds",
         [this](const Context& c) {
           c.check();
           const Folds made = folds_of(n, splits);
           return numbers(std::vector<double>(made.order.begin(), made.order.end()));
         }},
        {"fold_gram", [this](const Context& c) { return fold_gram(tall, folds, c); }},
        {"fold_gram, wide", [this](const Context& c) { return fold_gram(large, all_rows(60), c); }},
        {"fold_qr",
         [this](const Context& c) {
           return numbers(
               fold_qr_cpu(tall.X.view(), tall.Y.view(), view(tall.w), folds, c).factors);
         }},
        {"row_gram",
         [this](const Context& c) {
           const RowGram made = row_gram_cpu(wide.X.view(), c);
           return numbers(made.products, Eigen::MatrixXd(made.along_shift));
         }},
        {"row_qr",
         [this](const Context& c) { return numbers(row_qr_cpu(wide.X.view(), c).factor); }},
        {"shifted_transpose_product",
         [this](const Context& c) {
           return numbers(shifted_transpose_product(wide.X.view(), rows.shift,
                                                    Eigen::MatrixXd::Ones(m, 2), c));
         }},
        {"ridge, Gram",
         [this](const Context& c) { return numbers(ridge_cpu(gram, jobs, alpha, c)); }},
        {"ridge, factor",
         [this](const Context& c) { return numbers(ridge_cpu(qr, jobs, alpha, c)); }},
        {"ridge, dual",
         [this](const Context& c) {
           return numbers(ridge_cpu(rows, wide.X.view(), wide.Y.view(), view(wide.w), few_folds,
                                    jobs, alpha, c));
         }},
        {"ridge, dual by factor",
         [this](const Context& c) {
           return numbers(ridge_cpu(row_qr, wide.X.view(), wide.Y.view(), view(wide.w), few_folds,
                                    jobs, alpha, c));
         }},
        {"linear_regression, Gram",
         [this](const Context& c) { return numbers(linear_regression_cpu(gram, jobs, 1e-12, c)); }},
        {"linear_regression, factor",
         [this](const Context& c) { return numbers(linear_regression_cpu(qr, jobs, 1e-12, c)); }},
        {"linear_regression, dual",
         [this](const Context& c) {
           return numbers(linear_regression_cpu(rows, wide.X.view(), wide.Y.view(), view(wide.w),
                                                few_folds, jobs, 1e-12, c));
         }},
        {"nonnegative",
         [this](const Context& c) { return numbers(nonnegative_cpu(gram, jobs, alpha, c)); }},
        {"squared_errors",
         [this](const Context& c) {
           const SquaredErrors errors = squared_errors_cpu(
               gram, jobs, std::vector<Eigen::MatrixXd>(27, Eigen::MatrixXd::Ones(6, 2)),
               std::vector<Eigen::VectorXd>(27, Eigen::VectorXd::Ones(2)), c);
           return numbers(errors.residual, errors.total);
         }},
        {"pca, Gram", [this](const Context& c) { return numbers(pca_cpu(gram, every, all, c)); }},
        {"pca, factor", [this](const Context& c) { return numbers(pca_cpu(qr, every, all, c)); }},
        {"pca, row Gram",
         [this](const Context& c) {
           return numbers(pca_cpu(rows, wide.X.view(), few_folds, every, all, c));
         }},
        {"pca, row factor",
         [this](const Context& c) {
           return numbers(pca_cpu(row_qr, wide.X.view(), few_folds, every, all, c));
         }},
    };
  }

 private:
  static Numbers fold_gram(const LinearProblem<T>& problem, const Folds& folds, const Context& c) {
    return numbers(
        fold_gram_cpu(problem.X.view(), problem.Y.view(), view(problem.w), folds, c).moments);
  }
};
TYPED_TEST_SUITE(InterruptionTest, FloatTypes, TypeName);

TYPED_TEST(InterruptionTest, MonitorThatThrowsStopsEveryKernel) {
  within_patience([this] {
    for (const Kernel& kernel : this->kernels()) {
      SCOPED_TRACE(kernel.name);
      const Numbers undisturbed = kernel.run(Context(2));
      EXPECT_THROW(kernel.run(ImpatientContext(1)), Stop);
      // With helpers they may have done all before the caller looks up.
      try {
        EXPECT_TRUE(kernel.run(ImpatientContext(3)).same_bits(undisturbed));
      } catch (const Stop&) {
      }
      EXPECT_TRUE(kernel.run(Context(2)).same_bits(undisturbed));
    }
  });
}

TYPED_TEST(InterruptionTest, MemoryThatRunsOutAnywhereIsAnExceptionOfEveryKernel) {
  within_patience([this] {
    for (const Kernel& kernel : this->kernels())
      for (const int threads : {1, 3}) {
        SCOPED_TRACE(kernel.name);
        const Numbers undisturbed = kernel.run(Context(threads));
        int64_t failures = 0;
        for (bool happened = true; happened; ++failures) {
          bool thrown = false;
          Numbers result;
          {
            const FailingAllocation fault(failures);
            try {
              result = kernel.run(Context(threads));
            } catch (const std::bad_alloc&) {
              thrown = true;
            }
            happened = FailingAllocation::happened();
          }
          ASSERT_EQ(thrown, happened) << "allocation " << failures;
          if (!thrown) {
            EXPECT_TRUE(result.same_bits(undisturbed));
          }
          ASSERT_LT(failures, 10'000);
        }
        EXPECT_GT(failures, 1);
        EXPECT_TRUE(kernel.run(Context(threads)).same_bits(undisturbed));
      }
  });
}

// Stops at the second look (after about a tenth of a second) and remembers how far the work had
// come.
struct SecondLook : Monitor {
  int calls = 0;
  double fraction = -1;
  void poll(const char*, double fraction_done) override {
    fraction = fraction_done;
    if (++calls == 2) throw Stop();
  }
};

// One task would take seconds: it is left in its middle. The rows are one row, over and over.
TYPED_TEST(InterruptionTest, LongTasksLookUpOnTheWay) {
  using T = TypeParam;
  const std::vector<T> row(600, T(1));
  const auto stopped_within_the_first_task = [&](int64_t n, int64_t d, auto kernel) {
    SecondLook monitor;
    const Context context(1, &monitor);
    const MatrixView<const T> X{row.data(), n, d, 0, 1};
    EXPECT_THROW(kernel(X, context), Stop);
    EXPECT_EQ(monitor.fraction, 0);
  };
  const auto make_gram = [](MatrixView<const T> X, const Context& context) {
    (void)fold_gram_cpu(X, no_targets<T>(X.rows), {}, all_rows(X.rows), context);
  };
  const auto make_qr = [](MatrixView<const T> X, const Context& context) {
    (void)fold_qr_cpu(X, no_targets<T>(X.rows), {}, all_rows(X.rows), context);
  };
  stopped_within_the_first_task(int64_t{1} << 35, 8, make_gram);
  stopped_within_the_first_task(int64_t{1} << 31, 600, make_gram);
  stopped_within_the_first_task(int64_t{1} << 33, 8, make_qr);
}

}  // namespace
}  // namespace manyfit::testing
