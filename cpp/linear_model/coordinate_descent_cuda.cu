#include <algorithm>
#include <cstring>
#include <map>
#include <tuple>
#include <utility>

#include "core/moments_cuda.h"
#include "linear_model/coordinate_descent_chain_cuda.h"
#include "linear_model/coordinate_descent_cuda.h"

namespace manyfit {
namespace {

constexpr int kThreads = 256;
constexpr int kMostWarps = 8;  // of a block

// A path of so many penalties times columns would keep one warp busy for some milliseconds: it is
// cut into chains of kChain penalties, of which the first begins at zero. Of 10 mixtures, 100
// penalties and 5 folds of 200 columns that makes 1000 chains, 8 on each of an H200's 132
// multiprocessors: for 10 to 20 % more sweeps in all, the longest has about 100 of them, at 10 us a
// sweep, where a whole path has 900. What is cut depends on the path alone, not on the device or on
// other paths.
constexpr int64_t kLongPath = 4096;
constexpr int64_t kChain = 5;

// Moves of a coordinate, of about 50 ns each, that a warp makes in one launch; from a Gram that
// does not fit into shared memory they take longer.
constexpr int64_t kBudget = 500'000, kBudgetOfPlain = 150'000;

// Of the device's memory, for what chains keep: more of them take turns.
constexpr int64_t kMostMemory = int64_t{1} << 29;

// One block for each group: takes the columns that do not vary out of its moments, and says whether
// the Gram tells the others (as GramColumns and told_by_gram do).
struct PrepareKernel {
  const double *gram, *cross, *shifted_squares;
  double *padded_gram, *padded_cross, *squares, *target_squares, *lost;
  int64_t* varying;
  int64_t d, t, width;
  double precision, limit;

  MANYFIT_DEVICE static bool finite(double value) { return value - value == 0; }

  MANYFIT_DEVICE void operator()(Block& block) const {
    constexpr double noise = 64;  // centring leaves so many roundings of a column's squares
    const int64_t group = block.x();
    const double* const G = gram + group * d * d;
    double* const own = squares + group * width;
    double* const bad = block.shared<double>();
    double* const count = bad + kThreads;
    block.each([&](int thread) {
      bad[thread] = count[thread] = 0;
      for (int64_t j = thread; j < width; j += kThreads) {
        double square = 0;
        if (j < d) {
          const double left = G[j * d + j], before = shifted_squares[group * d + j];
          if (!(left <= noise * precision * before)) square = left;
          if (!finite(left) || (square != 0 && left * limit < before)) bad[thread] = 1;
        }
        own[j] = square;
        if (square != 0) count[thread] += 1;
      }
    });
    block.each([&](int thread) {
      for (int64_t i = thread / kWarp; i < width; i += kThreads / kWarp)
        for (int64_t j = thread % kWarp; j < width; j += kWarp) {
          double value = 0;
          if (i < d && j < d) {
            value = G[i * d + j];
            if (!finite(value)) bad[thread] = 1;
            if (i == j || own[i] == 0 || own[j] == 0) value = 0;
          }
          padded_gram[(group * width + i) * width + j] = value;
        }
      for (int64_t place = thread; place < t * width; place += kThreads) {
        const int64_t k = place / width, j = place % width;
        double value = 0;
        if (j < d) {
          value = cross[(group * t + k) * d + j];
          if (!finite(value)) bad[thread] = 1;
          if (own[j] == 0) value = 0;
        }
        padded_cross[group * t * width + place] = value;
      }
      for (int64_t k = thread; k < t; k += kThreads) {
        double& square = target_squares[group * t + k];
        if (!finite(square)) bad[thread] = 1;
        square = larger_of(square, 0.0);
      }
    });
    block.each([&](int thread) {
      if (thread != 0) return;
      double any = 0, columns = 0;
      for (int i = 0; i < kThreads; ++i) {
        any += bad[i];
        columns += count[i];
      }
      lost[group] = any;
      varying[group] = columns > 0 ? static_cast<int64_t>(columns) : 1;
    });
  }
};

// Chains of one group, a warp for each.
struct ChainBlock {
  int64_t group, first, count;
};

template <int K, bool Shared>
struct DescentKernel {
  ChainData data;
  const ChainBlock* blocks;
  const Chain* chains;
  ChainState* states;
  double* memory;
  int64_t memory_size;  // of a chain
  int64_t budget;

