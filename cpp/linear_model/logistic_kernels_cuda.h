// Kernels of logistic_passes_cuda.cu. Rows are read in their own type, by the folds' order, and
// computed in double; products run on FP64 tensor cores where the device has them.
//
// A pass over any number of parameters and outputs is made of three: scores, what becomes of them,
// and products with the rows. With few parameters and one output it is one
// (logistic_narrow_cuda.h).
//
// Rows come in tiles of kTile; chunks are runs of tiles of one atom, and what a chunk sums up is
// added in the chunks' order by one thread for each sum: the same bits in every run.
#pragma once

#include <cstdint>

#include "core/block.h"
#include "linear_model/logistic_loss.h"
#include "linear_model/logistic_passes.h"

namespace manyfit::logistic_kernels {

inline constexpr int kTile = 128;
inline constexpr double kLargestLoss = 36.04365338911715;  // -log(epsilon), as on the CPU

struct Tile {
  int64_t begin;  // position in the folds' order
  int64_t row;    // place among the rows there are: the position, or that in a buffer
  int32_t rows, atom;
};
struct Chunk {
  int64_t first;  // tile
  int32_t tiles, atom;
};

// The rows. A row is z = (x - shift, one), then zeros.
struct Data {
  const void* x;
  bool single;  // float, not double
  int64_t row_stride, col_stride;
  const int64_t* order;         // null: 0, 1, 2, ...
  const double* shift;          // (d,)
  const int32_t* label;         // by position
  const double* weight;         // by position; null: ones
  const double* class_weights;  // (rows, classes)
  int64_t d, classes;
  double one;

  MANYFIT_DEVICE int64_t place(int64_t row) const {
    return (order == nullptr ? row : order[row]) * row_stride;
  }
  MANYFIT_DEVICE double at(int64_t place, int64_t j) const {
    if (j >= d) return j == d ? one : 0;
    const int64_t i = place + j * col_stride;
    const double value = single ? static_cast<double>(static_cast<const float*>(x)[i])
                                : static_cast<const double*>(x)[i];
    return value - shift[j];
  }
  MANYFIT_DEVICE double weight_at(int64_t position) const {
    return weight == nullptr ? 1.0 : weight[position];
  }
  MANYFIT_DEVICE double weight_at(int64_t position, int64_t class_weight) const {
    return weight_at(position) * class_weights[class_weight * classes + label[position]];
  }
  // Whether neighbours of a column lie closer than those of a row.
  MANYFIT_DEVICE bool by_columns() const {
    const int64_t r = row_stride < 0 ? -row_stride : row_stride;
    return r < (col_stride < 0 ? -col_stride : col_stride);
  }
};

// What a launch does of every chunk: its tiles [begin, begin + width). Sums of a chunk go on from
// launch to launch. Tile t of chunk c has a slot of the workspace.
struct Round {
  const Tile* tiles;
  const Chunk* chunks;
  int64_t begin, width;

  MANYFIT_DEVICE int64_t first(const Chunk& chunk) const { return chunk.first + begin; }
  MANYFIT_DEVICE int64_t last(const Chunk& chunk) const {
    return chunk.first + (begin + width < chunk.tiles ? begin + width : chunk.tiles);
  }
  MANYFIT_DEVICE int64_t slot(int64_t c, int64_t t) const {
    return c * width + t - first(chunks[c]);
  }
};

// The points that want an atom, one after the other: member[begin[atom] ... begin[atom + 1]).
struct Members {
  const int64_t* member;
  const int64_t* begin;
  int64_t widest;

