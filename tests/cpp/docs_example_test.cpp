// The worked example of the documentation: orthogonal matching pursuit against least squares on the
// rows.
#include <gtest/gtest.h>

#include <Eigen/Dense>

#include "linear_model/omp.h"
#include "tables.h"

namespace manyfit {
namespace {

// The definition, on centred rows: a QR of the taken columns in every step.
Eigen::VectorXd pursue(Eigen::MatrixXd X, Eigen::VectorXd y, int64_t count) {
  X.rowwise() -= X.colwise().mean().eval();
  y.array() -= y.mean();
  std::vector<Eigen::Index> taken;
  Eigen::VectorXd coef = Eigen::VectorXd::Zero(X.cols());
  while (static_cast<int64_t>(taken.size()) < count) {
    const Eigen::VectorXd lean = (X.transpose() * (y - X * coef)).cwiseAbs();
    Eigen::Index best = 0;
    lean.maxCoeff(&best);
    taken.push_back(best);
    const Eigen::MatrixXd columns = X(Eigen::all, taken);
    coef(taken) = columns.householderQr().solve(y);
  }
  return coef;
}

TEST(DocsExample, CountsOfASplitShareARun) {
  testing::Random random(1);
  const auto normal = [&] { return random.normal(); };
  const Eigen::MatrixXd X = Eigen::MatrixXd::NullaryExpr(60, 8, normal);
  const Eigen::VectorXd y =
      X.leftCols(3) * Eigen::Vector3d(3, 2, 1) + Eigen::VectorXd::NullaryExpr(60, normal);
  const Context context(2);
  const MatrixView<const double> rows{X.data(), 60, 8, 1, 60}, target{y.data(), 60, 1, 1, 60};
  const FoldGram gram = fold_gram_cpu<double>(rows, target, {}, all_rows(60), context);

  const std::vector<int64_t> counts = {3, 1, 5};
  const LinearPopulation population = omp_cpu(gram, std::vector<LinearJob>(3), counts, context);
  for (size_t b = 0; b < counts.size(); ++b) {
    EXPECT_TRUE(population.reliable[b]);
    EXPECT_LT((population.coef[b] - pursue(X, y, counts[b])).norm(), 1e-12);
    const double mean_error = (y - X * population.coef[b]).mean() - population.intercept[b](0);
    EXPECT_NEAR(mean_error, 0, 1e-12);
  }
}

TEST(DocsExample, NearlyEqualColumnsAreNotReliable) {
  Eigen::MatrixXd X(4, 2);
  X.col(0) << 1, 2, 3, 5;
  X.col(1) = X.col(0) + 1e-9 * Eigen::Vector4d(1, -1, 2, 0);
  const Eigen::Vector4d y(1, 0, 2, 5);
  const Context context(1);
  const MatrixView<const double> rows{X.data(), 4, 2, 1, 4}, target{y.data(), 4, 1, 1, 4};
  const FoldGram gram = fold_gram_cpu<double>(rows, target, {}, all_rows(4), context);

  const LinearPopulation population = omp_cpu(gram, std::vector<LinearJob>(2), {1, 2}, context);
  EXPECT_TRUE(population.reliable[0]);
  EXPECT_FALSE(population.reliable[1]);
}

}  // namespace
}  // namespace manyfit
