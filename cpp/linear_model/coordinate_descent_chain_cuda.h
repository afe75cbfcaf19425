// A chain of jobs, walked by one warp as WorkingSetPath::solve() does with all columns in the
// working set: the same sweeps, gaps and Newton steps in the same order.
//
// Lanes hold the columns' coefficients and v_i = g_i + |z_i|^2 c_i in registers: what column i
// pulls at, whatever its own coefficient is, so that only the moves of others change it. A sweep
// asks by ballot for the next column that would move, takes its step from its lane and updates v by
// its column of the Gram: a chain of about 90 cycles for each column that moves, and nothing for
// one that does not. With the Gram in shared memory that is 50 ns a move, 10 us for a sweep of 200
// columns that all move; a multiprocessor serves about 8 warps before their reads of shared memory
// (2 x 128 bytes for each 32 columns and move) get in each other's way.
//
// A chain goes on from where the launch before left it: everything but v, which is made anew, lies
// in its memory.
#pragma once

#include <cmath>
#include <cstdint>

#include "core/warp.h"
#include "linear_model/coordinate_descent_step_cuda.h"

namespace manyfit {

struct ChainJob {
  double alpha, l1_ratio, tol;
  int64_t max_iter;
  int64_t row;  // of the answer: job * targets + target
  int32_t positive, exact;
};

struct Chain {
  int64_t group, target;
  int64_t begin, end;  // of its jobs
};

// What of a group's moments the chains need, constant columns taken out.
struct ChainData {
  const double* gram;            // (groups, width, width), zero on the diagonal
  const double* squares;         // (groups, width) its diagonal, then zeros
  const double* cross;           // (groups, t, width)
  const double* target_squares;  // (groups, t)
  const double* weight;          // (groups)
  const double* mean;            // (groups, d)
  const double* target_mean;     // (groups, t)
  const int32_t* centred;        // (groups)
  const double* lost;            // (groups) not zero where the Gram cannot tell
  const int64_t* varying;        // (groups) columns that vary
  const ChainJob* jobs;
  const double* start;                                              // (rows, d) or null
  double *coef, *intercept, *gap, *tolerance, *sweeps, *converged;  // by rows
  int64_t d, t, width;
  double precision;
};

enum class ChainPhase : int32_t {
  begin,
  extrapolated,
  ready,
  descend,
  descended,
  newton,
  stepped,
  polish_sweep,
  polished,
};

struct ChainState {
  int64_t next;  // job
  int64_t sweeps, since;
  double gap, least, wanted, objective;
  double alpha, alpha_before;  // of the coefficients and of those before, where solutions; else 0
  ChainPhase phase;
  NewtonTaken taken, polish_taken;
  int32_t first, converged, polishing, refining, polish_steps, polished;
};

// What a chain keeps in memory, vectors of `width` numbers: coefficients now, before a trial and at
// the end of the job before, and what a Newton step needs.
struct ChainMemory {
  double* base;
  int64_t width;

  static int64_t doubles(int64_t width) { return 3 * width + NewtonMemory::doubles(width); }
  MANYFIT_DEVICE double* coef() const { return base; }
  MANYFIT_DEVICE double* kept() const { return base + width; }
  MANYFIT_DEVICE double* path() const { return base + 2 * width; }
  MANYFIT_DEVICE double* newton() const { return base + 3 * width; }
  // The first three there.
  MANYFIT_DEVICE double* before() const { return newton(); }
  MANYFIT_DEVICE double* slope() const { return newton() + width; }
  MANYFIT_DEVICE double* after() const { return newton() + 2 * width; }
};

// The Gram in shared memory: the lower triangle in tiles of 32 x 32, columns one after another and
// turned so that neither a column nor a row of a tile meets a bank twice.
struct TiledGram {
  const double* tiles;