  MANYFIT_DEVICE void operator()(Block& block) const {
    const ChainBlock own = blocks[block.x()];
    const double* const G = data.gram + own.group * data.width * data.width;
    if constexpr (Shared) {
      double* const tiles = block.shared<double>();
      block.each([&](int thread) {
        constexpr int n = K * (K + 1) / 2 * kTileSize;
        for (int place = thread; place < n; place += block.threads()) {
          const int tile = place / kTileSize, r = place / kWarp % kWarp, c = place % kWarp;
          int i = 0;
          while ((i + 1) * (i + 2) / 2 <= tile) ++i;
          const int row = i * kWarp + r, column = (tile - i * (i + 1) / 2) * kWarp + c;
          tiles[tile * kTileSize + TiledGram::within(r, c)] = G[row * K * kWarp + column];
        }
      });
      for_each_warp(block, [&](Warp warp) { walk(warp, TiledGram{tiles}, own); });
    } else {
      for_each_warp(block, [&](Warp warp) { walk(warp, PlainGram{G, K * kWarp}, own); });
    }
  }

  template <class Gram>
  MANYFIT_DEVICE void walk(Warp warp, const Gram& gram, const ChainBlock& own) const {
    if (warp.index() >= own.count) return;
    const int64_t chain = own.first + warp.index();
    if (states[chain].next == chains[chain].end) return;
    ChainWalk<K, Gram>(warp, gram, data, chains[chain], memory + chain * memory_size)
        .run(states + chain, budget);
  }
};

struct Shape {
  int64_t width;  // of columns and what fills them up to whole warps
  bool shared;
};

// The widths for which there are kernels.
Shape shape_of(int64_t d, const Device& device) {
  for (const int64_t k : {1, 2, 4, 7, 11, 16}) {
    const int64_t width = k * kWarp;
    if (width < d) continue;
    const bool fits =
        static_cast<int64_t>(TiledGram::bytes(width)) <= device.facts().shared_bytes && k <= 7;
    return {width, fits};
  }
  throw InvalidInput("coordinate descent on a device takes at most " +
                     std::to_string(kWidestDescentCuda) + " features, got " + std::to_string(d));
}

// launch(kernel) for the kernel of a shape.
template <class Launch>
void with_kernel(const Shape& shape, Launch&& launch) {
  const auto either = [&]<int K>(std::integral_constant<int, K>) {
    if (shape.shared)
      launch(DescentKernel<K, true>());
    else
      launch(DescentKernel<K, false>());
  };
  switch (shape.width / kWarp) {
    case 1:
      return either(std::integral_constant<int, 1>());
    case 2:
      return either(std::integral_constant<int, 2>());
    case 4:
      return either(std::integral_constant<int, 4>());
    case 7:
      return either(std::integral_constant<int, 7>());
    case 11:
      return launch(DescentKernel<11, false>());
    default:
      return launch(DescentKernel<16, false>());
  }
}

// As condition_limit() of spectrum.h, which needs Eigen.
double condition_limit(double precision) { return precision > 1e-12 ? 5e3 : 1e-9 / precision; }

class Population {
 public:
  Population(const DeviceGram& gram, const DeviceFolds& folds,
             const std::vector<DescentCudaJob>& jobs, const std::vector<double>& start,
             const Context& context)
      : gram_(gram),
        folds_(folds),
        context_(context),
        device_(folds.device()),
        shape_(shape_of(gram.n_features, device_)),
        rows_(static_cast<int64_t>(jobs.size()) * gram.n_targets),
        start_(device_, start) {
    gather(jobs, !start.empty());
    answer_ = DeviceBuffer<double>(
        device_, rows_ * (gram.n_features + 5) + static_cast<int64_t>(groups_.size()));
  }

  DescentCudaPopulation run() {
    const int64_t d = gram_.n_features, t = gram_.n_targets;
    for (size_t first = 0; first < groups_.size();) first = run_wave(first);
    DescentCudaPopulation result;
    const std::vector<double> rest = result.coef.take(std::move(answer_), rows_ * d, context_);
    auto next = rest.begin();
    for (std::vector<double>* values :
         {&result.intercept, &result.gap, &result.tolerance, &result.sweeps, &result.converged}) {
      values->assign(next, next + rows_);
      next += rows_;
    }
    result.reliable.assign(static_cast<size_t>(rows_ / t), 1);
    for (const Group& group : groups_)
      if (*next++ != 0)
        for (const auto& chain : group.chains)
          for (const int64_t b : chain) result.reliable[static_cast<size_t>(b)] = 0;
    return result;
  }

 private:
  struct Group {
    RowGroup of;
    std::vector<std::vector<int64_t>> chains;  // of jobs
  };

