#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "core/moments_cuda.h"
#include "core/warp.h"
#include "linear_model/evaluate_cuda.h"

namespace manyfit {
namespace {

// As kRoundings of evaluate_cpu.cpp.
constexpr double kRoundings = 8;
constexpr double kEpsilon = std::numeric_limits<double>::epsilon();

constexpr int kThreads = 256;
constexpr int kRows = 64;     // coefficient vectors of a block
constexpr int kColumns = 64;  // of the Gram that it multiplies them with at a time
constexpr int kDepth = 32;    // features of both that lie in shared memory together
// Between rows in shared memory: no two lanes of a quarter warp, which read two numbers each of two
// rows, meet in a bank.
constexpr int kStride = kDepth + 8;

// Multiply-adds of a multiprocessor in one launch: half a millisecond on an H200, 30 ms where there
// is hardly any float64.
constexpr int64_t kLongest = 100'000'000;
constexpr int kBeside = 2;  // blocks on a multiprocessor
// Of the device's memory, for the moments of left-out rows: more groups take turns.
constexpr int64_t kMostMemory = int64_t{1} << 29;

// Up to kRows coefficient vectors that leave out the same rows: places in the order.
struct Tile {
  int64_t group, first, count;
  int64_t leads;  // whether it is the first one of its group
};

// One block for each tile: c' G c of its vectors, as a product of matrices with G's lower triangle
// by tensor cores, whose 64 x 64 results are at once multiplied with the vectors again; then sums
// over a vector's features by a warp each.
//
// What bounds it on an H200 (by arithmetic; not measured yet): 64 vectors of d = 200 take 64 d (d +
// 64) / 2 = 1.7M multiply-adds, 13 thousand clocks of a multiprocessor's tensor cores, and 24
// pieces of 32 KB from the L2 cache, of which a block waits for each (some 700 clocks): about 30
// thousand clocks, 17 us. The 5000 vectors of 10 mixtures, 100 penalties and 5 folds are 80 blocks,
// which run side by side. Shared memory is read 6 doubles of a lane for 8 products of 8 x 8 x 4:
// 3/4 of the clocks of these. The coefficients, 8 MB, are read a few times, from the L2 cache.
struct ErrorsKernel {
  static constexpr int kThreads = manyfit::kThreads;
  static constexpr int kBlocksTogether = kBeside;

  const double* gram;             // (groups, d, d)
  const double* cross;            // (groups, t, d)
  const double* mean;             // (groups, d)
  const double* target_mean;      // (groups, t)
  const double* target_squares;   // (groups, t)
  const double* shifted_squares;  // (groups, d)
  const double* weight;           // (groups,)
  const double* target_shift;     // (t,)
  const double* coef;             // (jobs * t, d)
  const double* intercept;        // (jobs * t,)
  const int64_t* order;           // (jobs * t,) vectors by group
  const Tile* tiles;
  int64_t d, t;
  double rounding;                       // of a moment, relative
  double *residual, *residual_rounding;  // (jobs * t,)
  double *total, *total_rounding;        // (groups, t)
  double* test_weight;                   // (groups,)

  static constexpr int kLanes = 16;  // that have a part of a vector's form
  static constexpr size_t kSharedBytes =
      (size_t{kRows} + kColumns) * kStride * sizeof(double) + kRows * sizeof(double);

  struct Sums {
    double x[2][2][4];  // 16 rows x 8 columns each
  };
  struct Operands {
    double left[2][4], right[2][2];
  };
  struct Forms {
    double x[2][2];
  };
  struct Two {
    alignas(16) double x[2];
  };
  struct Dots {
    double mean = 0, squares = 0, cross = 0, sizes = 0;
  };

  // Of a warp, which has 32 x 16 of 64 x 64 results.
  MANYFIT_DEVICE static int row_of(int thread) {
    return thread / kWarp / 4 * 32 + thread % kWarp / 4;
  }
  MANYFIT_DEVICE static int column_of(int thread) { return thread / kWarp % 4 * 16; }

