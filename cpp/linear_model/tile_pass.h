// One pass over the rows for many jobs at once, each at a point of its own: of the rows its split
// trains on, with weights w_i (times how often the split takes them),
//   gram = sum w_i h_i z_i z_i',   vectors[v] = sum w_i s_iv z_i,   scalars[k] = sum w_i t_ik,
// z_i = [1, x_i - shift], where the loss gives curvature h_i, slopes s_iv and terms t_ik from the
// job's prediction z_i' point and the target y_i. What Newton's method needs of a generalised or
// robust linear model. X is read and packed once for all jobs; n d^2 / 2 multiply-adds a job,
// summed over tiles of rows in X's type and carried on in double.
//
// A loss has kSlopes, kTerms and  void operator()(double prediction, double y, RowTerms&) const.
#pragma once

#include <Eigen/Core>
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "core/context.h"
#include "core/fold_gram.h"
#include "core/folds.h"
#include "core/gram_kernel.h"
#include "core/row_packer.h"
#include "core/views.h"

namespace manyfit {

struct RowTerms {
  double curvature = 0;
  double slopes[2] = {};
  double terms[4] = {};
};

template <class Loss>
struct TileJob {
  int64_t split;
  Eigen::VectorXd point;  // (1 + d,)
  Loss loss;
};

struct TileSums {
  Eigen::MatrixXd gram;                  // (1 + d, 1 + d)
  std::vector<Eigen::VectorXd> vectors;  // (1 + d,) each
  std::vector<double> scalars;
};

template <class T>
struct TileRows {
  MatrixView<const T> X;
  VectorView<const T> y;
  VectorView<const T> w;  // or empty
  const Folds& folds;
  std::vector<double> shift;  // (d,)
};

// p + 1 directions (intercept, coefficients) of a job without an intercept are those with
// point = (shift . c, c): g and H of the point, for c alone.
inline Eigen::MatrixXd point_basis(const std::vector<double>& shift, bool fit_intercept) {
  const auto d = static_cast<int64_t>(shift.size());
  if (fit_intercept) return Eigen::MatrixXd::Identity(1 + d, 1 + d);
  Eigen::MatrixXd basis(1 + d, d);
  for (int64_t j = 0; j < d; ++j) basis(0, j) = shift[j];
  basis.bottomRows(d).setIdentity();
  return basis;
}

namespace tile_pass_detail {

constexpr int64_t kPartBytes = int64_t{96} << 20;
constexpr int64_t kMostChunks = 32;

struct Chunk {
  int64_t atom, begin, end;
};

// By shapes alone, so that results do not depend on the number of threads or of jobs.
inline std::vector<Chunk> cut(const Folds& folds, int64_t part) {
  const int64_t most = std::clamp<int64_t>(kPartBytes / 4 / (part * 8), 1, kMostChunks);
  const int64_t rows = std::max<int64_t>((folds.n_rows + most - 1) / most, 4 * kTileRows);
  std::vector<Chunk> chunks;
  for (int64_t a = 0; a < folds.n_atoms(); ++a) {
    const int64_t begin = folds.atom_begin[a], size = folds.atom_begin[a + 1] - begin;
    const int64_t pieces = std::max<int64_t>(1, (size + rows / 2) / rows);
    for (int64_t i = 0; i < pieces; ++i)
      chunks.push_back({a, begin + size * i / pieces, begin + size * (i + 1) / pieces});
  }
  return chunks;
}

template <class T>
class Tile {
 public:
  static constexpr int W = GramTile<T>::width;
  using Vector = typename GramTile<T>::Vector;

  Tile(const TileRows<T>& rows, int64_t columns)
      : rows_(rows),
        columns_(columns),
        stride_(GramTile<T>::padded(columns)),
        strips_(stride_ / W),
        panel_(GramTile<T>::panel_size(columns)),
        scaled_(GramTile<T>::panel_size(columns)),
        point_(stride_) {}