  MANYFIT_HOST_DEVICE static int tile(int i, int j) { return (i * (i + 1) / 2 + j) * kTileSize; }
  MANYFIT_HOST_DEVICE static int within(int row, int column) {
    return column * kWarp + (row + column) % kWarp;
  }
  static size_t bytes(int64_t width) {
    const int64_t n = width / kWarp;
    return static_cast<size_t>(n * (n + 1) / 2 * kTileSize) * sizeof(double);
  }

  MANYFIT_DEVICE double entry(int i, int j) const {
    const int a = i > j ? i : j, b = i > j ? j : i;
    return tiles[tile(a / kWarp, b / kWarp) + within(a % kWarp, b % kWarp)];
  }
  // Of column 32 k + source, the entry of row 32 i + lane.
  MANYFIT_DEVICE double column(int i, int lane, int k, int source) const {
    return i >= k ? tiles[tile(i, k) + within(lane, source)]
                  : tiles[tile(k, i) + within(source, lane)];
  }
};

// The Gram as it lies in the device's memory.
struct PlainGram {
  const double* rows;
  int width;

  MANYFIT_DEVICE double entry(int i, int j) const { return rows[j * width + i]; }
  MANYFIT_DEVICE double column(int i, int lane, int k, int source) const {
    return rows[(k * kWarp + source) * width + lane + i * kWarp];
  }
};

template <int K, class Gram>
class ChainWalk {
 public:
  MANYFIT_DEVICE ChainWalk(Warp warp, const Gram& gram, const ChainData& data, const Chain& chain,
                           double* memory)
      : warp_(warp),
        gram_(gram),
        data_(data),
        chain_(chain),
        m_{memory, data.width},
        squares_(data.squares + chain.group * data.width),
        cross_(data.cross + (chain.group * data.t + chain.target) * data.width),
        square_(data.target_squares[chain.group * data.t + chain.target]),
        w_(warp),
        v_(warp),
        inverse_(warp) {}

  // Goes on for about so many moves of a coordinate.
  MANYFIT_DEVICE void run(ChainState* place, int64_t budget) {
    if (data_.lost[chain_.group] != 0) {
      for (int64_t job = chain_.begin; job < chain_.end; ++job) abandon(data_.jobs[job].row);
      warp_.each([&](int lane) {
        if (lane == 0) place->next = chain_.end;
      });
      return;
    }
    // At a Newton step all lies in memory: it needs the registers.
    for (int64_t spent = 0; walk(place, budget, spent); spent += newton(place)) continue;
  }

 private:
  // As in working_set_path.cpp and coordinate_descent_path.cpp.
  static constexpr int kPatience = 8, kPolishes = 3, kPolishSteps = 60, kStepShare = 12;
  static constexpr double kFurthest = 2, kInner = 0.1, kRounding = 1e-26;

  struct Sums {
    double along_target, along_gradient, squares, norm;
    double pull;       // the largest that l1 must hold
    double steepness;  // squared gradient, where nothing holds it
  };

