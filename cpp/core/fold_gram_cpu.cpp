#include <algorithm>
#include <cmath>
#include <limits>

#include "core/errors.h"
#include "core/fold_gram.h"
#include "core/gram_kernel.h"
#include "core/row_packer.h"

namespace manyfit {
namespace {

constexpr int64_t kShiftRows = 64;
constexpr int64_t kWideStride = 512;    // from here on threads share the output, not the rows
constexpr int64_t kBlockColumns = 128;  // of one such piece of output
constexpr int64_t kMaxChunks = 64;

struct Shape {
  int64_t d, t, stride;
  int64_t columns() const { return 1 + d + t; }
};

// M's lower triangle += Z'Z for one packed tile. Blocks of rows of M that belong to targets need
// the columns of X and their own diagonal alone.
template <class T>
void add_tile(const T* panel, const Shape& shape, int64_t n_rows, double* out, Prefetch prefetch) {
  constexpr int W = GramTile<T>::width;
  const int64_t last_x = shape.d / W;  // strip of the last column of X
  for (int64_t i = 0; i < shape.columns(); i += GramTile<T>::rows) {
    const T* a = panel + i / W * kTileRows * W + i % W;
    double* row = out + i * shape.stride;
    const int64_t diagonal = i / W;
    if (i > shape.d && diagonal > last_x) {
      gram_block_row(a, panel, last_x + 1, n_rows, row, shape.stride, prefetch);
      gram_block_row(a, panel + diagonal * kTileRows * W, 1, n_rows, row + diagonal * W,
                     shape.stride, prefetch);
    } else {
      gram_block_row(a, panel, diagonal + 1, n_rows, row, shape.stride, prefetch);
    }
  }
}

// Rows at positions [begin, end), all of one atom.
struct Chunk {
  int64_t atom, begin, end;
};

// The cut depends on shapes alone, so that results do not depend on the number of threads. Each
// chunk has an M of its own: their number keeps within 1/64 of X, or 3 MiB.
std::vector<Chunk> cut(const Folds& folds, const Shape& shape, int64_t bytes_of_x) {
  const int64_t budget = std::max<int64_t>(int64_t{3} << 20, bytes_of_x / 64);
  const int64_t most =
      std::clamp<int64_t>(budget / (shape.stride * shape.stride * 8), 1, kMaxChunks);
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

// Narrow M: threads take chunks of rows, then the chunks' M are added in order.
template <class T>
void add_rows(const RowPacker<T>& packer, const Shape& shape, const std::vector<Chunk>& chunks,
              const Context& context, FoldGram& result) {
  const int64_t strips = shape.stride / GramTile<T>::width;
  const int64_t size = shape.stride * shape.stride;
  const int64_t calls = strips * strips / kBlockVectors + 1;
  const bool direct = static_cast<int64_t>(chunks.size()) == result.folds.n_atoms();
  std::vector<double> parts(direct ? 0 : chunks.size() * size);
  context.parallel_for("fold Gram", chunks.size(), [&](int64_t c) {
    const Chunk& chunk = chunks[c];
    const AlignedBuffer<T> panel(GramTile<T>::panel_size(shape.stride));
    double* out = direct ? result.moments.data() + chunk.atom * size : parts.data() + c * size;
    for (int64_t begin = chunk.begin; begin < chunk.end; begin += kTileRows) {
      context.check();
      const int64_t n = std::min<int64_t>(kTileRows, chunk.end - begin);
      packer.pack(begin, n, 0, strips, panel.data());
      add_tile(panel.data(), shape, n, out, packer.prefetch(begin + n, chunk.end, calls));
    }
  });
  if (direct) return;
  constexpr int64_t slices = 8;
  context.parallel_for("fold Gram", slices, [&](int64_t slice) {
    for (size_t c = 0; c < chunks.size(); ++c) {
      double* out = result.moments.data() + chunks[c].atom * size;
      const double* part = parts.data() + c * size;
      for (int64_t i = size * slice / slices; i < size * (slice + 1) / slices; ++i)
        out[i] += part[i];
    }
  });
}

// Wide M: threads take blocks of M, each of which reads the rows for itself.
template <class T>
void add_blocks(const RowPacker<T>& packer, const Shape& shape, const Context& context,
                FoldGram& result) {
  constexpr int W = GramTile<T>::width;
  constexpr int64_t block_strips = kBlockColumns / W;
  const int64_t strips = shape.stride / W;
  const int64_t blocks = (strips + block_strips - 1) / block_strips;
  const int64_t pairs = blocks * (blocks + 1) / 2;
  context.parallel_for("fold Gram", result.folds.n_atoms() * pairs, [&](int64_t task) {
    const int64_t atom = task / pairs;
    int64_t bi = 0;
    int64_t bj = task % pairs;
    while (bj > bi) bj -= ++bi;
    const int64_t i_begin = bi * block_strips, i_end = std::min(strips, i_begin + block_strips);
    const int64_t j_begin = bj * block_strips, j_end = std::min(strips, j_begin + block_strips);
    const bool targets_only = i_begin * W > shape.d && j_begin * W > shape.d;
    if (targets_only && bi != bj) return;
    const AlignedBuffer<T> a(GramTile<T>::panel_size(kBlockColumns)),
        b(GramTile<T>::panel_size(kBlockColumns));
    double* out = result.moments.data() + atom * shape.stride * shape.stride;
    const int64_t end = result.folds.atom_begin[atom + 1];
    for (int64_t begin = result.folds.atom_begin[atom]; begin < end; begin += kTileRows) {
      context.check();
      const int64_t n = std::min<int64_t>(kTileRows, end - begin);
      packer.pack(begin, n, i_begin, i_end, a.data());
      if (bi != bj) packer.pack(begin, n, j_begin, j_end, b.data());
      Prefetch none;
      for (int64_t i = i_begin * W; i < i_end * W; i += GramTile<T>::rows) {
        const int64_t needed = bi == bj ? i / W - j_begin + 1 : j_end - j_begin;
        gram_block_row(a.data() + (i / W - i_begin) * kTileRows * W + i % W,
                       bi == bj ? a.data() : b.data(), needed, n,
                       out + i * shape.stride + j_begin * W, shape.stride, none);
      }
    }
  });
}

}  // namespace

template <class T>
std::vector<double> provisional_means(MatrixView<const T> X) {
  const int64_t n = std::min(X.rows, kShiftRows);
  std::vector<double> means(X.cols, 0.0);
  // About the first row: the mean of a constant column is that constant, to the last digit.
  for (int64_t k = 1; k < n; ++k) {
    const int64_t row = X.rows / n * k;
    for (int64_t j = 0; j < X.cols; ++j)
      means[j] +=
          (static_cast<double>(X(row, j)) - static_cast<double>(X(0, j))) / static_cast<double>(n);
  }
  for (int64_t j = 0; n > 0 && j < X.cols; ++j)
    means[j] = static_cast<double>(static_cast<T>(means[j] + static_cast<double>(X(0, j))));
  return means;
}

template <class T>
FoldGram fold_gram_cpu(MatrixView<const T> X, MatrixView<const T> Y, VectorView<const T> w,
                       Folds folds, const Context& context) {
  const Shape shape{X.cols, Y.cols, GramTile<T>::padded(1 + X.cols + Y.cols)};
  FoldGram result;
  result.n_features = X.cols;
  result.n_targets = Y.cols;
  result.stride = shape.stride;
  // Tile sums in float lose about a tenth of its epsilon, as their errors average out over tiles.
  result.precision = std::is_same_v<T, float> ? 1e-8 : std::numeric_limits<double>::epsilon();
  result.shift = provisional_means(X);
  const std::vector<double> target_shift = provisional_means(Y);
  result.shift.insert(result.shift.end(), target_shift.begin(), target_shift.end());
  result.moments.assign(folds.n_atoms() * shape.stride * shape.stride, 0.0);
  result.folds = std::move(folds);
  const RowPacker<T> packer(X, Y, w, result.folds, result.shift);
  if (shape.stride <= kWideStride) {
    const auto chunks = cut(result.folds, shape, X.rows * X.cols * static_cast<int64_t>(sizeof(T)));
    add_rows(packer, shape, chunks, context, result);
  } else {
    add_blocks(packer, shape, context, result);
  }
  return result;
}

template std::vector<double> provisional_means(MatrixView<const float>);
template std::vector<double> provisional_means(MatrixView<const double>);
template FoldGram fold_gram_cpu(MatrixView<const float>, MatrixView<const float>,
                                VectorView<const float>, Folds, const Context&);
template FoldGram fold_gram_cpu(MatrixView<const double>, MatrixView<const double>,
                                VectorView<const double>, Folds, const Context&);

bool FoldGram::finite() const {
  for (int64_t a = 0; a < folds.n_atoms(); ++a)
    for (int64_t i = 0; i < 1 + n_features + n_targets; ++i)
      if (!std::isfinite(atom(a)[i * stride + i])) return false;
  return true;
}

Moments moments(const FoldGram& gram, int64_t split, Part part, bool centred) {
  const int64_t d = gram.n_features, t = gram.n_targets, p = 1 + d + t;
  const std::vector<int32_t>& times = part == Part::train ? gram.folds.train : gram.folds.test;
  // M as a column-major upper triangle: entry (j, i), j <= i, stands at M[i * stride + j].
  using Strided = Eigen::Map<const Eigen::MatrixXd, 0, Eigen::OuterStride<>>;
  Moments result;
  result.gram.resize(d, d);
  Eigen::VectorXd sums = Eigen::VectorXd::Zero(p);  // sum w z
  result.cross.setZero(d, t);
  result.target_squares.setZero(t);
  bool first = true;
  for (int64_t a = 0; a < gram.folds.n_atoms(); ++a) {
    const double count = times[split * gram.folds.n_atoms() + a];
    if (count == 0) continue;
    const Strided M(gram.atom(a), p, p, Eigen::OuterStride<>(gram.stride));
    sums += count * M.row(0).transpose();
    result.cross += count * M.block(1, 1 + d, d, t);
    result.target_squares += count * M.diagonal().tail(t);
    for (int64_t j = 0; j < d; ++j) {
      auto column = result.gram.col(j).head(j + 1);
      if (first)
        column = count * M.col(1 + j).segment(1, j + 1);
      else
        column += count * M.col(1 + j).segment(1, j + 1);
    }
    first = false;
  }
  if (first) {  // no row on this side
    result.gram.setZero();
    result.shifted_squares.setZero(d);
    result.mean.setZero(d);
    result.target_mean.setZero(t);
    return result;
  }
  result.weight = sums(0);
  const Eigen::Map<const Eigen::VectorXd> shift(gram.shift.data(), d),
      target_shift(gram.shift.data() + d, t);
  const Eigen::VectorXd x = sums.segment(1, d), y = sums.tail(t);  // about the shift
  result.shifted_squares = result.gram.diagonal();
  if (centred) {
    const double scale = 1 / result.weight;
    for (int64_t j = 0; j < d; ++j)
      result.gram.col(j).head(j + 1) -= x.head(j + 1) * (x(j) * scale);
    result.cross -= x * (y * scale).transpose();
    result.target_squares -= (y.array().square() * scale).matrix();
  } else {
    const Eigen::VectorXd u = x + result.weight * shift;
    for (int64_t j = 0; j < d; ++j)
      result.gram.col(j).head(j + 1) += x.head(j + 1) * shift(j) + shift.head(j + 1) * u(j);
    const Eigen::VectorXd v = y + result.weight * target_shift;
    result.cross += x * target_shift.transpose() + shift * v.transpose();
    result.target_squares += (y + v).cwiseProduct(target_shift);
  }
  for (int64_t j = 0; j < d; ++j)
    for (int64_t i = 0; i < j; ++i) result.gram(j, i) = result.gram(i, j);
  result.mean = shift + x / result.weight;
  result.target_mean = target_shift + y / result.weight;
  return result;
}

}  // namespace manyfit
