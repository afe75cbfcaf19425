#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "core/moments_cuda.h"
#include "linear_model/ridge_cuda.h"

namespace manyfit {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarp;
constexpr int64_t kLongest = 4096;  // blocks of a launch, so that Ctrl-C is answered between them

// Packed lower triangles: entry (i, j), j <= i.
MANYFIT_HOST_DEVICE int64_t packed(int64_t i, int64_t j) { return i * (i + 1) / 2 + j; }

// One system (G + alpha) c = cross of one job, for those of its targets that have this penalty.
struct System {
  int64_t job, group;
  double alpha;
  int32_t centred;
};

// One block for each system, in shared memory: Cholesky of the matrix scaled to unit diagonal
// (d barriers of two, (d - k)^2 / 2 updates each), the inverse of its factor with a column for each
// thread (d^2 / 2 dependent updates), and with it solutions by two products and one refinement. The
// inverse also tells the condition: |A^-1| <= trace(A^-1) = |L^-1|_F^2, or exactly where this bound
// leaves doubt. For d = 100 about 60 thousand cycles each, two blocks of 84 KB on a multiprocessor
// at a time.
struct RidgeKernel {
  const double* gram;             // (groups, d, d)
  const double* cross;            // (groups, t, d)
  const double* mean;             // (groups, d)
  const double* target_mean;      // (groups, t)
  const double* shifted_squares;  // (groups, d)
  const System* systems;
  const double* alpha;  // (jobs, t)
  int64_t d, t;
  double limit;       // of the condition
  double* coef;       // (jobs, t, d)
  double* intercept;  // (jobs, t)
  double* lost;       // (systems) over 1 where the answer is not to be trusted

  static size_t shared_bytes(int64_t d) {
    return static_cast<size_t>(2 * packed(d, 0) + 4 * d + kThreads + 2) * sizeof(double);
  }

  MANYFIT_DEVICE void operator()(Block& block) const {
    const System system = systems[block.x()];
    double* const L = block.shared<double>();
    double* const inverse = L + packed(d, 0);
    double* const scale = inverse + packed(d, 0);
    double* const right = scale + d;
    double* const half = right + d;
    double* const solution = half + d;
    double* const sums = solution + d;
    double* const verdict = sums + kThreads;
    const double* const G = gram + system.group * d * d;
    const auto diagonal = [&](int64_t i) { return G[i * d + i] + system.alpha; };

    // Powers of two: scaling by them is exact.
    block.each([&](int thread) {
      if (thread == 0) *verdict = 0;
      for (int64_t i = thread; i < d; i += kThreads) {
        const double value = diagonal(i);
        const bool usable = value > 0 && value <= 1.7976931348623157e308;
        scale[i] = usable ? exp2(-round(log2(value) / 2)) : 0.0;
      }
    });
    block.each([&](int thread) {
      bool bad = false;
      for (int64_t i = thread; i < d; i += kThreads) {
        const double squares = shifted_squares[system.group * d + i];
        bad = bad || scale[i] == 0 || !(squares + system.alpha <= limit * diagonal(i));
      }
      sums[thread] = bad ? 1 : 0;
      for (int64_t i = thread / kWarp; i < d; i += kWarps)
        for (int64_t j = thread % kWarp; j <= i; j += kWarp) {
          const double value = i == j ? diagonal(i) : G[i * d + j];
          L[packed(i, j)] = value * scale[i] * scale[j];
        }
    });
    const double norm = rows_norm(block, L, sums, verdict);
    factor(block, L, verdict);
    invert(block, L, inverse);
    // Not a number counts as lost.
    bool kept = norm * trace(block, inverse, sums) <= limit;
    if (!kept) kept = norm * inverse_norm(block, inverse, sums) <= limit;
    block.each([&](int thread) {
      if (thread == 0) lost[block.x()] = *verdict == 0 && kept ? 0 : 1;
    });
    for (int64_t k = 0; k < t; ++k) {
      if (alpha[system.job * t + k] != system.alpha) continue;
      const double* const b = cross + (system.group * t + k) * d;
      block.each([&](int thread) {
        for (int64_t i = thread; i < d; i += kThreads) {
          right[i] = b[i] * scale[i];
          solution[i] = 0;
        }
      });
      for (int step = 0; step < 2; ++step) {
        if (step == 1) residual(block, system, b, scale, solution, right);
        multiply(block, inverse, scale, right, half, solution);
      }
      block.each([&](int thread) {
        double sum = 0;
        for (int64_t i = thread; i < d; i += kThreads) {
          coef[(system.job * t + k) * d + i] = solution[i];
          sum += mean[system.group * d + i] * solution[i];
        }
        sums[thread] = sum;
      });
      block.each([&](int thread) {
        if (thread != 0) return;
        double sum = 0;
        for (int i = 0; i < kThreads; ++i) sum += sums[i];
        intercept[system.job * t + k] =
            system.centred ? target_mean[system.group * t + k] - sum : 0.0;
      });
    }
  }

