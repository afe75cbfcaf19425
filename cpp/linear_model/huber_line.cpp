#include "linear_model/huber_line.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace manyfit {
namespace {

constexpr int64_t kChunkRows = 16384;
constexpr int kLanes = 8;  // sums side by side, which the compiler turns into vectors
constexpr double kFlat = 0.1;
constexpr double kLongest = 1e6;
constexpr int kMostTrials = 40;
constexpr int kMostScales = 200;
constexpr double kSameScale = 1e-14;

// Sums over the inliers: w, w r^2, w r u; over the outliers: w, w sign(r) u.
enum Term { kInliers, kSquares, kProducts, kOutliers, kSigned, kTerms };
using Sums = std::array<double, kTerms>;

Sums sums_of_chunk(const HuberLine& line, const HuberRows::Chunk& chunk, double length,
                   double limit) {
  double lanes[kTerms][kLanes] = {};
  const double* residual = line.residual;
  const double* change = line.change;
  const double* weights = line.rows->weights.data();
  const auto add = [&](int64_t i, int l) {
    const double r = residual[i] - length * change[i];
    const double w = weights[i];
    const double in = std::abs(r) <= limit ? w : 0.0, out = w - in;
    lanes[kInliers][l] += in;
    lanes[kSquares][l] += in * r * r;
    lanes[kProducts][l] += in * r * change[i];
    lanes[kOutliers][l] += out;
    lanes[kSigned][l] += out * std::copysign(1.0, r) * change[i];
  };
  int64_t i = chunk.begin;
  for (; i + kLanes <= chunk.end; i += kLanes)
    for (int l = 0; l < kLanes; ++l) add(i + l, l);
  for (; i < chunk.end; ++i) add(i, 0);
  Sums sums{};
  for (int k = 0; k < kTerms; ++k)
    for (int l = 0; l < kLanes; ++l) sums[k] += lanes[k][l];
  return sums;
}

class Line {
 public:
  Line(const HuberLine& line, double scale, const Context& context)
      : line_(line), context_(context), scale_(std::max(scale, line.least_scale)) {
    const HuberRows& rows = *line.rows;
    const int64_t atoms = rows.folds->n_atoms();
    for (const HuberRows::Chunk& chunk : rows.chunks)
      if (rows.folds->train[line.split * atoms + chunk.atom] > 0) chunks_.push_back(chunk);
    parts_.resize(chunks_.size());
  }

  double scale() const { return scale_; }

  // dF/dt at the best sigma, which becomes scale().
  double slope(double t) {
    const Sums sums = settle(t);
    return -2 / scale_ * sums[kProducts] - 2 * line_.epsilon * sums[kSigned] + line_.penalty_slope +
           t * line_.penalty_curvature;
  }

 private:
  Sums sums(double t) {
    const double limit = line_.epsilon * scale_;
    context_.parallel_for("Huber regression", static_cast<int64_t>(chunks_.size()), [&](int64_t c) {
      parts_[c] = sums_of_chunk(line_, chunks_[c], t, limit);
    });
    const HuberRows& rows = *line_.rows;
    Sums total{};
    for (size_t c = 0; c < chunks_.size(); ++c) {
      const double times = rows.folds->train[line_.split * rows.folds->n_atoms() + chunks_[c].atom];
      for (int k = 0; k < kTerms; ++k) total[k] += times * parts_[c][k];
    }
    return total;
  }

  // The root of dF/dsigma = sum w (1 - min(epsilon^2, (r / sigma)^2)). In v = 1 / sigma^2 the sum
  // of minima is concave and piecewise linear: Newton's iterates are exact once the inliers stand
  // still, and come from the side of large sigma.
  Sums settle(double t) {
    const double excess = line_.epsilon * line_.epsilon - 1;
    Sums at = sums(t);
    for (int k = 0; k < kMostScales; ++k) {
      const double free = at[kInliers] - excess * at[kOutliers];
      double next = line_.least_scale;
      if (free < 0 || (free == 0 && at[kSquares] > 0))
        next = 4 * scale_;
      else if (at[kSquares] > 0 && excess > 0)  // at epsilon = 1 F does not fall with sigma
        next = std::max(next, std::sqrt(at[kSquares] / free));
      const bool same = std::abs(next - scale_) <= kSameScale * scale_;
      if (same || !std::isfinite(next)) break;
      scale_ = next;
      at = sums(t);
    }
    return at;
  }

  const HuberLine& line_;
  const Context& context_;
  double scale_;
  std::vector<HuberRows::Chunk> chunks_;
  std::vector<Sums> parts_;
};

}  // namespace

void HuberRows::cut() {
  for (int64_t a = 0; a < folds->n_atoms(); ++a)
    for (int64_t begin = folds->atom_begin[a]; begin < folds->atom_begin[a + 1];
         begin += kChunkRows)
      chunks.push_back({a, begin, std::min(begin + kChunkRows, folds->atom_begin[a + 1])});
}

HuberPoint huber_search(const HuberLine& line, double scale, const Context& context) {
  Line at(line, scale, context);
  const double first = at.slope(0);
  if (!(first < 0)) return {0, at.scale()};
  // The slope grows with t: secants between a falling and a rising point, kept inside.
  double falling = 0, falling_slope = first, rising = 0, rising_slope = 0, t = 1;
  for (int trial = 0; trial < kMostTrials; ++trial) {
    const double slope = at.slope(t);
    if (std::abs(slope) <= -kFlat * first) break;
    if (slope < 0) {
      falling = t;
      falling_slope = slope;
    } else {  // also where it is NaN
      rising = t;
      rising_slope = slope;
    }
    if (rising == 0 && t >= kLongest) break;
    const double share = -falling_slope / (rising_slope - falling_slope);
    t = rising == 0 ? 4 * t
                    : falling + (rising - falling) *
                                    (std::isfinite(share) ? std::clamp(share, 0.1, 0.9) : 0.5);
  }
  return {t, at.scale()};
}

}  // namespace manyfit
