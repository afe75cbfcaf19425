#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <type_traits>

#include "core/gram_kernel.h"
#include "core/row_packer.h"
#include "core/spectrum.h"
#include "linear_model/groups.h"
#include "linear_model/ridge_loo.h"

namespace manyfit {
namespace {

using Tile = GramTile<double>;

constexpr int64_t kRows = 96;  // of a tile; a multiple of every register tile's width
constexpr int64_t kMostChunks = 128;
constexpr int64_t kMostMemory = int64_t{64} << 20;  // for the matrices of groups worked on at once

// Columns of M (k, m) as the left operand of products that sum over k, in blocks of kTileRows.
class Packed {
 public:
  explicit Packed(const Eigen::MatrixXd& M)
      : depth(M.rows()),
        columns(M.cols()),
        panel_(Tile::panel_size(M.cols())),
        data_(panel_ * std::max<int64_t>(1, (depth + kTileRows - 1) / kTileRows)) {
    constexpr int W = Tile::width;
    for (int64_t i = 0; i < columns; ++i)
      for (int64_t r = 0; r < depth; ++r)
        data_.data()[r / kTileRows * panel_ + (i / W * kTileRows + r % kTileRows) * W + i % W] =
            M(r, i);
  }

  // out (padded columns, kRows) = M' B for a tile B (k, kRows).
  void times(const double* tile, double* out) const {
    constexpr int W = Tile::width;
    std::fill_n(out, Tile::padded(columns) * kRows, 0.0);
    Prefetch none;
    for (int64_t begin = 0; begin < depth; begin += kTileRows) {
      const int64_t n = std::min<int64_t>(kTileRows, depth - begin);
      const double* a = data_.data() + begin / kTileRows * panel_;
      const double* b = tile + begin * kRows;
      for (int64_t i = 0; i < columns; i += Tile::rows)
        gram_block_row(a + i / W * kTileRows * W + i % W, b, kRows / W, n, out + i * kRows, kRows,
                       none);
    }
  }

  const int64_t depth, columns;

 private:
  int64_t panel_;
  AlignedBuffer<double> data_;
};

int64_t tile_size(int64_t depth) { return (depth + kTileRows - 1) / kTileRows * kTileRows * kRows; }

// Where entry (r, row) of such a tile lies; rows of one strip are next to each other.
double* tile_strip(double* tile, int64_t r, int64_t strip) {
  return tile + r / kTileRows * kTileRows * kRows +
         (strip * kTileRows + r % kTileRows) * Tile::width;
}

// Weight, and weighted sums of X and Y about the shift, of the rows a split trains on.
struct Sums {
  double weight = 0;
  Eigen::VectorXd of;  // (d + t)

  Sums(const FoldGram& gram, int64_t split) : of(Eigen::VectorXd::Zero(size(gram))) {
    for (int64_t a = 0; a < gram.folds.n_atoms(); ++a) {
      const double count = gram.folds.train[split * gram.folds.n_atoms() + a];
      if (count == 0) continue;
      weight += count * gram.atom(a)[0];
      for (int64_t j = 0; j < of.size(); ++j) of(j) += count * gram.atom(a)[(1 + j) * gram.stride];
    }
  }
  Sums(const FoldQR& qr, int64_t split) : of(Eigen::VectorXd::Zero(size(qr))) {
    for (int64_t a = 0; a < qr.folds.n_atoms(); ++a) {
      const double count = qr.folds.train[split * qr.folds.n_atoms() + a];
      if (count == 0) continue;
      const double first = qr.factors[a](0, 0);
      weight += count * first * first;
      for (int64_t j = 0; j < of.size(); ++j) of(j) += count * first * qr.factors[a](0, 1 + j);
    }
  }

