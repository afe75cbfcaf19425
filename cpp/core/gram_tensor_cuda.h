// The fold Gram where float64 has tensor cores (A100, H100, H200, B200): all sums in double.
//
// A block of 8 warps takes a tile of up to W columns of X, with itself (then the column of ones
// and the targets come with it) or with another tile, and a slice of the rows. Tiles of 32 rows
// are widened and shifted on their way into shared memory, two buffers in turn: while one is
// multiplied, the next rows are fetched to registers and then stored. It lies there by columns,
// in 34 doubles each, so that a lane's four rows are two vector reads, of which no two lanes of a
// quarter warp meet in a bank.
//
// A warp sums U units of 32 x 8 entries of M (two 16 x 8 fragments, 8 doubles of a lane), those on
// or below the diagonal alone, laid out row by row, so that it reads the 32 columns of a row once
// and 8 more columns for each unit.
//
// What bounds it on an H200 (a multiprocessor does 128 of the 4 2048-product fragments'
// multiply-adds a clock, and 128 bytes of shared memory):
//   1M x 100: 55 fragments for 16 rows, 880 clocks; reads of shared memory 8 (4 + 5) KB, 576
//   clocks; writes 104. At 1.75 GHz 0.24 ms, of X' X alone 0.17; memory 0.09 (float64 0.19).
// (rewritten below)
#pragma once

#include "core/gram_rows_cuda.h"

namespace manyfit {

// Tiles of equal width over X. With `attached`, [1, Y] goes with every tile; otherwise these are
// columns of tiles as X's are.
struct TensorTiling {
  int64_t columns = 0;   // in tiles
  int64_t attached = 0;  // columns attached to the diagonal's pairs
  int64_t width = 0;     // of a tile
  int64_t tiles = 1;

  MANYFIT_HOST_DEVICE int64_t begin(int64_t tile) const { return tile * width; }
  MANYFIT_HOST_DEVICE int size(int64_t tile) const {
    const int64_t left = columns - tile * width;
    return static_cast<int>(left < width ? left : width);
  }
};

// The units of a warp: the 32 rows of M from 8 `row` on, times 8 columns from 8 `first` on, and so
// on; after `turn` units the 32 rows from 8 `next` on, times its first columns. A bit for each
// unit's fragment that is needed.
struct WarpUnits {
  uint8_t row = 0, first = 0, turn = 0, next = 0;
  uint16_t upper = 0, lower = 0;
};

template <class T, int W, int U, bool Pairs>
struct TensorGram {
  static constexpr int kThreads = 256, kWarps = kThreads / kWarp;
  static constexpr int kUnits = U, kEntries = 8 * U;
  static constexpr int kMaxAttached = 16;
  static constexpr int kRows = 32, kStride = kRows + 2;
  static constexpr int kPanelColumns = Pairs ? 2 * W : W + 32;
  static constexpr int kEach = W / 32;  // pairs of rows of a panel's half that a thread fetches
  static constexpr size_t kInfo = 2 * kRows * (sizeof(int64_t) + sizeof(double));
  static constexpr size_t kShift = kPanelColumns * sizeof(double);
  static constexpr size_t kPanel = static_cast<size_t>(kPanelColumns) * kStride * sizeof(double);

  GramRows<T> rows;
  GramSlices slices;
  GramOutput output;
  bool by_rows = true;  // X's rows, not its columns, lie together in memory
  TensorTiling tiling;
  // Diagonal pair, that of the last tile, a pair beside the diagonal, and one of the last tile.
  WarpUnits units[4][kWarps];

  static constexpr size_t shared_bytes() { return kInfo + kShift + 2 * kPanel; }
  MANYFIT_HOST_DEVICE int64_t pairs() const { return tiling.tiles * (tiling.tiles + 1) / 2; }

  MANYFIT_HOST_DEVICE int kind(const TilePair& tile) const {
    return (tile.i == tile.j ? 0 : 2) + (tile.i == tiling.tiles - 1 ? 1 : 0);
  }
  // Of Z, of a local column of a tile with those attached; -1 for none.
  MANYFIT_DEVICE int64_t column(int64_t tile, int local, bool attached) const {
    const int size = tiling.size(tile);
    if (local < size) return tiling.begin(tile) + local;
    return attached && local - size < tiling.attached ? rows.X.cols + (local - size) : -1;
  }

