// Register-tiled accumulation of Z^T Z over a tile of rows.
//
// A tile holds at most kTileRows rows of Z, packed in strips of one SIMD vector's width W:
//   panel[strip][row][lane],   column = strip * W + lane,   padding lanes zero.
// Both operands of Z^T Z then stream through memory contiguously. Products are summed over a tile
// in Z's own type and carried on in double, so float32 data lose nothing to the number of rows.
#pragma once

#include <algorithm>
#include <cstdint>

namespace manyfit {

#if defined(__AVX512F__)
inline constexpr int kVectorBytes = 64;
inline constexpr int kBlockRows = 8;     // broadcast columns of one register tile
inline constexpr int kBlockVectors = 3;  // 8 x 3 accumulators of 32 registers
#elif defined(__AVX__)
inline constexpr int kVectorBytes = 32;
inline constexpr int kBlockRows = 4;
inline constexpr int kBlockVectors = 3;  // 4 x 3 accumulators of 16 registers
#else
inline constexpr int kVectorBytes = 16;
inline constexpr int kBlockRows = 4;
inline constexpr int kBlockVectors = 2;
#endif
inline constexpr int kTileRows = 128;

template <class T>
struct GramTile {
  static constexpr int width = kVectorBytes / static_cast<int>(sizeof(T));  // W
  static constexpr int rows = std::min(kBlockRows, width);
  typedef T Vector __attribute__((vector_size(kVectorBytes)));

  static constexpr int64_t padded(int64_t columns) { return (columns + width - 1) / width * width; }
  static constexpr int64_t panel_size(int64_t columns) { return padded(columns) * kTileRows; }
};

// Lines of memory the next tile will need, asked for while this one is computed.
class Prefetch {
 public:
  Prefetch() = default;
  Prefetch(const void* begin, int64_t bytes, int64_t calls)
      : next_(static_cast<const char*>(begin)),
        end_(next_ + bytes),
        lines_((bytes / 64 + calls) / std::max<int64_t>(calls, 1)) {}

  void advance() {
    for (int64_t i = 0; i < lines_ && next_ < end_; ++i, next_ += 64)
      __builtin_prefetch(next_, 0, 2);
  }

 private:
  const char* next_ = nullptr;
  const char* end_ = nullptr;
  int64_t lines_ = 0;
};

// out[i, j] += sum_r a[r, i] * b[r, j] for GramTile<T>::rows columns i of one strip and NV strips
// j.
template <class T, int NV>
inline void gram_register_tile(const T* a, const T* b, int64_t n_rows, double* out, int64_t ld) {
  using Vector = typename GramTile<T>::Vector;
  constexpr int W = GramTile<T>::width;
  constexpr int MR = GramTile<T>::rows;
  constexpr int64_t strip = static_cast<int64_t>(kTileRows) * W;
  Vector sum[MR][NV] = {};
  for (int64_t r = 0; r < n_rows; ++r) {
    Vector x[NV];
    for (int v = 0; v < NV; ++v) x[v] = *reinterpret_cast<const Vector*>(b + v * strip + r * W);
    for (int i = 0; i < MR; ++i) {
      const Vector scale = a[r * W + i] - Vector{};
      for (int v = 0; v < NV; ++v) sum[i][v] += scale * x[v];
    }
  }
  for (int i = 0; i < MR; ++i)
    for (int v = 0; v < NV; ++v)
      for (int l = 0; l < W; ++l) out[i * ld + v * W + l] += static_cast<double>(sum[i][v][l]);
}

// out[i, j] += sum_r a[r, i] * b[r, j] for one block of columns i and `strips` strips of columns j.
template <class T>
inline void gram_block_row(const T* a, const T* b, int64_t strips, int64_t n_rows, double* out,
                           int64_t ld, Prefetch& prefetch) {
  constexpr int W = GramTile<T>::width;
  constexpr int64_t strip = static_cast<int64_t>(kTileRows) * W;
  int64_t s = 0;
  for (; s + kBlockVectors <= strips; s += kBlockVectors) {
    prefetch.advance();
    gram_register_tile<T, kBlockVectors>(a, b + s * strip, n_rows, out + s * W, ld);
  }
  prefetch.advance();
  switch (strips - s) {
    case 1:
      return gram_register_tile<T, 1>(a, b + s * strip, n_rows, out + s * W, ld);
    case 2:
      return gram_register_tile<T, 2>(a, b + s * strip, n_rows, out + s * W, ld);
    default:
      return;
  }
}

}  // namespace manyfit
