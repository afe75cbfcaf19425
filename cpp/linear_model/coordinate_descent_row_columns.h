// The columns of a split, read from the rows.
#pragma once

#include <Eigen/Core>
#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "core/fold_gram.h"
#include "core/row_split.h"
#include "core/views.h"
#include "linear_model/coordinate_descent_groups.h"
#include "linear_model/working_set_path.h"

namespace manyfit {

// A split's columns, read where they lie: z_j = root (x_j - mean_j), root_i^2 the weight of row i.
template <class T>
class RowColumns final : public ColumnSource {
 public:
  Eigen::VectorXd mean, target_mean;

  RowColumns(MatrixView<const T> X, MatrixView<const T> Y, VectorView<const T> w,
             const Folds& folds, const PathGroup& path, const Context& context)
      : X_(X), rows_(w, folds, path.split, path.fit_intercept), context_(context) {
    precision = kEpsilon;
    weight = rows_.weight.sum();
    shift_ = Eigen::VectorXd::Zero(X.cols);
    if (path.fit_intercept) {
      const std::vector<double> means = provisional_means(X);
      std::copy(means.begin(), means.end(), shift_.begin());
    }
    take_targets(Y);
    take_columns();
    prepare();
  }

  Residual gradient(int64_t target, const Eigen::VectorXd& coef, Eigen::VectorXd& g) override {
    const int64_t m = rows_.size();
    Eigen::VectorXd residual = target_.col(target);
    for (int64_t i = 0; i < coef.size(); ++i)
      if (coef(i) != 0) residual -= coef(i) * columns_.col(i);
    g.resize(X_.cols);
    const Eigen::VectorXd scaled = residual.cwiseProduct(rows_.root);
    const double total = scaled.sum();  // zero but for rounding, where centred
    const Eigen::VectorXd away = mean - shift_;
    for_each_block([&](int64_t begin, int64_t n, std::vector<double>& x) {
      double* const out = g.data() + begin;
      for (int64_t j = 0; j < n; ++j) out[j] = -away(begin + j) * total;
      int64_t i = 0;
      if (X_.col_stride == 1) {
        for (; i + kBatch <= m; i += kBatch) add_rows(i, begin, n, scaled.data() + i, out);
      }
      for (; i < m; ++i) {
        read(i, 1, begin, n, x.data());
        for (int64_t j = 0; j < n; ++j) out[j] += scaled(i) * x[static_cast<size_t>(j)];
      }
      for (int64_t j = 0; j < n; ++j)
        if (squares(begin + j) == 0) out[j] = 0;
    });
    return {residual.squaredNorm(), residual.dot(target_.col(target).eval())};
  }

 private:
  static constexpr double kEpsilon = std::numeric_limits<double>::epsilon();
  static constexpr double kNoise = 64;    // roundings of a column's squares that centring leaves
  static constexpr int64_t kBlock = 512;  // columns one task takes through all rows
  static constexpr int64_t kBatch = 8;    // rows taken at once

  void take_targets(MatrixView<const T> Y) {
    const int64_t m = rows_.size();
    target_.resize(m, Y.cols);
    for (int64_t k = 0; k < Y.cols; ++k)
      for (int64_t i = 0; i < m; ++i)
        target_(i, k) = static_cast<double>(Y(rows_.rows[static_cast<size_t>(i)], k));
    target_mean.setZero(Y.cols);
    if (rows_.centred) {
      // About the first row, so that a constant target is told exactly.
      for (int64_t k = 0; k < Y.cols; ++k) {
        const double first = target_(0, k);
        target_.col(k).array() -= first;
        const double rest = target_.col(k).eval().dot(rows_.weight) / weight;
        target_.col(k).array() -= rest;
        target_mean(k) = first + rest;
      }
    }
    target_.array().colwise() *= rows_.root.array();
    target_squares = target_.colwise().squaredNorm().transpose();
  }

