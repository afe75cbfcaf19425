#include "decomposition/components.h"

#include <algorithm>

namespace manyfit {
namespace {

// Makes column k a unit vector orthogonal to those before it. Where it is nothing but a mixture of
// those, the axis farthest from them takes its place.
void orthonormalise(Eigen::MatrixXd& columns, int64_t k) {
  const auto before = columns.leftCols(k);
  auto column = columns.col(k);
  double norm = column.norm();
  for (int pass = 0; norm > 0 && pass < 4; ++pass) {
    column /= norm;
    column -= before * (before.transpose() * column);
    norm = column.norm();
    if (pass > 0 && norm > 0.5) break;  // what is left is more than rounding
  }
  if (!(norm > 0.5)) {
    Eigen::Index axis = 0;
    before.rowwise().squaredNorm().minCoeff(&axis);
    column = Eigen::VectorXd::Unit(columns.rows(), axis);
    for (int pass = 0; pass < 2; ++pass) column -= before * (before.transpose() * column);
    norm = column.norm();
  }
  column /= norm;
}

}  // namespace

void fix_signs(Eigen::MatrixXd& components) {
  for (int64_t i = 0; i < components.rows(); ++i) {
    Eigen::Index largest = 0;
    components.row(i).cwiseAbs().maxCoeff(&largest);
    if (components(i, largest) < 0) components.row(i) *= -1;
  }
}

void orthonormalise(Eigen::MatrixXd& columns) {
  constexpr int64_t kBlock = 32;
  for (int64_t begin = 0; begin < columns.cols(); begin += kBlock) {
    const int64_t size = std::min(kBlock, columns.cols() - begin);
    auto block = columns.middleCols(begin, size);
    for (int64_t k = 0; k < size; ++k)
      if (const double norm = block.col(k).norm(); norm > 0) block.col(k) /= norm;
    const auto before = columns.leftCols(begin);
    for (int pass = 0; begin > 0 && pass < 2; ++pass)
      block -= before * (before.transpose() * block);
    for (int64_t k = 0; k < size; ++k) {
      auto column = block.col(k);
      const auto earlier = block.leftCols(k);
      double norm = column.norm();
      if (norm > 0.5) {
        column -= earlier * (earlier.transpose() * column);
        column -= earlier * (earlier.transpose() * column);
        norm = column.norm();
      }
      if (norm > 0.5)
        column /= norm;
      else
        orthonormalise(columns, begin + k);
    }
  }
}

}  // namespace manyfit