  // To the end or the next Newton step; whether that is to be taken.
  MANYFIT_DEVICE bool walk(ChainState* place, int64_t budget, int64_t& spent) {
    ChainState state = *place;
    warp_.lanes([&](int lane) {
      MANYFIT_UNROLL
      for (int k = 0; k < K; ++k) w_[lane].at[k] = m_.coef()[k * kWarp + lane];
    });
    bool stale = true;  // v_ is to be made anew
    bool step = false;
    if (state.next < chain_.end && state.phase != ChainPhase::begin) penalties(state.next);
    // The sweep, the sums and so on stand here once each: registers and code are scarce.
    while (state.next < chain_.end && spent < budget && !step) {
      if (stale) {
        spent += refresh();
        stale = false;
      }
      const ChainJob job = data_.jobs[state.next];
      const double tolerance = job.tol * square_;
      const double floor = larger_of(tolerance, 100 * data_.precision * square_);
      double moved = 0;
      if (state.phase == ChainPhase::descend && state.sweeps >= job.max_iter) {
        stale = true;
        state.phase = ChainPhase::descended;
        continue;
      }
      if (state.phase == ChainPhase::descend || state.phase == ChainPhase::polish_sweep)
        moved = sweep(spent);
      const Sums now = sums();
      spent += K + 4;
      bool back = false;  // to the coefficients before a trial
      enum { stay, decide, go_on, done } then = stay;
      switch (state.phase) {
        case ChainPhase::begin:
          state.sweeps = 0;
          state.converged = state.polished = 0;
          penalties(state.next);
          stale = begin(job, now, state);
          break;

        case ChainPhase::extrapolated:
          state.phase = ChainPhase::ready;
          back = !(objective(now) < state.objective);
          break;

        case ChainPhase::ready:
          state.gap = full_gap(now);
          state.first = 1;
          state.least = l1_ > 0 ? kInner * tolerance
                                : (job.tol * job.tol < 1e-6 ? job.tol * job.tol : 1e-6) * square_;
          then = decide;
          if (square_ == 0 && now.norm == 0) {
            state.converged = 1;
            then = done;
          }
          break;

        case ChainPhase::descend:
          ++state.sweeps;
          if (moved <= kRounding * square_ ||
              (l1_ > 0 ? working_gap(now) : moved) <= state.wanted) {
            stale = true;
            state.phase = ChainPhase::descended;
          } else if (++state.since >= kPatience && state.since >= sweeps_per_step()) {
            state.polishing = 0;
            state.phase = ChainPhase::newton;
          }
          break;

        case ChainPhase::descended:
          state.gap = full_gap(now);
          state.first = 0;
          then = decide;
          break;

        case ChainPhase::newton:
          state.objective = objective(now);
          ask_newton();
          step = true;
          break;

        case ChainPhase::stepped:
          if (state.taken == NewtonTaken::part && !(objective(now) < state.objective)) {
            back = true;
            state.taken = NewtonTaken::none;
          }
          state.since = 0;
          if (!state.polishing) {
            state.phase = ChainPhase::descend;
          } else if (state.refining) {
            state.phase = ChainPhase::polish_sweep;
          } else {
            state.polish_taken = state.taken;
            state.refining = state.taken == NewtonTaken::whole;  // what rounding left
            state.phase = state.refining ? ChainPhase::newton : ChainPhase::polish_sweep;
          }
          break;

        case ChainPhase::polish_sweep:
          state.refining = 0;
          if ((moved <= kRounding * square_ && state.polish_taken != NewtonTaken::part) ||
              ++state.polish_steps == kPolishSteps) {
            stale = true;
            state.phase = ChainPhase::polished;
          } else {
            state.phase = ChainPhase::newton;
          }
          break;

        case ChainPhase::polished:
          state.gap = full_gap(now);
          state.converged = state.gap <= floor;
          then = state.converged || ++state.polished == kPolishes ? done : go_on;
          break;
      }
      if (back) stale = restore();
      if (then == decide) {
        then = go_on;
        if (state.gap <= tolerance) {
          state.converged = 1;
          if (job.exact) {
            state.polishing = 1;
            state.refining = state.polish_steps = 0;
            state.phase = ChainPhase::newton;
            then = stay;
          } else if (!state.first) {  // a sweep at least, for a path to move
            then = done;
          }
        }
      }
      if (then == go_on) {
        const bool settled = !state.first && state.least <= kRounding * square_;
        if (state.sweeps < job.max_iter && settled) state.converged = state.gap <= floor;
        if (state.sweeps >= job.max_iter || settled) then = done;
        if (!state.first) state.least *= 1e-2;
        state.wanted = state.least;
        state.since = 0;
        state.phase = ChainPhase::descend;
      }
      if (then == done) finish(job, tolerance, state);
    }
    warp_.each([&](int lane) {
      MANYFIT_UNROLL
      for (int k = 0; k < K; ++k) m_.coef()[k * kWarp + lane] = w_[lane].at[k];
      if (lane == 0) *place = state;
    });
    return step;
  }