  MANYFIT_DEVICE void operator()(Block& block) const {
    const Tile own = tiles[block.x()];
    double* const left = block.shared<double>();   // (kRows, kStride) coefficients
    double* const right = left + kRows * kStride;  // (kColumns, kStride) of the Gram
    double* const forms = right + kColumns * kStride;
    const double* const G = gram + own.group * d * d;
    PerThread<Forms> part(block);
    PerThread<Sums> sums(block);
    PerThread<Operands> operands(block);
    block.each_alone([&](int thread) { part[thread] = {}; });
    for (int64_t column = 0; column < d; column += kColumns) {
      block.each_alone([&](int thread) { sums[thread] = {}; });
      for (int64_t first = 0; first < column + kColumns && first < d; first += kDepth) {
        block.each([&](int thread) {
          if (first == column) twice(sums[thread]);
          load(own, G, column, first, left, right, thread);
        });
        multiply(block, left, right, operands, sums);
        block.each([](int) {});  // all have read
      }
      block.each_alone(
          [&](int thread) { add_forms(own, column, sums[thread], part[thread], thread); });
    }
    // The lanes' parts of each form, where the coefficients were.
    block.each([&](int thread) {
      MANYFIT_UNROLL
      for (int i = 0; i < 2; ++i) MANYFIT_UNROLL
      for (int h = 0; h < 2; ++h)
        left[(row_of(thread) + 16 * i + 8 * h) * (kLanes + 1) + thread / kWarp % 4 * 4 +
             thread % 4] = part[thread].x[i][h];
    });
    block.each([&](int thread) {
      if (thread >= kRows) return;
      double sum = 0;
      for (int i = 0; i < kLanes; ++i) sum += left[thread * (kLanes + 1) + i];
      forms[thread] = sum;
    });
    for_each_warp(block, [&](Warp warp) {
      for (int row = warp.index(); row < own.count; row += kThreads / kWarp)
        finish(warp, own.group, order[own.first + row], forms[row]);
    });
    if (own.leads != 0) block.each([&](int thread) { tell_targets(own.group, thread); });
  }

  // G is symmetric: what stands beside the diagonal's tiles counts twice.
  MANYFIT_DEVICE static void twice(Sums& sums) {
    MANYFIT_UNROLL
    for (int i = 0; i < 2; ++i) MANYFIT_UNROLL
    for (int j = 0; j < 2; ++j) MANYFIT_UNROLL
    for (int e = 0; e < 4; ++e) sums.x[i][j][e] *= 2;
  }

  MANYFIT_DEVICE void load(const Tile& own, const double* G, int64_t column, int64_t first,
                           double* left, double* right, int thread) const {
    const int lane = thread % kWarp;
    const bool inside = first + lane < d;
    MANYFIT_UNROLL
    for (int row = thread / kWarp; row < kRows; row += kThreads / kWarp)
      left[row * kStride + lane] =
          inside && row < own.count ? coef[order[own.first + row] * d + first + lane] : 0.0;
    MANYFIT_UNROLL
    for (int row = thread / kWarp; row < kColumns; row += kThreads / kWarp)
      right[row * kStride + lane] =
          inside && column + row < d ? G[(column + row) * d + first + lane] : 0.0;
  }

  MANYFIT_DEVICE void multiply(Block& block, const double* left, const double* right,
                               PerThread<Operands>& operands, PerThread<Sums>& sums) const {
    MANYFIT_UNROLL_BY(2)
    for (int s = 0; s < kDepth / 8; ++s) {
      block.each_alone([&](int thread) {
        // A lane takes two neighbours of the eight features: which ones go together is all the
        // same.
        const int at = thread % kWarp / 4 * kStride + s * 8 + thread % 4 * 2;
        const double* const row = left + thread / kWarp / 4 * 32 * kStride + at;
        const double* const column = right + column_of(thread) * kStride + at;
        Operands& own = operands[thread];
        MANYFIT_UNROLL
        for (int i = 0; i < 2; ++i) MANYFIT_UNROLL
        for (int h = 0; h < 2; ++h) {
          const Two both = *reinterpret_cast<const Two*>(row + (16 * i + 8 * h) * kStride);
          own.left[i][h] = both.x[0];
          own.left[i][2 + h] = both.x[1];
        }
        MANYFIT_UNROLL
        for (int j = 0; j < 2; ++j) {
          const Two both = *reinterpret_cast<const Two*>(column + 8 * j * kStride);
          own.right[j][0] = both.x[0];
          own.right[j][1] = both.x[1];
        }
      });
      MANYFIT_UNROLL
      for (int i = 0; i < 2; ++i) MANYFIT_UNROLL
      for (int j = 0; j < 2; ++j)
        block.multiply_add_16x8x8(
            [](int) { return true; }, [&](int thread) -> double* { return sums[thread].x[i][j]; },
            [&](int thread) -> const double* { return operands[thread].left[i]; },
            [&](int thread) -> const double* { return operands[thread].right[j]; });
    }
  }