  // Which entry of M's lower triangle (of Z's order) a thread's sum e is.
  MANYFIT_DEVICE bool entry(int64_t pair, int thread, int e, int64_t& i, int64_t& j) const {
    const TilePair tile(pair);
    const bool diagonal = tile.i == tile.j;
    const WarpUnits own = units[kind(tile)][thread / kWarp];
    const int unit = e / 8, half = e / 4 % 2, lane = thread % kWarp;
    if (((half == 0 ? own.upper : own.lower) >> unit & 1) == 0) return false;
    const int u = (unit < own.turn ? own.row : own.next) * 8 + half * 16 + e / 2 % 2 * 8 + lane / 4;
    const int strip = unit < own.turn ? own.first + unit : unit - own.turn;
    const int v = strip * 8 + lane % 4 * 2 + e % 2;
    const int64_t row = column(tile.i, u, diagonal), col = column(tile.j, v, diagonal);
    // What is attached to several tiles counts in the first.
    if (row < 0 || col < 0 || (diagonal && v > u) ||
        (diagonal && tile.i > 0 && v >= tiling.size(tile.j)))
      return false;
    i = rows.place(row);
    j = rows.place(col);
    return true;
  }

  struct Two {
    alignas(16) double x[2];
  };
  struct Fetched {
    T x[kEach][2];
  };
  struct Next {
    int64_t row;
    T weight;
  };
  struct Left {
    double x[2][8];
  };
  struct Right {
    double x[4];
  };
  struct Sums {
    double x[U][2][4];
  };

