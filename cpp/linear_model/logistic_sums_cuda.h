// Smaller kernels of logistic_passes_cuda.cu: what is read once, simple sums over rows, and the
// sums of chunks' sums, each by one thread in the chunks' order.
#pragma once

#include <cstdint>

#include "core/block.h"
#include "core/views.h"
#include "linear_model/logistic_kernels_cuda.h"

namespace manyfit::logistic_kernels {

inline constexpr int kSumThreads = 256;

// Labels and weights by position; bad[block]: whether a code is no class.
template <class T>
struct GatherKernel {
  VectorView<const int64_t> codes;
  VectorView<const T> w;
  const int64_t* order;
  int64_t n, classes;
  int32_t* label;
  double* weight;
  int32_t* bad;

  MANYFIT_DEVICE void operator()(Block& block) const {
    auto* found = block.template shared<int32_t>();
    block.each([&](int thread) {
      int32_t any = 0;
      for (int64_t i = block.first(thread); i < n; i += block.stride()) {
        const int64_t row = order == nullptr ? i : order[i];
        const int64_t code = codes.data[row * codes.stride];
        if (code < 0 || code >= classes) any = 1;
        label[i] = static_cast<int32_t>(code);
        if (weight != nullptr) weight[i] = static_cast<double>(w.data[row * w.stride]);
      }
      found[thread] = any;
    });
    block.each_alone([&](int thread) {
      if (thread != 0) return;
      int32_t any = 0;
      for (int t = 0; t < block.threads(); ++t) any |= found[t];
      bad[block.x()] = any;
    });
  }
};

// Means of some rows, as provisional_means of fold_gram.h. A thread a column.
template <class T>
struct MeansKernel {
  MatrixView<const T> X;
  double* means;

  MANYFIT_HOST_DEVICE double mean(int64_t j) const {
    constexpr int64_t kRows = 64;
    const int64_t n = X.rows < kRows ? X.rows : kRows;
    if (n == 0) return 0;
    const T* column = X.data + j * X.col_stride;
    const auto first = static_cast<double>(column[0]);
    double sum = 0;
    for (int64_t k = 1; k < n; ++k)
      sum += (static_cast<double>(column[X.rows / n * k * X.row_stride]) - first) /
             static_cast<double>(n);
    return static_cast<double>(static_cast<T>(sum + first));
  }

  MANYFIT_DEVICE void operator()(Block& block) const {
    block.each_alone([&](int thread) {
      const int64_t j = block.first(thread);
      if (j < X.cols) means[j] = mean(j);
    });
  }
};

// Weights of each chunk's rows.
struct WeightKernel {
  Data data;
  Round round;
  int64_t class_row;
  double* parts;  // (chunks,)

  MANYFIT_DEVICE void operator()(Block& block) const {
    const Chunk chunk = round.chunks[block.x()];
    auto* shared = block.shared<double>();
    block.each([&](int thread) {
      double sum = 0;
      for (int64_t t = round.first(chunk); t < round.last(chunk); ++t)
        if (thread < round.tiles[t].rows)
          sum += data.weight_at(round.tiles[t].begin + thread, class_row);
      shared[thread] = sum;
    });
    const double sum = sum_of_block(block, shared);
    block.each_alone([&](int thread) {
      if (thread == 0) parts[block.x()] += sum;
    });
  }
};

// Sums of v z^2 of each chunk's rows, a thread a coordinate. Reads X once: bound by memory.
struct SquaresKernel {
  Data data;
  Round round;
  int64_t class_row, groups;
  double* parts;  // (chunks, p)

  MANYFIT_DEVICE void operator()(Block& block) const {
    const int64_t c = block.x() / groups, first = block.x() % groups * kTile;
    const Chunk chunk = round.chunks[c];
    auto* weight = block.shared<double>();
    auto* places = block.shared<int64_t>(kTile * 8);
    for (int64_t t = round.first(chunk); t < round.last(chunk); ++t) {
      const Tile tile = round.tiles[t];
      block.each([&](int thread) {
        if (thread >= tile.rows) return;
        weight[thread] = data.weight_at(tile.begin + thread, class_row);
        places[thread] = data.place(tile.row + thread);
      });
      block.each([&](int thread) {
        const int64_t j = first + thread;
        if (j > data.d) return;
        double sum = 0;
        for (int r = 0; r < tile.rows; ++r) {
          const double z = data.at(places[r], j);
          sum += weight[r] * z * z;
        }
        parts[c * (data.d + 1) + j] += sum;
      });
    }
  }
};

// value(begin) + ... + value(end - 1), in this order; reads are under way eight at a time.
template <class F>
MANYFIT_DEVICE double sum_in_order(int64_t begin, int64_t end, F&& value) {
  constexpr int kBatch = 8;
  double sum = 0;
  for (int64_t i = begin; i < end; i += kBatch) {
    double batch[kBatch];
    MANYFIT_UNROLL
    for (int b = 0; b < kBatch; ++b) batch[b] = i + b < end ? value(i + b) : 0.0;
    MANYFIT_UNROLL
    for (int b = 0; b < kBatch; ++b) sum += batch[b];
  }
  return sum;
}

// Where the sums of points go: loss (points, atoms), gradient (points, atoms, p K).
struct Results {
  double *loss, *gradient;
  int64_t atoms, p, outputs;
};

// Of NarrowPass. A thread for each atom, member and coordinate, or loss.
struct NarrowSum {
  const double* parts;
  const int64_t* chunk_begin;  // (atoms + 1)
  Members members;
  int64_t padded, length;
  Results to;

