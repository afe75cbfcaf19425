#include "core/fold_gram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "patience.h"
#include "reference.h"
#include "tables.h"

namespace manyfit::testing {
namespace {

template <class T>
class FoldGramTest : public ::testing::Test {};
TYPED_TEST_SUITE(FoldGramTest, FloatTypes, TypeName);

// Rounding of an entry of M in units of T's epsilon, relative to the sum of the absolute products.
constexpr double kRounding = 6;

struct Fold {
  const char* name;
  Folds folds;
};

std::vector<Fold> kinds_of_folds(int64_t n) {
  std::vector<Fold> kinds;
  kinds.push_back({"all rows", all_rows(n)});
  if (n < 5) return kinds;
  kinds.push_back({"5-fold", folds_of(n, k_fold(n, 5))});
  kinds.push_back({"shuffled 5-fold", folds_of(n, shuffled_k_fold(n, 5, 3))});
  kinds.push_back({"bootstrap", folds_of(n, bootstrap(n, 2, 4))});
  return kinds;
}

// Every entry that is kept, against three loops over the rows of its atom.
template <class T>
void expect_moments(const FoldGram& gram, MatrixView<const T> X, MatrixView<const T> Y,
                    VectorView<const T> w) {
  const int64_t d = X.cols, p = 1 + d + Y.cols;
  ASSERT_EQ(gram.n_features, d);
  ASSERT_EQ(gram.n_targets, Y.cols);
  ASSERT_GE(gram.stride, p);
  const auto shift = [&](int64_t j) { return static_cast<Real>(gram.shift[j]); };
  double worst = 0;
  for (int64_t a = 0; a < gram.folds.n_atoms(); ++a) {
    const int64_t begin = gram.folds.atom_begin[a], n = gram.folds.atom_begin[a + 1] - begin;
    RealMatrix Z(n, p);
    RealVector weight(n);
    for (int64_t i = 0; i < n; ++i) {
      const int64_t row = gram.folds.row(begin + i);
      weight(i) = w.empty() ? T(1) : w[row];
      Z(i, 0) = 1;
      for (int64_t j = 0; j < d; ++j) Z(i, 1 + j) = X(row, j) - shift(j);
      for (int64_t k = 0; k < Y.cols; ++k) Z(i, 1 + d + k) = Y(row, k) - shift(d + k);
    }
    for (int64_t i = 0; i < p; ++i)
      for (int64_t j = 0; j <= i; ++j) {
        if (j > d && j < i) continue;  // products of two targets are not kept
        Real sum = 0, size = 0;
        const Real *zi = Z.col(i).data(), *zj = Z.col(j).data();
        for (int64_t r = 0; r < n; ++r) {
          const Real product = weight(r) * zi[r] * zj[r];
          sum += product;
          size += std::abs(product);
        }
        const double error = static_cast<double>(std::abs(gram.atom(a)[i * gram.stride + j] - sum));
        const double unit = static_cast<double>(size) * kEpsilon<T>;
        if (unit > 0) worst = std::max(worst, error / unit);
        ASSERT_LE(error, kRounding * unit) << "atom " << a << ", entry (" << i << ", " << j << ")";
      }
  }
  ::testing::Test::RecordProperty("worst_rounding", std::to_string(worst));
}

template <class T>
struct Problem {
  Table<T> X, Y;
  std::vector<T> w;

  Problem(int64_t n, int64_t d, int64_t t, bool weighted, Layout layout = Layout::c,
          double mean = 0.7)
      : X(normal_table<T>(n, d, 1, layout, mean)),
        Y(normal_table<T>(n, t, 2, layout, -mean)),
        w(weighted ? random_weights<T>(n, 3) : std::vector<T>()) {}