  MANYFIT_DEVICE void operator()(Block& block) const {
    const int64_t n_pairs = pairs();
    const int64_t slice = block.x() / n_pairs, pair = block.x() % n_pairs;
    const TilePair tile(pair);
    const bool diagonal = !Pairs || tile.i == tile.j;
    const GramSlices::Range range = slices.range(slice);
    const int size_i = tiling.size(tile.i);
    const int attached = diagonal ? static_cast<int>(tiling.attached) : 0;
    const int size_j = diagonal ? 0 : tiling.size(tile.j);
    const int origin_j = diagonal ? 0 : W;  // place of the second tile in a panel
    const int64_t first_i = tiling.begin(tile.i), first_j = tiling.begin(tile.j);
    const int shape = kind(tile);

    auto* const row_of = block.template shared<int64_t>();  // (2, kRows)
    auto* const root_of = block.template shared<double>(2 * kRows * sizeof(int64_t));
    auto* const shift = block.template shared<double>(kInfo);
    auto* const panels = block.template shared<double>(kInfo + kShift);
    const auto panel = [&](int64_t step) {
      return panels + step % 2 * (static_cast<int64_t>(kPanelColumns) * kStride);
    };

    PerThread<Next> next(block);
    PerThread<Fetched> fetched(block);
    PerThread<Left> left(block);
    PerThread<Right> right[2] = {PerThread<Right>(block), PerThread<Right>(block)};
    PerThread<Sums> sums(block);
    PerThread<WarpUnits> own(block);

    // What is to be known of a tile's rows, in three pieces, so that nobody waits for memory.
    const auto find_row = [&](int64_t step, int thread) {
      if (thread >= kRows) return;
      const int64_t position = range.begin + step * kRows + thread;
      next[thread].row = position < range.end ? rows.row(position) : -1;
    };
    const auto find_weight = [&](int thread) {
      if (thread >= kRows) return;
      next[thread].weight = next[thread].row >= 0 ? rows.weight(next[thread].row) : T(0);
    };
    const auto tell_row = [&](int64_t step, int thread) {
      if (thread >= kRows) return;
      row_of[step % 2 * kRows + thread] = next[thread].row;
      root_of[step % 2 * kRows + thread] = sqrt(static_cast<double>(next[thread].weight));
    };

    // Half a tile of rows, 16, is fetched and stored in two parts: the first tile; then the second
    // one, or what is attached. An element's place: column and pair of rows.
    const auto column_of = [&](int part, int thread, int e) {
      if (part == 1 && diagonal) return thread % kMaxAttached;
      return by_rows ? thread % W : thread / 8 + e * (kThreads / 8);
    };
    const auto rows_of = [&](int part, int thread, int e) {
      if (part == 1 && diagonal) return thread / kMaxAttached;
      return by_rows ? thread / W + e * (kThreads / W) : thread % 8;
    };
    const auto wanted = [&](int part, int thread, int e) {
      const int c = column_of(part, thread, e);
      if (part == 0) return c < size_i;
      return diagonal ? e == 0 && c < attached && thread < 8 * kMaxAttached : c < size_j;
    };
    const auto fetch = [&](int64_t step, int half, int part, int thread) {
      const int64_t first = part == 0 ? first_i : diagonal ? rows.X.cols : first_j;
      MANYFIT_UNROLL
      for (int e = 0; e < kEach; ++e) {
        if (!wanted(part, thread, e)) continue;
        const int64_t* const row =
            row_of + step % 2 * kRows + half * 16 + rows_of(part, thread, e) * 2;
        const int64_t c = first + column_of(part, thread, e);
        MANYFIT_UNROLL
        for (int k = 0; k < 2; ++k)
          fetched[thread].x[e][k] = row[k] >= 0 ? rows.value(row[k], c) : T(0);
      }
    };
    const auto store = [&](int64_t step, int half, int part, int thread) {
      const int origin = part == 0 ? 0 : diagonal ? size_i : origin_j;
      MANYFIT_UNROLL
      for (int e = 0; e < kEach; ++e) {
        if (!wanted(part, thread, e)) continue;
        const int c = origin + column_of(part, thread, e);
        const int r = half * 16 + rows_of(part, thread, e) * 2;
        const double* const root = root_of + step % 2 * kRows + r;
        Two z;
        MANYFIT_UNROLL
        for (int k = 0; k < 2; ++k)
          z.x[k] = (static_cast<double>(fetched[thread].x[e][k]) - shift[c]) * root[k];
        *reinterpret_cast<Two*>(panel(step) + c * kStride + r) = z;
      }
    };

    block.each([&](int thread) {
      own[thread] = units[shape][thread / kWarp];
      for (int64_t step = 0; step < 2; ++step) {
        find_row(step, thread);
        find_weight(thread);
        tell_row(step, thread);
      }
      if (thread < kPanelColumns) {
        const bool second = !diagonal && thread >= W;
        const int64_t c =
            second ? column(tile.j, thread - W, false) : column(tile.i, thread, diagonal);
        shift[thread] = c >= 0 ? rows.mean(c) : 0.0;
      }
    });
    block.each([&](int thread) {
      for (int half = 0; half < 2; ++half)
        for (int part = 0; part < 2; ++part) {
          fetch(0, half, part, thread);
          store(0, half, part, thread);
        }
    });

    const int64_t steps = (range.end - range.begin + kRows - 1) / kRows;
    for (int64_t step = 0; step < steps; ++step) {
      const bool more = step + 1 < steps;
      const double* const here = panel(step);
      MANYFIT_UNROLL_BY(1)
      for (int half = 0; half < 2; ++half) {
        // A lane's four rows of the columns that begin at `c`: column lane / 4, rows 4 (lane % 4).
        const auto read = [&](int c, int thread, double* to, int apart) {
          const int lane = thread % kWarp;
          const double* const from = here + (c + lane / 4) * kStride + half * 16 + lane % 4 * 4;
          const Two low = *reinterpret_cast<const Two*>(from);
          const Two high = *reinterpret_cast<const Two*>(from + 2);
          to[0] = low.x[0];
          to[apart] = low.x[1];
          to[2 * apart] = high.x[0];
          to[3 * apart] = high.x[1];
        };
        const auto read_left = [&](int row, int thread) {
          MANYFIT_UNROLL
          for (int s = 0; s < 2; ++s)
            for (int h = 0; h < 2; ++h)
              read(row * 8 + s * 16 + h * 8, thread, left[thread].x[s] + h, 2);
        };
        const auto strip = [&](int unit, int thread) {
          const WarpUnits& mine = own[thread];
          return origin_j + 8 * (unit < mine.turn ? mine.first + unit : unit - mine.turn);
        };
        block.each_alone([&](int thread) {
          if (more) fetch(step + 1, half, 0, thread);
          if (half == 0)
            find_row(step + 2, thread);
          else
            find_weight(thread);
          read_left(own[thread].row, thread);
          read(strip(0, thread), thread, right[0][thread].x, 1);
        });
        MANYFIT_UNROLL
        for (int unit = 0; unit < U; ++unit) {
          block.each_alone([&](int thread) {
            if (unit == (U + 1) / 2 && more) {
              store(step + 1, half, 0, thread);
              fetch(step + 1, half, 1, thread);
            }
            if (unit > 0 && unit == own[thread].turn) read_left(own[thread].next, thread);
            if (unit + 1 < U)
              read(strip(unit + 1, thread), thread, right[(unit + 1) % 2][thread].x, 1);
          });
          MANYFIT_UNROLL
          for (int s = 0; s < 2; ++s)
            block.multiply_add_16x8x16(
                [&](int thread) {
                  return ((s == 0 ? own[thread].upper : own[thread].lower) >> unit & 1) != 0;
                },
                [&](int thread) -> double* { return sums[thread].x[unit][s]; },
                [&](int thread) -> const double* { return left[thread].x[s]; },
                [&](int thread) -> const double* { return right[unit % 2][thread].x; });
        }
        block.each_alone([&](int thread) {
          if (more) store(step + 1, half, 1, thread);
        });
      }
      block.each([&](int thread) { tell_row(step + 2, thread); });
    }
    keep_sums(block, *this, range.atom, slice, pair,
              [&](int thread, int e) { return sums[thread].x[e / 8][e / 4 % 2][e % 4]; });
  }
};

}  // namespace manyfit
