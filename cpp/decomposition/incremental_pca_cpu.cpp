#include <algorithm>
#include <cmath>
#include <limits>

#include "core/errors.h"
#include "core/fold_gram.h"
#include "core/linalg.h"
#include "core/spectrum.h"
#include "decomposition/components.h"
#include "decomposition/incremental_pca.h"

namespace manyfit {
namespace {

constexpr int64_t kGramBytes = int64_t{32} << 20;  // of the Grams of batches held at once
constexpr int64_t kMaxBatches = 64;

// What a batch adds, the same for every number of components.
struct Batch {
  std::vector<int64_t> rows;
  int64_t before = 0;          // rows that came before it
  Eigen::VectorXd mean;        // (d,)
  Eigen::MatrixXd gram;        // (d, d) about its mean; empty where no job takes it
  Eigen::VectorXd squares;     // (d,) the diagonal of that
  Eigen::VectorXd correction;  // (d,) last row of A; empty for the first batch
  double limit = 0;            // of gram's condition number
};

int64_t stacked_rows(const Batch& batch, int64_t count) {
  const auto size = static_cast<int64_t>(batch.rows.size());
  return batch.before == 0 ? size : count + size + 1;
}

template <class T>
Eigen::VectorXd row_of(MatrixView<const T> X, int64_t row) {
  Eigen::VectorXd values(X.cols);
  for (int64_t j = 0; j < X.cols; ++j) values(j) = static_cast<double>(X(row, j));
  return values;
}

// Means and squares of a batch that no Gram is made of.
template <class T>
void summarise(MatrixView<const T> X, Batch& batch, const Context& context) {
  const auto size = static_cast<double>(batch.rows.size());
  const Eigen::VectorXd first = row_of(X, batch.rows[0]);
  Eigen::VectorXd sum = Eigen::VectorXd::Zero(X.cols);
  for (const int64_t row : batch.rows) {
    context.check();
    sum += row_of(X, row) - first;
  }
  batch.mean = first + sum / size;
  batch.squares = Eigen::VectorXd::Zero(X.cols);
  for (const int64_t row : batch.rows) batch.squares += (row_of(X, row) - batch.mean).cwiseAbs2();
}

// Grams of some batches, as of atoms of rows that split i alone trains on; false where one is not
// finite.
template <class T>
bool make_grams(MatrixView<const T> X, std::vector<Batch>& batches, const Context& context) {
  const auto count = static_cast<int64_t>(batches.size());
  Folds folds;
  folds.atom_begin = {0};
  folds.train.assign(count * count, 0);
  folds.test.assign(count * count, 0);
  for (int64_t i = 0; i < count; ++i) {
    folds.order.insert(folds.order.end(), batches[i].rows.begin(), batches[i].rows.end());
    folds.atom_begin.push_back(static_cast<int64_t>(folds.order.size()));
    folds.splits.push_back(i);
    folds.train[i * count + i] = 1;
  }
  folds.n_rows = static_cast<int64_t>(folds.order.size());
  const MatrixView<const T> none{nullptr, X.rows, 0, 0, 0};
  const FoldGram gram = fold_gram_cpu(X, none, VectorView<const T>(), std::move(folds), context);
  if (!gram.finite()) return false;
  context.parallel_for("batches", count, [&](int64_t i) {
    Moments all = moments(gram, i, Part::train, true);
    batches[i].mean = std::move(all.mean);
    batches[i].squares = all.gram.diagonal().cwiseMax(0.0);
    batches[i].gram = std::move(all.gram);
    batches[i].limit = condition_limit(gram.precision);
  });
  return true;
}

// A of the header.
template <class T>
Eigen::MatrixXd stacked(MatrixView<const T> X, const Batch& batch,
                        const IncrementalComponents& state) {
  const auto size = static_cast<int64_t>(batch.rows.size());
  const int64_t kept = batch.before == 0 ? 0 : state.values.size();
  Eigen::MatrixXd A(stacked_rows(batch, kept), X.cols);
  if (kept > 0) A.topRows(kept) = state.values.asDiagonal() * state.components;
  for (int64_t i = 0; i < size; ++i)
    A.row(kept + i) = (row_of(X, batch.rows[i]) - batch.mean).transpose();
  if (batch.before > 0) A.bottomRows(1) = batch.correction.transpose();
  return A;
}

struct Directions {
  Eigen::VectorXd values;      // (count,) singular values
  Eigen::MatrixXd components;  // (count, d)
  double squares = 0;          // sum of squares of all singular values
};

Directions of_eigen(const SymmetricEigen& eigen, double squares) {
  return {eigen.values.reverse().cwiseMax(0.0).cwiseSqrt(),
          eigen.vectors.rowwise().reverse().transpose(), squares};
}

bool keeps_digits(const Directions& found, double limit) {
  const double most = found.values(0), least = found.values(found.values.size() - 1);
  return most * most <= limit * least * least;
}

template <class T>
Directions decompose(MatrixView<const T> X, const Batch& batch, const IncrementalComponents& state,
                     int64_t count, const Context& context) {
  if (stacked_rows(batch, count) >= X.cols) {
    Eigen::MatrixXd M = batch.gram;
    if (batch.before > 0) {
      const Eigen::MatrixXd before = state.values.asDiagonal() * state.components;
      M.selfadjointView<Eigen::Lower>().rankUpdate(before.transpose());
      M.selfadjointView<Eigen::Lower>().rankUpdate(batch.correction);
    }
    const double squares = M.trace();
    const Directions found = of_eigen(eigh_largest(std::move(M), count, context), squares);
    if (keeps_digits(found, batch.limit)) return found;
  }
  Eigen::MatrixXd A = stacked(X, batch, state);
  if (A.rows() < A.cols()) {
    Eigen::MatrixXd K = Eigen::MatrixXd::Zero(A.rows(), A.rows());
    K.selfadjointView<Eigen::Lower>().rankUpdate(A);
    const double squares = K.trace();
    Directions found = of_eigen(eigh_largest(std::move(K), count, context), squares);
    if (keeps_digits(found, condition_limit(std::numeric_limits<double>::epsilon()))) {
      Eigen::MatrixXd directions = A.transpose() * found.components.transpose();
      orthonormalise(directions);
      found.components = directions.transpose();
      return found;
    }
  }
  const Svd all =
      svd(A.rows() > 2 * A.cols() ? qr_factor(std::move(A), context) : std::move(A), context);
  return {all.values.head(count), all.vt.topRows(count), all.values.squaredNorm()};
}

template <class T>
void take(MatrixView<const T> X, const Batch& batch, int64_t count, IncrementalComponents& state,
          const Context& context) {
  Directions found = decompose(X, batch, state, count, context);
  const auto size = static_cast<int64_t>(batch.rows.size());
  const int64_t rows = stacked_rows(batch, count);
  const auto divisor = static_cast<double>(std::max<int64_t>(batch.before + size - 1, 1));
  state.noise_variance = 0;
  if (count != size && count != X.cols) {
    const auto left = static_cast<double>(std::min(rows, X.cols) - count);
    const double rest = std::max(0.0, found.squares - found.values.squaredNorm());
    state.noise_variance = rest / left / divisor;
  }
  state.values = std::move(found.values);
  state.components = std::move(found.components);
  fix_signs(state.components);
}

// Column means and variances of all rows up to and with the batch.
void add_columns(Batch& batch, IncrementalComponents& columns) {
  const auto before = static_cast<double>(columns.seen);
  const auto size = static_cast<double>(batch.rows.size());
  batch.before = columns.seen;
  if (columns.seen == 0) {
    columns.mean = batch.mean;
    columns.variance = batch.squares / size;
  } else {
    const Eigen::VectorXd step = columns.mean - batch.mean;
    const double total = before + size;
    batch.correction = std::sqrt(before / total * size) * step;
    columns.variance =
        (columns.variance * before + batch.squares + batch.correction.cwiseAbs2()) / total;
    columns.mean -= step * (size / total);
  }
  columns.seen += static_cast<int64_t>(batch.rows.size());
}

}  // namespace

template <class T>
std::vector<IncrementalComponents> incremental_pca_cpu(MatrixView<const T> X,
                                                       const std::vector<int64_t>& rows,
                                                       const std::vector<int64_t>& begin,
                                                       const std::vector<int64_t>& counts,
                                                       const IncrementalComponents& start,
                                                       const Context& context) {
  const auto jobs = static_cast<int64_t>(counts.size());
  const auto n_batches = static_cast<int64_t>(begin.size()) - 1;
  const int64_t most = *std::max_element(counts.begin(), counts.end());
  IncrementalComponents columns = start;
  std::vector<IncrementalComponents> states(jobs, start);
  const int64_t gram_bytes = (X.cols + 16) * (X.cols + 16) * 16;
  const int64_t at_once = std::clamp<int64_t>(kGramBytes / gram_bytes, 1, kMaxBatches);
  for (int64_t first = 0; first < n_batches; first += at_once) {
    std::vector<Batch> batches(std::min(at_once, n_batches - first));
    int64_t largest = 0;
    for (size_t i = 0; i < batches.size(); ++i) {
      for (int64_t r = begin[first + i]; r < begin[first + i + 1]; ++r) {
        const int64_t row = rows.empty() ? r : rows[r];
        if (row < 0 || row >= X.rows) throw InvalidInput("rows must lie within X");
        batches[i].rows.push_back(row);
      }
      if (batches[i].rows.empty()) throw InvalidInput("a batch must have rows, got none");
      largest = std::max(largest, static_cast<int64_t>(batches[i].rows.size()));
    }
    if (largest + most + 1 >= X.cols) {
      if (!make_grams(X, batches, context)) return {};
    } else {
      context.parallel_for("batches", static_cast<int64_t>(batches.size()),
                           [&](int64_t i) { summarise(X, batches[i], context); });
      for (const Batch& batch : batches)
        if (!batch.squares.allFinite()) return {};
    }
    for (Batch& batch : batches) add_columns(batch, columns);
    const auto task = [&](int64_t b) {
      for (const Batch& batch : batches) {
        context.check();
        take(X, batch, counts[b], states[b], context);
      }
    };
    if (std::min(X.cols, largest + most + 1) >= kLargeMatrix) {
      for (int64_t b = 0; b < jobs; ++b) task(b);
    } else {
      context.parallel_for("principal components", jobs, task);
    }
  }
  for (IncrementalComponents& state : states) {
    state.seen = columns.seen;
    state.mean = columns.mean;
    state.variance = columns.variance;
  }
  return states;
}

#define MANYFIT_INSTANTIATE(T)                                                       \
  template std::vector<IncrementalComponents> incremental_pca_cpu(                   \
      MatrixView<const T>, const std::vector<int64_t>&, const std::vector<int64_t>&, \
      const std::vector<int64_t>&, const IncrementalComponents&, const Context&);
MANYFIT_INSTANTIATE(float)
MANYFIT_INSTANTIATE(double)
#undef MANYFIT_INSTANTIATE

}  // namespace manyfit