  void read(const RowPacker<T>& packer, int64_t begin, int64_t n) {
    packer.pack(begin, n, 0, strips_, panel_.data());
    n_ = n;
    for (int64_t r = 0; r < n; ++r) {
      const int64_t row = rows_.folds.row(begin + r);
      y_[r] = static_cast<double>(rows_.y[row]);
      w_[r] = rows_.w.empty() ? 1.0 : static_cast<double>(rows_.w[row]);
    }
  }

  // z_i' point of the tile's rows.
  void products(const Eigen::Ref<const Eigen::VectorXd>& point, double* out) {
    set_point(point);
    for (int64_t r = 0; r < n_; ++r) out[r] = prediction(r);
  }

  // Adds to gram (stride, stride), vectors (kSlopes, stride) and scalars (kTerms), one after
  // another.
  template <class Loss>
  void add(const TileJob<Loss>& job, double* out) {
    set_point(job.point);
    T curvature[kTileRows];
    T slopes[Loss::kSlopes][kTileRows];
    double* scalars = out + stride_ * (stride_ + Loss::kSlopes);
    for (int64_t r = 0; r < n_; ++r) {
      RowTerms terms;
      job.loss(prediction(r), y_[r], terms);
      curvature[r] = static_cast<T>(w_[r] * terms.curvature);
      for (int v = 0; v < Loss::kSlopes; ++v)
        slopes[v][r] = static_cast<T>(w_[r] * terms.slopes[v]);
      for (int k = 0; k < Loss::kTerms; ++k) scalars[k] += w_[r] * terms.terms[k];
    }
    for (int64_t s = 0; s < strips_; ++s) {
      Vector sums[Loss::kSlopes] = {};
      for (int64_t r = 0; r < n_; ++r) {
        const Vector z = at(panel_.data(), s, r);
        at(scaled_.data(), s, r) = z * curvature[r];
        for (int v = 0; v < Loss::kSlopes; ++v) sums[v] += z * slopes[v][r];
      }
      for (int v = 0; v < Loss::kSlopes; ++v)
        for (int l = 0; l < W; ++l)
          out[stride_ * (stride_ + v) + s * W + l] += static_cast<double>(sums[v][l]);
    }
    Prefetch none;
    for (int64_t i = 0; i < columns_; i += GramTile<T>::rows)
      gram_block_row(scaled_.data() + i / W * kTileRows * W + i % W, panel_.data(), i / W + 1, n_,
                     out + i * stride_, stride_, none);
  }

 private:
  static Vector& at(T* panel, int64_t strip, int64_t r) {
    return *reinterpret_cast<Vector*>(panel + (strip * kTileRows + r) * W);
  }

  void set_point(const Eigen::Ref<const Eigen::VectorXd>& point) {
    for (int64_t j = 0; j < columns_; ++j) point_.data()[j] = static_cast<T>(point(j));
  }

  double prediction(int64_t r) {
    Vector sum = {};
    for (int64_t s = 0; s < strips_; ++s)
      sum += at(panel_.data(), s, r) * *reinterpret_cast<const Vector*>(point_.data() + s * W);
    double total = 0;
    for (int l = 0; l < W; ++l) total += static_cast<double>(sum[l]);
    return total;
  }

