// The Newton step of coordinate_descent_newton.cpp by one warp: to the minimum over the
// coefficients that are not zero, their signs kept: the whole way, or with some of them stopped at
// zero.
//
// The factor lies in tiles of 32 x 32, columns one after another, a lane for each row: for a
// support of s columns s^3 / 6 multiply-adds, 32 for each number that a lane loads and for each 32
// that all load alike. About 32 * 100 cycles for each three tiles (56 of them for 200 columns:
// 0.1 ms, ten sweeps), and s dependent steps of about 60 cycles for each triangular solution. The
// factor is kept as long as the support and the penalty stay.
#pragma once

#include <cmath>
#include <cstdint>

#include "core/warp.h"

namespace manyfit {

inline constexpr int kTileSize = kWarp * kWarp;
inline constexpr int kMostStops = 32;  // then a new factorisation is cheaper

template <int N>
struct Values {
  double at[N];
};

enum class NewtonTaken : int32_t { none, part, whole };

// What the kept factor is of; size < 0: of nothing.
struct NewtonFactor {
  int32_t size;
  int32_t whole;  // no ridge was added
  double l2;
};

// A warp's own memory, vectors of `width` numbers each.
struct NewtonMemory {
  double *before, *slope, *after;  // by columns: coefficients, gradient of the objective, answer
  double *value, *step, *work, *scale, *root;  // by places in the support
  double *stops, *stop_at;                     // (kMostStops, width) and (kMostStops,)
  double* factor;                              // tiles of the lower triangle
  int32_t* index;                              // columns of the support
  NewtonFactor* kept;
  int32_t width;

  static int64_t doubles(int64_t width) {
    const int64_t tiles = width / kWarp;
    return 8 * width + kMostStops * (width + 1) + tiles * (tiles + 1) / 2 * kTileSize + width / 2 +
           2;
  }
  MANYFIT_DEVICE NewtonMemory(double* memory, int32_t n) : width(n) {
    double** const vectors[] = {&before, &slope, &after, &value, &step, &work, &scale, &root};
    for (double** vector : vectors) {
      *vector = memory;
      memory += n;
    }
    stops = memory;
    stop_at = stops + kMostStops * n;
    factor = stop_at + kMostStops;
    const int64_t tiles = n / kWarp;
    index = reinterpret_cast<int32_t*>(factor + tiles * (tiles + 1) / 2 * kTileSize);
    kept = reinterpret_cast<NewtonFactor*>(index + n);
  }
  MANYFIT_DEVICE double* tile(int i, int j) const {
    return factor + (i * (i + 1) / 2 + j) * kTileSize;
  }
};

struct NewtonAnswer {
  NewtonTaken taken;
  int32_t spent;  // about so many moves of a coordinate
};

// Gram: entry(i, j) of the centred Gram, zero on the diagonal. squares (width,): its diagonal.
template <class Gram>
class NewtonWarp {
 public:
  MANYFIT_DEVICE NewtonWarp(Warp warp, const Gram& gram, const double* squares,
                            const NewtonMemory& memory)
      : warp_(warp), gram_(gram), squares_(squares), m_(memory) {}

  MANYFIT_DEVICE NewtonAnswer run(bool bounded, double l2, double precision) {
    constexpr double proximal = 1e-6;  // relative ridge where a support's columns are dependent
    const bool same = gather(bounded, l2);
    if (size_ == 0) return {NewtonTaken::none, 1};
    if (!same) {
      bool whole = true;
      // Beyond that a step is noise of the Gram; dependent columns take a proximal one.
      bool usable = factorise(l2, 0) > 1e3 * precision;
      if (!usable) {
        whole = false;
        usable = factorise(l2, proximal) > 1e3 * precision;
      }
      warp_.each([&](int lane) {
        if (lane == 0) *m_.kept = {usable ? size_ : -1, whole, l2};
      });
      if (!usable) return {NewtonTaken::none, spent_};
    }
    bool whole = m_.kept->whole != 0;
    warp_.each([&](int lane) {
      for (int p = lane; p < tiles_ * kWarp; p += kWarp) {
        m_.value[p] = p < size_ ? m_.before[m_.index[p]] : 0.0;
        m_.work[p] = p < size_ ? m_.slope[m_.index[p]] : 0.0;
      }
    });
    solve();
    warp_.each([&](int lane) {
      for (int p = lane; p < tiles_ * kWarp; p += kWarp) m_.step[p] = m_.work[p];
    });
    if (!finite_step()) return {NewtonTaken::none, spent_};
    bool reached = true;
    int stops = 0;
    if (bounded) reached = walk(stops);
    if (reached)
      warp_.each([&](int lane) {
        for (int p = lane; p < size_; p += kWarp) m_.value[p] += m_.step[p];
      });
    whole = whole && reached && stops == 0;
    warp_.each([&](int lane) {
      for (int j = lane; j < m_.width; j += kWarp) m_.after[j] = m_.before[j];
    });
    warp_.each([&](int lane) {
      for (int p = lane; p < size_; p += kWarp) {
        const double now = m_.value[p];
        const bool crossed = bounded && now * m_.before[m_.index[p]] < 0;
        m_.after[m_.index[p]] = crossed ? 0.0 : now;
      }
    });
    return {whole ? NewtonTaken::whole : NewtonTaken::part, spent_};
  }