  MANYFIT_DEVICE void penalties(int64_t next) {
    const ChainJob& job = data_.jobs[next];
    const double scale = job.alpha * data_.weight[chain_.group];
    l1_ = scale * job.l1_ratio;
    l2_ = scale * (1 - job.l1_ratio);
    positive_ = job.positive != 0;
    warp_.lanes([&](int lane) {
      MANYFIT_UNROLL
      for (int k = 0; k < K; ++k) {
        const double square = squares_[k * kWarp + lane];
        inverse_[lane].at[k] = square > 0 ? 1 / (square + l2_) : 0.0;
      }
    });
  }

  // Where the job starts; whether the coefficients changed.
  MANYFIT_DEVICE bool begin(const ChainJob& job, const Sums& now, ChainState& state) {
    const bool given = data_.start != nullptr;
    if (given) {
      state.alpha = 0;
      const double* const start = data_.start + job.row * data_.d;
      warp_.lanes([&](int lane) {
        MANYFIT_UNROLL
        for (int k = 0; k < K; ++k) {
          const int j = k * kWarp + lane;
          w_[lane].at[k] = squares_[j] > 0 ? start[j] : 0.0;
        }
      });
    }
    // Where the line through the last two solutions leads: between two changes of its support the
    // lasso's path is straight.
    const double ratio = (state.alpha - job.alpha) / (state.alpha_before - state.alpha);
    const bool straight =
        state.alpha_before > state.alpha && state.alpha > job.alpha && ratio <= kFurthest;
    if (straight) state.objective = objective(now);
    warp_.each([&](int lane) {
      MANYFIT_UNROLL
      for (int k = 0; k < K; ++k) {
        const int j = k * kWarp + lane;
        const double old = w_[lane].at[k];
        if (straight) {
          const double trial = old + ratio * (old - m_.path()[j]);
          m_.kept()[j] = old;
          w_[lane].at[k] = trial * old > 0 ? trial : 0.0;
        }
        m_.path()[j] = old;
      }
    });
    state.alpha_before = state.alpha;
    state.alpha = job.alpha;
    state.phase = straight ? ChainPhase::extrapolated : ChainPhase::ready;
    return given || straight;
  }

  MANYFIT_DEVICE bool restore() {
    warp_.lanes([&](int lane) {
      MANYFIT_UNROLL
      for (int k = 0; k < K; ++k) w_[lane].at[k] = m_.kept()[k * kWarp + lane];
    });
    return true;
  }

  // v = q - G c, from which c's own part is left out; returns about how many moves that costs.
  MANYFIT_DEVICE int refresh() {
    warp_.lanes([&](int lane) {
      MANYFIT_UNROLL
      for (int k = 0; k < K; ++k) v_[lane].at[k] = cross_[k * kWarp + lane];
    });
    int members = 0;
    MANYFIT_UNROLL
    for (int k = 0; k < K; ++k) {
      uint32_t left = warp_.ballot([&](int lane) { return w_[lane].at[k] != 0; });
      members += Warp::count(left);
      while (left != 0) {
        const int source = Warp::lowest(left);
        left &= left - 1;
        move(k, source, warp_.from(source, [&](int lane) { return w_[lane].at[k]; }));
      }
    }
    return members / 2 + 2;
  }

  MANYFIT_DEVICE void move(int k, int source, double step) {
    warp_.lanes([&](int lane) {
      MANYFIT_UNROLL
      for (int i = 0; i < K; ++i) v_[lane].at[i] -= step * gram_.column(i, lane, k, source);
    });
  }