  template <class Form>
  static int64_t size(const Form& form) {
    return form.n_features + form.n_targets;
  }
};

// Jobs of one split with one kind of centring: what their pass over the rows needs.
struct Group {
  int64_t split;
  bool centred, keep = false, reliable = true;
  std::vector<size_t> jobs;
  std::vector<double> alpha;  // of all jobs, one after the other
  double weight = 0;
  Eigen::VectorXd shift, offset;                 // (d + t) what is taken from X and Y, in two steps
  std::unique_ptr<Packed> vectors, decay, coef;  // (d, d), (d, a), (d, t a)
};

std::vector<Group> gather(const std::vector<LeaveOneOutJob>& jobs) {
  std::vector<LinearJob> plain;
  for (const LeaveOneOutJob& job : jobs) plain.push_back({job.split, job.fit_intercept});
  std::vector<Group> groups;
  for (const LinearGroup& linear : grouped(plain)) {
    Group group;
    group.split = linear.split;
    group.centred = linear.fit_intercept;
    group.jobs = linear.jobs;
    for (const size_t b : linear.jobs) {
      group.alpha.insert(group.alpha.end(), jobs[b].alpha.begin(), jobs[b].alpha.end());
      group.keep = group.keep || jobs[b].keep_residuals;
    }
    groups.push_back(std::move(group));
  }
  return groups;
}

void pack(Group& group, const Spectrum& spectrum) {
  const int64_t d = spectrum.values.size(), t = spectrum.target.cols(),
                A = static_cast<int64_t>(group.alpha.size());
  Eigen::MatrixXd decay(d, A), scaled(d, t * A);
  for (int64_t a = 0; a < A; ++a)
    for (int64_t j = 0; j < d; ++j) {
      const double s = spectrum.values(j), inverse = 1 / (s * s + group.alpha[a]);
      decay(j, a) = inverse;
      for (int64_t k = 0; k < t; ++k) scaled(j, k * A + a) = spectrum.target(j, k) * s * inverse;
    }
  group.vectors = std::make_unique<Packed>(spectrum.vectors);
  group.decay = std::make_unique<Packed>(decay);
  group.coef = std::make_unique<Packed>(spectrum.vectors * scaled);
}

double least_alpha(const Group& group) {
  return *std::min_element(group.alpha.begin(), group.alpha.end());
}

bool prepare(const FoldGram& gram, Group& group, const Context& context) {
  const double limit = condition_limit(gram.precision), alpha = least_alpha(group);
  const Moments train = moments(gram, group.split, Part::train, group.centred);
  if (!train.gram.allFinite() || !keeps_digits(train, alpha, limit)) return false;
  const Spectrum shared = spectrum(train, context);
  const double largest = std::pow(shared.values(0), 2),
               smallest = std::pow(shared.values.tail(1)(0), 2);
  if (!(largest + alpha <= limit * (smallest + alpha))) return false;
  pack(group, shared);
  return true;
}

bool prepare(const FoldQR& qr, Group& group, const Context& context) {
  pack(group, spectrum(train_factor(qr, group.split, group.centred, context), context));
  return true;
}

// How small 1 - h may be. Rows that a QR factored are taken as they are.
double least_gap(const FoldGram& gram) { return 1 / condition_limit(gram.precision); }
double least_gap(const FoldQR&) { return 0; }

// Memory that a thread needs for a tile.
template <class T>
class Worker {
 public:
  Worker(const Group& group, MatrixView<const T> X, MatrixView<const T> Y, VectorView<const T> w)
      : group_(group),
        X_(X),
        Y_(Y),
        w_(w),
        x_(tile_size(X.cols)),
        z_(Tile::padded(X.cols) * kRows),
        squares_(tile_size(X.cols)),
        leverage_(Tile::padded(group.decay->columns) * kRows),
        fit_(Tile::padded(group.coef->columns) * kRows),
        y_(std::max<int64_t>(1, Y.cols) * kRows) {}