 private:
  // The support; whether the kept factor is its own.
  MANYFIT_DEVICE bool gather(bool bounded, double l2) {
    const NewtonFactor kept = *m_.kept;
    PerThread<int> differs(warp_);
    warp_.lanes([&](int lane) { differs[lane] = 0; });
    int size = 0;
    for (int first = 0; first < m_.width; first += kWarp) {
      const uint32_t members = warp_.ballot([&](int lane) {
        const int j = first + lane;
        return m_.before[j] != 0 || (!bounded && squares_[j] > 0);
      });
      warp_.each([&](int lane) {
        if ((members >> lane & 1) == 0) return;
        const int p = size + Warp::count(members & ((uint32_t{1} << lane) - 1));
        if (p >= kept.size || m_.index[p] != first + lane) differs[lane] = 1;
        m_.index[p] = first + lane;
      });
      size += Warp::count(members);
    }
    size_ = size;
    tiles_ = (size + kWarp - 1) / kWarp;
    return warp_.ballot([&](int lane) { return differs[lane] != 0; }) == 0 && size == kept.size &&
           l2 == kept.l2;
  }

  // Of the matrix scaled to unit diagonal; returns the smallest square of the factor's diagonal, 0
  // where there is no factor.
  MANYFIT_DEVICE double factorise(double l2, double extra) {
    spent_ += 6 * tiles_ * tiles_ * tiles_ + 60 * tiles_;
    PerThread<int> bad(warp_);
    warp_.each([&](int lane) {
      bad[lane] = 0;
      for (int p = lane; p < tiles_ * kWarp; p += kWarp) {
        double scale = 0;
        if (p < size_) {
          const double square = squares_[m_.index[p]], value = square + (l2 + extra * square);
          if (value > 0 && value <= 1.7976931348623157e308)
            scale = exp2(-round(log2(value) / 2));  // scaling by powers of two is exact
          else
            bad[lane] = 1;
        }
        m_.scale[p] = scale;
      }
    });
    if (warp_.ballot([&](int lane) { return bad[lane] != 0; }) != 0) return 0;
    double smallest = 1e300;
    PerThread<Values<kWarp>> a(warp_);
    for (int j = 0; j < tiles_; ++j)
      for (int i = j; i < tiles_; ++i) {
        load(a, i, j, l2, extra);
        for (int k = 0; k < j; ++k) subtract(a, i, j, k);
        if (i > j) {
          divide(a, j);
        } else {
          smallest = diagonal(a, j, smallest);
          if (!(smallest > 0)) return 0;
        }
        warp_.each([&](int lane) {
          double* const out = m_.tile(i, j);
          MANYFIT_UNROLL
          for (int c = 0; c < kWarp; ++c) out[c * kWarp + lane] = a[lane].at[c];
        });
      }
    return smallest;
  }

  MANYFIT_DEVICE void load(PerThread<Values<kWarp>>& a, int i, int j, double l2,
                           double extra) const {
    warp_.lanes([&](int lane) {
      const int row = i * kWarp + lane;
      const bool inside = row < size_;
      const int at = inside ? m_.index[row] : 0;
      const double scale = m_.scale[row];
      MANYFIT_UNROLL
      for (int c = 0; c < kWarp; ++c) {
        const int column = j * kWarp + c;
        double value = 0;
        if (row == column) {
          const double square = squares_[at];
          value = inside ? (square + (l2 + extra * square)) * scale * scale : 1.0;
        } else if (inside && column < size_) {
          value = gram_.entry(at, m_.index[column]) * scale * m_.scale[column];
        }
        a[lane].at[c] = value;
      }
    });
  }

