// Moments of mapped rows without a pass over them: what a split trains on and what it tests on,
// where each row x became
//
//   z = (x - centre) A + offset,   A (d, r) a matrix, or a vector of d scales
//
// by what was fitted on the training rows (a scaler, principal components). Second moments map as
// A' G A: O(d^2 r) for A a matrix, O(d^2) for scales.
#pragma once

#include <Eigen/Core>

#include "core/fold_gram.h"

namespace manyfit {

// `folds` has one split; the rows it trains on are its first atom, those it tests on the second (or
// there are none). Targets stay as they are.
FoldGram mapped_gram(const FoldGram& gram, int64_t split, const Eigen::VectorXd& centre,
                     const Eigen::MatrixXd& A, const Eigen::VectorXd& offset, Folds folds);
FoldGram mapped_gram(const FoldGram& gram, int64_t split, const Eigen::VectorXd& centre,
                     const Eigen::VectorXd& scales, const Eigen::VectorXd& offset, Folds folds);

}  // namespace manyfit
