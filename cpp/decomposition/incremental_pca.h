// Principal components of rows that come in batches, in memory that does not grow with their
// number. The first k singular values S and right vectors V of the rows so far, about their mean,
// stand for these rows; a batch X_b of b rows replaces them by those of
//   A = [ diag(S) V ; X_b - 1 mean_b' ; sqrt(n b / (n + b)) (mean - mean_b)' ]
// where n rows of mean `mean` came before. A'A is the second moment of all rows about their common
// mean, less what earlier truncations to k left out. Eigenvectors of A'A, from Grams of the batches
// made in one pass for all k (b d^2 / 2 + 9 d^3 a batch), or of AA' where A has fewer rows than
// columns; the SVD of A itself where squares would lose digits of the smallest value kept.
// Source: Levy, Lindenbaum 2000; Ross, Lim, Lin, Yang 2008.
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <vector>

#include "core/context.h"
#include "core/views.h"

namespace manyfit {

struct IncrementalComponents {
  int64_t seen = 0;            // rows so far
  Eigen::VectorXd mean;        // (d,) of these rows
  Eigen::VectorXd variance;    // (d,) of their columns, with divisor `seen`
  Eigen::VectorXd values;      // (k,) singular values, descending
  Eigen::MatrixXd components;  // (k, d) rows; each one's entry of largest size is positive
  double noise_variance = 0;   // mean variance of the components the last batch left out
};

// Batch i holds X's rows rows[begin[i]] ... rows[begin[i + 1] - 1] (`rows` empty: 0, 1, 2, ...).
// One state for each of `counts`, the number k of components, at most d and, where `start` has seen
// no rows, at most the first batch's rows; otherwise `start` has k components. Empty where a batch
// holds NaN or infinity or its squares overflow.
template <class T>
std::vector<IncrementalComponents> incremental_pca_cpu(
    MatrixView<const T> X, const std::vector<int64_t>& rows, const std::vector<int64_t>& begin,
    const std::vector<int64_t>& counts, const IncrementalComponents& start, const Context& context);

}  // namespace manyfit
