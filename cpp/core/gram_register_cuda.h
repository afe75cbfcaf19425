// The fold Gram where float64 is slow (GPUs other than A100, H100, ...): sums in registers.
//
// A block takes a pair of tiles of 64 columns of Z and a slice of the rows; of their 64 x 64
// products each of 256 threads sums 4 x 4, for float32 in float (128 rows, then eight such sums,
// which go on to double), so that per 16 multiply-adds it reads two vectors of four from shared
// memory. That is two thirds of what shared memory delivers at the full rate of float
// multiply-adds; M of up to 64 columns is bound by memory. float64 is bound by its 1/32 or 1/64
// rate whatever one does. Shared memory: 9 KB (float64: 18 KB); 4 blocks or more on a
// multiprocessor.
#pragma once

#include <type_traits>

#include "core/gram_rows_cuda.h"

namespace manyfit {

template <class T>
struct RegisterGram {
  static constexpr int kThreads = 256, kEntries = 16;
  static constexpr int kColumns = 64, kRows = 16;
  static constexpr int kShort = 8, kLong = 64;  // tiles of rows of a sum
  static constexpr int kStride = kColumns + 4;
  static constexpr bool kFloat = std::is_same_v<T, float>;
  static constexpr int kBlocksTogether = kFloat ? 2 : 1;
  static constexpr int kEach = kColumns * kRows / kThreads;  // elements of a panel for a thread
  static constexpr size_t kInfo = 2 * kRows * (sizeof(int64_t) + sizeof(double));
  static constexpr size_t kShift = 2 * kColumns * sizeof(double);
  static constexpr size_t kPanel = kRows * kStride * sizeof(T);

  GramRows<T> rows;
  GramSlices slices;
  GramOutput output;
  bool by_rows = true;  // X's rows, not its columns, lie together in memory

  static constexpr size_t shared_bytes() { return kInfo + kShift + 2 * kPanel; }
  MANYFIT_HOST_DEVICE int64_t tiles() const { return (rows.columns() + kColumns - 1) / kColumns; }
  MANYFIT_HOST_DEVICE int64_t pairs() const { return tiles() * (tiles() + 1) / 2; }

  // Which entry of M's lower triangle (of Z's order) a thread's sum e is.
  MANYFIT_DEVICE bool entry(int64_t pair, int thread, int e, int64_t& i, int64_t& j) const {
    const TilePair tile(pair);
    const int64_t u = tile.i * kColumns + thread / 16 * 4 + e / 4;
    const int64_t v = tile.j * kColumns + thread % 16 * 4 + e % 4;
    i = rows.place(u);
    j = rows.place(v);
    return u < rows.columns() && v <= u;
  }

  struct Four {
    alignas(16) T x[4];
  };
  struct Fetched {
    T x[2][kEach];
  };
  struct Sums {
    T few[16], some[16];
    double all[16];
  };

  MANYFIT_DEVICE void operator()(Block& block) const {
    const int64_t n_pairs = pairs();
    const int64_t slice = block.x() / n_pairs, pair = block.x() % n_pairs;
    const TilePair tile(pair);
    const GramSlices::Range range = slices.range(slice);
    const int panels = tile.i == tile.j ? 1 : 2;
    auto* const row_of = block.template shared<int64_t>();  // (2, kRows)
    auto* const root_of = block.template shared<double>(2 * kRows * sizeof(int64_t));
    auto* const shift = block.template shared<double>(kInfo);
    T* const panel_i = block.template shared<T>(kInfo + kShift);
    T* const panel_j = panels == 1 ? panel_i : block.template shared<T>(kInfo + kShift + kPanel);

    const auto tell_row = [&](int64_t step, int r) {
      const int64_t position = range.begin + step * kRows + r;
      const bool there = position < range.end;
      const int64_t row = there ? rows.row(position) : -1;
      row_of[step % 2 * kRows + r] = row;
      root_of[step % 2 * kRows + r] = there ? sqrt(static_cast<double>(rows.weight(row))) : 0.0;
    };
    const auto column_of = [&](int thread, int e) {
      return by_rows ? thread % kColumns : thread / kRows + e * (kThreads / kRows);
    };
    const auto r_of = [&](int thread, int e) {
      return by_rows ? thread / kColumns + e * (kThreads / kColumns) : thread % kRows;
    };

    PerThread<Fetched> fetched(block);
    PerThread<Sums> sums(block);
    const auto fetch = [&](int64_t step, int thread) {
      MANYFIT_UNROLL
      for (int p = 0; p < 2; ++p) {
        if (p >= panels) continue;
        const int64_t first = (p == 0 ? tile.i : tile.j) * kColumns;
        MANYFIT_UNROLL
        for (int e = 0; e < kEach; ++e) {
          const int64_t column = first + column_of(thread, e);
          fetched[thread].x[p][e] =
              column < rows.columns()
                  ? rows.column(column).value(row_of[step % 2 * kRows + r_of(thread, e)])
                  : T(0);
        }
      }
    };

    block.each([&](int thread) {
      if (thread < kRows) tell_row(0, thread);
      if (thread < 2 * kColumns) {
        const int64_t column = (thread < kColumns ? tile.i : tile.j) * kColumns + thread % kColumns;
        shift[thread] = column < rows.columns() ? rows.mean(column) : 0.0;
      }
    });
    block.each_alone([&](int thread) { fetch(0, thread); });
    const int64_t steps = (range.end - range.begin + kRows - 1) / kRows;
    for (int64_t step = 0; step < steps; ++step) {
      block.each([&](int thread) {
        MANYFIT_UNROLL
        for (int p = 0; p < 2; ++p) {
          if (p >= panels) continue;
          MANYFIT_UNROLL
          for (int e = 0; e < kEach; ++e) {
            const int c = column_of(thread, e), r = r_of(thread, e);
            const T root = static_cast<T>(root_of[step % 2 * kRows + r]);
            (p == 0 ? panel_i : panel_j)[r * kStride + c] =
                (fetched[thread].x[p][e] - static_cast<T>(shift[p * kColumns + c])) * root;
          }
        }
        if (thread < kRows) tell_row(step + 1, thread);
      });
      const bool last = step == steps - 1;
      block.each([&](int thread) {
        if (step + 1 < steps) fetch(step + 1, thread);
        Sums& own = sums[thread];
        const T* const a = panel_i + thread / 16 * 4;
        const T* const b = panel_j + thread % 16 * 4;
        MANYFIT_UNROLL
        for (int r = 0; r < kRows; ++r) {
          const Four left = *reinterpret_cast<const Four*>(a + r * kStride);
          const Four right = *reinterpret_cast<const Four*>(b + r * kStride);
          MANYFIT_UNROLL
          for (int e = 0; e < 16; ++e) own.few[e] += left.x[e / 4] * right.x[e % 4];
        }
        if constexpr (kFloat)
          if (last || step % kShort == kShort - 1) {
            MANYFIT_UNROLL
            for (int e = 0; e < 16; ++e) {
              own.some[e] += own.few[e];
              own.few[e] = 0;
            }
          }
        if (last || (kFloat && step % kLong == kLong - 1)) {
          T(&sum)[16] = kFloat ? own.some : own.few;
          MANYFIT_UNROLL
          for (int e = 0; e < 16; ++e) {
            own.all[e] += static_cast<double>(sum[e]);
            sum[e] = 0;
          }
        }
      });
    }
    keep_sums(block, *this, range.atom, slice, pair,
              [&](int thread, int e) { return sums[thread].all[e]; });
  }
};

}  // namespace manyfit
