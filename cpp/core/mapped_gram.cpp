#include "core/mapped_gram.h"

#include <algorithm>

#include "core/errors.h"

namespace manyfit {
namespace {

// What is left of G and of a vector of columns when rows are mapped.
struct Linear {
  const Eigen::MatrixXd& A;
  int64_t columns() const { return A.cols(); }
  Eigen::MatrixXd gram(const Eigen::MatrixXd& G) const { return A.transpose() * (G * A); }
  Eigen::MatrixXd rows(const Eigen::MatrixXd& v) const { return A.transpose() * v; }
  // Rounding of the squares of mapped columns, in that of the squares s of the columns.
  Eigen::VectorXd squares(const Eigen::VectorXd& s) const { return A.cwiseAbs2().transpose() * s; }
};

struct Diagonal {
  const Eigen::VectorXd& scales;
  int64_t columns() const { return scales.size(); }
  Eigen::MatrixXd gram(const Eigen::MatrixXd& G) const {
    return scales.asDiagonal() * G * scales.asDiagonal();
  }
  Eigen::MatrixXd rows(const Eigen::MatrixXd& v) const { return scales.asDiagonal() * v; }
  Eigen::VectorXd squares(const Eigen::VectorXd& s) const {
    return scales.cwiseAbs2().cwiseProduct(s);
  }
};

// About z_mean and y_mean: moments M of an atom.
struct Target {
  const Eigen::VectorXd& mean;  // of the rows trained on
  const Eigen::VectorXd& target_mean;
};

template <class Map>
void fill(const Moments& part, const Target& about, const Map& map, int64_t stride, double* out) {
  const int64_t r = map.columns(), t = part.target_mean.size();
  const double w = part.weight;
  if (w == 0) return;
  const Eigen::VectorXd x = part.mean - about.mean, y = part.target_mean - about.target_mean;
  const Eigen::MatrixXd gram = map.gram(part.gram + w * x * x.transpose());
  const Eigen::MatrixXd cross = map.rows(part.cross + w * x * y.transpose());
  const Eigen::VectorXd sums = map.rows(w * x);
  out[0] = w;
  for (int64_t i = 0; i < r; ++i) {
    double* row = out + (1 + i) * stride;
    row[0] = sums(i);
    for (int64_t j = 0; j <= i; ++j) row[1 + j] = gram(i, j);
  }
  for (int64_t k = 0; k < t; ++k) {
    double* row = out + (1 + r + k) * stride;
    row[0] = w * y(k);
    for (int64_t j = 0; j < r; ++j) row[1 + j] = cross(j, k);
    row[1 + r + k] = part.target_squares(k) + w * y(k) * y(k);
  }
}

// The most by which the rounding of a column's squares exceeds what it would be had the column
// been there as it is.
template <class Map>
double growth_of(const Moments& train, const Map& map) {
  const Eigen::VectorXd rounding = map.squares(train.shifted_squares);
  const Eigen::VectorXd own = map.gram(train.gram).diagonal();
  double growth = 1;
  for (int64_t j = 0; j < own.size(); ++j)
    if (rounding(j) > 0) growth = std::max(growth, rounding(j) / std::max(own(j), 0.0));
  return growth;
}

template <class Map>
FoldGram mapped(const FoldGram& gram, int64_t split, const Eigen::VectorXd& centre, const Map& map,
                const Eigen::VectorXd& offset, Folds folds) {
  const int64_t t = gram.n_targets, r = map.columns();
  if (split < 0 || split >= gram.folds.n_splits())
    throw InvalidInput("split must lie in [0, " + std::to_string(gram.folds.n_splits()) +
                       "), got " + std::to_string(split));
  if (centre.size() != gram.n_features || offset.size() != r)
    throw InvalidInput("centre, map and offset must suit the Gram");
  if (folds.n_splits() != 1 || folds.n_atoms() > 2)
    throw InvalidInput("folds must have one split that trains on one atom and tests on another");
  const Moments train = moments(gram, split, Part::train, true);
  FoldGram result;
  result.n_features = r;
  result.n_targets = t;
  result.stride = 1 + r + t;
  result.precision = gram.precision;
  result.growth = gram.growth * growth_of(train, map);
  const Eigen::VectorXd mean = map.rows(train.mean - centre) + offset;
  result.shift.assign(mean.begin(), mean.end());
  result.shift.insert(result.shift.end(), train.target_mean.begin(), train.target_mean.end());
  result.moments.assign(folds.n_atoms() * result.stride * result.stride, 0.0);
  const Target about{train.mean, train.target_mean};
  for (int64_t a = 0; a < folds.n_atoms(); ++a)
    fill(folds.train[a] > 0 ? train : moments(gram, split, Part::test, true), about, map,
         result.stride, result.moments.data() + a * result.stride * result.stride);
  result.folds = std::move(folds);
  return result;
}

}  // namespace

FoldGram mapped_gram(const FoldGram& gram, int64_t split, const Eigen::VectorXd& centre,
                     const Eigen::MatrixXd& A, const Eigen::VectorXd& offset, Folds folds) {
  if (A.rows() != gram.n_features) throw InvalidInput("centre, map and offset must suit the Gram");
  return mapped(gram, split, centre, Linear{A}, offset, std::move(folds));
}

FoldGram mapped_gram(const FoldGram& gram, int64_t split, const Eigen::VectorXd& centre,
                     const Eigen::VectorXd& scales, const Eigen::VectorXd& offset, Folds folds) {
  if (scales.size() != gram.n_features)
    throw InvalidInput("centre, map and offset must suit the Gram");
  return mapped(gram, split, centre, Diagonal{scales}, offset, std::move(folds));
}

}  // namespace manyfit
