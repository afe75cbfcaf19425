#include <algorithm>
#include <limits>

#include "core/fold_gram.h"
#include "core/row_packer.h"
#include "linear_model/logistic.h"
#include "linear_model/logistic_loss.h"
#include "linear_model/logistic_population.h"
#include "linear_model/logistic_rows.h"

namespace manyfit {
namespace {

// Chances below this count as this, as in scikit-learn's log_loss.
constexpr double kLargestLoss = 36.04365338911715;  // -log(epsilon)

using RowMajor = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Rows = Eigen::Map<const RowMajor, Eigen::Aligned64, Eigen::OuterStride<>>;
using Column = Eigen::Array<double, kTileRows, 1>;

}  // namespace

void LogisticRows::left_out(const double* const* coef, const double* times, int64_t n_models,
                            LogisticScore* total, const Context& context) const {
  const int64_t p = parameters(), K = outputs(), atoms = folds_.n_atoms();
  std::vector<std::vector<int64_t>> members(atoms);
  std::vector<Eigen::MatrixXd> columns(atoms);
  int64_t widest = 1;
  for (int64_t a = 0; a < atoms; ++a) {
    for (int64_t i = 0; i < n_models; ++i)
      if (times[i * atoms + a] > 0) members[a].push_back(i);
    const auto count = static_cast<int64_t>(members[a].size());
    columns[a].setZero(stride_, count * K);
    for (int64_t i = 0; i < count; ++i) {
      auto own = columns[a].block(0, i * K, p, K);
      own = Eigen::Map<const Eigen::MatrixXd>(coef[members[a][i]], p, K);
      own.row(p - 1) += shift_.transpose() * own.topRows(p - 1);
    }
    widest = std::max(widest, count);
  }
  const auto chunks = cut(widest * sizeof(LogisticScore));
  std::vector<std::vector<LogisticScore>> parts(chunks.size());
  context.parallel_for("scores of left-out rows", chunks.size(), [&](int64_t c) {
    const Chunk& chunk = chunks[c];
    const auto count = static_cast<int64_t>(members[chunk.atom].size());
    if (count == 0) return;
    parts[c].resize(count);
    const AlignedBuffer<double> tile(kTileRows * stride_);
    Eigen::MatrixXd scores(kTileRows, count * K);
    const Column ones = Column::Ones();
    Column weight, sign, highest, loss, right;
    for (int64_t begin = chunk.begin; begin < chunk.end; begin += kTileRows) {
      context.check();
      const int64_t n = std::min<int64_t>(kTileRows, chunk.end - begin);
      pack(begin, n, tile.data());
      weights(begin, n, 0, weight.data());
      const Rows z(tile.data(), n, stride_, Eigen::OuterStride<>(stride_));
      scores.topRows(n).noalias() = z * columns[chunk.atom];
      const int32_t* label = label_.data() + begin;
      for (int64_t r = 0; r < n; ++r) sign(r) = label[r] == 1 ? 1.0 : -1.0;
      for (int64_t i = 0; i < count; ++i) {
        double* score = scores.col(i * K).data();
        if (K == 1) {
          for (int64_t r = 0; r < n; ++r) right(r) = (score[r] > 0) == (sign(r) > 0) ? 1 : 0;
          binary_loss(sign.data(), ones.data(), n, score, loss.data());
        } else {
          Column own;
          for (int64_t r = 0; r < n; ++r) {
            own(r) = score[label[r] * kTileRows + r];
            right(r) = 1;
            for (int64_t k = 0; k < K; ++k) {
              const double other = score[k * kTileRows + r];
              // The first of several equal scores is the answer.
              if (other > own(r) || (other == own(r) && k < label[r])) right(r) = 0;
            }
          }
          softmax(n, K, kTileRows, score, highest.data(), loss.data());
          loss.head(n) += highest.head(n) - own.head(n);
        }
        LogisticScore& part = parts[c][i];
        part.weight += weight.head(n).sum();
        part.right += (weight * right).head(n).sum();
        part.loss += (weight * loss.min(kLargestLoss)).head(n).sum();
      }
    }
  });
  std::fill_n(total, n_models, LogisticScore());
  for (size_t c = 0; c < chunks.size(); ++c) {
    const int64_t a = chunks[c].atom;
    for (size_t i = 0; i < members[a].size(); ++i) {
      const int64_t model = members[a][i];
      const double often = times[model * atoms + a];
      total[model].weight += often * parts[c][i].weight;
      total[model].right += often * parts[c][i].right;
      total[model].loss += often * parts[c][i].loss;
    }
  }
}

std::vector<LogisticScore> logistic_scores(const LogisticPasses& passes, const Folds& folds,
                                           const std::vector<int64_t>& splits,
                                           const std::vector<Eigen::MatrixXd>& coef,
                                           const Context& context) {
  const int64_t atoms = folds.n_atoms();
  std::vector<double> times;
  std::vector<const double*> models;
  for (size_t i = 0; i < splits.size(); ++i) {
    models.push_back(coef[i].data());
    for (int64_t a = 0; a < atoms; ++a) times.push_back(folds.test[splits[i] * atoms + a]);
  }
  std::vector<LogisticScore> scores(splits.size());
  passes.left_out(models.data(), times.data(), static_cast<int64_t>(splits.size()), scores.data(),
                  context);
  return scores;
}

template <class T>
std::vector<LogisticScore> logistic_scores_cpu(
    MatrixView<const T> X, VectorView<const int64_t> codes, VectorView<const T> w,
    const Folds& folds, int64_t n_classes, const std::vector<int64_t>& splits,
    const std::vector<Eigen::MatrixXd>& coef, const Context& context) {
  const Eigen::MatrixXd ones = Eigen::MatrixXd::Ones(1, n_classes);
  const LogisticTable<T> rows(X, codes, w, folds, n_classes, true, ones);
  return logistic_scores(rows, folds, splits, coef, context);
}

template std::vector<LogisticScore> logistic_scores_cpu(
    MatrixView<const float>, VectorView<const int64_t>, VectorView<const float>, const Folds&,
    int64_t, const std::vector<int64_t>&, const std::vector<Eigen::MatrixXd>&, const Context&);
template std::vector<LogisticScore> logistic_scores_cpu(
    MatrixView<const double>, VectorView<const int64_t>, VectorView<const double>, const Folds&,
    int64_t, const std::vector<int64_t>&, const std::vector<Eigen::MatrixXd>&, const Context&);

}  // namespace manyfit
