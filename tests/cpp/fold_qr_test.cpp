#include "core/fold_qr.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "core/fold_gram.h"
#include "patience.h"
#include "reference.h"
#include "tables.h"

namespace manyfit::testing {
namespace {

template <class T>
class FoldQRTest : public ::testing::Test {};
TYPED_TEST_SUITE(FoldQRTest, FloatTypes, TypeName);

template <class T>
struct Problem {
  Table<T> X, Y;
  std::vector<T> w;

  Problem(int64_t n, int64_t d, int64_t t, bool weighted, Layout layout = Layout::c,
          double mean = 0.7)
      : X(normal_table<T>(n, d, 1, layout, mean)),
        Y(normal_table<T>(n, t, 2, layout, -mean)),
        w(weighted ? random_weights<T>(n, 3) : std::vector<T>()) {}

  FoldQR qr(Folds folds, int threads = 2) const {
    return fold_qr_cpu(X.view(), Y.view(), view(w), std::move(folds), Context(threads));
  }
  Rows rows(const std::vector<int64_t>& indices) const {
    return rows_of(X.view(), Y.view(), view(w), indices);
  }
};

// sqrt(w) [1, X - shift, Y - shift] of an atom's rows.
template <class T>
RealMatrix shifted_rows(const Problem<T>& problem, const FoldQR& qr, int64_t atom) {
  const int64_t begin = qr.folds.atom_begin[atom], end = qr.folds.atom_begin[atom + 1];
  const int64_t d = problem.X.cols(), t = problem.Y.cols();
  RealMatrix Z(end - begin, 1 + d + t);
  for (int64_t i = begin; i < end; ++i) {
    const int64_t row = qr.folds.row(i);
    const Real root = std::sqrt(static_cast<Real>(problem.w.empty() ? T(1) : problem.w[row]));
    Z(i - begin, 0) = root;
    for (int64_t j = 0; j < d; ++j)
      Z(i - begin, 1 + j) = root * (static_cast<Real>(problem.X(row, j)) - qr.shift[j]);
    for (int64_t k = 0; k < t; ++k)
      Z(i - begin, 1 + d + k) = root * (static_cast<Real>(problem.Y(row, k)) - qr.shift[d + k]);
  }
  return Z;
}

TYPED_TEST(FoldQRTest, SquareOfTheFactorIsTheGram) {
  for (const int64_t d : {1, 5, 40})
    for (const int64_t n :
         {1, 3, 45, 255, 256, 257, 2000})  // fewer rows than columns, blocks, chunks
      for (const Layout layout : {Layout::c, Layout::fortran, Layout::reversed_rows}) {
        const int64_t t = d % 3;
        const Problem<TypeParam> problem(n, d, t, n % 2 == 0, layout);
        SCOPED_TRACE(::testing::Message() << "n=" << n << " d=" << d << " " << name(layout));
        const auto folds =
            n < 6 ? all_rows(n) : folds_of(n, shuffled_k_fold(n, 3, static_cast<uint64_t>(n)));
        const FoldQR qr = problem.qr(folds);
        ASSERT_EQ(static_cast<int64_t>(qr.factors.size()), folds.n_atoms());
        for (int64_t a = 0; a < folds.n_atoms(); ++a) {
          const Eigen::MatrixXd& R = qr.factors[a];
          EXPECT_TRUE(R.isUpperTriangular(0));
          const RealMatrix Z = shifted_rows(problem, qr, a);
          const RealMatrix square = R.cast<Real>().transpose() * R.cast<Real>();
          EXPECT_LT(relative_distance(square, (Z.transpose() * Z).eval()), 1e-14);
        }
      }
}

TYPED_TEST(FoldQRTest, AgreesWithTheFoldGram) {
  const Problem<TypeParam> problem(700, 6, 2, true);
  const Folds folds = folds_of(700, bootstrap(700, 2, 4));
  const FoldQR qr = problem.qr(folds);
  const FoldGram gram =
      fold_gram_cpu(problem.X.view(), problem.Y.view(), view(problem.w), folds, Context(2));
  ASSERT_EQ(qr.shift, gram.shift);
  for (int64_t a = 0; a < folds.n_atoms(); ++a) {
    const Eigen::MatrixXd square = qr.factors[a].transpose() * qr.factors[a];
    for (int64_t i = 0; i < 7; ++i)
      for (int64_t j = 0; j <= i; ++j)
        EXPECT_NEAR(gram.atom(a)[i * gram.stride + j], square(i, j),
                    30 * kEpsilon<TypeParam> * square.norm());
  }
}

// factor' factor and factor' target, against the rows of each split.
TYPED_TEST(FoldQRTest, TrainFactorIsThatOfTheSplitsRows) {
  const int64_t n = 300, d = 7, t = 2;
  for (const bool weighted : {false, true}) {
    const Problem<TypeParam> problem(n, d, t, weighted);
    std::vector<OwnedSplit> splits = k_fold(n, 4);
    for (OwnedSplit& split : bootstrap(n, 2, 5)) splits.push_back(std::move(split));
    splits.push_back({{5, 2, 9}, {1}});  // fewer rows than columns
    const FoldQR qr = problem.qr(folds_of(n, splits));
    for (size_t s = 0; s < splits.size(); ++s)
      for (const bool centred : {false, true}) {
        SCOPED_TRACE(::testing::Message() << "split " << s << (centred ? " centred" : ""));
        const Rows rows = problem.rows(splits[s].train);
        const TrainFactor train = train_factor(qr, static_cast<int64_t>(s), centred, Context(2));
        const RealMatrix X = design(rows.X, rows.w, centred), Y = design(rows.Y, rows.w, centred);
        const RealMatrix R = train.factor.cast<Real>();
        EXPECT_TRUE(train.factor.isUpperTriangular(0));
        EXPECT_LT(relative_distance((R.transpose() * R).eval(), (X.transpose() * X).eval()), 1e-13);
        EXPECT_LT(relative_distance((R.transpose() * train.target.cast<Real>()).eval(),
                                    (X.transpose() * Y).eval()),
                  1e-13);
        EXPECT_LT(relative_distance(train.mean, weighted_mean(rows.X, rows.w)), 1e-14);
        EXPECT_LT(relative_distance(train.target_mean, weighted_mean(rows.Y, rows.w)), 1e-14);
      }
  }
}

// Singular values down to 1e-10 of the largest: the factor has them to rounding, the Gram (1e-20)
// not at all.
TEST(FoldQRAccuracy, KeepsSmallSingularValuesThatTheGramLoses) {
  const int64_t n = 400, d = 6;
  const RealMatrix exact = conditioned(n, d, 1e10L, 3);
  const Table<double> X(n, d, Layout::c,
                        [&](int64_t i, int64_t j) { return static_cast<double>(exact(i, j)); });
  const Rows rows = all_rows_of(X.view(), no_targets<double>(n), {});
  const RealVector expected = jacobi_svd(design(rows.X, rows.w, true)).values;
  const FoldQR qr = fold_qr_cpu(X.view(), no_targets<double>(n), {}, all_rows(n), Context(2));
  const TrainFactor train = train_factor(qr, 0, true, Context(2));
  const RealVector from_factor = jacobi_svd(train.factor.cast<Real>()).values;
  EXPECT_LT(distance(from_factor, expected), 1e-15);
  EXPECT_LT(std::abs(from_factor(d - 1) / expected(d - 1) - 1), 1e-4L);
  const FoldGram gram = fold_gram_cpu(X.view(), no_targets<double>(n), {}, all_rows(n), Context(2));
  const RealVector squares =
      jacobi_svd(moments(gram, 0, Part::train, true).gram.cast<Real>()).values;
  EXPECT_GT(std::abs(std::sqrt(squares(d - 1)) / expected(d - 1) - 1), 1);
}

TYPED_TEST(FoldQRTest, LargeMeansCostNoDigits) {
  const double mean = std::is_same_v<TypeParam, float> ? 1e4 : 1e8;
  const Problem<TypeParam> problem(1000, 4, 1, true, Layout::c, mean);
  const FoldQR qr = problem.qr(all_rows(1000));
  const TrainFactor train = train_factor(qr, 0, true, Context(2));
  const Rows rows = all_rows_of(problem.X.view(), problem.Y.view(), view(problem.w));
  const RealMatrix X = design(rows.X, rows.w, true);
  const RealMatrix R = train.factor.cast<Real>();
  EXPECT_LT(relative_distance((R.transpose() * R).eval(), (X.transpose() * X).eval()), 1e-13);
}

TYPED_TEST(FoldQRTest, SameBitsForAnyNumberOfThreads) {
  within_patience([] {
    const Problem<TypeParam> problem(5000, 12, 2, true);
    const Folds folds = folds_of(5000, shuffled_k_fold(5000, 3, 4));
    const FoldQR one = problem.qr(folds, 1);
    for (const int threads : {2, 3, 4}) {
      const FoldQR many = problem.qr(folds, threads);
      for (size_t a = 0; a < one.factors.size(); ++a) EXPECT_EQ(many.factors[a], one.factors[a]);
    }
  });
}

}  // namespace
}  // namespace manyfit::testing