  const TileRows<T>& rows_;
  int64_t columns_, stride_, strips_, n_ = 0;
  AlignedBuffer<T> panel_, scaled_, point_;
  double y_[kTileRows], w_[kTileRows];
};

}  // namespace tile_pass_detail

template <class T, class Loss>
std::vector<TileSums> tile_pass(const TileRows<T>& rows, const std::vector<TileJob<Loss>>& jobs,
                                const char* stage, const Context& context) {
  using namespace tile_pass_detail;
  const int64_t p = 1 + rows.X.cols, stride = GramTile<T>::padded(p);
  const int64_t part = stride * (stride + Loss::kSlopes) + Loss::kTerms;
  const auto n_jobs = static_cast<int64_t>(jobs.size());
  const std::vector<Chunk> chunks = cut(rows.folds, part);
  const auto n_chunks = static_cast<int64_t>(chunks.size());
  const int64_t at_once = std::clamp<int64_t>(kPartBytes / (part * 8 * n_chunks), 1, n_jobs);
  const MatrixView<const T> none{nullptr, rows.X.rows, 0, 0, 0};
  const RowPacker<T> packer(rows.X, none, VectorView<const T>(), rows.folds, rows.shift);
  const auto times = [&](int64_t job, int64_t atom) {
    return rows.folds.train[jobs[job].split * rows.folds.n_atoms() + atom];
  };
  std::vector<TileSums> result(n_jobs);
  for (int64_t first = 0; first < n_jobs; first += at_once) {
    const int64_t count = std::min(at_once, n_jobs - first);
    std::vector<double> parts(n_chunks * count * part);
    context.parallel_for(stage, n_chunks, [&](int64_t c) {
      Tile<T> tile(rows, p);
      for (int64_t begin = chunks[c].begin; begin < chunks[c].end; begin += kTileRows) {
        context.check();
        tile.read(packer, begin, std::min<int64_t>(kTileRows, chunks[c].end - begin));
        for (int64_t b = 0; b < count; ++b)
          if (times(first + b, chunks[c].atom) > 0)
            tile.add(jobs[first + b], parts.data() + (c * count + b) * part);
      }
    });
    context.parallel_for(stage, count, [&](int64_t b) {
      Eigen::VectorXd total = Eigen::VectorXd::Zero(part);
      for (int64_t c = 0; c < n_chunks; ++c) {
        const double factor = times(first + b, chunks[c].atom);
        const double* from = parts.data() + (c * count + b) * part;
        if (factor > 0)
          for (int64_t i = 0; i < part; ++i) total(i) += factor * from[i];
      }
      TileSums& sums = result[first + b];
      sums.gram.resize(p, p);
      for (int64_t i = 0; i < p; ++i)
        for (int64_t j = 0; j <= i; ++j) sums.gram(i, j) = sums.gram(j, i) = total(i * stride + j);
      for (int v = 0; v < Loss::kSlopes; ++v)
        sums.vectors.push_back(total.segment(stride * (stride + v), p));
      for (int k = 0; k < Loss::kTerms; ++k)
        sums.scalars.push_back(total(stride * (stride + Loss::kSlopes) + k));
    });
  }
  return result;
}

// Each job's products z_i' points, (rows, points), in one pass over the rows: those its split
// trains on, in the folds' order; zero for others. `splits` and `points` (1 + d, points) are the
// jobs'.
template <class T>
std::vector<Eigen::MatrixXd> tile_products(const TileRows<T>& rows,
                                           const std::vector<int64_t>& splits,
                                           const std::vector<Eigen::MatrixXd>& points,
                                           const char* stage, const Context& context) {
  using namespace tile_pass_detail;
  const int64_t n_jobs = static_cast<int64_t>(splits.size()), p = 1 + rows.X.cols;
  const std::vector<Chunk> chunks = cut(rows.folds, GramTile<T>::padded(p));
  const MatrixView<const T> none{nullptr, rows.X.rows, 0, 0, 0};
  const RowPacker<T> packer(rows.X, none, VectorView<const T>(), rows.folds, rows.shift);
  std::vector<Eigen::MatrixXd> result;
  for (int64_t b = 0; b < n_jobs; ++b)
    result.push_back(Eigen::MatrixXd::Zero(rows.folds.n_rows, points[b].cols()));
  context.parallel_for(stage, static_cast<int64_t>(chunks.size()), [&](int64_t c) {
    Tile<T> tile(rows, p);
    for (int64_t begin = chunks[c].begin; begin < chunks[c].end; begin += kTileRows) {
      context.check();
      tile.read(packer, begin, std::min<int64_t>(kTileRows, chunks[c].end - begin));
      for (int64_t b = 0; b < n_jobs; ++b)
        if (rows.folds.train[splits[b] * rows.folds.n_atoms() + chunks[c].atom] > 0)
          for (int64_t k = 0; k < points[b].cols(); ++k)
            tile.products(points[b].col(k), result[b].col(k).data() + begin);
    }
  });
  return result;
}

}  // namespace manyfit
