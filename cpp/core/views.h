// Views over memory that somebody else owns (NumPy, mostly). Strides are counted in elements and
// may be zero or negative; sizes and indices are 64-bit everywhere. (Being constexpr, they serve
// device code too.)
#pragma once

#include <cstdint>
#include <type_traits>

namespace manyfit {

template <class T>
struct VectorView {
  T* data = nullptr;
  int64_t size = 0;
  int64_t stride = 1;

  constexpr T& operator[](int64_t i) const { return data[i * stride]; }
  constexpr bool empty() const { return data == nullptr || size == 0; }
};

template <class T>
struct MatrixView {
  T* data = nullptr;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t row_stride = 0;
  int64_t col_stride = 1;

  constexpr T& operator()(int64_t i, int64_t j) const {
    return data[i * row_stride + j * col_stride];
  }
  constexpr T* row(int64_t i) const { return data + i * row_stride; }
  constexpr MatrixView transposed() const { return {data, cols, rows, col_stride, row_stride}; }
};

}  // namespace manyfit