  // The largest sum of sizes in a row of the scaled matrix; also gathers the threads' verdicts.
  MANYFIT_DEVICE double rows_norm(Block& block, const double* L, double* sums,
                                  double* verdict) const {
    block.each([&](int thread) {
      if (thread == 0)
        for (int i = 0; i < kThreads; ++i)
          if (sums[i] != 0) *verdict = 1;
    });
    block.each([&](int thread) {
      double largest = 0;
      for (int64_t i = thread; i < d; i += kThreads) {
        double sum = 0;
        for (int64_t j = 0; j < d; ++j) sum += fabs(L[j <= i ? packed(i, j) : packed(j, i)]);
        largest = sum > largest ? sum : largest;
      }
      sums[thread] = largest;
    });
    return largest_of(block, sums);
  }

  // What all threads then know.
  MANYFIT_DEVICE double largest_of(Block& block, const double* sums) const {
    PerThread<double> all(block);
    block.each([&](int thread) {
      double largest = 0;
      for (int i = 0; i < kThreads; ++i)
        largest = sums[i] > largest || sums[i] != sums[i] ? sums[i] : largest;
      all[thread] = largest;
    });
    return all[0];
  }

  // A bound of |A^-1| that costs nothing: sum of its eigenvalues.
  MANYFIT_DEVICE double trace(Block& block, const double* inverse, double* sums) const {
    block.each([&](int thread) {
      double sum = 0;
      for (int64_t i = thread; i < packed(d, 0); i += kThreads) sum += inverse[i] * inverse[i];
      sums[thread] = sum;
    });
    PerThread<double> all(block);
    block.each([&](int thread) {
      double sum = 0;
      for (int i = 0; i < kThreads; ++i) sum += sums[i];
      all[thread] = sum;
    });
    return all[0];
  }

  // |A^-1|, the largest sum of sizes in a column, for d^3 / 3 multiply-adds.
  MANYFIT_DEVICE double inverse_norm(Block& block, const double* inverse, double* sums) const {
    block.each([&](int thread) {
      double largest = 0;
      for (int64_t i = thread; i < d; i += kThreads) {
        double size = 0;
        for (int64_t j = 0; j < d; ++j) {
          double sum = 0;
          for (int64_t k = i > j ? i : j; k < d; ++k)
            sum += inverse[packed(k, i)] * inverse[packed(k, j)];
          size += fabs(sum);
        }
        largest = size > largest || size != size ? size : largest;
      }
      sums[thread] = largest;
    });
    return largest_of(block, sums);
  }

  // L L' = A in A's place, columns from left to right.
  MANYFIT_DEVICE void factor(Block& block, double* L, double* verdict) const {
    for (int64_t k = 0; k < d; ++k) {
      PerThread<double> pivot(block);
      block.each([&](int thread) { pivot[thread] = L[packed(k, k)]; });
      block.each([&](int thread) {
        const double root = sqrt(pivot[thread]);
        if (thread == 0) {
          if (!(pivot[thread] > 0)) *verdict = 1;
          L[packed(k, k)] = root;
        }
        for (int64_t i = k + 1 + thread; i < d; i += kThreads) L[packed(i, k)] /= root;
      });
      block.each([&](int thread) {
        for (int64_t i = k + 1 + thread / kWarp; i < d; i += kWarps) {
          const double left = L[packed(i, k)];
          for (int64_t j = k + 1 + thread % kWarp; j <= i; j += kWarp)
            L[packed(i, j)] -= left * L[packed(j, k)];
        }
      });
    }
  }

  // Column j of L^-1 by the thread of that column.
  MANYFIT_DEVICE void invert(Block& block, const double* L, double* inverse) const {
    block.each([&](int thread) {
      for (int64_t j = thread; j < d; j += kThreads) {
        inverse[packed(j, j)] = 1 / L[packed(j, j)];
        for (int64_t i = j + 1; i < d; ++i) {
          double sum = 0;
          for (int64_t k = j; k < i; ++k) sum += L[packed(i, k)] * inverse[packed(k, j)];
          inverse[packed(i, j)] = -sum / L[packed(i, i)];
        }
      }
    });
  }