  // a -= L(i, k) L(j, k)'
  MANYFIT_DEVICE void subtract(PerThread<Values<kWarp>>& a, int i, int j, int k) const {
    warp_.lanes([&](int lane) {
      const double* const left = m_.tile(i, k);
      const double* const right = m_.tile(j, k);
      for (int m = 0; m < kWarp; ++m) {
        const double own = left[m * kWarp + lane];
        MANYFIT_UNROLL
        for (int c = 0; c < kWarp; ++c) a[lane].at[c] -= own * right[m * kWarp + c];
      }
    });
  }

  // a = a L(j, j)^-T
  MANYFIT_DEVICE void divide(PerThread<Values<kWarp>>& a, int j) const {
    warp_.lanes([&](int lane) {
      const double* const factor = m_.tile(j, j);
      MANYFIT_UNROLL
      for (int c = 0; c < kWarp; ++c) {
        const double own = a[lane].at[c] * m_.root[j * kWarp + c];
        a[lane].at[c] = own;
        MANYFIT_UNROLL
        for (int next = c + 1; next < kWarp; ++next)
          a[lane].at[next] -= own * factor[c * kWarp + next];
      }
    });
  }

  // a = its factor; root: the inverses of the factor's diagonal.
  MANYFIT_DEVICE double diagonal(PerThread<Values<kWarp>>& a, int j, double smallest) const {
    PerThread<double> inverse(warp_);
    MANYFIT_UNROLL
    for (int c = 0; c < kWarp; ++c) {
      const double pivot = warp_.from(c, [&](int lane) { return a[lane].at[c]; });
      smallest = pivot < smallest ? pivot : (pivot == pivot ? smallest : 0.0);
      const double root = 1 / sqrt(pivot);
      warp_.lanes([&](int lane) {
        if (lane == c) inverse[lane] = root;
        a[lane].at[c] = lane >= c ? a[lane].at[c] * root : 0.0;
      });
      MANYFIT_UNROLL
      for (int next = c + 1; next < kWarp; ++next) {
        const double other = warp_.from(next, [&](int lane) { return a[lane].at[c]; });
        warp_.lanes([&](int lane) { a[lane].at[next] -= a[lane].at[c] * other; });
      }
    }
    warp_.each([&](int lane) { m_.root[j * kWarp + lane] = inverse[lane]; });
    return smallest;
  }

  // work = H^-1 work
  MANYFIT_DEVICE void solve() {
    spent_ += 40 * tiles_ + 8 * tiles_ * tiles_;
    PerThread<double> own(warp_), root(warp_);
    for (int j = 0; j < tiles_; ++j) {
      warp_.lanes([&](int lane) {
        const int p = j * kWarp + lane;
        double sum = m_.work[p] * m_.scale[p];
        for (int k = 0; k < j; ++k) {
          const double* const tile = m_.tile(j, k);
          for (int m = 0; m < kWarp; ++m) sum -= tile[m * kWarp + lane] * m_.work[k * kWarp + m];
        }
        own[lane] = sum;
        root[lane] = m_.root[p];
      });
      const double* const tile = m_.tile(j, j);
      for (int c = 0; c < kWarp; ++c) {
        const double x = warp_.from(c, [&](int lane) { return own[lane] * root[lane]; });
        warp_.lanes([&](int lane) {
          own[lane] = lane == c ? x : own[lane] - (lane > c ? tile[c * kWarp + lane] * x : 0.0);
        });
      }
      warp_.each([&](int lane) { m_.work[j * kWarp + lane] = own[lane]; });
    }
    for (int j = tiles_ - 1; j >= 0; --j) {
      warp_.lanes([&](int lane) {
        double sum = m_.work[j * kWarp + lane];
        for (int i = j + 1; i < tiles_; ++i) {
          const double* const tile = m_.tile(i, j);
          for (int m = 0; m < kWarp; ++m) sum -= tile[lane * kWarp + m] * m_.work[i * kWarp + m];
        }
        own[lane] = sum;
        root[lane] = m_.root[j * kWarp + lane];
      });
      const double* const tile = m_.tile(j, j);
      for (int c = kWarp - 1; c >= 0; --c) {
        const double x = warp_.from(c, [&](int lane) { return own[lane] * root[lane]; });
        warp_.lanes([&](int lane) {
          own[lane] = lane == c ? x : own[lane] - (lane < c ? tile[lane * kWarp + c] * x : 0.0);
        });
      }
      warp_.each([&](int lane) { m_.work[j * kWarp + lane] = own[lane]; });
    }
    warp_.each([&](int lane) {
      for (int p = lane; p < tiles_ * kWarp; p += kWarp) m_.work[p] *= m_.scale[p];
    });
  }

