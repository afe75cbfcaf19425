// The driver of logistic regressions: it decides the steps of a population of jobs, on the CPU, and
// asks for the sums over the rows, which may be anywhere.
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <vector>

#include "core/context.h"
#include "core/folds.h"
#include "linear_model/logistic.h"
#include "linear_model/logistic_passes.h"

namespace manyfit {

// As logistic_cpu, on passes over rows of these folds.
LogisticPopulation logistic_population(LogisticPasses& passes, const Folds& folds,
                                       const std::vector<LogisticJob>& jobs,
                                       const Context& context);

// As logistic_scores_cpu, on passes with an intercept, class weights of one, and rows of these
// folds.
std::vector<LogisticScore> logistic_scores(const LogisticPasses& passes, const Folds& folds,
                                           const std::vector<int64_t>& splits,
                                           const std::vector<Eigen::MatrixXd>& coef,
                                           const Context& context);

}  // namespace manyfit