  // One update of each coefficient; returns the largest squared change of the fit.
  MANYFIT_DEVICE double sweep(int64_t& spent) {
    PerThread<double> moved(warp_), before(warp_);
    warp_.lanes([&](int lane) { moved[lane] = 0; });
    const double low = positive_ ? -1.7976931348623157e308 : -l1_;
    MANYFIT_UNROLL
    for (int k = 0; k < K; ++k) {
      const auto minimum = [&](int lane) {
        const double v = v_[lane].at[k];
        return (v > l1_ ? v - l1_ : (v < low ? v - low : 0.0)) * inverse_[lane].at[k];
      };
      warp_.lanes([&](int lane) { before[lane] = w_[lane].at[k]; });
      uint32_t later = 0xffffffffu;
      for (;;) {
        const uint32_t movers =
            later & warp_.ballot([&](int lane) { return minimum(lane) != w_[lane].at[k]; });
        if (movers == 0) break;
        const int source = Warp::lowest(movers);
        later = ~uint32_t{1} << source;
        const double step =
            warp_.from(source, [&](int lane) { return minimum(lane) - w_[lane].at[k]; });
        warp_.lanes([&](int lane) {
          if (lane == source) w_[lane].at[k] = minimum(lane);
        });
        move(k, source, step);
        ++spent;
      }
      warp_.lanes([&](int lane) {
        const double change = w_[lane].at[k] - before[lane];
        moved[lane] = larger_of(change * change * (squares_[k * kWarp + lane] + l2_), moved[lane]);
      });
    }
    spent += K;
    return warp_.largest([&](int lane) { return moved[lane]; });
  }

  MANYFIT_DEVICE int64_t sweeps_per_step() const {
    int64_t support = 0;
    MANYFIT_UNROLL
    for (int k = 0; k < K; ++k)
      support += Warp::count(warp_.ballot([&](int lane) { return w_[lane].at[k] != 0; }));
    return support * support / (kStepShare * data_.varying[chain_.group]);
  }

  MANYFIT_DEVICE double gradient(int lane, int k) const {
    return v_[lane].at[k] - w_[lane].at[k] * squares_[k * kWarp + lane];
  }

  MANYFIT_DEVICE Sums sums() const {
    PerThread<Sums> part(warp_);
    warp_.lanes([&](int lane) {
      Sums own{0, 0, 0, 0, 0, 0};
      MANYFIT_UNROLL
      for (int k = 0; k < K; ++k) {
        const double w = w_[lane].at[k];
        const double g = inverse_[lane].at[k] > 0 ? gradient(lane, k) : 0.0;
        own.along_target += w * cross_[k * kWarp + lane];
        own.along_gradient += w * g;
        own.squares += w * w;
        own.norm += fabs(w);
        const double slope = g - l2_ * w;
        own.pull = larger_of(positive_ ? slope : fabs(slope), own.pull);
        const bool held = positive_ && g < 0 && (l2_ > 0 || w == 0);
        own.steepness += held ? 0.0 : g * g;
      }
      part[lane] = own;
    });
    Sums all;
    all.along_target = warp_.sum([&](int lane) { return part[lane].along_target; });
    all.along_gradient = warp_.sum([&](int lane) { return part[lane].along_gradient; });
    all.squares = warp_.sum([&](int lane) { return part[lane].squares; });
    all.norm = warp_.sum([&](int lane) { return part[lane].norm; });
    all.pull = warp_.largest([&](int lane) { return part[lane].pull; });
    all.steepness = warp_.sum([&](int lane) { return part[lane].steepness; });
    return all;
  }

  // Up to a constant.
  MANYFIT_DEVICE double objective(const Sums& now) const {
    return -0.5 * (now.along_target + now.along_gradient) + l1_ * now.norm +
           0.5 * l2_ * now.squares;
  }

  // Of fresh gradients.
  MANYFIT_DEVICE double full_gap(const Sums& now) const {
    const double residual = larger_of(square_ - now.along_target - now.along_gradient, 0.0);
    const double with_target = square_ - now.along_target, square = l2_ * now.squares;
    if (l1_ == 0) {
      if (l2_ == 0) return now.steepness;
      return larger_of(residual + 0.5 * square - with_target + now.steepness / (2 * l2_), 0.0);
    }
    const double scale = now.pull > l1_ ? l1_ / now.pull : 1.0;
    const double primal = 0.5 * (residual + square) + l1_ * now.norm;
    const double dual = -0.5 * scale * scale * (residual + square) + scale * with_target;
    return larger_of(primal - dual, 0.0);
  }