  // The product's columns from `column` on, times the coefficients that belong to them.
  MANYFIT_DEVICE void add_forms(const Tile& own, int64_t column, const Sums& sums, Forms& part,
                                int thread) const {
    MANYFIT_UNROLL
    for (int i = 0; i < 2; ++i) MANYFIT_UNROLL
    for (int h = 0; h < 2; ++h) {
      const int row = row_of(thread) + 16 * i + 8 * h;
      if (row >= own.count) continue;
      const double* const c = coef + order[own.first + row] * d;
      MANYFIT_UNROLL
      for (int j = 0; j < 2; ++j) MANYFIT_UNROLL
      for (int e = 0; e < 2; ++e) {
        const int64_t place = column + column_of(thread) + 8 * j + thread % 4 * 2 + e;
        if (place < d) part.x[i][h] += sums.x[i][j][2 * h + e] * c[place];
      }
    }
  }

  // What one vector leaves, given its form.
  MANYFIT_DEVICE void finish(Warp warp, int64_t group, int64_t at, double form) const {
    const double* const c = coef + at * d;
    const int64_t k = at % t, target = group * t + k;
    PerThread<Dots> dots(warp);
    warp.lanes([&](int lane) {
      Dots own;
      for (int64_t j = lane; j < d; j += kWarp) {
        const double value = c[j], product = mean[group * d + j] * value;
        own.mean += product;
        own.squares += product * product;
        own.cross += cross[target * d + j] * value;
        own.sizes += shifted_squares[group * d + j] * (value * value);
      }
      dots[lane] = own;
    });
    const double mean_of = warp.sum([&](int lane) { return dots[lane].mean; });
    const double squares = warp.sum([&](int lane) { return dots[lane].squares; });
    const double crossed = warp.sum([&](int lane) { return dots[lane].cross; });
    const double own_sizes = warp.sum([&](int lane) { return dots[lane].sizes; });
    warp.lanes([&](int lane) {
      if (lane != 0) return;
      const double W = weight[group], constant = intercept[at];
      const double bias = target_mean[target] - mean_of - constant;
      const double spread = target_squares[target] - 2 * crossed + form;
      residual[at] = (spread < 0 ? 0 : spread) + W * bias * bias;
      const double sizes = target_sizes(group, k) + own_sizes;
      const double means = fabs(target_mean[target]) + fabs(constant) + sqrt(squares);
      const double slip = kRoundings * kEpsilon * means + rounding * sqrt(sizes / W);
      residual_rounding[at] = rounding * sizes + W * slip * (2 * fabs(bias) + slip);
    });
  }

  // About the shift, as their rounding is.
  MANYFIT_DEVICE double target_sizes(int64_t group, int64_t k) const {
    const double off = target_mean[group * t + k] - target_shift[k];
    return target_squares[group * t + k] + weight[group] * off * off;
  }

