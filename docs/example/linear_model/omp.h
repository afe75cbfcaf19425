// Orthogonal matching pursuit for a population of jobs. For each target k over the rows i a split
// trains on: takes the column that the residual leans on most, minimises
//   sum_i (y[i, k] - x_i . c - c0)^2   over the columns taken so far,
// and goes on until counts[b] columns are taken; the other coefficients are zero.
//
// On the fold Gram: d^2 for each step, and a Cholesky of the taken columns. A run to the largest
// count passes through every smaller one, so the counts of a split cost one run. Source: Pati,
// Rezaiifar, Krishnaprasad 1993.
#pragma once

#include <cstdint>
#include <vector>

#include "linear_model/ridge.h"

namespace manyfit {

// A job is not reliable where the columns taken were too ill-conditioned.
LinearPopulation omp_cpu(const FoldGram& gram, const std::vector<LinearJob>& jobs,
                         const std::vector<int64_t>& counts, const Context& context);

}  // namespace manyfit