  MANYFIT_DEVICE int64_t count(int64_t atom) const { return begin[atom + 1] - begin[atom]; }
  MANYFIT_DEVICE int64_t point(int64_t atom, int64_t i) const { return member[begin[atom] + i]; }
};

// Coordinates `first` ... of a tile's rows [from, from + R) into shared memory, `to[r * LD + f]`,
// in batches, so that several reads are under way at once. Rows that are not there are zero.
template <int R, int F, int LD>
MANYFIT_DEVICE void load_rows(Block& block, const Data& data, const int64_t* places, int rows,
                              int64_t first, double* to) {
  block.each([&](int thread) {
    constexpr int kBatch = 8;
    const int threads = block.threads();
    const bool by_columns = data.by_columns();
    for (int i = thread; i < R * F; i += kBatch * threads) {
      double value[kBatch];
      MANYFIT_UNROLL
      for (int b = 0; b < kBatch; ++b) {
        const int place = i + b * threads;
        const int r = by_columns ? place % R : place / F, f = by_columns ? place / R : place % F;
        value[b] = place < R * F && r < rows ? data.at(places[r], first + f) : 0.0;
      }
      MANYFIT_UNROLL
      for (int b = 0; b < kBatch; ++b) {
        const int place = i + b * threads;
        const int r = by_columns ? place % R : place / F, f = by_columns ? place / R : place % F;
        if (place < R * F) to[r * LD + f] = value[b];
      }
    }
  });
}

// What a warp multiplies: 8 A rows by 8 B columns of sums, and the factors of four steps.
template <int A, int B>
struct WarpProduct {
  double sum[A][B][2] = {};
  double left[A] = {}, right[B] = {};
};

// Adds the products of kSteps steps k: of left(warp, k, i) and right(warp, k, j).
template <int kSteps, int A, int B, class Left, class Right>
MANYFIT_DEVICE void multiply_add(Block& block, PerThread<WarpProduct<A, B>>& own, Left&& left,
                                 Right&& right) {
  MANYFIT_UNROLL
  for (int k = 0; k < kSteps; k += 4) {
    block.each_alone([&](int thread) {
      const int q = thread % 4, lane = thread % kWarp / 4, warp = thread / kWarp;
      MANYFIT_UNROLL
      for (int a = 0; a < A; ++a) own[thread].left[a] = left(warp, k + q, 8 * a + lane);
      MANYFIT_UNROLL
      for (int b = 0; b < B; ++b) own[thread].right[b] = right(warp, k + q, 8 * b + lane);
    });
    MANYFIT_UNROLL
    for (int a = 0; a < A; ++a) {
      MANYFIT_UNROLL
      for (int b = 0; b < B; ++b)
        block.multiply_add_8x8x4([&](int thread) -> double& { return own[thread].sum[a][b][0]; },
                                 [&](int thread) -> double& { return own[thread].sum[a][b][1]; },
                                 [&](int thread) { return own[thread].left[a]; },
                                 [&](int thread) { return own[thread].right[b]; });
    }
  }
}

// put(warp, i, j, sum) for each of the sums.
template <int A, int B, class Put>
MANYFIT_DEVICE void put_sums(Block& block, PerThread<WarpProduct<A, B>>& own, Put&& put) {
  block.each_alone([&](int thread) {
    const int q = thread % 4, lane = thread % kWarp / 4, warp = thread / kWarp;
    MANYFIT_UNROLL
    for (int a = 0; a < A; ++a) {
      MANYFIT_UNROLL
      for (int b = 0; b < B; ++b) {
        MANYFIT_UNROLL
        for (int e = 0; e < 2; ++e)
          put(warp, 8 * a + lane, 8 * b + 2 * q + e, own[thread].sum[a][b][e]);
      }
    }
  });
}

// Scores: scores[slot][column][row in tile], columns the members' outputs. A block does a tile by
// 8 or 64 columns, a warp 32 rows by 8 CB: for 4 CB products (2 cycles of an SM each) 4 + CB reads
// of shared memory (2 cycles each), so with CB = 4 tensor cores are the bound.
template <int CB>
struct ScoresKernel {
  static constexpr int kColumnWarps = CB == 1 ? 1 : 2;
  static constexpr int kThreads = 4 * kColumnWarps * kWarp;
  static constexpr int kColumns = 8 * CB * kColumnWarps;
  static constexpr int kStep = 16;  // coordinates at a time
  static constexpr int LD = kStep + 4, LDW = kColumns + 4;
  static constexpr size_t kShared = (kTile * LD + kStep * LDW + kTile) * 8;

  Data data;
  Round round;
  Members members;
  const double* coef;  // (points, K, p)
  int64_t outputs, column_blocks;
  double* scores;