  MANYFIT_DEVICE bool finite_step() const {
    return warp_.ballot([&](int lane) {
      double check = 0;
      for (int p = lane; p < size_; p += kWarp) check += m_.step[p] * 0;
      return check != 0 || check != check;
    }) == 0;
  }

  // Along the step to the first value that reaches zero, which stays there, and on along the step
  // of the others, until nothing stops it (SignedStep). Whether the minimum can be reached.
  MANYFIT_DEVICE bool walk(int& stops) {
    for (;;) {
      PerThread<double> reach(warp_);
      PerThread<int> place(warp_);
      warp_.lanes([&](int lane) {
        reach[lane] = 2;
        place[lane] = m_.width;
        for (int p = lane; p < size_; p += kWarp) {
          const double value = m_.value[p], step = m_.step[p];
          if (value == 0 || value * (value + step) > 0) continue;
          const double length = -value / step;
          if (place[lane] < m_.width && length >= reach[lane]) continue;
          reach[lane] = length;
          place[lane] = p;
        }
      });
      const double least = -warp_.largest([&](int lane) { return -reach[lane]; });
      const int first = -static_cast<int>(
          warp_.largest([&](int lane) { return reach[lane] == least ? -place[lane] : -m_.width; }));
      if (first >= m_.width) return true;
      warp_.each([&](int lane) {
        for (int p = lane; p < size_; p += kWarp)
          m_.value[p] = p == first ? 0.0 : m_.value[p] + least * m_.step[p];
      });
      if (!stop(first, 1 - least, stops)) return false;
    }
  }

  MANYFIT_DEVICE bool stop(int first, double left, int& stops) {
    if (stops == kMostStops) return false;
    warp_.each([&](int lane) {
      for (int p = lane; p < tiles_ * kWarp; p += kWarp) m_.work[p] = p == first ? 1.0 : 0.0;
    });
    solve();
    double* const u = m_.stops + stops * m_.width;
    warp_.each([&](int lane) {
      for (int p = lane; p < size_; p += kWarp) {
        double value = m_.work[p];
        for (int s = 0; s < stops; ++s) {
          const double* const other = m_.stops + s * m_.width;
          value -= other[p] * (other[first] / other[static_cast<int>(m_.stop_at[s])]);
        }
        u[p] = value;
      }
    });
    const double own = warp_.from(0, [&](int) { return u[first]; });
    if (!(own > 0)) return false;
    const double share = warp_.from(0, [&](int) { return m_.step[first] / own; });
    warp_.each([&](int lane) {
      for (int p = lane; p < size_; p += kWarp) m_.step[p] = left * (m_.step[p] - u[p] * share);
      if (lane == 0) m_.stop_at[stops] = first;
    });
    ++stops;
    warp_.each([&](int lane) {
      if (lane < stops) m_.step[static_cast<int>(m_.stop_at[lane])] = 0;
    });
    return finite_step();
  }

  Warp warp_;
  const Gram& gram_;
  const double* squares_;
  const NewtonMemory& m_;
  int size_ = 0, tiles_ = 0;
  int32_t spent_ = 0;
};

// memory: NewtonMemory's, in which `before` and `slope` are given.
template <class Gram>
MANYFIT_DEVICE_CALL NewtonAnswer newton_step(Warp warp, Gram gram, const double* squares,
                                             double* memory, int32_t width, bool bounded, double l2,
                                             double precision) {
  const NewtonMemory own(memory, width);
  return NewtonWarp<Gram>(warp, gram, squares, own).run(bounded, l2, precision);
}

}  // namespace manyfit
