// Inner products and sums of rows, with partial sums whose order depends on the length alone: the
// same bits wherever the rows lie.
#pragma once

#include <cstdint>
#include <cstring>

namespace manyfit {

inline constexpr int kDotBytes = 32;

template <class T>
struct DotVector {
  static constexpr int width = kDotBytes / static_cast<int>(sizeof(T));
  typedef T Vector __attribute__((vector_size(kDotBytes)));

  static Vector load(const T* from) {
    Vector vector;
    std::memcpy(&vector, from, sizeof vector);
    return vector;
  }
  static void store(T* to, Vector vector) { std::memcpy(to, &vector, sizeof vector); }
  static double sum(Vector a) {
    double total = 0;
    for (int l = 0; l < width; ++l) total += static_cast<double>(a[l]);
    return total;
  }
};

// sum_j a[j] b[j]
template <class T>
inline double dot(const T* a, const T* b, int64_t n) {
  using V = DotVector<T>;
  constexpr int64_t W = V::width;
  typename V::Vector s0 = {}, s1 = {}, s2 = {}, s3 = {};
  int64_t j = 0;
  for (; j + 4 * W <= n; j += 4 * W) {
    s0 += V::load(a + j) * V::load(b + j);
    s1 += V::load(a + j + W) * V::load(b + j + W);
    s2 += V::load(a + j + 2 * W) * V::load(b + j + 2 * W);
    s3 += V::load(a + j + 3 * W) * V::load(b + j + 3 * W);
  }
  for (; j + W <= n; j += W) s0 += V::load(a + j) * V::load(b + j);
  double total = V::sum((s0 + s1) + (s2 + s3));
  for (; j < n; ++j) total += static_cast<double>(a[j]) * static_cast<double>(b[j]);
  return total;
}

// b[j] += scale a[j]
template <class T>
inline void add_scaled(const T* a, T scale, T* b, int64_t n) {
  using V = DotVector<T>;
  constexpr int64_t W = V::width;
  int64_t j = 0;
  for (; j + W <= n; j += W) V::store(b + j, V::load(b + j) + scale * V::load(a + j));
  for (; j < n; ++j) b[j] += scale * a[j];
}

}  // namespace manyfit
