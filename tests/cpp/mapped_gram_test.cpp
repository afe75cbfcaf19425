#include "core/mapped_gram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "core/column_ranges.h"
#include "core/errors.h"
#include "linear_problem.h"
#include "tables.h"

namespace manyfit::testing {
namespace {

template <class T>
class MappedGramTest : public ::testing::Test {};
TYPED_TEST_SUITE(MappedGramTest, FloatTypes, TypeName);

struct Map {
  Eigen::VectorXd centre, offset;
  Eigen::MatrixXd A;
};

Map random_map(int64_t d, int64_t r) {
  Random random(11);
  const auto number = [&] { return random.normal(); };
  return {Eigen::VectorXd::NullaryExpr(d, number), Eigen::VectorXd::NullaryExpr(r, number),
          Eigen::MatrixXd::NullaryExpr(d, r, number)};
}

// The definition: every row mapped, then its moments about their mean, or about zero.
void expect_moments(const FoldGram& mapped, Part part, bool centred, const Rows& rows,
                    const Map& map, double tolerance) {
  const Moments found = moments(mapped, 0, part, centred);
  const int64_t n = rows.X.rows();
  if (n == 0) {
    EXPECT_EQ(found.weight, 0);
    return;
  }
  RealMatrix Z = (rows.X.rowwise() - map.centre.cast<Real>().transpose()) * map.A.cast<Real>();
  Z.rowwise() += map.offset.cast<Real>().transpose();
  RealMatrix Y = rows.Y;
  const RealVector w = rows.w;
  const RealVector mean = Z.transpose() * w / w.sum(), target_mean = Y.transpose() * w / w.sum();
  if (centred) {
    Z.rowwise() -= mean.transpose();
    Y.rowwise() -= target_mean.transpose();
  }
  const RealMatrix gram = Z.transpose() * w.asDiagonal() * Z;
  const RealMatrix cross = Z.transpose() * w.asDiagonal() * Y;
  const double size = static_cast<double>(gram.diagonal().maxCoeff());
  EXPECT_NEAR(found.weight, static_cast<double>(w.sum()), tolerance * found.weight);
  EXPECT_LT((found.mean - mean.cast<double>()).norm(),
            tolerance * (1 + mean.cast<double>().norm()));
  EXPECT_LT((found.target_mean - target_mean.cast<double>()).norm(),
            tolerance * (1 + target_mean.cast<double>().norm()));
  EXPECT_LT((found.gram - gram.cast<double>()).cwiseAbs().maxCoeff(), tolerance * size);
  const double target_size = static_cast<double>((Y.transpose() * w.asDiagonal() * Y).trace());
  EXPECT_LT((found.cross - cross.cast<double>()).cwiseAbs().maxCoeff(),
            tolerance * std::sqrt(size * target_size));
  for (int64_t k = 0; k < Y.cols(); ++k)
    EXPECT_NEAR(found.target_squares(k),
                static_cast<double>((Y.col(k).array().square() * w.array()).sum()),
                tolerance * target_size);
}

TYPED_TEST(MappedGramTest, HoldsTheMomentsOfMappedRows) {
  using T = TypeParam;
  const int64_t n = 211, d = 7, t = 2;
  const LinearProblem<T> plain(n, d, t, false), weighted(n, d, t, true);
  std::vector<OwnedSplit> splits = shuffled_k_fold(n, 4, 2);
  for (OwnedSplit& split : bootstrap(n, 2, 3)) splits.push_back(std::move(split));
  splits.push_back({k_fold(n, 2)[0].train, {}});
  splits.push_back({k_fold(n, 2)[0].train, k_fold(n, 2)[0].train});
  for (const LinearProblem<T>* problem : {&plain, &weighted}) {
    const FoldGram gram = problem->gram(folds_of(n, splits));
    for (int64_t s = 0; s < static_cast<int64_t>(splits.size()); ++s)
      for (const int64_t r : {int64_t{3}, d, int64_t{0}}) {
        SCOPED_TRACE(::testing::Message() << "split " << s << ", " << r << " columns");
        const auto n_train = static_cast<int64_t>(splits[s].train.size()),
                   n_test = static_cast<int64_t>(splits[s].test.size());
        const Folds folds = one_split({n_train, n_test}, {1, 0}, {0, 1});
        Map map = random_map(d, r == 0 ? d : r);
        FoldGram mapped;
        if (r == 0) {  // scales
          const Eigen::VectorXd scales = map.A.col(0);
          map.A = scales.asDiagonal();
          mapped = mapped_gram(gram, s, map.centre, scales, map.offset, folds);
        } else {
          mapped = mapped_gram(gram, s, map.centre, map.A, map.offset, folds);
        }
        EXPECT_TRUE(mapped.finite());
        EXPECT_EQ(mapped.folds.training_rows(0), n_train);
        const double tolerance = 100 * kEpsilon<T>;
        for (const bool centred : {false, true}) {
          expect_moments(mapped, Part::train, centred, problem->rows(splits[s].train), map,
                         tolerance);
          expect_moments(mapped, Part::test, centred, problem->rows(splits[s].test), map,
                         tolerance);
        }
      }
  }
}

TYPED_TEST(MappedGramTest, TestsOnWhatItTrainsOn) {
  using T = TypeParam;
  const int64_t n = 90, d = 4;
  const LinearProblem<T> problem(n, d, 1, false);
  const auto splits = k_fold(n, 3);
  const Map map = random_map(d, 2);
  const auto n_train = static_cast<int64_t>(splits[1].train.size());
  const FoldGram mapped = mapped_gram(problem.gram(folds_of(n, splits)), 1, map.centre, map.A,
                                      map.offset, one_split({n_train}, {1}, {1}));
  for (const Part part : {Part::train, Part::test})
    expect_moments(mapped, part, true, problem.rows(splits[1].train), map, 100 * kEpsilon<T>);
}

// A map of a map is the map of both, and growths multiply.
TYPED_TEST(MappedGramTest, MapsCompose) {
  using T = TypeParam;
  const int64_t n = 120, d = 5;
  const LinearProblem<T> problem(n, d, 1, false);
  const auto splits = k_fold(n, 3);
  const Folds folds = one_split({80, 40}, {1, 0}, {0, 1});
  const Map first = random_map(d, 4), second = random_map(4, 2);
  const FoldGram gram = problem.gram(folds_of(n, splits));
  const FoldGram between = mapped_gram(gram, 2, first.centre, first.A, first.offset, folds);
  const FoldGram twice = mapped_gram(between, 0, second.centre, second.A, second.offset, folds);
  const Map both{first.centre,
                 second.A.transpose() * (first.offset - second.centre) + second.offset,
                 first.A * second.A};
  expect_moments(twice, Part::train, true, problem.rows(splits[2].train), both, 1e3 * kEpsilon<T>);
  expect_moments(twice, Part::test, true, problem.rows(splits[2].test), both, 1e3 * kEpsilon<T>);
  EXPECT_GE(twice.growth, between.growth);
}

// A direction in which the rows hardly vary carries the rounding of those in which they do.
TYPED_TEST(MappedGramTest, GrowthTellsWhatRoundingAMapBrings) {
  using T = TypeParam;
  const int64_t n = 200;
  LinearProblem<T> problem(n, 2, 1, false, 0.0);
  for (int64_t i = 0; i < n; ++i)
    problem.X(i, 1) = static_cast<T>(problem.X(i, 0) + T(0.01) * problem.X(i, 1));
  const auto splits = k_fold(n, 2);
  const FoldGram gram = problem.gram(folds_of(n, splits));
  const Folds folds = one_split({100, 100}, {1, 0}, {0, 1});
  const Eigen::VectorXd zero = Eigen::VectorXd::Zero(2);
  const Eigen::VectorXd scales = Eigen::Vector2d(1e3, 1e-3);
  EXPECT_LT(mapped_gram(gram, 0, zero, scales, zero, folds).growth, 2);
  const Eigen::MatrixXd difference = Eigen::Vector2d(1, -1);
  const double growth =
      mapped_gram(gram, 0, zero, difference, Eigen::VectorXd::Zero(1), folds).growth;
  EXPECT_GT(growth, 1e3);
  EXPECT_LT(growth, 1e5);
  // A column that varies only where it is not trained on: nothing but rounding is left of it.
  for (int64_t i = 0; i < n; ++i) problem.X(i, 1) = T(i < 100 ? i : 7);
  const FoldGram stuck = problem.gram(folds_of(n, splits));
  EXPECT_GT(mapped_gram(stuck, 0, zero, scales, zero, folds).growth, 1e6);
}

TYPED_TEST(MappedGramTest, RefusesWhatDoesNotSuit) {
  const LinearProblem<TypeParam> problem(20, 3, 1, false);
  const FoldGram gram = problem.gram(folds_of(20, k_fold(20, 2)));
  const Folds folds = one_split({10, 10}, {1, 0}, {0, 1});
  const Eigen::VectorXd three = Eigen::VectorXd::Ones(3), two = Eigen::VectorXd::Ones(2);
  const Eigen::MatrixXd A = Eigen::MatrixXd::Ones(3, 2);
  EXPECT_NO_THROW(mapped_gram(gram, 0, three, A, two, folds));
  EXPECT_THROW(mapped_gram(gram, 2, three, A, two, folds), InvalidInput);
  EXPECT_THROW(mapped_gram(gram, -1, three, A, two, folds), InvalidInput);
  EXPECT_THROW(mapped_gram(gram, 0, two, A, two, folds), InvalidInput);
  EXPECT_THROW(mapped_gram(gram, 0, three, A, three, folds), InvalidInput);
  EXPECT_THROW(mapped_gram(gram, 0, three, Eigen::MatrixXd(A.topRows(2)), two, folds),
               InvalidInput);
  EXPECT_THROW(mapped_gram(gram, 0, three, two, two, folds), InvalidInput);
  EXPECT_THROW(mapped_gram(gram, 0, three, A, two, gram.folds), InvalidInput);
  EXPECT_THROW(one_split({10}, {1, 0}, {0}), InvalidInput);
}

template <class T>
class ColumnRangesTest : public ::testing::Test {};
TYPED_TEST_SUITE(ColumnRangesTest, FloatTypes, TypeName);

TYPED_TEST(ColumnRangesTest, AreThoseOfEachAtom) {
  using T = TypeParam;
  for (const Layout layout : kLayouts)
    for (const int64_t n : {1, 9, 10000}) {
      const int64_t d = 6;
      const Table<T> X = normal_table<T>(n, d, 5, layout, 3.0);
      const Folds folds = n < 5 ? all_rows(n) : folds_of(n, shuffled_k_fold(n, 3, 1));
      const ColumnRanges ranges = column_ranges_cpu(X.view(), folds, Context(2));
      for (int64_t a = 0; a < folds.n_atoms(); ++a)
        for (int64_t j = 0; j < d; ++j) {
          T low = std::numeric_limits<T>::infinity(), high = -low;
          for (int64_t i = folds.atom_begin[a]; i < folds.atom_begin[a + 1]; ++i) {
            low = std::min(low, X(folds.row(i), j));
            high = std::max(high, X(folds.row(i), j));
          }
          ASSERT_EQ(ranges.low(j, a), static_cast<double>(low)) << name(layout);
          ASSERT_EQ(ranges.high(j, a), static_cast<double>(high)) << name(layout);
        }
    }
}

}  // namespace
}  // namespace manyfit::testing