  MANYFIT_DEVICE void operator()(Block& block) const {
    const int64_t slot = block.x() / column_blocks, first = block.x() % column_blocks * kColumns;
    const Chunk chunk = round.chunks[slot / round.width];
    const int64_t t = round.first(chunk) + slot % round.width;
    if (t >= round.last(chunk)) return;
    const Tile tile = round.tiles[t];
    const int64_t columns = members.count(tile.atom) * outputs, p = data.d + 1;
    if (first >= columns) return;
    auto* z = block.template shared<double>();
    auto* w = z + kTile * LD;
    auto* places = reinterpret_cast<int64_t*>(w + kStep * LDW);
    PerThread<WarpProduct<4, CB>> own(block);
    block.each([&](int thread) {
      if (thread < kTile) places[thread] = data.place(tile.row + (thread < tile.rows ? thread : 0));
    });
    for (int64_t j = 0; j < p; j += kStep) {
      block.each_alone([&](int thread) {
        for (int i = thread; i < kStep * kColumns; i += kThreads) {
          const int f = i % kStep;
          const int64_t c = first + i / kStep;
          double value = 0;
          if (c < columns && j + f < p) {
            const int64_t point = members.point(tile.atom, c / outputs);
            value = coef[(point * outputs + c % outputs) * p + j + f];
          }
          w[f * LDW + i / kStep] = value;
        }
      });
      load_rows<kTile, kStep, LD>(block, data, places, tile.rows, j, z);
      multiply_add<kStep>(
          block, own, [&](int warp, int k, int i) { return z[(warp % 4 * 32 + i) * LD + k]; },
          [&](int warp, int k, int c) { return w[k * LDW + warp / 4 * 8 * CB + c]; });
      block.each([](int) {});
    }
    put_sums(block, own, [&](int warp, int i, int column, double sum) {
      const int64_t c = first + warp / 4 * 8 * CB + column;
      if (c < columns)
        scores[(slot * members.widest * outputs + c) * kTile + warp % 4 * 32 + i] = sum;
    });
  }
};

// Scores `stride` apart become chances; the log of the sum of e^(score - highest), and highest.
struct Softmax {
  double highest, log_sum;
};
MANYFIT_DEVICE Softmax softmax_row(double* score, int64_t outputs, int64_t stride) {
  double highest = score[0], sum = 0;
  for (int64_t k = 1; k < outputs; ++k) {
    const double other = score[k * stride];
    highest = other > highest ? other : highest;
  }
  for (int64_t k = 0; k < outputs; ++k) {
    const double gap = highest - score[k * stride];
    const double chance = exp_negative(gap) + (gap - gap);
    score[k * stride] = chance;
    sum += chance;
  }
  for (int64_t k = 0; k < outputs; ++k) score[k * stride] /= sum;
  return {highest, std::log(sum)};
}

// Sum over the block's kTile threads of one of their numbers, in a fixed order; thread 0 has it.
MANYFIT_DEVICE double sum_of_block(Block& block, double* shared) {
  for (int half = kTile / 2; half > 0; half /= 2)
    block.each([&](int thread) {
      if (thread < half) shared[thread] += shared[thread + half];
    });
  return shared[0];
}

// Losses of each chunk and member, (chunks, widest); slopes in the scores' place. A thread a row.
struct LossKernel {
  Data data;
  Round round;
  Members members;
  const int64_t* class_weight;  // (points,)
  int64_t outputs;
  double *scores, *loss;

  MANYFIT_DEVICE double row(const Tile& tile, int thread, int64_t class_row, double* score) const {
    if (thread >= tile.rows) {
      for (int64_t k = 0; k < outputs; ++k) score[k * kTile] = 0;
      return 0;
    }
    const int64_t position = tile.begin + thread;
    const double weight = data.weight_at(position, class_row);
    const int32_t label = data.label[position];
    if (outputs == 1) {
      const LogisticTerm term = binary_term(label == 1 ? 1.0 : -1.0, weight, *score);
      *score = term.slope;
      return term.loss;
    }
    const double own = score[label * kTile];
    const Softmax found = softmax_row(score, outputs, kTile);
    score[label * kTile] -= 1;
    for (int64_t k = 0; k < outputs; ++k) score[k * kTile] *= weight;
    return weight * (found.log_sum + (found.highest - own));
  }

  MANYFIT_DEVICE void operator()(Block& block) const {
    const int64_t c = block.x() / members.widest, i = block.x() % members.widest;
    const Chunk chunk = round.chunks[c];
    if (i >= members.count(chunk.atom)) return;
    const int64_t class_row = class_weight[members.point(chunk.atom, i)];
    auto* shared = block.shared<double>();
    block.each([&](int thread) {
      double sum = 0;
      for (int64_t t = round.first(chunk); t < round.last(chunk); ++t)
        sum += row(round.tiles[t], thread, class_row,
                   scores + (round.slot(c, t) * members.widest + i) * outputs * kTile + thread);
      shared[thread] = sum;
    });
    const double sum = sum_of_block(block, shared);
    block.each_alone([&](int thread) {
      if (thread == 0) loss[c * members.widest + i] += sum;
    });
  }
};

// Weight, right and loss of each chunk and member, (chunks, widest, 3).
struct LeftOutKernel {
  Data data;
  Round round;
  Members members;
  int64_t outputs;
  double *scores, *sums;

