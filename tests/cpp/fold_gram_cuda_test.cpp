#include "core/fold_gram_cuda.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "core/device_simulated.h"
#include "core/fold_gram.h"
#include "device_forms.h"
#include "patience.h"
#include "reference.h"
#include "tables.h"

namespace manyfit::testing {
namespace {

template <class T>
class FoldGramCudaTest : public ::testing::Test {};
TYPED_TEST_SUITE(FoldGramCudaTest, FloatTypes, TypeName);

constexpr GramKernel kKernels[] = {GramKernel::best, GramKernel::registers};

// Rounding of an entry of M relative to the sum of the absolute products, in the epsilon its sums
// are made in. Sums in float go on to double soon; those in double are as long as an atom.
constexpr double kRounding = 6;
template <class T>
double rounding(GramKernel kernel, int64_t rows) {
  if (std::is_same_v<T, float> && kernel == GramKernel::registers)
    return kRounding * kEpsilon<float>;
  return (kRounding + std::sqrt(static_cast<double>(rows)) / 3) * kEpsilon<double>;
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

  DeviceGram resident(const Folds& folds, GramKernel kernel = GramKernel::best) const {
    return fold_gram_cuda(X.view(), Y.view(), view(w), on_device(folds), Context(1), kernel);
  }
  DeviceGram streamed(const Folds& folds, GramKernel kernel = GramKernel::best,
                      const Context& context = Context(2)) const {
    return fold_gram_streamed_cuda(X.view(), Y.view(), view(w), folds.order, on_device(folds),
                                   context, kernel);
  }
};

std::vector<double> values(const DeviceGram& gram) { return gram.moments.download(Context(1)); }

bool same_bits(const DeviceGram& a, const DeviceGram& b) {
  const std::vector<double> x = values(a), y = values(b);
  return a.shift == b.shift && x.size() == y.size() &&
         std::memcmp(x.data(), y.data(), x.size() * sizeof(double)) == 0;
}

// Every entry, against three loops over the rows of its atom.
template <class T>
void expect_moments(const DeviceGram& gram, const Folds& folds, const Problem<T>& problem,
                    GramKernel kernel) {
  const int64_t d = problem.X.cols(), t = problem.Y.cols(), p = 1 + d + t;
  ASSERT_EQ(gram.n_features, d);
  ASSERT_EQ(gram.n_targets, t);
  ASSERT_EQ(gram.n_atoms, folds.n_atoms());
  ASSERT_GE(gram.stride, p);
  const std::vector<double> M = values(gram);
  std::vector<double> shift = provisional_means(problem.X.view());
  const std::vector<double> target_shift = provisional_means(problem.Y.view());
  shift.insert(shift.end(), target_shift.begin(), target_shift.end());
  ASSERT_EQ(gram.shift, shift);
  for (int64_t a = 0; a < folds.n_atoms(); ++a) {
    const int64_t begin = folds.atom_begin[a], n = folds.atom_begin[a + 1] - begin;
    RealMatrix Z(n, p);
    RealVector weight(n);
    for (int64_t i = 0; i < n; ++i) {
      const int64_t row = folds.row(begin + i);
      weight(i) = problem.w.empty() ? T(1) : problem.w[row];
      Z(i, 0) = 1;
      for (int64_t j = 0; j < d; ++j) Z(i, 1 + j) = problem.X(row, j) - static_cast<Real>(shift[j]);
      for (int64_t k = 0; k < t; ++k)
        Z(i, 1 + d + k) = problem.Y(row, k) - static_cast<Real>(shift[d + k]);
    }
    const Products expected = weighted_products(Z, Z, weight);
    for (int64_t i = 0; i < p; ++i)
      for (int64_t j = 0; j < p; ++j) {
        const double actual = M[(a * gram.stride + i) * gram.stride + j];
        const double error = static_cast<double>(std::abs(actual - expected.sum(i, j)));
        ASSERT_LE(error, rounding<T>(kernel, n) * static_cast<double>(expected.absolute(i, j)))
            << "atom " << a << ", entry (" << i << ", " << j << ")";
      }
  }
}

TYPED_TEST(FoldGramCudaTest, AroundTheEdgesOfTilesAndFragments) {
  int64_t number = 0;
  for (const int64_t d :
       {0,  1,  2,  3,  7,   8,   15,  16,  17,  20,  31,  32,  33,  47,  48,  63,
        64, 65, 80, 96, 100, 111, 112, 113, 127, 128, 129, 130, 160, 256, 257, 300})
    for (const int64_t n : {1, 3, 33, 70}) {
      if (d > 130 && n == 3) continue;
      const int64_t t = number % 4;
      const Layout layout = kLayouts[number % std::size(kLayouts)];
      const bool weighted = number / 2 % 2 == 1;
      ++number;
      for (const GramKernel kernel : kKernels) {
        SCOPED_TRACE(::testing::Message()
                     << "n=" << n << " d=" << d << " t=" << t << " " << name(layout)
                     << (weighted ? " weighted" : "")
                     << (kernel == GramKernel::best ? " tensor" : " registers"));
        const Problem<TypeParam> problem(n, d, t, weighted, layout);
        expect_moments(problem.resident(all_rows(n), kernel), all_rows(n), problem, kernel);
      }
    }
}

TYPED_TEST(FoldGramCudaTest, ManyTargets) {
  for (const auto& [d, t] : {std::pair<int64_t, int64_t>{1, 15},
                             {4, 16},
                             {40, 20},
                             {120, 15},
                             {128, 15},
                             {130, 15},
                             {120, 40},
                             {0, 5}})
    for (const GramKernel kernel : kKernels) {
      SCOPED_TRACE(::testing::Message() << "d=" << d << " t=" << t);
      const Problem<TypeParam> problem(70, d, t, true);
      expect_moments(problem.resident(all_rows(70), kernel), all_rows(70), problem, kernel);
    }
}

std::vector<Folds> kinds_of_folds(int64_t n) {
  return {all_rows(n), folds_of(n, k_fold(n, 5)), folds_of(n, shuffled_k_fold(n, 5, 3)),
          folds_of(n, bootstrap(n, 3, 4))};
}

TYPED_TEST(FoldGramCudaTest, EveryLayoutWeightAndFold) {
  const int64_t n = 600, d = 20, t = 2;
  for (const Layout layout : kLayouts)
    for (const bool weighted : {false, true}) {
      const Problem<TypeParam> problem(n, d, t, weighted, layout);
      for (const Folds& folds : kinds_of_folds(n))
        for (const GramKernel kernel : kKernels) {
          SCOPED_TRACE(name(layout) + ", " + std::to_string(folds.n_atoms()) + " atoms");
          expect_moments(problem.resident(folds, kernel), folds, problem, kernel);
        }
    }
}

// Atoms that are cut into slices, whose parts are added; more atoms than a launch carries along.
TYPED_TEST(FoldGramCudaTest, SlicesAndManyAtoms) {
  for (const auto& [n, d] : {std::pair<int64_t, int64_t>{6000, 7}, {2000, 150}}) {
    const Problem<TypeParam> problem(n, d, 1, true);
    for (const Folds& folds : {folds_of(n, k_fold(n, 2)), folds_of(n, shuffled_k_fold(n, 60, 1))})
      for (const GramKernel kernel : kKernels) {
        SCOPED_TRACE(::testing::Message() << "d=" << d << ", " << folds.n_atoms() << " atoms");
        expect_moments(problem.resident(folds, kernel), folds, problem, kernel);
        EXPECT_TRUE(same_bits(problem.resident(folds, kernel), problem.resident(folds, kernel)));
      }
  }
}

TYPED_TEST(FoldGramCudaTest, AnAtomWithoutRows) {
  const Problem<TypeParam> problem(50, 4, 1, false);
  const Folds folds = one_split({20, 0, 30}, {1, 1, 0}, {0, 0, 1});
  for (const GramKernel kernel : kKernels) {
    expect_moments(problem.resident(folds, kernel), folds, problem, kernel);
    expect_moments(problem.streamed(folds, kernel), folds, problem, kernel);
  }
}

TYPED_TEST(FoldGramCudaTest, SmallDataTakesOneLaunch) {
  const Problem<TypeParam> problem(200, 20, 1, false);
  for (const Folds& folds : {all_rows(200), folds_of(200, shuffled_k_fold(200, 5, 1))}) {
    const DeviceFolds device_folds = on_device(folds);
    const int64_t before = simulated_launches();
    const DeviceGram gram = fold_gram_cuda(problem.X.view(), problem.Y.view(),
                                           VectorView<const TypeParam>(), device_folds, Context(1));
    EXPECT_EQ(simulated_launches() - before, 1);
    EXPECT_EQ(gram.on_host, values(gram));
  }
}

// As the CPU has them, up to the rounding of both.
TYPED_TEST(FoldGramCudaTest, AgreesWithTheCpu) {
  const int64_t n = 900, d = 37, t = 3, p = 1 + d + t;
  const Problem<TypeParam> problem(n, d, t, true, Layout::fortran);
  for (const Folds& folds : kinds_of_folds(n)) {
    const FoldGram cpu =
        fold_gram_cpu(problem.X.view(), problem.Y.view(), view(problem.w), folds, Context(2));
    for (const GramKernel kernel : kKernels) {
      const DeviceGram gram = problem.resident(folds, kernel);
      const std::vector<double> M = values(gram);
      for (int64_t a = 0; a < folds.n_atoms(); ++a)
        for (int64_t i = 0; i < p; ++i)
          for (int64_t j = 0; j <= std::min(i, d); ++j) {
            const auto at = [&](int64_t u, int64_t v) { return cpu.atom(a)[u * cpu.stride + v]; };
            ASSERT_NEAR(M[(a * gram.stride + i) * gram.stride + j], at(i, j),
                        2 * kRounding * kEpsilon<TypeParam> * std::sqrt(at(i, i) * at(j, j)));
          }
    }
  }
}

// The variance beside a mean that is 1e8 (float: 1e4) times as large.
TYPED_TEST(FoldGramCudaTest, LargeMeansCostNoDigits) {
  const double mean = std::is_same_v<TypeParam, float> ? 1e4 : 1e8;
  const Problem<TypeParam> problem(3000, 5, 1, true, Layout::c, mean);
  for (const GramKernel kernel : kKernels) {
    expect_moments(problem.resident(all_rows(3000), kernel), all_rows(3000), problem, kernel);
    expect_moments(problem.streamed(all_rows(3000), kernel), all_rows(3000), problem, kernel);
  }
}

bool finite(const DeviceGram& gram) {
  const std::vector<double> M = values(gram);
  for (int64_t a = 0; a < gram.n_atoms; ++a)
    for (int64_t i = 0; i < gram.stride; ++i)
      if (!std::isfinite(M[(a * gram.stride + i) * gram.stride + i])) return false;
  return true;
}

TYPED_TEST(FoldGramCudaTest, NotFiniteIsFlagged) {
  using T = TypeParam;
  const T nan = std::numeric_limits<T>::quiet_NaN(), inf = std::numeric_limits<T>::infinity();
  for (const GramKernel kernel : kKernels)
    for (const int64_t d : {3, 140}) {
      const int64_t n = 90, t = 2;
      const auto flagged = [&](auto spoil) {
        Problem<T> problem(n, d, t, true);
        spoil(problem);
        return !finite(problem.resident(all_rows(n), kernel)) &&
               !finite(problem.streamed(all_rows(n), kernel));
      };
      EXPECT_FALSE(flagged([](Problem<T>&) {}));
      for (const T bad : {nan, inf, -inf})
        for (const int64_t row : {int64_t{37}, n - 1}) {
          SCOPED_TRACE(::testing::Message() << "d=" << d << " row=" << row << " value=" << bad);
          for (const T weight : {T(1), T(0)}) {
            for (const int64_t column : {int64_t{0}, d / 2, d - 1})
              EXPECT_TRUE(flagged([&](Problem<T>& problem) {
                problem.w[row] = weight;
                problem.X(row, column) = bad;
              }));
            EXPECT_TRUE(flagged([&](Problem<T>& problem) {
              problem.w[row] = weight;
              problem.Y(row, t - 1) = bad;
            }));
          }
          EXPECT_TRUE(flagged([&](Problem<T>& problem) { problem.w[row] = bad; }));
        }
      EXPECT_TRUE(flagged([](Problem<T>& problem) { problem.w[11] = T(-1e-3); }));
    }
}

TYPED_TEST(FoldGramCudaTest, StreamsInTilesOfEveryLayout) {
  const int64_t n = 40'000, d = 9;
  for (const Layout layout :
       {Layout::c, Layout::fortran, Layout::padded_rows, Layout::reversed_columns}) {
    const Problem<TypeParam> problem(n, d, 2, true, layout);
    for (const Folds& folds : {all_rows(n), folds_of(n, shuffled_k_fold(n, 3, 5))})
      for (const GramKernel kernel : kKernels) {
        SCOPED_TRACE(name(layout) + ", " + std::to_string(folds.n_atoms()) + " atoms");
        const DeviceGram gram = problem.streamed(folds, kernel);
        expect_moments(gram, folds, problem, kernel);
        EXPECT_TRUE(same_bits(gram, problem.streamed(folds, kernel)));
      }
  }
}

TYPED_TEST(FoldGramCudaTest, DataLargerThanTheDeviceStreams) {
  const int64_t n = 60'000, d = 30;
  const Problem<TypeParam> problem(n, d, 1, true);
  const Folds folds = folds_of(n, k_fold(n, 2));
  const int64_t used = simulated_memory_used();
  {
    const Memory memory(3 << 20);
    expect_moments(problem.streamed(folds), folds, problem, GramKernel::best);
  }
  EXPECT_EQ(simulated_memory_used(), used);
  const Memory memory(16 << 10);
  EXPECT_THROW(problem.streamed(folds), DeviceMemoryError);
  const Problem<TypeParam> wide(10, 100, 1, true);
  EXPECT_THROW(wide.resident(all_rows(10)), DeviceMemoryError);
  EXPECT_EQ(simulated_memory_used(), used);
}

TYPED_TEST(FoldGramCudaTest, StopsWhenToldTo) {
  const int64_t n = 60'000;
  const Problem<TypeParam> problem(n, 30, 1, false);
  const int64_t used = simulated_memory_used();
  for (const int patience : {1, 2, 5, 9}) {  // before the first tile, in the middle of the stream
    SCOPED_TRACE(patience);
    const ImpatientContext context(1, patience);
    EXPECT_THROW(problem.streamed(all_rows(n), GramKernel::best, context), Stop);
    EXPECT_EQ(simulated_memory_used(), used);
  }
  EXPECT_THROW(fold_gram_cuda(problem.X.view(), problem.Y.view(), VectorView<const TypeParam>(),
                              on_device(all_rows(n)), ImpatientContext(1)),
               Stop);
  EXPECT_EQ(simulated_memory_used(), used);
  // And works afterwards, with the buffers it kept.
  const Folds folds = all_rows(n);
  expect_moments(problem.streamed(folds), folds, problem, GramKernel::best);
}

TYPED_TEST(FoldGramCudaTest, OnTheSecondDevice) {
  const Problem<TypeParam> problem(40'000, 9, 1, true);
  const Folds folds = all_rows(40'000);
  const DeviceGram gram =
      fold_gram_streamed_cuda(problem.X.view(), problem.Y.view(), view(problem.w), folds.order,
                              on_device(folds, 1), Context(2));
  EXPECT_EQ(gram.moments.device().index(), 1);
  EXPECT_EQ(Device::device_of(gram.moments.data()), 1);
  EXPECT_TRUE(same_bits(gram, problem.streamed(folds)));
}

}  // namespace
}  // namespace manyfit::testing
