// The pass of logistic_passes_cuda.cu for few parameters and one output: all in one kernel.
#pragma once

#include <cstdint>

#include "core/block.h"
#include "linear_model/logistic_kernels_cuda.h"
#include "linear_model/logistic_loss.h"

namespace manyfit::logistic_kernels {

// Losses and gradients of all points on a chunk of rows, for p <= P = 8 NB.
//
// A block has G groups of warps for columns and H for rows. A warp holds 8 MB columns: their
// coefficients as operands of the products, 2 NB numbers a lane for each 8, and as many sums of the
// gradient. For every 8 rows it multiplies coefficients by rows, (8 x P) (P x 8); the scores are
// left in the very lanes that the second product, slopes by rows, (8 x 8) (8 x P), wants as its
// left operand: slopes never leave the registers. Row 2 q + e of the eight stands for place q of
// the e-th of two steps of four.
//
// Cost, for J columns and n rows: 2 P J n multiply-adds. 20 penalties and 5 folds, each taking 4 of
// 5 atoms, n = 1e6, d = 50: P = 56, 80 columns of an atom: 9e9, 0.27 ms of the 33 TFMA/s of an
// H200's tensor cores; e^-m, log1p and quotients, about 65 double instructions for each of 8e7
// scores: 0.31 ms of its 17 T/s; X is read once, 0.2 GB, 0.05 ms. A step of the products takes one
// 8-byte read of shared memory a lane (2 cycles of the SM) for MB instructions (2 cycles each), so
// MB = 2 leaves the tensor cores, not shared memory, the bound. 34 KB of shared memory, 5 warps of
// about 195 registers (d = 50): two blocks an SM, 10 warps with two products under way each, which
// the 8 cycles of a product on its quarter of the SM want about 4 of. A fit of these 100 models is
// about 3 such passes at 20 points, 2 at 100, and 40 of a sixteenth of the rows at one point.
template <int NB, int MB>
struct NarrowPass {
  static constexpr int P = 8 * NB;
  static constexpr int LD = P + (P % 16 == 0 ? 2 : 10);  // 2 more than a multiple of 16: see below
  static constexpr int R = 64;                           // rows in shared memory at a time
  static constexpr int kLength = P + 4;                  // of a column's sums: gradient, 4 losses
  static constexpr size_t kShared = R * LD * 8 + R * 8 + R * 8 + R * 8;
  // Of at most 4 groups of columns, where there are several of rows.
  static_assert(4 * 8 * MB * kLength * 8 <= kShared);

  Data data;
  Round round;
  Members members;
  const double* coef;           // (points, p)
  const int64_t* class_weight;  // (points,)
  int column_groups, row_groups;
  double* parts;  // (chunks, widest, kLength)

  struct Own {
    double coef[MB][2 * NB] = {}, sum[MB][2 * NB] = {};
    double loss[MB] = {}, zero[MB] = {}, one[MB] = {};  // class weights
    double score[MB][2] = {};
    double right = 0;
  };

  // Coordinate of place q in step s of the first product. Any order serves; in this one 16 lanes
  // that read at once, rows 0 ... 3 (LD apart) times q, meet 16 different banks.
  static MANYFIT_DEVICE int coordinate(int s, int q) {
    const int block = s / 4;
    if (16 * block + 16 <= P) return 16 * block + 2 * (s % 4) + (q & 1) + 8 * (q >> 1);
    return 16 * block + 4 * (s % 4) + q;
  }