  MANYFIT_DEVICE void add(const Tile& tile, int thread, double* score, double* to) const {
    if (thread >= tile.rows) return;
    const int64_t position = tile.begin + thread;
    const double weight = data.weight_at(position, 0);
    const int32_t label = data.label[position];
    bool right = true;
    double loss;
    if (outputs == 1) {
      right = (*score > 0) == (label == 1);
      loss = binary_term(label == 1 ? 1.0 : -1.0, 1.0, *score).loss;
    } else {
      const double own = score[label * kTile];
      for (int64_t k = 0; k < outputs; ++k) {
        const double other = score[k * kTile];
        // The first of several equal scores is the answer.
        if (other > own || (other == own && k < label)) right = false;
      }
      const Softmax found = softmax_row(score, outputs, kTile);
      loss = found.log_sum + (found.highest - own);
    }
    to[0] += weight;
    to[kTile] += right ? weight : 0.0;
    to[2 * kTile] += weight * (kLargestLoss < loss ? kLargestLoss : loss);
  }

  MANYFIT_DEVICE void operator()(Block& block) const {
    const int64_t c = block.x() / members.widest, i = block.x() % members.widest;
    const Chunk chunk = round.chunks[c];
    if (i >= members.count(chunk.atom)) return;
    auto* shared = block.shared<double>();
    block.each([&](int thread) {
      double* to = shared + thread;
      to[0] = to[kTile] = to[2 * kTile] = 0;
      for (int64_t t = round.first(chunk); t < round.last(chunk); ++t)
        add(round.tiles[t], thread,
            scores + (round.slot(c, t) * members.widest + i) * outputs * kTile + thread, to);
    });
    for (int s = 0; s < 3; ++s) {
      const double sum = sum_of_block(block, shared + s * kTile);
      block.each_alone([&](int thread) {
        if (thread == 0) sums[(c * members.widest + i) * 3 + s] += sum;
      });
    }
  }
};

// What a row counts for in block (k, l), l <= k, of a point's Hessian: curvature[slot][pair]
// [row in tile], pairs (0, 0), (1, 0), (1, 1), ... Scores become chances.
struct CurvatureKernel {
  Data data;
  Round round;
  Members members;  // of the one point
  int64_t class_row, outputs;
  double *scores, *curvature;

  MANYFIT_DEVICE void operator()(Block& block) const {
    const int64_t slot = block.x(), pairs = outputs * (outputs + 1) / 2;
    const Chunk chunk = round.chunks[slot / round.width];
    const int64_t t = round.first(chunk) + slot % round.width;
    if (t >= round.last(chunk) || members.count(chunk.atom) == 0) return;
    const Tile tile = round.tiles[t];
    block.each_alone([&](int thread) {
      double* score = scores + slot * outputs * kTile + thread;
      double* to = curvature + slot * pairs * kTile + thread;
      const bool there = thread < tile.rows;
      const double weight = there ? data.weight_at(tile.begin + thread, class_row) : 0.0;
      if (outputs == 1) {
        const double e = exp_negative(std::abs(*score)), q = 1.0 / (1.0 + e);
        *to = there ? weight * e * q * q : 0.0;
        return;
      }
      if (there) softmax_row(score, outputs, kTile);
      for (int64_t k = 0; k < outputs; ++k) {
        for (int64_t l = 0; l <= k; ++l, to += kTile)
          *to = there ? weight * score[k * kTile] * ((k == l ? 1.0 : 0.0) - score[l * kTile]) : 0.0;
      }
    });
  }
};

// The right factor of a product: slopes of the members' outputs, or rows times their curvature.
struct Slopes {
  const double* scores;
  int64_t widest, outputs;  // widest number of members
  MANYFIT_DEVICE int64_t columns(const Data&, const Members& members, int64_t atom) const {
    return members.count(atom) * outputs;
  }
  MANYFIT_DEVICE double scale(int64_t, int64_t, int) const { return 1; }
  MANYFIT_DEVICE double operator()(const Data&, int64_t, int64_t slot, int64_t, int r,
                                   int64_t column) const {
    return scores[(slot * widest * outputs + column) * kTile + r];
  }
};
struct Curved {
  const double* curvature;
  int64_t pairs;
  MANYFIT_DEVICE int64_t columns(const Data& data, const Members& members, int64_t atom) const {
    return members.count(atom) > 0 ? data.d + 1 : 0;
  }
  MANYFIT_DEVICE double scale(int64_t slot, int64_t pair, int r) const {
    return curvature[(slot * pairs + pair) * kTile + r];
  }
  MANYFIT_DEVICE double operator()(const Data& data, int64_t place, int64_t slot, int64_t pair,
                                   int r, int64_t column) const {
    return scale(slot, pair, r) * data.at(place, column);
  }
};

// Sums over a chunk's rows of z times the right factor: parts[chunk][pair][column][coordinate].
// A block does 64 coordinates by 64 columns, a warp of its four 32 by 32: 8 reads of shared memory
// (16 cycles of an SM) for 16 products (32 cycles), 64 registers of sums; 20 KB of shared memory,
// four blocks an SM by registers. A Hessian of d = 50, n = 1e6: 64 * 64 n = 4e9 multiply-adds, 0.12
// ms of an H200's tensor cores; a block on the diagonal reads its rows once.
template <class Right, bool kSymmetric>
struct ProductsKernel {
  static constexpr int kThreads = 4 * kWarp;
  static constexpr int kSide = 64;
  static constexpr int kRows = 16;  // at a time
  static constexpr int LD = kSide + 4;
  static constexpr size_t kShared = (2 * kRows * LD + 2 * kTile) * 8;