  // Means, squares and products with the targets of every column, in one pass.
  void take_columns() {
    const int64_t m = rows_.size(), t = target_.cols();
    mean = shift_;
    squares.setZero(X_.cols);
    cross.setZero(X_.cols, t);
    Eigen::MatrixXd scaled = target_;  // (m, t) times the roots once more
    scaled.array().colwise() *= rows_.root.array();
    const Eigen::VectorXd totals = scaled.colwise().sum().transpose();
    for_each_block([&](int64_t begin, int64_t n, std::vector<double>& x) {
      std::vector<double> first(static_cast<size_t>(n)), second(static_cast<size_t>(n));
      for (int64_t i = 0; i < m; i += kBatch) {
        const int64_t batch = std::min(kBatch, m - i);
        read(i, batch, begin, n, x.data());
        for (int64_t r = 0; r < batch; ++r) {
          const double weight = rows_.weight(i + r);
          const double* const row = x.data() + r * kBlock;
          for (int64_t j = 0; j < n; ++j) {
            const double part = weight * row[j];
            first[static_cast<size_t>(j)] += part;
            second[static_cast<size_t>(j)] += part * row[j];
          }
          for (int64_t k = 0; k < t; ++k) {
            const double a = scaled(i + r, k);
            double* const out = &cross(begin, k);
            for (int64_t j = 0; j < n; ++j) out[j] += a * row[j];
          }
        }
      }
      for (int64_t j = 0; j < n; ++j) {
        const double sum = first[static_cast<size_t>(j)], square = second[static_cast<size_t>(j)];
        double left = square;
        if (rows_.centred) {
          left -= sum * sum / weight;
          mean(begin + j) += sum / weight;
          for (int64_t k = 0; k < t; ++k) cross(begin + j, k) -= sum / weight * totals(k);
        }
        if (left <= kNoise * kEpsilon * square) {
          left = 0;
          cross.row(begin + j).setZero();
        }
        squares(begin + j) = left;
      }
    });
  }

  void fill(int64_t first) override {
    const auto size = static_cast<int64_t>(chosen.size());
    const int64_t m = rows_.size();
    if (size > columns_.cols()) columns_.conservativeResize(m, gram.cols());
    for (int64_t i = 0; i < m; ++i) {
      const T* const row = X_.row(rows_.rows[static_cast<size_t>(i)]);
      for (int64_t c = first; c < size; ++c) {
        const int64_t j = chosen[static_cast<size_t>(c)];
        columns_(i, c) = rows_.root(i) * (static_cast<double>(row[j * X_.col_stride]) - mean(j));
      }
    }
    context_.check();
    constexpr int64_t piece = 64;  // a task's columns
    context_.parallel_for("columns", (size - first + piece - 1) / piece, [&](int64_t task) {
      const int64_t begin = first + task * piece, n = std::min(piece, size - begin);
      gram.block(0, begin, begin + n, n).noalias() =
          columns_.leftCols(begin + n).transpose() * columns_.middleCols(begin, n);
    });
  }

  // out (n,) += a' (columns of the rows i, i + 1, ... about the shift), kBatch rows whose columns
  // lie side by side.
  void add_rows(int64_t i, int64_t begin, int64_t n, const double* a, double* out) const {
    static_assert(kBatch == 8);
    const T* x[kBatch];
    for (int64_t r = 0; r < kBatch; ++r)
      x[r] = X_.row(rows_.rows[static_cast<size_t>(i + r)]) + begin;
    const double* const shift = shift_.data() + begin;
    for (int64_t j = 0; j < n; ++j) {
      const double s = shift[j];
      const auto part = [&](int64_t r) { return a[r] * (static_cast<double>(x[r][j]) - s); };
      out[j] +=
          ((part(0) + part(1)) + (part(2) + part(3))) + ((part(4) + part(5)) + (part(6) + part(7)));
    }
  }

  // x (batch, kBlock): columns of the rows i, i + 1, ... about the shift.
  void read(int64_t i, int64_t batch, int64_t begin, int64_t n, double* x) const {
    for (int64_t r = 0; r < batch; ++r) {
      double* const out = x + r * kBlock;
      const T* const row = X_.row(rows_.rows[static_cast<size_t>(i + r)]) + begin * X_.col_stride;
      const double* const shift = shift_.data() + begin;
      if (X_.col_stride == 1) {
        for (int64_t j = 0; j < n; ++j) out[j] = static_cast<double>(row[j]) - shift[j];
      } else {
        for (int64_t j = 0; j < n; ++j)
          out[j] = static_cast<double>(row[j * X_.col_stride]) - shift[j];
      }
    }
  }

  template <class Task>
  void for_each_block(Task&& task) const {
    const int64_t size = X_.col_stride == 1 ? kBlock : kBlock / 8;
    context_.parallel_for("columns", (X_.cols + size - 1) / size, [&](int64_t b) {
      context_.check();
      std::vector<double> x(static_cast<size_t>(kBatch * kBlock));
      task(b * size, std::min(size, X_.cols - b * size), x);
    });
  }

  MatrixView<const T> X_;
  RowSplit rows_;
  const Context& context_;
  Eigen::VectorXd shift_;
  Eigen::MatrixXd target_;   // (m, t) centred, times the roots
  Eigen::MatrixXd columns_;  // (m, working set)
};

}  // namespace manyfit