  void gather(const std::vector<DescentCudaJob>& jobs, bool started) {
    jobs_ = &jobs;
    std::map<std::pair<int64_t, bool>, size_t> places;
    std::vector<std::map<std::pair<double, bool>, std::vector<int64_t>>> paths;
    for (size_t b = 0; b < jobs.size(); ++b) {
      const DescentCudaJob& job = jobs[b];
      const auto [place, added] =
          places.try_emplace({job.split, job.fit_intercept}, groups_.size());
      if (added) {
        groups_.push_back({{job.split, job.fit_intercept}, {}});
        paths.emplace_back();
      }
      paths[place->second][{job.l1_ratio, job.positive}].push_back(static_cast<int64_t>(b));
    }
    for (size_t g = 0; g < groups_.size(); ++g)
      for (auto& [kind, path] : paths[g]) {
        std::stable_sort(path.begin(), path.end(), [&](int64_t a, int64_t b) {
          return jobs[static_cast<size_t>(a)].alpha > jobs[static_cast<size_t>(b)].alpha;
        });
        cut(path, started, groups_[g].chains);
      }
  }

  // Jobs that bring their own start need not follow each other.
  void cut(const std::vector<int64_t>& path, bool started,
           std::vector<std::vector<int64_t>>& chains) const {
    const auto size = static_cast<int64_t>(path.size());
    int64_t pieces = 1;
    if (started)
      pieces = size;
    else if (size * gram_.n_features >= kLongPath)
      pieces = std::max<int64_t>(1, size / kChain);
    for (int64_t i = 0; i < pieces; ++i)
      chains.emplace_back(path.begin() + size * i / pieces, path.begin() + size * (i + 1) / pieces);
  }

  // As many groups from `first` on as there is memory for, at least one; returns the next.
  size_t run_wave(size_t first) {
    const int64_t d = gram_.n_features, t = gram_.n_targets, width = shape_.width;
    const int64_t of_chain = ChainMemory::doubles(width) * static_cast<int64_t>(sizeof(double));
    const int64_t of_group =
        (d * d + (width + 2 + t) * width) * static_cast<int64_t>(sizeof(double));
    const int64_t most = std::min(kMostMemory, device_.free_memory() / 4);
    int64_t used = 0;
    size_t last = first;
    std::vector<RowGroup> groups;
    for (; last < groups_.size() && groups.size() < 4096; ++last) {
      const auto chains = static_cast<int64_t>(groups_[last].chains.size()) * t;
      used += of_group + chains * of_chain;
      if (last > first && used > most) break;
      groups.push_back(groups_[last].of);
    }
    DeviceMoments train = moments_cuda(gram_, folds_, groups);
    const auto n = static_cast<int64_t>(groups.size());
    DeviceBuffer<double> gram(device_, n * width * width), cross(device_, n * t * width),
        squares(device_, n * width);
    DeviceBuffer<int64_t> varying(device_, n);
    PrepareKernel prepare;
    prepare.gram = train.gram.data();
    prepare.target_squares = train.target_squares.data();
    prepare.cross = train.cross.data();
    prepare.shifted_squares = train.shifted_squares.data();
    prepare.squares = squares.data();
    prepare.padded_gram = gram.data();
    prepare.padded_cross = cross.data();
    prepare.lost = answer_.data() + rows_ * (d + 5) + static_cast<int64_t>(first);
    prepare.varying = varying.data();
    prepare.d = d;
    prepare.t = t;
    prepare.width = width;
    prepare.precision = gram_.precision;
    prepare.limit = condition_limit(gram_.precision);
    device_.launch({n, 1, 1}, kThreads, 2 * kThreads * sizeof(double), prepare);

    ChainData data;
    data.gram = gram.data();
    data.squares = squares.data();
    data.cross = cross.data();
    data.target_squares = train.target_squares.data();
    data.weight = train.weight.data();
    data.mean = train.mean.data();
    data.target_mean = train.target_mean.data();
    data.lost = prepare.lost;
    data.varying = varying.data();
    data.start = start_.data();
    data.coef = answer_.data();
    data.intercept = data.coef + rows_ * d;
    data.gap = data.intercept + rows_;
    data.tolerance = data.gap + rows_;
    data.sweeps = data.tolerance + rows_;
    data.converged = data.sweeps + rows_;
    data.d = d;
    data.t = t;
    data.width = width;
    data.precision = gram_.precision;
    walk(first, last, most / of_chain, data);
    return last;
  }