  // From what the sweeps keep.
  MANYFIT_DEVICE double working_gap(const Sums& now) const {
    const double square = l2_ * now.squares;
    const double residual = square_ - now.along_target - now.along_gradient;
    const double scale = l1_ / larger_of(now.pull, l1_);
    return 0.5 * (residual + square) * (1 + scale * scale) + l1_ * now.norm -
           scale * (square_ - now.along_target);
  }

  // Leaves the coefficients before it in kept, too.
  MANYFIT_DEVICE void ask_newton() {
    warp_.each([&](int lane) {
      MANYFIT_UNROLL
      for (int k = 0; k < K; ++k) {
        const int j = k * kWarp + lane;
        const double w = w_[lane].at[k];
        m_.kept()[j] = m_.before()[j] = w;
        const double sign = w > 0 ? 1.0 : (w < 0 ? -1.0 : 0.0);
        m_.slope()[j] = gradient(lane, k) - l1_ * sign - l2_ * w;
      }
    });
  }

  // Returns about how many moves it costs.
  MANYFIT_DEVICE int newton(ChainState* place) {
    const NewtonAnswer answer =
        newton_step(warp_, gram_, squares_, m_.newton(), static_cast<int32_t>(m_.width),
                    l1_ > 0 || positive_, l2_, data_.precision);
    warp_.each([&](int lane) {
      if (answer.taken != NewtonTaken::none)
        for (int64_t j = lane; j < m_.width; j += kWarp) m_.coef()[j] = m_.after()[j];
      if (lane != 0) return;
      place->taken = answer.taken;
      place->phase = ChainPhase::stepped;
    });
    return answer.spent;
  }

  MANYFIT_DEVICE void finish(const ChainJob& job, double tolerance, ChainState& state) {
    const double* const mean = data_.mean + chain_.group * data_.d;
    const int64_t d = data_.d;
    const double along = warp_.sum([&](int lane) {
      double sum = 0;
      MANYFIT_UNROLL
      for (int k = 0; k < K; ++k) {
        const int64_t j = k * kWarp + lane;
        if (j >= d) continue;
        data_.coef[job.row * d + j] = w_[lane].at[k];
        sum += mean[j] * w_[lane].at[k];
      }
      return sum;
    });
    const double weight = data_.weight[chain_.group];
    const double target_mean = data_.target_mean[chain_.group * data_.t + chain_.target];
    warp_.each([&](int lane) {
      if (lane != 0) return;
      data_.intercept[job.row] = data_.centred[chain_.group] ? target_mean - along : 0.0;
      const double rounding = data_.precision * square_;  // a bound, rounding included
      data_.gap[job.row] = larger_of(state.gap, rounding) / weight;
      data_.tolerance[job.row] = tolerance / weight;
      data_.sweeps[job.row] = static_cast<double>(state.sweeps);
      data_.converged[job.row] = state.converged;
    });
    ++state.next;
    state.phase = ChainPhase::begin;
  }

  MANYFIT_DEVICE void abandon(int64_t row) const {
    warp_.each([&](int lane) {
      for (int64_t j = lane; j < data_.d; j += kWarp) data_.coef[row * data_.d + j] = 0;
      if (lane != 0) return;
      data_.intercept[row] = data_.gap[row] = data_.tolerance[row] = 0;
      data_.sweeps[row] = data_.converged[row] = 0;
    });
  }

  Warp warp_;
  Gram gram_;
  const ChainData& data_;
  const Chain chain_;
  ChainMemory m_;
  const double *squares_, *cross_;
  double square_;
  double l1_ = 0, l2_ = 0;
  bool positive_ = false;
  mutable PerThread<Values<K>> w_, v_, inverse_;
};

}  // namespace manyfit