  FoldGram gram(Folds folds, int threads = 2) const {
    return fold_gram_cpu(X.view(), Y.view(), view(w), std::move(folds), Context(threads));
  }
  void expect_moments(const FoldGram& gram) const {
    testing::expect_moments(gram, X.view(), Y.view(), view(w));
  }
};

TYPED_TEST(FoldGramTest, AroundTheEdgesOfTilesStripsAndBlocks) {
  int64_t number = 0;
  for (const int64_t d : {1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 127, 128, 129})
    for (const int64_t n : {1, 2, 127, 128, 129, 300}) {
      const int64_t t = number % 4;
      const Layout layout = kLayouts[number % std::size(kLayouts)];
      const bool weighted = number / 2 % 2 == 1;
      ++number;
      SCOPED_TRACE(::testing::Message() << "n=" << n << " d=" << d << " t=" << t << " "
                                        << name(layout) << (weighted ? " weighted" : ""));
      const Problem<TypeParam> problem(n, d, t, weighted, layout);
      problem.expect_moments(problem.gram(all_rows(n)));
    }
}

// Up to 512 columns of Z, padded, threads take rows; from there on they take blocks of M.
TYPED_TEST(FoldGramTest, WhereRowChunksEndAndBlocksBegin) {
  int64_t number = 0;
  for (int64_t d = 494; d <= 520; d += d < 505 ? 4 : 1) {
    const int64_t t = number % 3;
    const bool weighted = number % 2 == 1;
    ++number;
    SCOPED_TRACE(::testing::Message() << "d=" << d << " t=" << t);
    const Problem<TypeParam> problem(20, d, t, weighted);
    problem.expect_moments(problem.gram(folds_of(20, k_fold(20, 2))));
  }
}

TYPED_TEST(FoldGramTest, ManyTargets) {
  for (const int64_t d : {1, 7, 40, 500})
    for (const int64_t t : {20, 150}) {
      SCOPED_TRACE(::testing::Message() << "d=" << d << " t=" << t);
      const Problem<TypeParam> problem(140, d, t, true);
      problem.expect_moments(problem.gram(all_rows(140)));
    }
}

TYPED_TEST(FoldGramTest, EveryLayoutWeightAndFold) {
  const int64_t n = 1000, d = 20, t = 2;
  for (const Layout layout : kLayouts)
    for (const bool weighted : {false, true}) {
      const Problem<TypeParam> problem(n, d, t, weighted, layout);
      for (const Fold& kind : kinds_of_folds(n)) {
        SCOPED_TRACE(name(layout) + ", " + kind.name + (weighted ? ", weighted" : ""));
        problem.expect_moments(problem.gram(kind.folds));
      }
    }
}

TYPED_TEST(FoldGramTest, WideForEveryFold) {
  const int64_t n = 150, d = 530, t = 2;
  const Problem<TypeParam> problem(n, d, t, true, Layout::padded_rows);
  for (const Fold& kind : kinds_of_folds(n)) {
    SCOPED_TRACE(kind.name);
    problem.expect_moments(problem.gram(kind.folds));
  }
}

TYPED_TEST(FoldGramTest, WithoutColumns) {
  const Problem<TypeParam> problem(100, 0, 0, true);
  problem.expect_moments(problem.gram(all_rows(100)));
}

template <class T>
bool same_bits(const FoldGram& a, const FoldGram& b) {
  return a.stride == b.stride && a.shift == b.shift && a.folds == b.folds &&
         a.moments.size() == b.moments.size() &&
         std::memcmp(a.moments.data(), b.moments.data(), a.moments.size() * sizeof(double)) == 0;
}

TYPED_TEST(FoldGramTest, SameBitsForAnyNumberOfThreads) {
  within_patience([] {
    for (const auto& [n, d] : {std::pair<int64_t, int64_t>{20'000, 33}, {300, 600}}) {
      const Problem<TypeParam> problem(n, d, 2, true);
      for (const Fold& kind : kinds_of_folds(n)) {
        SCOPED_TRACE(::testing::Message() << kind.name << ", d=" << d);
        const FoldGram one = problem.gram(kind.folds, 1);
        for (const int threads : {1, 2, 3, 4, 7})
          EXPECT_TRUE(same_bits<TypeParam>(problem.gram(kind.folds, threads), one))
              << threads << " threads";
      }
    }
  });
}

TYPED_TEST(FoldGramTest, SameBitsAfterAFork) {
  const Problem<TypeParam> problem(20'000, 33, 2, true);
  const Folds folds = folds_of(20'000, k_fold(20'000, 5));
  const FoldGram here = problem.gram(folds, 3);
  EXPECT_EQ(
      in_forked_child([&] { return same_bits<TypeParam>(problem.gram(folds, 3), here) ? 0 : 1; }),
      0);
}

TYPED_TEST(FoldGramTest, SameBitsForEveryLayout) {
  using T = TypeParam;
  for (const auto& [n, d] : {std::pair<int64_t, int64_t>{3000, 35}, {60, 600}})
    for (const Layout layout : kLayouts) {
      SCOPED_TRACE(::testing::Message() << name(layout) << ", d=" << d);
      const Problem<T> problem(n, d, 2, true, layout);
      const Table<T> X(n, d, Layout::c, [&](int64_t i, int64_t j) { return problem.X(i, j); });
      const Table<T> Y(n, 2, Layout::c, [&](int64_t i, int64_t j) { return problem.Y(i, j); });
      const Folds folds = folds_of(n, shuffled_k_fold(n, 3, 5));
      const FoldGram copied = fold_gram_cpu(X.view(), Y.view(), view(problem.w), folds, Context(2));
      EXPECT_TRUE(same_bits<T>(problem.gram(folds), copied));
    }
}

// Weights of a strided view; a repeated weight is a factor.
TYPED_TEST(FoldGramTest, WeightsMayBeStrided) {
  using T = TypeParam;
  const int64_t n = 500;
  const Problem<T> problem(n, 9, 1, true);
  std::vector<T> memory(2 * n, std::numeric_limits<T>::quiet_NaN());
  for (int64_t i = 0; i < n; ++i) memory[2 * (n - 1 - i) + 1] = problem.w[i];
  const VectorView<const T> backwards{memory.data() + 2 * n - 1, n, -2};
  const FoldGram gram =
      fold_gram_cpu(problem.X.view(), problem.Y.view(), backwards, all_rows(n), Context(2));
  EXPECT_TRUE(same_bits<T>(gram, problem.gram(all_rows(n))));
  const T four = 4;
  const VectorView<const T> repeated{&four, n, 0};
  const FoldGram fourfold =
      fold_gram_cpu(problem.X.view(), problem.Y.view(), repeated, all_rows(n), Context(2));
  const FoldGram plain = Problem<T>(n, 9, 1, false).gram(all_rows(n));
  for (size_t i = 0; i < plain.moments.size(); ++i)
    EXPECT_EQ(fourfold.moments[i], 4 * plain.moments[i]);
}

// A float sum over a million rows keeps a float's digits; adding them up one by one does not.
TEST(FoldGramAccuracy, FloatLosesNothingToTheNumberOfRows) {
  const int64_t n = 1'000'000;
  const Table<float> X = normal_table<float>(n, 2, 5);
  const FoldGram gram = fold_gram_cpu(X.view(), no_targets<float>(n), {}, all_rows(n), Context(2));
  for (int64_t j = 0; j < 2; ++j) {
    float naive = 0;
    Real exact = 0;
    for (int64_t i = 0; i < n; ++i) {
      const float z = X(i, j) - static_cast<float>(gram.shift[j]);
      naive += z * z;
      exact += static_cast<Real>(z) * z;
    }
    const auto error = [&](double sum) { return static_cast<double>(std::abs(sum / exact - 1)); };
    EXPECT_LT(error(gram.atom(0)[(1 + j) * gram.stride + 1 + j]), 3 * gram.precision);
    EXPECT_GT(error(naive), 1e3 * gram.precision);
  }
  EXPECT_EQ(gram.atom(0)[0], n);
}

TYPED_TEST(FoldGramTest, NotFiniteIsFlagged) {
  using T = TypeParam;
  const T nan = std::numeric_limits<T>::quiet_NaN(), inf = std::numeric_limits<T>::infinity();
  const T large = std::sqrt(std::numeric_limits<T>::max());
  for (const int64_t d : {3, 40, 600}) {
    const int64_t n = 300, t = 2;
    const Problem<T> good(n, d, t, true);
    EXPECT_TRUE(good.gram(all_rows(n)).finite());
    for (const T bad : {nan, inf, -inf, 2 * large})
      for (const int64_t row : {int64_t{0}, int64_t{129}, n - 1}) {
        SCOPED_TRACE(::testing::Message() << "d=" << d << " row=" << row << " value=" << bad);
        // A weight of 1 or 0 at the row: it makes no difference.
        for (const T weight : {T(1), T(0)}) {
          Problem<T> problem(n, d, t, true);
          problem.w[row] = weight;
          if (weight == 0 && bad == 2 * large) continue;  // weighted away before it is squared
          for (const int64_t column : {int64_t{0}, d / 2, d - 1}) {
            const T before = problem.X(row, column);
            problem.X(row, column) = bad;
            EXPECT_FALSE(problem.gram(all_rows(n)).finite()) << "X, column " << column;
            problem.X(row, column) = before;
          }
          problem.Y(row, t - 1) = bad;
          EXPECT_FALSE(problem.gram(all_rows(n)).finite()) << "Y";
        }
        if (bad == 2 * large) continue;
        Problem<T> problem(n, d, t, true);
        problem.w[row] = bad;
        EXPECT_FALSE(problem.gram(all_rows(n)).finite()) << "w";
      }
  }
  Problem<T> negative(300, 3, 1, true);
  negative.w[77] = T(-1e-3);
  EXPECT_FALSE(negative.gram(all_rows(300)).finite());
  // Large, but their squares still fit.
  const Table<T> X(300, 3, Layout::c, [&](int64_t i, int64_t j) {
    return (i % 2 == 0 ? 1 : -1) * static_cast<double>(large) / 64 / static_cast<double>(1 + j);
  });
  EXPECT_TRUE(fold_gram_cpu(X.view(), no_targets<T>(300), {}, all_rows(300), Context(2)).finite());
}

template <class T>
class MomentsTest : public ::testing::Test {};
TYPED_TEST_SUITE(MomentsTest, FloatTypes, TypeName);

// sum w (a - mean a)(b - mean b)', or about zero.
RealMatrix products(const RealMatrix& A, const RealMatrix& B, const RealVector& w, bool centred) {
  if (!centred) return weighted_products(A, B, w).sum;
  return weighted_products(minus(A, weighted_mean(A, w)), minus(B, weighted_mean(B, w)), w).sum;
}

template <class T>
void expect_moments_of_rows(const Moments& actual, const Rows& rows, bool centred,
                            double tolerance) {
  EXPECT_NEAR(actual.weight, static_cast<double>(rows.w.sum()),
              tolerance * static_cast<double>(rows.w.sum()));
  EXPECT_LT(relative_distance(actual.mean, weighted_mean(rows.X, rows.w)), tolerance);
  EXPECT_LT(relative_distance(actual.target_mean, weighted_mean(rows.Y, rows.w)), tolerance);
  EXPECT_LT(relative_distance(actual.gram, products(rows.X, rows.X, rows.w, centred)), tolerance);
  EXPECT_EQ(distance(actual.gram, actual.gram.transpose().eval()), 0);
  const RealMatrix squares = products(rows.Y, rows.Y, rows.w, centred);
  EXPECT_LT(relative_distance(actual.target_squares, squares.diagonal()), tolerance);
  // Products of uncorrelated columns nearly cancel: their rounding is that of the columns' sizes.
  if (rows.Y.cols() > 0) {
    const double size = std::sqrt(actual.gram.maxCoeff() * actual.target_squares.maxCoeff());
    EXPECT_LT(distance(actual.cross, products(rows.X, rows.Y, rows.w, centred)), tolerance * size);
  }
}

// Splits of all kinds, whole: contiguous, shuffled, repeated rows, rows that nobody takes.
std::vector<std::vector<OwnedSplit>> kinds_of_splits(int64_t n) {
  std::vector<std::vector<OwnedSplit>> kinds = {k_fold(n, 5), shuffled_k_fold(n, 3, 6),
                                                bootstrap(n, 3, 7)};
  kinds.push_back({{Random(8).draw(n / 4, n), Random(9).draw(n / 4, n)}});
  return kinds;
}

TYPED_TEST(MomentsTest, AreThoseOfTheRowsOfASplit) {
  using T = TypeParam;
  const int64_t n = 400;
  for (const auto& [d, t] : {std::pair<int64_t, int64_t>{1, 1}, {12, 3}, {5, 0}})
    for (const bool weighted : {false, true}) {
      const Problem<T> problem(n, d, t, weighted);
      for (const auto& splits : kinds_of_splits(n)) {
        const FoldGram gram = problem.gram(folds_of(n, splits));
        for (size_t s = 0; s < splits.size(); ++s)
          for (const Part part : {Part::train, Part::test})
            for (const bool centred : {false, true}) {
              const auto& rows = part == Part::train ? splits[s].train : splits[s].test;
              SCOPED_TRACE(::testing::Message()
                           << "d=" << d << " split " << s << " of " << splits.size()
                           << (centred ? " centred" : "") << (weighted ? " weighted" : ""));
              expect_moments_of_rows<T>(
                  moments(gram, static_cast<int64_t>(s), part, centred),
                  rows_of(problem.X.view(), problem.Y.view(), view(problem.w), rows), centred,
                  10 * kEpsilon<T>);
            }
      }
    }
}

// The variance beside a mean that is 1e8 (float: 1e4) times as large.
TYPED_TEST(MomentsTest, LargeMeansCostNoDigits) {
  using T = TypeParam;
  const double mean = std::is_same_v<T, float> ? 1e4 : 1e8;
  const Problem<T> problem(5000, 6, 2, true, Layout::c, mean);
  const auto splits = k_fold(5000, 4);
  const FoldGram gram = problem.gram(folds_of(5000, splits));
  for (int64_t s = 0; s < 4; ++s)
    expect_moments_of_rows<T>(
        moments(gram, s, Part::train, true),
        rows_of(problem.X.view(), problem.Y.view(), view(problem.w), splits[s].train), true,
        10 * kEpsilon<T>);
}

TYPED_TEST(MomentsTest, PartWithoutRowsIsZero) {
  using T = TypeParam;
  const Problem<T> problem(20, 3, 2, false);
  const FoldGram gram = problem.gram(folds_of(20, {{{0, 1, 2}, {}}}));
  for (const bool centred : {false, true}) {
    const Moments none = moments(gram, 0, Part::test, centred);
    EXPECT_EQ(none.weight, 0);
    EXPECT_EQ(none.gram, Eigen::MatrixXd::Zero(3, 3));
    EXPECT_EQ(none.cross, Eigen::MatrixXd::Zero(3, 2));
    EXPECT_EQ(none.target_squares, Eigen::VectorXd::Zero(2));
    EXPECT_EQ(none.mean, Eigen::VectorXd::Zero(3));
    EXPECT_EQ(none.target_mean, Eigen::VectorXd::Zero(2));
  }
}

// A column without spread has none after centring, whatever its value.
TYPED_TEST(MomentsTest, ConstantColumnHasNoSpread) {
  using T = TypeParam;
  for (const double value : {0.1, -7.3, 1e6 / 3, 1e-9}) {
    const Table<T> X(1000, 2, Layout::c, [&](int64_t i, int64_t j) {
      return j == 0 ? value : std::sin(static_cast<double>(i));
    });
    const Table<T> Y = normal_table<T>(1000, 1, 2);
    const std::vector<T> w = random_weights<T>(1000, 3);
    const FoldGram gram = fold_gram_cpu(X.view(), Y.view(), view(w),
                                        folds_of(1000, shuffled_k_fold(1000, 5, 4)), Context(2));
    for (int64_t s = 0; s < 5; ++s) {
      const Moments train = moments(gram, s, Part::train, true);
      EXPECT_EQ(train.gram(0, 0), 0) << value;
      EXPECT_EQ(train.gram(0, 1), 0) << value;
      EXPECT_EQ(train.cross(0, 0), 0) << value;
      EXPECT_EQ(train.mean(0), static_cast<T>(value));
    }
  }
}

TYPED_TEST(MomentsTest, ProvisionalMeansLieAmongTheData) {
  using T = TypeParam;
  for (const int64_t n : {1, 2, 63, 64, 65, 1000}) {
    const Table<T> X = normal_table<T>(n, 3, 1, Layout::fortran, 5);
    const std::vector<double> means = provisional_means(X.view());
    for (int64_t j = 0; j < 3; ++j) {
      T least = X(0, j), most = X(0, j);
      for (int64_t i = 0; i < n; ++i) {
        least = std::min(least, X(i, j));
        most = std::max(most, X(i, j));
      }
      EXPECT_GE(means[j], least - 8 * kEpsilon<T>);
      EXPECT_LE(means[j], most + 8 * kEpsilon<T>);
      EXPECT_EQ(means[j], static_cast<T>(means[j])) << "not a number of X's type";
    }
  }
  EXPECT_TRUE(provisional_means(no_targets<T>(10)).empty());
}

}  // namespace
}  // namespace manyfit::testing
