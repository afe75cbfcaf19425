// What decompositions into components share: signs, orthonormal directions, and splits decomposed
// once for all counts of components asked of them.
#pragma once

#include <Eigen/Core>
#include <algorithm>
#include <cstdint>
#include <functional>
#include <iterator>
#include <map>
#include <utility>
#include <vector>

#include "core/context.h"
#include "core/folds.h"
#include "core/linalg.h"

namespace manyfit {

// Each row (k, d) so that its entry of largest size is positive.
void fix_signs(Eigen::MatrixXd& components);

// Makes columns that are nearly orthogonal orthonormal to the last digit, whatever their lengths
// and whatever dividing by them would have lost. A block of columns leaves those before it by one
// matrix product.
void orthonormalise(Eigen::MatrixXd& columns);

// Each split decomposed once, for the largest count asked of it (0: all min(n, d)); the result of a
// smaller count is `all.head(count)`.
template <class Result>
std::vector<Result> for_each_split(
    const Folds& folds, int64_t d, const std::vector<int64_t>& splits,
    const std::vector<int64_t>& counts, const Context& context,
    const std::function<Result(int64_t split, int64_t count)>& decompose) {
  std::map<int64_t, int64_t> largest;
  std::vector<int64_t> wanted(counts);
  for (size_t b = 0; b < splits.size(); ++b) {
    const int64_t all = std::min(folds.training_rows(splits[b]), d);
    wanted[b] = counts[b] == 0 ? all : std::min(counts[b], all);
    largest[splits[b]] = std::max(largest[splits[b]], wanted[b]);
  }
  const std::vector<std::pair<int64_t, int64_t>> distinct(largest.begin(), largest.end());
  std::vector<Result> done(distinct.size());
  const auto task = [&](int64_t i) { done[i] = decompose(distinct[i].first, distinct[i].second); };
  if (d >= kLargeMatrix) {
    for (size_t i = 0; i < distinct.size(); ++i) {
      context.check();
      task(i);
    }
  } else {
    context.parallel_for("components", distinct.size(), task);
  }
  std::vector<Result> result;
  for (size_t b = 0; b < splits.size(); ++b) {
    const size_t i = std::distance(largest.begin(), largest.find(splits[b]));
    result.push_back(done[i].head(wanted[b]));
  }
  return result;
}

}  // namespace manyfit