  MANYFIT_DEVICE void operator()(Block& block) const {
    const Chunk chunk = round.chunks[block.x()];
    const int64_t count = members.count(chunk.atom);
    const int64_t first = block.y() * column_groups * 8 * MB;
    if (first >= count) return;
    auto* z = block.template shared<double>();
    auto* sign = z + R * LD;
    auto* weight = sign + R;
    auto* places = reinterpret_cast<int64_t*>(weight + R);
    const int G = column_groups, H = row_groups;
    const auto column = [&](int thread, int m) {
      return first + (thread / kWarp % G * MB + m) * 8 + thread % kWarp / 4;
    };
    PerThread<Own> own(block);

    block.each_alone([&](int thread) {
      Own& my = own[thread];
      MANYFIT_UNROLL
      for (int m = 0; m < MB; ++m) {
        const int64_t i = column(thread, m);
        if (i >= count) continue;
        const int64_t point = members.point(chunk.atom, i), p = data.d + 1;
        const double* of_class = data.class_weights + class_weight[point] * data.classes;
        my.zero[m] = of_class[0];
        my.one[m] = of_class[1];
        MANYFIT_UNROLL
        for (int s = 0; s < 2 * NB; ++s) {
          const int j = coordinate(s, thread % 4);
          if (j < p) my.coef[m][s] = coef[point * p + j];
        }
      }
    });

    for (int64_t t = round.first(chunk); t < round.last(chunk); ++t) {
      const Tile tile = round.tiles[t];
      for (int from = 0; from < tile.rows; from += R) {
        const int n = tile.rows - from < R ? tile.rows - from : R;
        block.each([&](int thread) {
          for (int r = thread; r < R; r += block.threads()) {
            const int row = from + (r < n ? r : 0);
            const int64_t position = tile.begin + row;
            places[r] = data.place(tile.row + row);
            sign[r] = data.label[position] == 1 ? 1.0 : -1.0;
            weight[r] = r < n ? data.weight_at(position) : 0.0;
          }
        });
        load_rows<R, P, LD>(block, data, places, n, 0, z);
        for (int turn = 0; turn * H * 8 < n; ++turn) add_rows(block, turn, z, sign, weight, own);
        block.each([](int) {});  // before the next rows come
      }
    }

    // Groups of rows add up one after the other, in shared memory; the last sum goes on from the
    // launch before.
    for (int group = 0; group < H; ++group) {
      block.each([&](int thread) {
        if (thread / kWarp / G != group) return;
        MANYFIT_UNROLL
        for (int m = 0; m < MB; ++m) {
          const int64_t i = column(thread, m);
          if (i >= count) continue;
          double* kept = z + (i - first) * kLength;
          double* to = parts + (block.x() * members.widest + i) * kLength;
          const auto add = [&](int place, double value) {
            if (group > 0) value += kept[place];
            if (group + 1 == H)
              to[place] += value;
            else
              kept[place] = value;
          };
          MANYFIT_UNROLL
          for (int f = 0; f < NB; ++f) {
            add(8 * f + 2 * (thread % 4), own[thread].sum[m][2 * f]);
            add(8 * f + 2 * (thread % 4) + 1, own[thread].sum[m][2 * f + 1]);
          }
          add(P + thread % 4, own[thread].loss[m]);
        }
      });
    }
  }

  // Each warp's eight rows of a turn.
  MANYFIT_DEVICE void add_rows(Block& block, int turn, const double* z, const double* sign,
                               const double* weight, PerThread<Own>& own) const {
    const int G = column_groups, H = row_groups;
    const auto row = [&](int thread) { return 8 * (turn * H + thread / kWarp / G); };
    const auto right = [&](int thread) { return own[thread].right; };
    block.each_alone([&](int thread) {
      MANYFIT_UNROLL
      for (int m = 0; m < MB; ++m) own[thread].score[m][0] = own[thread].score[m][1] = 0;
    });
    MANYFIT_UNROLL
    for (int s = 0; s < 2 * NB; ++s) {
      block.each_alone([&](int thread) {
        const int r = row(thread) + thread % kWarp / 4;
        own[thread].right = z[r * LD + coordinate(s, thread % 4)];
      });
      MANYFIT_UNROLL
      for (int m = 0; m < MB; ++m)
        block.multiply_add_8x8x4([&](int thread) -> double& { return own[thread].score[m][0]; },
                                 [&](int thread) -> double& { return own[thread].score[m][1]; },
                                 [&](int thread) { return own[thread].coef[m][s]; }, right);
    }
    block.each_alone([&](int thread) {
      Own& my = own[thread];
      MANYFIT_UNROLL
      for (int e = 0; e < 2; ++e) {
        const int r = row(thread) + 2 * (thread % 4) + e;
        const double y = sign[r], w = weight[r];
        MANYFIT_UNROLL
        for (int m = 0; m < MB; ++m) {
          const LogisticTerm term =
              binary_term(y, w * (y > 0 ? my.one[m] : my.zero[m]), my.score[m][e]);
          my.loss[m] += term.loss;
          my.score[m][e] = term.slope;
        }
      }
    });
    MANYFIT_UNROLL
    for (int e = 0; e < 2; ++e) {
      MANYFIT_UNROLL
      for (int f = 0; f < NB; ++f) {
        block.each_alone([&](int thread) {
          const int r = row(thread) + 2 * (thread % 4) + e;
          own[thread].right = z[r * LD + 8 * f + thread % kWarp / 4];
        });
        MANYFIT_UNROLL
        for (int m = 0; m < MB; ++m)
          block.multiply_add_8x8x4(
              [&](int thread) -> double& { return own[thread].sum[m][2 * f]; },
              [&](int thread) -> double& { return own[thread].sum[m][2 * f + 1]; },
              [&](int thread) { return own[thread].score[m][e]; }, right);
      }
    }
  }
};

}  // namespace manyfit::logistic_kernels
