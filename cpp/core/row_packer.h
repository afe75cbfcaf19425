// Packs rows of Z = sqrt(w) * [1, X - shift_x, Y - shift_y] into the strips that gram_kernel.h
// reads.
#pragma once

#include <cmath>
#include <cstring>
#include <new>
#include <vector>

#include "core/folds.h"
#include "core/gram_kernel.h"
#include "core/views.h"

namespace manyfit {

// Memory aligned to a SIMD vector, zero at first.
template <class T>
class AlignedBuffer {
 public:
  explicit AlignedBuffer(int64_t size)
      : data_(static_cast<T*>(::operator new(size * sizeof(T), std::align_val_t(kVectorBytes)))) {
    std::memset(static_cast<void*>(data_), 0, size * sizeof(T));
  }
  ~AlignedBuffer() { ::operator delete(data_, std::align_val_t(kVectorBytes)); }
  AlignedBuffer(const AlignedBuffer&) = delete;
  AlignedBuffer& operator=(const AlignedBuffer&) = delete;
  T* data() const { return data_; }

 private:
  T* data_;
};

template <class T>
class RowPacker {
 public:
  static constexpr int W = GramTile<T>::width;
  using Vector = typename GramTile<T>::Vector;

  RowPacker(MatrixView<const T> X, MatrixView<const T> Y, VectorView<const T> w, const Folds& folds,
            const std::vector<double>& shift)
      : X_(X), Y_(Y), w_(w), folds_(folds), shift_(GramTile<T>::padded(1 + X.cols + Y.cols), T(0)) {
    for (size_t j = 0; j < shift.size(); ++j) shift_[1 + j] = static_cast<T>(shift[j]);
  }

  // Rows at positions [begin, begin + n) of the folds' order; strips [strip_begin, strip_end) of
  // columns. The first of these strips goes to the start of the panel.
  void pack(int64_t begin, int64_t n, int64_t strip_begin, int64_t strip_end, T* panel) const {
    const T* rows[kTileRows];
    T root[kTileRows];
    for (int64_t r = 0; r < n; ++r) {
      const int64_t row = folds_.row(begin + r);
      rows[r] = X_.row(row);
      root[r] = w_.empty() ? T(1) : std::sqrt(w_[row]);
    }
    // Strips that lie inside a contiguous row of X are copied as vectors.
    int64_t inner_begin = strip_end, inner_end = strip_end;
    if (X_.col_stride == 1) {
      inner_begin = std::max<int64_t>(strip_begin, 1);
      inner_end = std::max(inner_begin, std::min(strip_end, (1 + X_.cols) / W));
    }
    for (int64_t r = 0; r < n; ++r) {
      for (int64_t s = inner_begin; s < inner_end; ++s) {
        Vector x, shift;
        std::memcpy(&x, rows[r] + s * W - 1, sizeof(Vector));
        std::memcpy(&shift, &shift_[s * W], sizeof(Vector));
        *reinterpret_cast<Vector*>(panel + ((s - strip_begin) * kTileRows + r) * W) =
            (x - shift) * root[r];
      }
    }
    for (int64_t s = strip_begin; s < strip_end; ++s) {
      if (s >= inner_begin && s < inner_end) continue;
      for (int l = 0; l < W; ++l)
        pack_column(s * W + l, begin, n, rows, root, panel + (s - strip_begin) * kTileRows * W + l);
    }
  }

  // Where the rows after position `begin` lie together in memory: what to fetch early.
  Prefetch prefetch(int64_t begin, int64_t end, int64_t calls) const {
    const int64_t n = std::min<int64_t>(kTileRows, end - begin);
    if (n <= 0 || X_.col_stride != 1 || X_.row_stride != X_.cols ||
        !folds_.consecutive(begin, begin + n))
      return {};
    return Prefetch(X_.row(folds_.row(begin)), n * X_.cols * static_cast<int64_t>(sizeof(T)),
                    calls);
  }

 private:
  void pack_column(int64_t column, int64_t begin, int64_t n, const T* const* rows, const T* root,
                   T* out) const {
    const int64_t x = column - 1;
    const int64_t y = x - X_.cols;
    const T shift = column < static_cast<int64_t>(shift_.size()) ? shift_[column] : T(0);
    if (column == 0) {
      for (int64_t r = 0; r < n; ++r) out[r * W] = root[r];
    } else if (x < X_.cols) {
      for (int64_t r = 0; r < n; ++r) out[r * W] = (rows[r][x * X_.col_stride] - shift) * root[r];
    } else if (y < Y_.cols) {
      for (int64_t r = 0; r < n; ++r) out[r * W] = (Y_(folds_.row(begin + r), y) - shift) * root[r];
    } else {
      for (int64_t r = 0; r < n; ++r) out[r * W] = T(0);
    }
  }

  MatrixView<const T> X_;
  MatrixView<const T> Y_;
  VectorView<const T> w_;
  const Folds& folds_;
  std::vector<T> shift_;
};

}  // namespace manyfit