  // Adds to sums (t a) the squares of rows at positions [begin, begin + n), each `count` times.
  void add(const Folds& folds, int64_t begin, int64_t n, double count, double* sums,
           double& least_gap, const std::vector<LeaveOneOut::Residuals*>& kept) {
    for (int64_t i = 0; i < kRows; ++i) row_[i] = folds.row(begin + std::min(i, n - 1));
    for (int64_t i = 0; i < kRows; ++i) {
      weight_[i] = w_.empty() ? 1.0 : static_cast<double>(w_[row_[i]]);
      share_[i] = i < n ? count * weight_[i] : 0.0;
    }
    read();
    group_.vectors->times(x_.data(), z_.data());
    for (int64_t j = 0; j < X_.cols; ++j)
      for (int64_t s = 0; s < kRows / Tile::width; ++s) {
        const auto z = *reinterpret_cast<const Vector*>(z_.data() + j * kRows + s * Tile::width);
        *reinterpret_cast<Vector*>(tile_strip(squares_.data(), j, s)) = z * z;
      }
    group_.decay->times(squares_.data(), leverage_.data());
    group_.coef->times(x_.data(), fit_.data());
    const double constant = group_.centred ? 1 / group_.weight : 0.0;
    const auto A = static_cast<int64_t>(group_.alpha.size());
    for (int64_t a = 0; a < A; ++a) {
      double gap[kRows];
      double* leverage = leverage_.data() + a * kRows;
      for (int64_t i = 0; i < kRows; ++i) gap[i] = 1 - weight_[i] * (constant + leverage[i]);
      for (int64_t i = 0; i < n; ++i) least_gap = std::min(least_gap, gap[i]);
      for (int64_t i = 0; i < kRows; ++i) leverage[i] = 1 / gap[i];
      for (int64_t k = 0; k < Y_.cols; ++k)
        sums[k * A + a] += square(k, leverage, fit_.data() + (k * A + a) * kRows);
    }
    if (group_.keep) keep(n, kept);
  }

 private:
  using Vector = Tile::Vector;

  // The tile's rows as columns, about the mean.
  void read() {
    constexpr int W = Tile::width;
    for (int64_t s = 0; s < kRows / W; ++s) {
      const T* rows[W];
      for (int l = 0; l < W; ++l) rows[l] = X_.row(row_[s * W + l]);
      for (int64_t j = 0; j < X_.cols; ++j) {
        double* out = tile_strip(x_.data(), j, s);
        for (int l = 0; l < W; ++l)
          out[l] =
              static_cast<double>(rows[l][j * X_.col_stride]) - group_.shift(j) - group_.offset(j);
      }
    }
    for (int64_t k = 0; k < Y_.cols; ++k)
      for (int64_t i = 0; i < kRows; ++i)
        y_.data()[k * kRows + i] = static_cast<double>(Y_(row_[i], k)) - group_.shift(X_.cols + k) -
                                   group_.offset(X_.cols + k);
  }

  // Residuals take the place of the predictions; the sum of their squares.
  double square(int64_t k, const double* inverse_gap, double* fit) {
    Vector sum{};
    for (int64_t i = 0; i < kRows; i += Tile::width) {
      const auto at = [i](auto* p) { return *reinterpret_cast<const Vector*>(p + i); };
      const Vector left_out = (at(y_.data() + k * kRows) - at(fit)) * at(inverse_gap);
      *reinterpret_cast<Vector*>(fit + i) = left_out;
      sum += at(share_) * left_out * left_out;
    }
    double total = 0;
    for (int l = 0; l < Tile::width; ++l) total += sum[l];
    return total;
  }

  void keep(int64_t n, const std::vector<LeaveOneOut::Residuals*>& kept) const {
    const auto A = static_cast<int64_t>(group_.alpha.size());
    int64_t first = 0;
    for (LeaveOneOut::Residuals* residuals : kept) {
      const int64_t own = residuals->cols() / std::max<int64_t>(1, Y_.cols);
      if (residuals->rows() > 0)
        for (int64_t i = 0; i < n; ++i)
          for (int64_t k = 0; k < Y_.cols; ++k)
            for (int64_t a = 0; a < own; ++a)
              (*residuals)(row_[i], k * own + a) = fit_.data()[(k * A + first + a) * kRows + i];
      first += own;
    }
  }