  // solution += scale L^-T L^-1 right.
  MANYFIT_DEVICE void multiply(Block& block, const double* inverse, const double* scale,
                               const double* right, double* half, double* solution) const {
    block.each([&](int thread) {
      for (int64_t i = thread; i < d; i += kThreads) {
        double sum = 0;
        for (int64_t j = 0; j <= i; ++j) sum += inverse[packed(i, j)] * right[j];
        half[i] = sum;
      }
    });
    block.each([&](int thread) {
      for (int64_t j = thread; j < d; j += kThreads) {
        double sum = 0;
        for (int64_t i = j; i < d; ++i) sum += inverse[packed(i, j)] * half[i];
        solution[j] += sum * scale[j];
      }
    });
  }

  // right = scale (b - (G + alpha) solution).
  MANYFIT_DEVICE void residual(Block& block, const System& system, const double* b,
                               const double* scale, const double* solution, double* right) const {
    const double* const G = gram + system.group * d * d;
    block.each([&](int thread) {
      for (int64_t i = thread; i < d; i += kThreads) {
        double sum = b[i] - system.alpha * solution[i];
        for (int64_t j = 0; j < d; ++j) sum -= G[j * d + i] * solution[j];  // symmetric
        right[i] = sum * scale[i];
      }
    });
  }
};

// As condition_limit() of spectrum.h, which needs Eigen.
double condition_limit(double precision) { return precision > 1e-12 ? 5e3 : 1e-9 / precision; }

}  // namespace

int64_t widest_ridge_cuda(const Device& device) {
  int64_t d = 0;
  while (static_cast<int64_t>(RidgeKernel::shared_bytes(d + 1)) <= device.facts().shared_bytes) ++d;
  return d;
}

RidgeCudaPopulation ridge_cuda(const DeviceGram& gram, const DeviceFolds& folds,
                               const std::vector<int64_t>& splits,
                               const std::vector<uint8_t>& fit_intercept,
                               const std::vector<double>& alpha, const Context& context) {
  Device& device = folds.device();
  const int64_t d = gram.n_features, t = gram.n_targets;
  const auto jobs = static_cast<int64_t>(splits.size());
  if (d > widest_ridge_cuda(device))
    throw InvalidInput("ridge_cuda takes at most " + std::to_string(widest_ridge_cuda(device)) +
                       " features on this device, got " + std::to_string(d));
  std::vector<RowGroup> groups;
  std::map<std::pair<int64_t, bool>, int64_t> places;
  std::vector<System> systems;
  for (int64_t b = 0; b < jobs; ++b) {
    const auto at = static_cast<size_t>(b);
    const bool centred = fit_intercept[at] != 0;
    const auto [place, added] =
        places.try_emplace({splits[at], centred}, static_cast<int64_t>(groups.size()));
    if (added) groups.push_back({splits[at], centred});
    std::vector<double> penalties(alpha.begin() + b * t, alpha.begin() + (b + 1) * t);
    std::sort(penalties.begin(), penalties.end());
    penalties.erase(std::unique(penalties.begin(), penalties.end()), penalties.end());
    for (const double penalty : penalties) systems.push_back({b, place->second, penalty, centred});
  }
  const DeviceMoments train = moments_cuda(gram, folds, groups);
  const DeviceBuffer<System> given(device, systems);
  const DeviceBuffer<double> penalties(device, alpha);
  const auto n_systems = static_cast<int64_t>(systems.size());
  // Coefficients, intercepts and verdicts in one piece: what is fetched comes together.
  DeviceBuffer<double> answer(device, jobs * t * (d + 1) + n_systems);
  RidgeKernel kernel;
  kernel.gram = train.gram.data();
  kernel.cross = train.cross.data();
  kernel.mean = train.mean.data();
  kernel.target_mean = train.target_mean.data();
  kernel.shifted_squares = train.shifted_squares.data();
  kernel.alpha = penalties.data();
  kernel.d = d;
  kernel.t = t;
  kernel.limit = condition_limit(gram.precision);
  kernel.coef = answer.data();
  kernel.intercept = answer.data() + jobs * t * d;
  for (int64_t first = 0; first < n_systems; first += kLongest) {
    kernel.systems = given.data() + first;
    kernel.lost = answer.data() + jobs * t * (d + 1) + first;
    device.launch({std::min(kLongest, n_systems - first), 1, 1}, kThreads,
                  RidgeKernel::shared_bytes(d), kernel);
    if (first + kLongest < n_systems) device.synchronize(context);
  }
  RidgeCudaPopulation result;
  const std::vector<double> rest = result.coef.take(std::move(answer), jobs * t * d, context);
  const auto intercept_end = rest.begin() + jobs * t;
  result.intercept.assign(rest.begin(), intercept_end);
  result.reliable.assign(static_cast<size_t>(jobs), 1);
  for (int64_t s = 0; s < n_systems; ++s)
    if (*(intercept_end + s) != 0)
      result.reliable[static_cast<size_t>(systems[static_cast<size_t>(s)].job)] = 0;
  return result;
}

}  // namespace manyfit
