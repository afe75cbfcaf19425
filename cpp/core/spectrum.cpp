#include "core/spectrum.h"

#include <cmath>
#include <limits>

namespace manyfit {

Spectrum spectrum(const Moments& moments, const Context& context) {
  SymmetricEigen eigen = eigh(moments.gram, context);
  Spectrum result;
  // Not zero where rounding made it negative: beside a penalty the direction still has its share of
  // the target.
  const double least =
      std::pow(std::numeric_limits<double>::epsilon(), 2) * eigen.values.tail(1).cwiseMax(0).sum();
  result.values = eigen.values.reverse().cwiseMax(least).cwiseSqrt();
  result.vectors = eigen.vectors.rowwise().reverse();
  result.target = result.vectors.transpose() * moments.cross;
  for (int64_t i = 0; i < result.values.size(); ++i)
    if (result.values(i) > 0)
      result.target.row(i) /= result.values(i);
    else
      result.target.row(i).setZero();
  return result;
}

Spectrum spectrum(const TrainFactor& factor, const Context& context) {
  Svd decomposition = svd(factor.factor, context);
  Spectrum result;
  result.values = std::move(decomposition.values);
  result.vectors = decomposition.vt.transpose();
  result.target = decomposition.u.transpose() * factor.target;
  return result;
}

Eigen::MatrixXd ridge_solution(const Spectrum& spectrum, const Eigen::VectorXd& alpha,
                               double cutoff) {
  Eigen::MatrixXd scaled(spectrum.target.rows(), spectrum.target.cols());
  for (int64_t k = 0; k < scaled.cols(); ++k)
    for (int64_t i = 0; i < scaled.rows(); ++i) {
      const double s = spectrum.values(i);
      scaled(i, k) = s > cutoff ? spectrum.target(i, k) / (s + alpha(k) / s) : 0.0;
    }
  return spectrum.vectors * scaled;
}

}  // namespace manyfit