  // All chains of some groups, at most so many at a time.
  void walk(size_t first, size_t last, int64_t most_chains, ChainData& data) {
    const int64_t t = gram_.n_targets;
    int64_t total = 0;
    for (size_t g = first; g < last; ++g)
      total += static_cast<int64_t>(groups_[g].chains.size()) * t;
    const int64_t processors = device_.facts().multiprocessors;
    const int64_t warps = std::clamp<int64_t>((total + processors - 1) / processors, 1, kMostWarps);
    const size_t shared_bytes = shape_.shared ? TiledGram::bytes(shape_.width) : 0;
    // Blocks that run at once: by their shared memory, and by the registers, which suffice for
    // kMostWarps of 255. More would only make a launch longer.
    const int64_t beside = std::clamp<int64_t>(
        device_.facts().shared_bytes / static_cast<int64_t>(shared_bytes + 1024), 1,
        kMostWarps / warps);
    const int64_t most_blocks =
        std::max<int64_t>(1, std::min(processors * beside, most_chains / warps));

    std::vector<int32_t> centred;
    for (size_t g = first; g < last; ++g) centred.push_back(groups_[g].of.centred);
    const DeviceBuffer<int32_t> centring(device_, centred);
    data.centred = centring.data();
    Launch next;
    for (size_t g = first; g < last; ++g) {
      const auto& chains = groups_[g].chains;
      const auto count = static_cast<int64_t>(chains.size()) * t;
      const int64_t n_blocks = (count + warps - 1) / warps;
      // Small penalties, which come late in a path, are spread over the blocks.
      for (int64_t block = 0; block < n_blocks; ++block) {
        const auto begin = static_cast<int64_t>(next.chains.size());
        for (int64_t i = block; i < count; i += n_blocks)
          next.add(static_cast<int64_t>(g - first), i % t, chains[static_cast<size_t>(i / t)],
                   *jobs_, t);
        next.blocks.push_back({static_cast<int64_t>(g - first), begin,
                               static_cast<int64_t>(next.chains.size()) - begin});
        if (static_cast<int64_t>(next.blocks.size()) == most_blocks) {
          run(next, warps, shared_bytes, data);
          next = {};
        }
      }
    }
    if (!next.blocks.empty()) run(next, warps, shared_bytes, data);
  }

  struct Launch {
    std::vector<ChainBlock> blocks;
    std::vector<Chain> chains;
    std::vector<ChainJob> jobs;

    void add(int64_t group, int64_t target, const std::vector<int64_t>& members,
             const std::vector<DescentCudaJob>& all, int64_t targets) {
      const auto begin = static_cast<int64_t>(jobs.size());
      for (const int64_t b : members) {
        const DescentCudaJob& job = all[static_cast<size_t>(b)];
        jobs.push_back({job.alpha, job.l1_ratio, job.tol, job.max_iter, b * targets + target,
                        job.positive, job.exact});
      }
      chains.push_back({group, target, begin, static_cast<int64_t>(jobs.size())});
    }
  };

  void run(const Launch& launch, int64_t warps, size_t shared_bytes, ChainData& data) {
    const DeviceBuffer<ChainBlock> blocks(device_, launch.blocks);
    const DeviceBuffer<Chain> chains(device_, launch.chains);
    const DeviceBuffer<ChainJob> jobs(device_, launch.jobs);
    const auto count = static_cast<int64_t>(launch.chains.size());
    std::vector<ChainState> states(launch.chains.size());
    for (size_t c = 0; c < states.size(); ++c) {
      std::memset(static_cast<void*>(&states[c]), 0, sizeof(ChainState));
      states[c].next = launch.chains[c].begin;
    }
    DeviceBuffer<ChainState> place(device_, states);
    const int64_t size = ChainMemory::doubles(shape_.width);
    DeviceBuffer<double> memory(device_, count * size);
    memory.zero();
    data.jobs = jobs.data();
    with_kernel(shape_, [&](auto kernel) {
      kernel.data = data;
      kernel.blocks = blocks.data();
      kernel.chains = chains.data();
      kernel.states = place.data();
      kernel.memory = memory.data();
      kernel.memory_size = size;
      kernel.budget = shape_.shared ? kBudget : kBudgetOfPlain;
      for (bool going = true; going;) {
        device_.launch({static_cast<int64_t>(launch.blocks.size()), 1, 1},
                       static_cast<int>(warps) * kWarp, shared_bytes, kernel);
        states = place.download(context_);
        going = false;
        for (size_t c = 0; c < states.size(); ++c)
          going = going || states[c].next != launch.chains[c].end;
      }
    });
  }

  const DeviceGram& gram_;
  const DeviceFolds& folds_;
  const Context& context_;
  Device& device_;
  const Shape shape_;
  const int64_t rows_;  // jobs * targets
  const std::vector<DescentCudaJob>* jobs_ = nullptr;
  std::vector<Group> groups_;
  DeviceBuffer<double> start_, answer_;
};

}  // namespace

DescentCudaPopulation coordinate_descent_cuda(const DeviceGram& gram, const DeviceFolds& folds,
                                              const std::vector<DescentCudaJob>& jobs,
                                              const std::vector<double>& start,
                                              const Context& context) {
  if (jobs.empty() || gram.n_targets == 0)
    return {{}, {}, std::vector<uint8_t>(jobs.size(), 1), {}, {}, {}, {}};
  return Population(gram, folds, jobs, start, context).run();
}

}  // namespace manyfit