  MANYFIT_DEVICE void operator()(Block& block) const {
    block.each_alone([&](int thread) {
      const int64_t at = block.first(thread), j = at % (to.p + 1);
      const int64_t i = at / (to.p + 1) % members.widest, a = at / (to.p + 1) / members.widest;
      if (a >= to.atoms || i >= members.count(a)) return;
      const int64_t place = members.point(a, i) * to.atoms + a;
      const double sum = sum_in_order(chunk_begin[a], chunk_begin[a + 1], [&](int64_t c) {
        const double* from = parts + (c * members.widest + i) * length;
        if (j < to.p) return from[j];
        return from[padded] + from[padded + 1] + (from[padded + 2] + from[padded + 3]);
      });
      if (j < to.p)
        to.gradient[place * to.p + j] = sum;
      else
        to.loss[place] = sum;
    });
  }
};

// Of ProductsKernel<Slopes> and LossKernel. A thread for each atom, member and parameter, or loss.
struct WideSum {
  const double *gradients, *losses;
  const int64_t* chunk_begin;
  Members members;
  Results to;

  MANYFIT_DEVICE void operator()(Block& block) const {
    block.each_alone([&](int thread) {
      const int64_t size = to.p * to.outputs;
      const int64_t at = block.first(thread), j = at % (size + 1);
      const int64_t i = at / (size + 1) % members.widest, a = at / (size + 1) / members.widest;
      if (a >= to.atoms || i >= members.count(a)) return;
      const int64_t place = members.point(a, i) * to.atoms + a;
      const double sum = sum_in_order(chunk_begin[a], chunk_begin[a + 1], [&](int64_t c) {
        return j < size ? gradients[(c * members.widest + i) * size + j]
                        : losses[c * members.widest + i];
      });
      if (j < size)
        to.gradient[place * size + j] = sum;
      else
        to.loss[place] = sum;
    });
  }
};

// Of ProductsKernel<Curved>: the whole Hessian (p K, p K). A thread for each pair of outputs and
// entry of the lower triangle.
struct HessianSum {
  const double *parts, *times;
  const int64_t* chunk_begin;
  int64_t atoms, p, outputs;
  double* whole;

  MANYFIT_DEVICE void operator()(Block& block) const {
    block.each_alone([&](int thread) {
      const int64_t pairs = outputs * (outputs + 1) / 2;
      const int64_t at = block.first(thread), pair = at / (p * p);
      const int64_t j = at / p % p, i = at % p;
      if (pair >= pairs || j > i) return;
      int64_t k = 0, l = pair;
      for (; l > k; ++k) l -= k + 1;
      double sum = 0;
      for (int64_t a = 0; a < atoms; ++a) {
        if (times[a] == 0) continue;
        sum += times[a] * sum_in_order(chunk_begin[a], chunk_begin[a + 1], [&](int64_t c) {
                 return parts[((c * pairs + pair) * p + j) * p + i];
               });
      }
      const int64_t size = p * outputs;
      whole[(l * p + j) * size + k * p + i] = sum;
      whole[(l * p + i) * size + k * p + j] = sum;
      whole[(k * p + i) * size + l * p + j] = sum;
      whole[(k * p + j) * size + l * p + i] = sum;
    });
  }
};

struct SquaresSum {
  const double *parts, *times;
  const int64_t* chunk_begin;
  int64_t atoms, p;
  double* total;

  MANYFIT_DEVICE void operator()(Block& block) const {
    block.each_alone([&](int thread) {
      const int64_t j = block.first(thread);
      if (j >= p) return;
      double sum = 0;
      for (int64_t a = 0; a < atoms; ++a) {
        if (times[a] == 0) continue;
        sum += times[a] * sum_in_order(chunk_begin[a], chunk_begin[a + 1],
                                       [&](int64_t c) { return parts[c * p + j]; });
      }
      total[j] = sum;
    });
  }
};

}  // namespace manyfit::logistic_kernels