  MANYFIT_DEVICE void tell_targets(int64_t group, int thread) const {
    if (thread == 0) test_weight[group] = weight[group];
    for (int64_t k = thread; k < t; k += kThreads) {
      const double squares = target_squares[group * t + k];
      total[group * t + k] = squares < 0 ? 0 : squares;
      total_rounding[group * t + k] = rounding * target_sizes(group, k);
    }
  }
};

// Vectors by the split whose left-out rows they are tested on.
struct Group {
  int64_t split = 0;
  std::vector<int64_t> vectors;
};

}  // namespace

SquaredErrorsCuda squared_errors_cuda(const DeviceGram& gram, const DeviceFolds& folds,
                                      const std::vector<int64_t>& splits, const double* coef,
                                      const std::vector<double>& intercept,
                                      const Context& context) {
  Device& device = folds.device();
  const int64_t d = gram.n_features, t = gram.n_targets;
  const auto jobs = static_cast<int64_t>(splits.size());
  const int64_t vectors = jobs * t;
  SquaredErrorsCuda errors;
  if (vectors == 0) {
    errors.weight.assign(splits.size(), std::numeric_limits<double>::quiet_NaN());
    return errors;
  }
  std::map<int64_t, size_t> places;
  std::vector<Group> groups;
  std::vector<size_t> group_of;  // job
  for (int64_t b = 0; b < jobs; ++b) {
    const int64_t split = splits[static_cast<size_t>(b)];
    const auto [place, added] = places.try_emplace(split, groups.size());
    if (added) groups.push_back({split, {}});
    for (int64_t k = 0; k < t; ++k) groups[place->second].vectors.push_back(b * t + k);
    group_of.push_back(place->second);
  }
  std::vector<int64_t> order;
  for (const Group& group : groups)
    order.insert(order.end(), group.vectors.begin(), group.vectors.end());
  const DeviceBuffer<int64_t> by_group(device, order);
  const DeviceBuffer<double> constants(device, intercept);
  const DeviceBuffer<double> target_shift(
      device, std::vector<double>(gram.shift.begin() + d, gram.shift.end()));
  // All that is told, in one piece: it is fetched together.
  const auto n_groups = static_cast<int64_t>(groups.size());
  DeviceBuffer<double> answer(device, 2 * vectors + n_groups * (2 * t + 1));
  ErrorsKernel kernel;
  kernel.target_shift = target_shift.data();
  kernel.coef = coef;
  kernel.intercept = constants.data();
  kernel.order = by_group.data();
  kernel.d = d;
  kernel.t = t;
  kernel.rounding = kRoundings * gram.precision;
  kernel.residual = answer.data();
  kernel.residual_rounding = kernel.residual + vectors;

  const int64_t of_group = (d * d + (2 + t) * d + 2 * t + 1) * static_cast<int64_t>(sizeof(double));
  const int64_t most = std::min(kMostMemory, device.free_memory() / 2);
  const auto at_once = static_cast<size_t>(std::clamp<int64_t>(most / of_group, 1, 4096));
  const int64_t of_tile = kRows * d * (d + kColumns) / 2;
  const int64_t most_tiles =
      std::clamp<int64_t>(kLongest / of_tile, kBeside, 4096) * device.facts().multiprocessors;
  int64_t next = 0;  // place in the order
  for (size_t first = 0; first < groups.size(); first += at_once) {
    const size_t last = std::min(first + at_once, groups.size());
    std::vector<RowGroup> rows;
    std::vector<Tile> tiles;
    for (size_t g = first; g < last; ++g) {
      rows.push_back({groups[g].split, true, true});
      const auto size = static_cast<int64_t>(groups[g].vectors.size());
      for (int64_t begin = 0; begin < size; begin += kRows)
        tiles.push_back({static_cast<int64_t>(g - first), next + begin,
                         std::min<int64_t>(kRows, size - begin), begin == 0});
      next += size;
    }
    const DeviceMoments test = moments_cuda(gram, folds, rows);
    const DeviceBuffer<Tile> given(device, tiles);
    kernel.gram = test.gram.data();
    kernel.cross = test.cross.data();
    kernel.mean = test.mean.data();
    kernel.target_mean = test.target_mean.data();
    kernel.target_squares = test.target_squares.data();
    kernel.shifted_squares = test.shifted_squares.data();
    kernel.weight = test.weight.data();
    kernel.total = answer.data() + 2 * vectors + static_cast<int64_t>(first) * t;
    kernel.total_rounding = kernel.total + n_groups * t;
    kernel.test_weight =
        answer.data() + 2 * vectors + 2 * n_groups * t + static_cast<int64_t>(first);
    const auto n_tiles = static_cast<int64_t>(tiles.size());
    for (int64_t begin = 0; begin < n_tiles; begin += most_tiles) {
      kernel.tiles = given.data() + begin;
      device.launch({std::min(most_tiles, n_tiles - begin), 1, 1}, kThreads,
                    ErrorsKernel::kSharedBytes, kernel);
      if (begin + most_tiles < n_tiles || last < groups.size()) device.synchronize(context);
    }
  }
  const std::vector<double> numbers = answer.download(context);
  const auto rounding_begin = numbers.begin() + vectors, total_begin = rounding_begin + vectors;
  errors.residual.assign(numbers.begin(), rounding_begin);
  errors.residual_rounding.assign(rounding_begin, total_begin);
  for (const size_t group : group_of) {
    const auto total = total_begin + static_cast<int64_t>(group) * t;
    errors.total.insert(errors.total.end(), total, total + t);
    errors.total_rounding.insert(errors.total_rounding.end(), total + n_groups * t,
                                 total + n_groups * t + t);
    errors.weight.push_back(*(total_begin + 2 * n_groups * t + static_cast<int64_t>(group)));
  }
  return errors;
}

}  // namespace manyfit