  Data data;
  Round round;
  Members members;
  Right factor;
  int64_t blocks, sides, pairs;  // blocks of a chunk and pair; of them in the way of columns
  int64_t columns, stride;       // of parts
  double* parts;

  MANYFIT_DEVICE void operator()(Block& block) const {
    const int64_t c = block.x() / (blocks * pairs);
    const int64_t pair = block.x() / blocks % pairs;
    int64_t side_i, side_j;
    if (kSymmetric) {  // block of the lower triangle, row by row
      int64_t place = block.x() % blocks;
      for (side_i = 0; place > side_i; ++side_i) place -= side_i + 1;
      side_j = place;
    } else {
      side_i = block.x() % blocks / sides;
      side_j = block.x() % blocks % sides;
    }
    const Chunk chunk = round.chunks[c];
    const int64_t p = data.d + 1, i0 = side_i * kSide, j0 = side_j * kSide;
    const int64_t width = factor.columns(data, members, chunk.atom);
    if (j0 >= width) return;
    auto* left = block.template shared<double>();
    auto* right = left + kRows * LD;
    auto* scale = right + kRows * LD;
    auto* places = reinterpret_cast<int64_t*>(scale + kTile);
    const bool diagonal = kSymmetric && side_i == side_j;  // both factors are of the same columns
    PerThread<WarpProduct<4, 4>> own(block);
    for (int64_t t = round.first(chunk); t < round.last(chunk); ++t) {
      const Tile tile = round.tiles[t];
      const int64_t slot = round.slot(c, t);
      block.each([&](int thread) {
        places[thread] = data.place(tile.row + (thread < tile.rows ? thread : 0));
        if (diagonal) scale[thread] = factor.scale(slot, pair, thread);
      });
      for (int from = 0; from < tile.rows; from += kRows) {
        block.each_alone([&](int thread) {
          if (diagonal) return;
          for (int i = thread; i < kRows * kSide; i += kThreads) {
            // Neighbours in memory to neighbouring threads.
            const bool by_rows = kSymmetric && !data.by_columns();
            const int r = by_rows ? i / kSide : i % kRows, j = by_rows ? i % kSide : i / kRows;
            const bool there = from + r < tile.rows && j0 + j < width;
            right[r * LD + j] =
                there ? factor(data, places[from + r], slot, pair, from + r, j0 + j) : 0.0;
          }
        });
        load_rows<kRows, kSide, LD>(block, data, places + from, tile.rows - from, i0, left);
        multiply_add<kRows>(
            block, own, [&](int warp, int k, int i) { return left[k * LD + warp / 2 * 32 + i]; },
            [&](int warp, int k, int j) {
              const double by = diagonal ? scale[from + k] : 1.0;
              return by * (diagonal ? left : right)[k * LD + warp % 2 * 32 + j];
            });
        block.each([](int) {});
      }
    }
    double* to = parts + (c * pairs + pair) * columns * stride;
    put_sums(block, own, [&](int warp, int a, int b, double sum) {
      const int64_t i = i0 + warp / 2 * 32 + a, j = j0 + warp % 2 * 32 + b;
      if (i < p && j < width) to[j * stride + i] += sum;
    });
  }
};

}  // namespace manyfit::logistic_kernels
