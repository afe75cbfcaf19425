#include <cmath>
#include <limits>

#include "linear_model/evaluate.h"
#include "linear_model/groups.h"

namespace manyfit {
namespace {

// Of a moment, in units of its relative rounding: the terms of a form err independently.
constexpr double kRoundings = 8;

}  // namespace

SquaredErrors squared_errors_cpu(const FoldGram& gram, const std::vector<LinearJob>& jobs,
                                 const std::vector<Eigen::MatrixXd>& coef,
                                 const std::vector<Eigen::VectorXd>& intercept,
                                 const Context& context) {
  const int64_t d = gram.n_features, t = gram.n_targets, B = static_cast<int64_t>(jobs.size());
  SquaredErrors errors{Eigen::MatrixXd(B, t), Eigen::MatrixXd(B, t), Eigen::MatrixXd(B, t),
                       Eigen::MatrixXd(B, t), Eigen::VectorXd(B)};
  const double rounding = kRoundings * gram.precision * gram.growth;
  std::vector<LinearJob> by_split =
      jobs;  // left-out rows are the same with and without an intercept
  for (LinearJob& job : by_split) job.fit_intercept = true;
  for_each_group(grouped(by_split), d, context, [&](const LinearGroup& group) {
    const Moments test = moments(gram, group.split, Part::test, true);
    Eigen::MatrixXd stacked(d, static_cast<int64_t>(group.jobs.size()) * t);
    for (size_t g = 0; g < group.jobs.size(); ++g)
      stacked.middleCols(static_cast<int64_t>(g) * t, t) = coef[group.jobs[g]];
    const Eigen::MatrixXd product = test.gram * stacked;
    const Eigen::Map<const Eigen::VectorXd> target_shift(gram.shift.data() + d, t);
    const Eigen::ArrayXd target_sizes =  // about the shift, as their rounding is
        test.target_squares.array() +
        test.weight * (test.target_mean - target_shift).array().square();
    for (size_t g = 0; g < group.jobs.size(); ++g) {
      const size_t b = group.jobs[g];
      errors.weight(b) = test.weight;
      for (int64_t k = 0; k < t; ++k) {
        const auto c = coef[b].col(k);
        const double bias = test.target_mean(k) - test.mean.dot(c) - intercept[b](k);
        const double spread = test.target_squares(k) - 2 * c.dot(test.cross.col(k)) +
                              c.dot(product.col(static_cast<int64_t>(g) * t + k));
        errors.residual(b, k) = std::max(spread, 0.0) + test.weight * bias * bias;
        errors.total(b, k) = std::max(test.target_squares(k), 0.0);
        const double sizes = target_sizes(k) + c.cwiseAbs2().dot(test.shifted_squares);
        const double means = std::abs(test.target_mean(k)) + std::abs(intercept[b](k)) +
                             test.mean.cwiseProduct(c).norm();
        const double slip = kRoundings * std::numeric_limits<double>::epsilon() * means +
                            rounding * std::sqrt(sizes / test.weight);
        errors.residual_rounding(b, k) =
            rounding * sizes + test.weight * slip * (2 * std::abs(bias) + slip);
        errors.total_rounding(b, k) = rounding * target_sizes(k);
      }
    }
  });
  return errors;
}

}  // namespace manyfit
