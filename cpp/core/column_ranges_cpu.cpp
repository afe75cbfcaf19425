#include <algorithm>
#include <cstdlib>
#include <limits>
#include <vector>

#include "core/column_ranges.h"

namespace manyfit {
namespace {

constexpr int64_t kChunkRows = 4096;

}  // namespace

template <class T>
ColumnRanges column_ranges_cpu(MatrixView<const T> X, const Folds& folds, const Context& context) {
  struct Chunk {
    int64_t atom, begin, end;
  };
  std::vector<Chunk> chunks;
  for (int64_t a = 0; a < folds.n_atoms(); ++a)
    for (int64_t begin = folds.atom_begin[a]; begin < folds.atom_begin[a + 1]; begin += kChunkRows)
      chunks.push_back({a, begin, std::min(begin + kChunkRows, folds.atom_begin[a + 1])});
  const int64_t d = X.cols;
  using Range = Eigen::Array<T, Eigen::Dynamic, 2>;
  std::vector<Range> parts(chunks.size());
  const bool by_rows = std::abs(X.col_stride) <= std::abs(X.row_stride);
  context.parallel_for("column ranges", static_cast<int64_t>(chunks.size()), [&](int64_t c) {
    context.check();
    Range& range = parts[c];
    range.resize(d, 2);
    range.col(0).setConstant(std::numeric_limits<T>::infinity());
    range.col(1).setConstant(-std::numeric_limits<T>::infinity());
    T *low = range.col(0).data(), *high = range.col(1).data();
    const auto widen = [&](int64_t j, T value) {
      low[j] = value < low[j] ? value : low[j];
      high[j] = value > high[j] ? value : high[j];
    };
    if (by_rows) {
      for (int64_t i = chunks[c].begin; i < chunks[c].end; ++i) {
        const T* row = X.row(folds.row(i));
        if (X.col_stride == 1)
          for (int64_t j = 0; j < d; ++j) widen(j, row[j]);
        else
          for (int64_t j = 0; j < d; ++j) widen(j, row[j * X.col_stride]);
      }
    } else {
      for (int64_t j = 0; j < d; ++j)
        for (int64_t i = chunks[c].begin; i < chunks[c].end; ++i) widen(j, X(folds.row(i), j));
    }
  });
  ColumnRanges result;
  result.low.setConstant(d, folds.n_atoms(), std::numeric_limits<double>::infinity());
  result.high.setConstant(d, folds.n_atoms(), -std::numeric_limits<double>::infinity());
  for (size_t c = 0; c < chunks.size(); ++c) {
    auto low = result.low.col(chunks[c].atom).array();
    auto high = result.high.col(chunks[c].atom).array();
    low = low.min(parts[c].col(0).template cast<double>());
    high = high.max(parts[c].col(1).template cast<double>());
  }
  return result;
}

template ColumnRanges column_ranges_cpu(MatrixView<const float>, const Folds&, const Context&);
template ColumnRanges column_ranges_cpu(MatrixView<const double>, const Folds&, const Context&);

}  // namespace manyfit