  const Group& group_;
  MatrixView<const T> X_, Y_;
  VectorView<const T> w_;
  AlignedBuffer<double> x_, z_, squares_, leverage_, fit_, y_;
  int64_t row_[kRows];
  alignas(kVectorBytes) double weight_[kRows];
  alignas(kVectorBytes) double share_[kRows];
};

struct Chunk {
  size_t group;
  int64_t atom, begin, end;
};

// Rows of the groups' training sets, cut by shapes alone.
std::vector<Chunk> cut(const Folds& folds, const std::vector<Group>& groups, size_t first,
                       size_t last) {
  const int64_t rows = std::max<int64_t>(
      4 * kRows, ((folds.n_rows + kMostChunks - 1) / kMostChunks + kRows - 1) / kRows * kRows);
  std::vector<Chunk> chunks;
  for (size_t g = first; g < last; ++g)
    for (int64_t a = 0; groups[g].reliable && a < folds.n_atoms(); ++a)
      if (folds.train[groups[g].split * folds.n_atoms() + a] > 0)
        for (int64_t begin = folds.atom_begin[a]; begin < folds.atom_begin[a + 1]; begin += rows)
          chunks.push_back({g, a, begin, std::min(begin + rows, folds.atom_begin[a + 1])});
  return chunks;
}

// Results shaped for their jobs, with places for what is kept.
std::vector<LeaveOneOut> places(const std::vector<LeaveOneOutJob>& jobs, int64_t rows,
                                int64_t targets) {
  std::vector<LeaveOneOut> results(jobs.size());
  for (size_t b = 0; b < jobs.size(); ++b) {
    const auto a = static_cast<int64_t>(jobs[b].alpha.size());
    results[b].squares.setZero(a, targets);
    results[b].residuals.setZero(jobs[b].keep_residuals ? rows : 0, a * targets);
  }
  return results;
}

// A group's sums (t a), handed to its jobs.
void distribute(const Group& group, const Eigen::VectorXd& sums, bool reliable,
                std::vector<LeaveOneOut>& results) {
  const auto A = static_cast<int64_t>(group.alpha.size());
  int64_t first = 0;
  for (const size_t b : group.jobs) {
    Eigen::MatrixXd& squares = results[b].squares;
    for (int64_t k = 0; k < squares.cols(); ++k)
      squares.col(k) = sums.segment(k * A + first, squares.rows());
    results[b].reliable = reliable && squares.allFinite();
    first += squares.rows();
  }
}

}  // namespace

template <class Form, class T>
std::vector<LeaveOneOut> ridge_loo_cpu(const Form& form, MatrixView<const T> X,
                                       MatrixView<const T> Y, VectorView<const T> w,
                                       const std::vector<LeaveOneOutJob>& jobs,
                                       const Context& context) {
  const int64_t d = X.cols, t = Y.cols;
  std::vector<LeaveOneOut> results = places(jobs, X.rows, t);
  std::vector<Group> groups = gather(jobs);
  std::vector<LinearJob> plain;
  for (const Group& group : groups) plain.push_back({group.split, group.centred});
  const std::vector<LinearGroup> order = grouped(plain);  // one each
  const auto batch = static_cast<size_t>(std::max<int64_t>(1, kMostMemory / (16 * d * d + 1)));
  for (size_t first = 0; first < groups.size(); first += batch) {
    const size_t last = std::min(groups.size(), first + batch);
    const std::vector<LinearGroup> some(order.begin() + static_cast<int64_t>(first),
                                        order.begin() + static_cast<int64_t>(last));
    for_each_group(some, d, context, [&](const LinearGroup& one) {
      Group& group = groups[one.jobs[0]];
      const Sums sums(form, group.split);
      group.weight = sums.weight;
      group.shift.setZero(d + t);
      group.offset.setZero(d + t);
      if (group.centred) {
        group.shift = Eigen::Map<const Eigen::VectorXd>(form.shift.data(), d + t);
        group.offset = sums.of / sums.weight;
      }
      group.reliable = prepare(form, group, context);
    });
    const std::vector<Chunk> chunks = cut(form.folds, groups, first, last);
    std::vector<Eigen::VectorXd> parts(chunks.size());
    std::vector<double> gaps(chunks.size(), std::numeric_limits<double>::infinity());
    context.parallel_for("leave-one-out", static_cast<int64_t>(chunks.size()), [&](int64_t c) {
      const Chunk& chunk = chunks[c];
      const Group& group = groups[chunk.group];
      std::vector<LeaveOneOut::Residuals*> kept;
      for (const size_t b : group.jobs) kept.push_back(&results[b].residuals);
      parts[c].setZero(t * static_cast<int64_t>(group.alpha.size()));
      Worker<T> worker(group, X, Y, w);
      const double count = form.folds.train[group.split * form.folds.n_atoms() + chunk.atom];
      for (int64_t begin = chunk.begin; begin < chunk.end; begin += kRows) {
        context.check();
        worker.add(form.folds, begin, std::min(kRows, chunk.end - begin), count, parts[c].data(),
                   gaps[c], kept);
      }
    });
    for (size_t g = first, c = 0; g < last; ++g) {
      Group& group = groups[g];
      Eigen::VectorXd sums = Eigen::VectorXd::Zero(t * static_cast<int64_t>(group.alpha.size()));
      double gap = std::numeric_limits<double>::infinity();
      for (; c < chunks.size() && chunks[c].group == g; ++c) {
        sums += parts[c];
        gap = std::min(gap, gaps[c]);
      }
      distribute(group, sums, group.reliable && gap > least_gap(form), results);
      group.vectors.reset();
      group.decay.reset();
      group.coef.reset();
    }
  }
  return results;
}

namespace {

// Rows of a split that is solved in the space of its rows: those with weight, then those without.
struct DualRows {
  std::vector<int64_t> row;
  Eigen::VectorXd count, weight, root;  // weight: times the count
  int64_t live = 0;                     // rows with weight

