#include "linear_model/logistic_rows.h"

#include <algorithm>
#include <cstring>

#include "core/fold_gram.h"
#include "core/gram_kernel.h"
#include "core/row_packer.h"
#include "linear_model/logistic_loss.h"

namespace manyfit {
namespace {

constexpr int64_t kMaxChunks = 64;
constexpr int64_t kChunkRows = 4 * kTileRows;
constexpr int64_t kPartBudget = int64_t{64} << 20;  // bytes of all chunks' own sums

using Tile = GramTile<double>;
using RowMajor = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Rows = Eigen::Map<const RowMajor, Eigen::Aligned64, Eigen::OuterStride<>>;
using Column = Eigen::Array<double, kTileRows, 1>;

double sum(const Column& values, int64_t n) { return values.head(n).sum(); }

}  // namespace

LogisticRows::LogisticRows(const Folds& folds, int64_t n_features, int64_t n_classes,
                           const Eigen::MatrixXd& class_weights)
    : folds_(folds),
      d_(n_features),
      classes_(n_classes),
      stride_(Tile::padded(n_features + 1)),
      shift_(Eigen::VectorXd::Zero(n_features)),
      class_weights_(class_weights) {}

void LogisticRows::sample(int64_t one_of) { step_ = one_of; }

// The cut depends on shapes alone, so that results do not depend on the number of threads.
std::vector<LogisticRows::Chunk> LogisticRows::cut(int64_t bytes_of_part) const {
  const int64_t most =
      std::clamp<int64_t>(kPartBudget / std::max<int64_t>(bytes_of_part, 1), 1, kMaxChunks);
  const int64_t tiles = (folds_.n_rows + kTileRows - 1) / kTileRows;
  const int64_t rows = std::max((tiles + most - 1) / most * kTileRows, kChunkRows * step_);
  std::vector<Chunk> chunks;
  for (int64_t a = 0; a < folds_.n_atoms(); ++a)
    for (int64_t begin = folds_.atom_begin[a]; begin < folds_.atom_begin[a + 1]; begin += rows)
      chunks.push_back({a, begin, std::min(begin + rows, folds_.atom_begin[a + 1])});
  return chunks;
}

void LogisticRows::weights(int64_t begin, int64_t n, int64_t class_weight, double* out) const {
  for (int64_t r = 0; r < n; ++r) {
    const double row = weight_.empty() ? 1.0 : weight_[begin + r];
    out[r] = row * class_weights_(class_weight, label_[begin + r]);
  }
}

void LogisticRows::total_weight(int64_t class_weight, double* total, const Context&) const {
  std::fill_n(total, folds_.n_atoms(), 0.0);
  Column weight;
  for (const Chunk& chunk : cut(1)) {
    for (int64_t begin = chunk.begin; begin < chunk.end; begin += kTileRows * step_) {
      const int64_t n = std::min<int64_t>(kTileRows, chunk.end - begin);
      weights(begin, n, class_weight, weight.data());
      total[chunk.atom] += sum(weight, n);
    }
  }
}

void LogisticRows::evaluate(const LogisticPoint* points, int64_t n_points, double* loss_of,
                            double* gradient_of, const Context& context) const {
  const int64_t p = parameters(), K = outputs(), atoms = folds_.n_atoms();
  using Model = Eigen::Map<const Eigen::MatrixXd>;
  // Each atom's columns: the points that need it, side by side.
  std::vector<std::vector<int64_t>> members(atoms);
  std::vector<Eigen::MatrixXd> coef(atoms);
  int64_t widest = 0;
  for (int64_t a = 0; a < atoms; ++a) {
    for (int64_t i = 0; i < n_points; ++i)
      if (points[i].atoms[a]) members[a].push_back(i);
    const auto count = static_cast<int64_t>(members[a].size());
    coef[a].setZero(stride_, count * K);
    for (int64_t i = 0; i < count; ++i)
      coef[a].block(0, i * K, p, K) = Model(points[members[a][i]].coef, p, K);
    widest = std::max(widest, count);
  }
  std::fill_n(loss_of, n_points * atoms, 0.0);
  std::fill_n(gradient_of, n_points * atoms * p * K, 0.0);
  const auto chunks = cut((p * K + 1) * widest * 8);
  struct Part {
    Eigen::VectorXd loss;
    Eigen::MatrixXd gradient;
  };
  std::vector<Part> parts(chunks.size());
  context.parallel_for("logistic regression", chunks.size(), [&](int64_t c) {
    const Chunk& chunk = chunks[c];
    const auto& columns = members[chunk.atom];
    const auto count = static_cast<int64_t>(columns.size());
    if (count == 0) return;
    Part& part = parts[c];
    part.loss.setZero(count);
    part.gradient.setZero(stride_, count * K);
    const AlignedBuffer<double> tile(kTileRows * stride_);
    Eigen::MatrixXd scores(kTileRows, count * K);
    Column weight, sign, highest, loss;
    for (int64_t begin = chunk.begin; begin < chunk.end; begin += kTileRows * step_) {
      context.check();
      const int64_t n = std::min<int64_t>(kTileRows, chunk.end - begin);
      pack(begin, n, tile.data());
      const Rows z(tile.data(), n, stride_, Eigen::OuterStride<>(stride_));
      auto top = scores.topRows(n);
      if (count * K == 1)
        top.col(0).noalias() = z * coef[chunk.atom].col(0);
      else
        top.noalias() = z * coef[chunk.atom];
      int64_t weighted_as = -1;
      if (K == 1)
        for (int64_t r = 0; r < n; ++r) sign(r) = label_[begin + r] == 1 ? 1.0 : -1.0;
      for (int64_t i = 0; i < count; ++i) {
        const int64_t class_weight = points[columns[i]].class_weight;
        if (class_weight != weighted_as) weights(begin, n, class_weight, weight.data());
        weighted_as = class_weight;
        double* score = scores.col(i * K).data();
        if (K == 1) {
          binary_loss(sign.data(), weight.data(), n, score, loss.data());
        } else {
          Column own;
          for (int64_t r = 0; r < n; ++r) own(r) = score[label_[begin + r] * kTileRows + r];
          softmax(n, K, kTileRows, score, highest.data(), loss.data());
          for (int64_t r = 0; r < n; ++r) {
            loss(r) = weight(r) * (loss(r) + (highest(r) - own(r)));
            score[label_[begin + r] * kTileRows + r] -= 1;
          }
          for (int64_t k = 0; k < K; ++k)
            for (int64_t r = 0; r < n; ++r) score[k * kTileRows + r] *= weight(r);
        }
        part.loss(i) += sum(loss, n);
      }
      if (count * K == 1)
        part.gradient.col(0).noalias() += z.transpose() * top.col(0);
      else
        part.gradient.noalias() += z.transpose() * top;
    }
  });
  for (size_t c = 0; c < chunks.size(); ++c) {
    const int64_t a = chunks[c].atom;
    for (size_t i = 0; i < members[a].size(); ++i) {
      const int64_t place = members[a][i] * atoms + a;
      loss_of[place] += parts[c].loss(i);
      Eigen::Map<Eigen::MatrixXd>(gradient_of + place * p * K, p, K) +=
          parts[c].gradient.block(0, i * K, p, K);
    }
  }
}

// Strips of columns as gram_kernel.h reads them, rows scaled.
static void to_panel(const double* z, int64_t n, int64_t stride, const double* scale,
                     double* panel) {
  constexpr int W = Tile::width;
  for (int64_t s = 0; s < stride / W; ++s)
    for (int64_t r = 0; r < n; ++r)
      for (int l = 0; l < W; ++l)
        panel[(s * kTileRows + r) * W + l] = z[r * stride + s * W + l] * scale[r];
}

static void add_products(const double* a, const double* b, int64_t n, int64_t stride, double* out) {
  constexpr int W = Tile::width;
  Prefetch none;
  for (int64_t i = 0; i < stride; i += Tile::rows)
    gram_block_row(a + i / W * kTileRows * W + i % W, b, i / W + 1, n, out + i * stride, stride,
                   none);
}

void LogisticRows::binary_hessian(const double* z, const double* weight, int64_t n,
                                  const Eigen::VectorXd& coef, double* panel, double* out) const {
  const Rows rows(z, n, stride_, Eigen::OuterStride<>(stride_));
  Eigen::VectorXd score(n);
  score.noalias() = rows * coef;
  Column root;
  binary_curvature(weight, n, score.data(), root.data());
  to_panel(z, n, stride_, root.data(), panel);
  add_products(panel, panel, n, stride_, out);
}

// Blocks (k, l), l <= k, one after the other: sum v p_k (1[k = l] - p_l) z z'.
void LogisticRows::multinomial_hessian(const double* z, const double* weight, int64_t n,
                                       const Eigen::MatrixXd& coef, double* panels,
                                       double* out) const {
  const int64_t K = outputs();
  const Rows rows(z, n, stride_, Eigen::OuterStride<>(stride_));
  Eigen::MatrixXd chance(kTileRows, K);
  chance.topRows(n).noalias() = rows * coef;
  Column highest, scale;
  softmax(n, K, kTileRows, chance.data(), highest.data(), scale.data());
  double* plain = panels;
  double* scaled = panels + Tile::panel_size(stride_);
  scale.setOnes();
  to_panel(z, n, stride_, scale.data(), plain);
  for (int64_t k = 0; k < K; ++k) {
    for (int64_t l = 0; l <= k; ++l, out += stride_ * stride_) {
      for (int64_t r = 0; r < n; ++r)
        scale(r) = weight[r] * chance(r, k) * ((k == l ? 1.0 : 0.0) - chance(r, l));
      to_panel(z, n, stride_, scale.data(), scaled);
      add_products(plain, scaled, n, stride_, out);
    }
  }
}

void LogisticRows::hessian(const LogisticPoint& point, const double* times, double* result_of,
                           const Context& context) const {
  const int64_t p = parameters(), K = outputs(), block = stride_ * stride_;
  const int64_t size = K * (K + 1) / 2 * block;
  Eigen::MatrixXd coef = Eigen::MatrixXd::Zero(stride_, K);
  coef.topRows(p) = Eigen::Map<const Eigen::MatrixXd>(point.coef, p, K);
  const auto chunks = cut(size * 8);
  std::vector<std::vector<double>> parts(chunks.size());
  context.parallel_for("logistic regression", chunks.size(), [&](int64_t c) {
    const Chunk& chunk = chunks[c];
    if (times[chunk.atom] == 0) return;
    parts[c].assign(size, 0.0);
    const AlignedBuffer<double> tile(kTileRows * stride_), panels(2 * Tile::panel_size(stride_));
    const Eigen::VectorXd first = coef.col(0);
    Column weight;
    for (int64_t begin = chunk.begin; begin < chunk.end; begin += kTileRows * step_) {
      context.check();
      const int64_t n = std::min<int64_t>(kTileRows, chunk.end - begin);
      pack(begin, n, tile.data());
      weights(begin, n, point.class_weight, weight.data());
      if (K == 1)
        binary_hessian(tile.data(), weight.data(), n, first, panels.data(), parts[c].data());
      else
        multinomial_hessian(tile.data(), weight.data(), n, coef, panels.data(), parts[c].data());
    }
  });
  std::vector<double> total(size, 0.0);
  for (size_t c = 0; c < chunks.size(); ++c) {
    if (parts[c].empty()) continue;
    const double scale = times[chunks[c].atom];
    for (int64_t i = 0; i < size; ++i) total[i] += scale * parts[c][i];
  }
  Eigen::Map<Eigen::MatrixXd> result(result_of, p * K, p * K);
  const double* at = total.data();
  for (int64_t k = 0; k < K; ++k) {
    for (int64_t l = 0; l <= k; ++l, at += block) {
      for (int64_t j = 0; j < p; ++j) {
        for (int64_t i = j; i < p; ++i) {
          const double value = at[i * stride_ + j];
          result(k * p + i, l * p + j) = result(k * p + j, l * p + i) = value;
          result(l * p + i, k * p + j) = result(l * p + j, k * p + i) = value;
        }
      }
    }
  }
}

void LogisticRows::squares(int64_t class_weight, const double* times, double* result,
                           const Context& context) const {
  const auto chunks = cut(stride_ * 8);
  std::vector<Eigen::VectorXd> parts(chunks.size());
  context.parallel_for("logistic regression", chunks.size(), [&](int64_t c) {
    const Chunk& chunk = chunks[c];
    parts[c].setZero(stride_);
    const AlignedBuffer<double> tile(kTileRows * stride_);
    Column weight;
    for (int64_t begin = chunk.begin; begin < chunk.end; begin += kTileRows * step_) {
      context.check();
      const int64_t n = std::min<int64_t>(kTileRows, chunk.end - begin);
      pack(begin, n, tile.data());
      weights(begin, n, class_weight, weight.data());
      for (int64_t r = 0; r < n; ++r)
        for (int64_t j = 0; j < stride_; ++j)
          parts[c](j) += weight(r) * tile.data()[r * stride_ + j] * tile.data()[r * stride_ + j];
    }
  });
  Eigen::Map<Eigen::VectorXd> total(result, parameters());
  total.setZero();
  for (size_t c = 0; c < chunks.size(); ++c)
    total += times[chunks[c].atom] * parts[c].head(parameters());
}

template <class T>
LogisticTable<T>::LogisticTable(MatrixView<const T> X, VectorView<const int64_t> codes,
                                VectorView<const T> w, const Folds& folds, int64_t n_classes,
                                bool fit_intercept, const Eigen::MatrixXd& class_weights)
    : LogisticRows(folds, X.cols, n_classes, class_weights), X_(X), one_(fit_intercept ? 1 : 0) {
  if (fit_intercept) {
    const std::vector<double> means = provisional_means(X);
    for (int64_t j = 0; j < d_; ++j) shift_(j) = means[j];
  }
  label_.resize(X.rows);
  if (!w.empty()) weight_.resize(X.rows);
  for (int64_t i = 0; i < X.rows; ++i) {
    label_[i] = static_cast<int32_t>(codes[folds.row(i)]);
    if (!w.empty()) weight_[i] = static_cast<double>(w[folds.row(i)]);
  }
}

template <class T>
void LogisticTable<T>::pack(int64_t begin, int64_t n, double* z) const {
  const double* shift = shift_.data();
  for (int64_t r = 0; r < n; ++r) {
    const T* x = X_.row(folds_.row(begin + r));
    double* out = z + r * stride_;
    if (X_.col_stride == 1) {
      for (int64_t j = 0; j < d_; ++j) out[j] = static_cast<double>(x[j]) - shift[j];
    } else {
      for (int64_t j = 0; j < d_; ++j)
        out[j] = static_cast<double>(x[j * X_.col_stride]) - shift[j];
    }
    out[d_] = one_;
  }
}

template class LogisticTable<float>;
template class LogisticTable<double>;

}  // namespace manyfit
