#include "tables.h"

#include <algorithm>
#include <numeric>

namespace manyfit::testing {

std::vector<int64_t> Random::permutation(int64_t n) {
  std::vector<int64_t> order(n);
  std::iota(order.begin(), order.end(), int64_t{0});
  std::shuffle(order.begin(), order.end(), engine_);
  return order;
}

std::vector<int64_t> Random::draw(int64_t count, int64_t n) {
  std::vector<int64_t> rows(count);
  for (int64_t& row : rows) row = below(n);
  return rows;
}

std::string name(Layout layout) {
  switch (layout) {
    case Layout::c:
      return "c";
    case Layout::fortran:
      return "fortran";
    case Layout::padded_rows:
      return "padded_rows";
    case Layout::padded_columns:
      return "padded_columns";
    case Layout::reversed_rows:
      return "reversed_rows";
    case Layout::reversed_columns:
      return "reversed_columns";
    case Layout::repeated_row:
      return "repeated_row";
    case Layout::repeated_column:
      return "repeated_column";
  }
  return "";
}

template <class T>
Table<T>::Table(int64_t rows, int64_t cols, Layout layout) : rows_(rows), cols_(cols) {
  row_stride_ = cols;
  col_stride_ = 1;
  switch (layout) {
    case Layout::c:
      break;
    case Layout::fortran:
      row_stride_ = 1;
      col_stride_ = rows;
      break;
    case Layout::padded_rows:
      row_stride_ = cols + 3;
      break;
    case Layout::padded_columns:
      row_stride_ = 2 * cols;
      col_stride_ = 2;
      break;
    case Layout::reversed_rows:
      row_stride_ = -cols;
      origin_ = (rows - 1) * cols;
      break;
    case Layout::reversed_columns:
      col_stride_ = -1;
      origin_ = cols - 1;
      break;
    case Layout::repeated_row:
      row_stride_ = 0;
      break;
    case Layout::repeated_column:
      row_stride_ = 1;
      col_stride_ = 0;
      break;
  }
  // Not one element more than the last: an address sanitizer sees what reads beyond.
  int64_t last = origin_;
  if (rows > 0 && cols > 0)
    last += std::max<int64_t>(0, (rows - 1) * row_stride_) +
            std::max<int64_t>(0, (cols - 1) * col_stride_);
  memory_.assign(rows > 0 && cols > 0 ? last + 1 : 0, std::numeric_limits<T>::quiet_NaN());
}

template <class T>
Table<T> normal_table(int64_t rows, int64_t cols, uint64_t seed, Layout layout, double mean) {
  Random random(seed);
  double common = 0;
  return Table<T>(rows, cols, layout, [&](int64_t, int64_t j) {
    if (j == 0) common = random.normal();
    return mean + 0.3 * common + random.normal();
  });
}

template <class T>
std::vector<T> random_weights(int64_t n, uint64_t seed) {
  Random random(seed);
  std::vector<T> weights(n);
  for (T& w : weights)
    w = random.below(8) == 0 ? T(0) : static_cast<T>(0.5 + 1.5 * random.uniform());
  return weights;
}

template class Table<float>;
template class Table<double>;
template Table<float> normal_table(int64_t, int64_t, uint64_t, Layout, double);
template Table<double> normal_table(int64_t, int64_t, uint64_t, Layout, double);
template std::vector<float> random_weights(int64_t, uint64_t);
template std::vector<double> random_weights(int64_t, uint64_t);

std::vector<Split> views(const std::vector<OwnedSplit>& splits) {
  std::vector<Split> result;
  for (const OwnedSplit& split : splits) result.push_back({view(split.train), view(split.test)});
  return result;
}

namespace {

std::vector<OwnedSplit> cut(const std::vector<int64_t>& order, int64_t k) {
  const auto n = static_cast<int64_t>(order.size());
  std::vector<OwnedSplit> splits(k);
  for (int64_t s = 0; s < k; ++s)
    for (int64_t i = 0; i < n; ++i) {
      const bool test = i >= n * s / k && i < n * (s + 1) / k;
      (test ? splits[s].test : splits[s].train).push_back(order[i]);
    }
  return splits;
}

}  // namespace

std::vector<OwnedSplit> k_fold(int64_t n, int64_t k) {
  std::vector<int64_t> order(n);
  std::iota(order.begin(), order.end(), int64_t{0});
  return cut(order, k);
}

std::vector<OwnedSplit> shuffled_k_fold(int64_t n, int64_t k, uint64_t seed) {
  return cut(Random(seed).permutation(n), k);
}

std::vector<OwnedSplit> bootstrap(int64_t n, int64_t times, uint64_t seed) {
  Random random(seed);
  std::vector<OwnedSplit> splits(times);
  for (OwnedSplit& split : splits) {
    split.train = random.draw(n, n);
    std::vector<bool> taken(n);
    for (const int64_t row : split.train) taken[row] = true;
    for (int64_t row = 0; row < n; ++row)
      if (!taken[row]) split.test.push_back(row);
  }
  return splits;
}

Folds folds_of(int64_t n, const std::vector<OwnedSplit>& splits) {
  std::vector<Folds> groups = make_folds(n, views(splits), std::numeric_limits<int64_t>::max());
  return std::move(groups.at(0));
}

}  // namespace manyfit::testing
