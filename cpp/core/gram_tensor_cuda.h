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
// What bounds it on an H200, whose 132 multiprocessors do 128 multiply-adds of doubles and 128
// bytes of shared memory a clock (by arithmetic; not measured yet). For 16 rows:
//   d = 100: 49 fragments of 2048 multiply-adds, 784 clocks (of X' X alone, 646); shared memory
//   684: 8 warps read 5 KB for the rows' columns and 3.5 KB for units, and 13 KB are written. At
//   1.8 GHz and 1M rows 0.21 ms; memory 0.09 ms, float64 0.19 ms. A tile ahead is 13 KB (float64
//   26 KB) under way; 187 (201) registers, 81 KB: one block of 8 warps on a multiprocessor.
//   d = 256: two diagonal pairs of 81 fragments and one of 128, 4640 clocks (of X' X alone, 4112);
//   shared memory half of that. At 1.8 GHz and 4M rows 4.9 ms; memory 0.95 ms, float64 1.9 ms,
//   twice that where the three blocks of the same rows do not meet in the L2 cache. 252 (254)
//   registers, 145 KB: one block.
// Up to 32 columns memory bounds it: two blocks of 118 registers, tiles of 64 rows.
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
  static constexpr int kBlocksTogether = W == 32 ? 2 : 1;
  static constexpr int kMaxAttached = 16;
  static constexpr int kSlabs = Pairs || W == 128 ? 2 : 4;  // of 16 rows, in a tile
  static constexpr int kRows = 16 * kSlabs, kStride = kRows + 2;
  static constexpr int kAhead = Pairs ? 1 : 2;  // tiles between those fetched and multiplied
  static constexpr int kTold = 4;               // tiles whose rows are known
  static constexpr int kPanelColumns = Pairs ? 2 * W : W + 8;
  static constexpr int kEach = W / 32;  // pairs of rows of a slab's panel that a thread fetches
  static constexpr size_t kInfo = kTold * kRows * (sizeof(int64_t) + sizeof(double));
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
    T x[Pairs ? 1 : kSlabs][kEach][2];
  };
  // Where a thread's elements of a part lie: columns and pairs of rows.
  struct Places {
    int column, pair, columns_apart, pairs_apart, count;
  };
  struct Next {
    int64_t row;
    T weight;
  };
  struct Left {
    double x[2][4];
  };
  struct Right {
    double x[2];
  };
  struct Sums {
    double x[U][2][4];
  };

  MANYFIT_DEVICE void operator()(Block& block) const {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ == 800 || __CUDA_ARCH__ == 900 || __CUDA_ARCH__ == 1000
    work(block);  // elsewhere never launched: DeviceFacts::fast_double
#endif
  }

  MANYFIT_DEVICE void work(Block& block) const {
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

    auto* const row_of = block.template shared<int64_t>();  // (kTold, kRows), -1 for none
    auto* const root_of = block.template shared<double>(kTold * kRows * sizeof(int64_t));
    auto* const shift = block.template shared<double>(kInfo);
    auto* const panels = block.template shared<double>(kInfo + kShift);
    const auto panel = [&](int64_t step) {
      return panels + step % 2 * (static_cast<int64_t>(kPanelColumns) * kStride);
    };

    PerThread<Next> next(block);
    PerThread<Fetched> fetched(block);
    PerThread<Left> left(block);
    PerThread<Right> right(block);
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
      row_of[step % kTold * kRows + thread] = next[thread].row;
      root_of[step % kTold * kRows + thread] = sqrt(static_cast<double>(next[thread].weight));
    };

    // A slab is fetched and stored in two parts: the first tile; then, for pairs, the second one,
    // or what is attached.
    const auto places = [&](int part, int thread) -> Places {
      if (part == 1 && diagonal) return {thread % kMaxAttached, thread / kMaxAttached, 0, 0, 1};
      if (by_rows) return {thread % W, thread / W, 0, kThreads / W, kEach};
      return {thread / 8, thread % 8, kThreads / 8, 0, kEach};
    };
    const auto columns_of = [&](int part) {
      return part == 0 ? size_i : diagonal ? attached : size_j;
    };
    const auto fetch = [&](int64_t step, int slab, int part, int thread, T(&to)[kEach][2]) {
      const Places at = places(part, thread);
      if (part == 1 && diagonal && at.pair >= 8) return;
      const int size = columns_of(part);
      const int64_t first = part == 0 ? first_i : diagonal ? rows.X.cols : first_j;
      const int64_t* const row =
          row_of + static_cast<int>(step % kTold) * kRows + slab * 16 + at.pair * 2;
      MANYFIT_UNROLL
      for (int e = 0; e < kEach; ++e) {
        const int c = at.column + e * at.columns_apart;
        if (e >= at.count || c >= size) continue;
        const typename GramRows<T>::Column column = rows.column(first + c);
        MANYFIT_UNROLL
        for (int k = 0; k < 2; ++k) to[e][k] = column.value(row[e * at.pairs_apart * 2 + k]);
      }
    };
    const auto store = [&](int64_t step, int slab, int part, int thread, const T(&from)[kEach][2]) {
      const Places at = places(part, thread);
      if (part == 1 && diagonal && at.pair >= 8) return;
      const int r = slab * 16 + at.pair * 2;
      const int size = columns_of(part);
      const int origin = part == 0 ? 0 : diagonal ? size_i : origin_j;
      const double* const root = root_of + static_cast<int>(step % kTold) * kRows + r;
      double* const to = panel(step) + (origin + at.column) * kStride + r;
      MANYFIT_UNROLL
      for (int e = 0; e < kEach; ++e) {
        if (e >= at.count || at.column + e * at.columns_apart >= size) continue;
        const double about = shift[origin + at.column + e * at.columns_apart];
        Two z;
        MANYFIT_UNROLL
        for (int k = 0; k < 2; ++k)
          z.x[k] = (static_cast<double>(from[e][k]) - about) * root[e * at.pairs_apart * 2 + k];
        *reinterpret_cast<Two*>(to + e * (at.columns_apart * kStride + at.pairs_apart * 2)) = z;
      }
    };

    block.each([&](int thread) {
      own[thread] = units[shape][thread / kWarp];
      for (int64_t step = 0; step <= kAhead; ++step) {
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
      MANYFIT_UNROLL
      for (int slab = 0; slab < kSlabs; ++slab)
        for (int part = 0; part < (Pairs ? 2 : 1); ++part) {
          fetch(0, slab, part, thread, fetched[thread].x[0]);
          store(0, slab, part, thread, fetched[thread].x[0]);
        }
      if constexpr (!Pairs) {
        MANYFIT_UNROLL
        for (int slab = 0; slab < kSlabs; ++slab)
          fetch(1, slab, 0, thread, fetched[thread].x[slab]);
      }
    });

    const int64_t steps = (range.end - range.begin + kRows - 1) / kRows;
    for (int64_t step = 0; step < steps; ++step) {
      const bool more = step + 1 < steps;
      const double* const here = panel(step);
      MANYFIT_UNROLL_BY(Pairs ? 1 : kSlabs)
      for (int slab = 0; slab < kSlabs; ++slab) {
        block.each_alone([&](int thread) {
          if (slab == 0)
            find_row(step + kAhead + 1, thread);
          else if (slab == kSlabs - 1)
            find_weight(thread);
          if constexpr (Pairs) {
            if (more) fetch(step + 1, slab, 0, thread, fetched[thread].x[0]);
          } else if (more) {
            store(step + 1, slab, 0, thread, fetched[thread].x[slab]);
            fetch(step + 2, slab, 0, thread, fetched[thread].x[slab]);
          }
        });
        MANYFIT_UNROLL
        for (int quarter = 0; quarter < 2; ++quarter) {
          // A lane's two rows of the columns that begin at `c`: column lane / 4, and of four rows
          // from 4 (lane % 4) on the first or last.
          const auto read = [&](int c, int thread) {
            const int lane = thread % kWarp;
            return *reinterpret_cast<const Two*>(here + (c + lane / 4) * kStride + slab * 16 +
                                                 lane % 4 * 4 + quarter * 2);
          };
          const auto read_left = [&](int row, int thread) {
            MANYFIT_UNROLL
            for (int i = 0; i < 4; ++i) {
              const Two z = read(row * 8 + i * 8, thread);
              left[thread].x[i / 2][i % 2] = z.x[0];
              left[thread].x[i / 2][2 + i % 2] = z.x[1];
            }
          };
          block.each_alone([&](int thread) {
            if constexpr (Pairs)
              if (quarter == 1 && more) {
                store(step + 1, slab, 0, thread, fetched[thread].x[0]);
                fetch(step + 1, slab, 1, thread, fetched[thread].x[0]);
              }
            read_left(own[thread].row, thread);
          });
          MANYFIT_UNROLL
          for (int unit = 0; unit < U; ++unit) {
            block.each_alone([&](int thread) {
              const WarpUnits& mine = own[thread];
              if (unit > 0 && unit == mine.turn) read_left(mine.next, thread);
              const int strip = unit < mine.turn ? mine.first + unit : unit - mine.turn;
              const Two z = read(origin_j + 8 * strip, thread);
              right[thread].x[0] = z.x[0];
              right[thread].x[1] = z.x[1];
            });
            MANYFIT_UNROLL
            for (int s = 0; s < 2; ++s)
              block.multiply_add_16x8x8(
                  [&](int thread) {
                    return ((s == 0 ? own[thread].upper : own[thread].lower) >> unit & 1) != 0;
                  },
                  [&](int thread) -> double* { return sums[thread].x[unit][s]; },
                  [&](int thread) -> const double* { return left[thread].x[s]; },
                  [&](int thread) -> const double* { return right[thread].x; });
          }
        }
        if constexpr (Pairs)
          block.each_alone([&](int thread) {
            if (more) store(step + 1, slab, 1, thread, fetched[thread].x[0]);
          });
      }
      block.each([&](int thread) { tell_row(step + kAhead + 1, thread); });
    }
    keep_sums(block, *this, range.atom, slice, pair,
              [&](int thread, int e) { return sums[thread].x[e / 8][e / 4 % 2][e % 4]; });
  }
};

}  // namespace manyfit