  template <class T>
  DualRows(VectorView<const T> w, const Folds& folds, int64_t split) {
    std::vector<double> counts;
    for (const bool alive : {true, false}) {
      for (int64_t a = 0; a < folds.n_atoms(); ++a) {
        const int32_t times = folds.train[split * folds.n_atoms() + a];
        for (int64_t i = folds.atom_begin[a]; times > 0 && i < folds.atom_begin[a + 1]; ++i)
          if ((w.empty() || w[folds.row(i)] > 0) == alive) {
            row.push_back(folds.row(i));
            counts.push_back(times);
          }
      }
      if (alive) live = static_cast<int64_t>(row.size());
    }
    count = Eigen::Map<const Eigen::VectorXd>(counts.data(), size());
    weight = count;
    for (int64_t i = 0; i < size() && !w.empty(); ++i) weight(i) *= static_cast<double>(w[row[i]]);
    root = weight.cwiseSqrt();
  }
  int64_t size() const { return static_cast<int64_t>(row.size()); }
};

// Inner products of all rows with those that have weight, about the mean of the latter or zero.
Eigen::MatrixXd products(const RowGram& gram, const DualRows& rows, bool centred) {
  Eigen::MatrixXd P(rows.size(), rows.live);
  for (int64_t j = 0; j < rows.live; ++j)
    for (int64_t i = 0; i < rows.size(); ++i) P(i, j) = gram.products(rows.row[i], rows.row[j]);
  if (centred) {
    const Eigen::VectorXd share = rows.weight.head(rows.live) / rows.weight.sum();
    const Eigen::VectorXd means = P * share;
    const double mean = means.head(rows.live).dot(share);
    P.colwise() -= means;
    P.rowwise() -= (means.head(rows.live).array() - mean).matrix().transpose();
  } else {
    Eigen::VectorXd along(rows.size());
    for (int64_t i = 0; i < rows.size(); ++i) along(i) = gram.along_shift(rows.row[i]);
    P.colwise() += along;
    P.rowwise() += (along.head(rows.live).array() + gram.shift_square).matrix().transpose();
  }
  return P;
}

// A A' = Q diag(values) Q' without the direction of sqrt(w), where centred rows have nothing.
struct DualSpectrum {
  Eigen::VectorXd values;
  Eigen::MatrixXd Q;       // (live, values)
  Eigen::MatrixXd silent;  // (rows without weight, live) inner products with A's rows
};

// Made the largest one by far, the direction of sqrt(w) is an eigenvector known by its place.
constexpr double kAside = 4;

DualSpectrum decompose(const RowGram& gram, const DualRows& rows, bool centred,
                       const Context& context) {
  const Eigen::MatrixXd P = products(gram, rows, centred);
  const auto root = rows.root.head(rows.live);
  DualSpectrum result;
  result.silent = P.bottomRows(rows.size() - rows.live) * root.asDiagonal();
  Eigen::MatrixXd K = root.asDiagonal() * P.topRows(rows.live) * root.asDiagonal();
  if (centred) {
    const double aside = kAside * K.trace() + std::numeric_limits<double>::min();
    K += aside / rows.weight.sum() * root * root.transpose();
  }
  SymmetricEigen eigen = eigh(std::move(K), context);
  const int64_t kept = rows.live - (centred ? 1 : 0);
  result.values = eigen.values.head(kept).cwiseMax(0);
  result.Q = eigen.vectors.leftCols(kept);
  return result;
}

DualSpectrum decompose(const RowQR& qr, const DualRows& rows, bool centred,
                       const Context& context) {
  Eigen::MatrixXd B(qr.factor.rows(), rows.size());
  for (int64_t i = 0; i < rows.size(); ++i) B.col(i) = qr.factor.col(1 + rows.row[i]);
  if (centred) {
    const Eigen::VectorXd mean = B * rows.weight / rows.weight.sum();
    B.colwise() -= mean;
  } else {
    const Eigen::VectorXd shift = qr.factor.col(0);
    B.colwise() += shift;
  }
  const auto root = rows.root.head(rows.live);
  Eigen::MatrixXd A(B.rows() + 1, rows.live);
  A.topRows(B.rows()) = B.leftCols(rows.live) * root.asDiagonal();
  DualSpectrum result;
  result.silent = B.rightCols(rows.size() - rows.live).transpose() * A.topRows(B.rows());
  const double aside = kAside * A.topRows(B.rows()).norm() + std::numeric_limits<double>::min();
  A.bottomRows(1) = (centred ? aside / std::sqrt(rows.weight.sum()) : 0.0) * root.transpose();
  const Svd decomposition = svd(std::move(A), context);  // values fall
  const int64_t first = centred ? 1 : 0, kept = decomposition.values.size() - first;
  result.values = decomposition.values.tail(kept).array().square();
  result.Q = decomposition.vt.bottomRows(kept).transpose();
  return result;
}

double dual_limit(const RowGram& gram) { return condition_limit(gram.precision); }
double dual_limit(const RowQR&) { return std::numeric_limits<double>::infinity(); }

template <class Form, class T>
void solve(const Form& form, MatrixView<const T> Y, const DualRows& rows, const Group& group,
           const Context& context, std::vector<LeaveOneOut>& results) {
  constexpr int64_t kBlock = 64;
  const int64_t t = Y.cols, A = static_cast<int64_t>(group.alpha.size()), m = rows.live;
  const DualSpectrum spectrum = decompose(form, rows, group.centred, context);
  const double least = least_alpha(group),
               largest = spectrum.values.size() > 0 ? spectrum.values.maxCoeff() : 0,
               smallest = spectrum.values.size() > 0 ? spectrum.values.minCoeff() : 0;
  if (!(largest + least <= dual_limit(form) * (smallest + least))) {
    distribute(group, Eigen::VectorXd::Zero(t * A), false, results);
    return;
  }
  Eigen::MatrixXd y(rows.size(), t);
  for (int64_t k = 0; k < t; ++k)
    for (int64_t i = 0; i < rows.size(); ++i) y(i, k) = static_cast<double>(Y(rows.row[i], k));
  if (group.centred) {  // about a provisional mean first: large targets lose nothing
    const Eigen::RowVectorXd provisional = y.row(0);
    y.rowwise() -= provisional;
    const Eigen::RowVectorXd mean = rows.weight.transpose() * y / rows.weight.sum();
    y.rowwise() -= mean;
  }
  const Eigen::MatrixXd target =
      spectrum.Q.transpose() * (rows.root.head(m).asDiagonal() * y.topRows(m));
  Eigen::MatrixXd inverse(spectrum.values.size(), A), scaled(spectrum.values.size(), t * A);
  for (int64_t a = 0; a < A; ++a) {
    inverse.col(a) = (spectrum.values.array() + group.alpha[a]).inverse();
    for (int64_t k = 0; k < t; ++k)
      scaled.col(k * A + a) = target.col(k).cwiseProduct(inverse.col(a));
  }
  Eigen::MatrixXd solution(m, t * A);  // G^-1 y
  Eigen::MatrixXd residual(rows.size(), t * A);
  context.parallel_for("leave-one-out", (m + kBlock - 1) / kBlock, [&](int64_t task) {
    const int64_t begin = task * kBlock, n = std::min(kBlock, m - begin);
    const Eigen::MatrixXd Q = spectrum.Q.middleRows(begin, n);
    solution.middleRows(begin, n).noalias() = Q * scaled;
    const Eigen::MatrixXd diagonal = Q.cwiseAbs2() * inverse;
    for (int64_t i = 0; i < n; ++i)
      for (int64_t k = 0; k < t; ++k)
        for (int64_t a = 0; a < A; ++a) {
          const double alpha = group.alpha[a], count = rows.count(begin + i);
          // Of several copies of the row one is left out.
          const double gap =
              count == 1 ? diagonal(i, a) : ((count - 1) / alpha + diagonal(i, a)) / count;
          residual(begin + i, k * A + a) =
              solution(begin + i, k * A + a) / (gap * rows.root(begin + i));
        }
  });
  for (int64_t k = 0; k < t && rows.size() > m; ++k)
    residual.block(m, k * A, rows.size() - m, A) = y.col(k).tail(rows.size() - m).replicate(1, A) -
                                                   spectrum.silent * solution.middleCols(k * A, A);
  Eigen::VectorXd sums = Eigen::VectorXd::Zero(t * A);
  for (int64_t c = 0; c < t * A; ++c)
    for (int64_t i = 0; i < m; ++i) sums(c) += rows.weight(i) * residual(i, c) * residual(i, c);
  distribute(group, sums, true, results);
  int64_t first = 0;
  for (const size_t b : group.jobs) {
    LeaveOneOut::Residuals& kept = results[b].residuals;
    const int64_t own = results[b].squares.rows();
    for (int64_t i = 0; kept.rows() > 0 && i < rows.size(); ++i)
      for (int64_t k = 0; k < t; ++k)
        for (int64_t a = 0; a < own; ++a)
          kept(rows.row[i], k * own + a) = residual(i, k * A + first + a);
    first += own;
  }
}

}  // namespace

template <class Form, class T>
std::vector<LeaveOneOut> ridge_loo_cpu(const Form& form, MatrixView<const T> Y,
                                       VectorView<const T> w, const Folds& folds,
                                       const std::vector<LeaveOneOutJob>& jobs,
                                       const Context& context) {
  std::vector<LeaveOneOut> results = places(jobs, Y.rows, Y.cols);
  if (!form.finite()) {  // squares overflowed
    for (LeaveOneOut& result : results) result.reliable = false;
    return results;
  }
  const std::vector<Group> groups = gather(jobs);
  std::vector<LinearJob> plain;
  for (const Group& group : groups) plain.push_back({group.split, group.centred});
  for_each_group(grouped(plain), Y.rows, context, [&](const LinearGroup& one) {
    const Group& group = groups[one.jobs[0]];
    solve(form, Y, DualRows(w, folds, group.split), group, context, results);
  });
  return results;
}

#define MANYFIT_INSTANTIATE(T)                                                        \
  template std::vector<LeaveOneOut> ridge_loo_cpu(                                    \
      const FoldGram&, MatrixView<const T>, MatrixView<const T>, VectorView<const T>, \
      const std::vector<LeaveOneOutJob>&, const Context&);                            \
  template std::vector<LeaveOneOut> ridge_loo_cpu(                                    \
      const FoldQR&, MatrixView<const T>, MatrixView<const T>, VectorView<const T>,   \
      const std::vector<LeaveOneOutJob>&, const Context&);                            \
  template std::vector<LeaveOneOut> ridge_loo_cpu(                                    \
      const RowGram&, MatrixView<const T>, VectorView<const T>, const Folds&,         \
      const std::vector<LeaveOneOutJob>&, const Context&);                            \
  template std::vector<LeaveOneOut> ridge_loo_cpu(                                    \
      const RowQR&, MatrixView<const T>, VectorView<const T>, const Folds&,           \
      const std::vector<LeaveOneOutJob>&, const Context&);
MANYFIT_INSTANTIATE(float)
MANYFIT_INSTANTIATE(double)
#undef MANYFIT_INSTANTIATE

}  // namespace manyfit
