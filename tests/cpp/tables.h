// Matrices with memory of their own, in every layout that NumPy can hand over, and random numbers
// to fill them.
#pragma once

#include <gtest/gtest.h>

#include <Eigen/Core>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include "core/folds.h"
#include "core/views.h"

namespace manyfit::testing {

// Every body that works on data is written once and runs for both types.
using FloatTypes = ::testing::Types<float, double>;
struct TypeName {
  template <class T>
  static std::string GetName(int) {
    return std::is_same_v<T, float> ? "float" : "double";
  }
};

template <class T>
inline constexpr double kEpsilon = std::numeric_limits<T>::epsilon();

class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}
  double normal() { return normal_(engine_); }
  double uniform() { return std::uniform_real_distribution<double>()(engine_); }
  int64_t below(int64_t n) { return std::uniform_int_distribution<int64_t>(0, n - 1)(engine_); }
  std::vector<int64_t> permutation(int64_t n);
  std::vector<int64_t> draw(int64_t count, int64_t n);  // with repetitions

 private:
  std::mt19937_64 engine_;
  std::normal_distribution<double> normal_;
};

enum class Layout {
  c,
  fortran,
  padded_rows,
  padded_columns,
  reversed_rows,
  reversed_columns,
  repeated_row,
  repeated_column,
};
inline constexpr Layout kLayouts[] = {
    Layout::c,
    Layout::fortran,
    Layout::padded_rows,
    Layout::padded_columns,
    Layout::reversed_rows,
    Layout::reversed_columns,
    Layout::repeated_row,
    Layout::repeated_column,
};
std::string name(Layout layout);

// Places that are no element hold NaN: a result that looked at one shows it.
template <class T>
class Table {
 public:
  Table(int64_t rows, int64_t cols, Layout layout = Layout::c);

  template <class Value>
  Table(int64_t rows, int64_t cols, Layout layout, Value value) : Table(rows, cols, layout) {
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < cols; ++j) (*this)(i, j) = static_cast<T>(value(i, j));
  }

  int64_t rows() const { return rows_; }
  int64_t cols() const { return cols_; }
  T& operator()(int64_t i, int64_t j) { return memory_[at(i, j)]; }
  T operator()(int64_t i, int64_t j) const { return memory_[at(i, j)]; }
  MatrixView<const T> view() const {
    return {memory_.data() + origin_, rows_, cols_, row_stride_, col_stride_};
  }

 private:
  int64_t at(int64_t i, int64_t j) const { return origin_ + i * row_stride_ + j * col_stride_; }

  int64_t rows_, cols_, origin_ = 0, row_stride_ = 0, col_stride_ = 0;
  std::vector<T> memory_;
};

// Entries mean + N(0, 1); columns are correlated a little, so that no product vanishes.
template <class T>
Table<T> normal_table(int64_t rows, int64_t cols, uint64_t seed, Layout layout = Layout::c,
                      double mean = 0);

// Weights in [0.5, 2), some of them zero.
template <class T>
std::vector<T> random_weights(int64_t n, uint64_t seed);

template <class V>
VectorView<const V> view(const std::vector<V>& v) {
  return {v.data(), static_cast<int64_t>(v.size()), 1};
}
template <class T>
MatrixView<const T> no_targets(int64_t rows) {
  return {nullptr, rows, 0, 0, 0};
}

// Splits that own their indices.
struct OwnedSplit {
  std::vector<int64_t> train, test;
};
std::vector<Split> views(const std::vector<OwnedSplit>& splits);
std::vector<OwnedSplit> k_fold(int64_t n, int64_t k);
std::vector<OwnedSplit> shuffled_k_fold(int64_t n, int64_t k, uint64_t seed);
std::vector<OwnedSplit> bootstrap(int64_t n, int64_t times, uint64_t seed);
// All splits in one group.
Folds folds_of(int64_t n, const std::vector<OwnedSplit>& splits);

}  // namespace manyfit::testing
