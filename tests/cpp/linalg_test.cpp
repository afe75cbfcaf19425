#include "core/linalg.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "core/errors.h"
#include "core/spectrum.h"
#include "patience.h"
#include "reference.h"
#include "tables.h"

namespace manyfit::testing {
namespace {

const Context kOneThread(1);

Eigen::MatrixXd normal_matrix(int64_t rows, int64_t cols, uint64_t seed) {
  Random random(seed);
  Eigen::MatrixXd A(rows, cols);
  for (double& a : A.reshaped()) a = random.normal();
  return A;
}

// Symmetric, with these eigenvalues.
Eigen::MatrixXd with_eigenvalues(const Eigen::VectorXd& values, uint64_t seed) {
  const RealMatrix V = orthonormal(values.size(), values.size(), seed);
  const RealMatrix A = V * values.cast<Real>().asDiagonal() * V.transpose();
  return A.cast<double>();
}

Eigen::MatrixXd identity(int64_t n) { return Eigen::MatrixXd::Identity(n, n); }

TEST(Lapack, RoutinesAreNamedAndOthersRefused) {
  const auto names = lapack_routines();
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()).size(), names.size());
  EXPECT_GE(names.size(), 7u);
  try {
    install_lapack("dgesv", nullptr);
    FAIL() << "accepted";
  } catch (const InvalidInput& error) {
    EXPECT_STREQ(error.what(), "install_lapack: no routine is named dgesv");
  }
}

TEST(Eigh, DecomposesSymmetricMatrices) {
  for (const int64_t n : {1, 2, 3, 10, 60}) {
    const Eigen::MatrixXd B = normal_matrix(n, n, 1);
    const Eigen::MatrixXd A = B + B.transpose();
    const SymmetricEigen eigen = eigh(A, kOneThread);
    EXPECT_TRUE(std::is_sorted(eigen.values.begin(), eigen.values.end()));
    EXPECT_LT(distance(eigen.vectors.transpose() * eigen.vectors, identity(n)), 1e-13);
    EXPECT_LT(distance(eigen.vectors * eigen.values.asDiagonal() * eigen.vectors.transpose(), A),
              1e-13 * A.norm());
    EXPECT_LT(distance(eigenvalues(A, kOneThread), eigen.values), 1e-13 * A.norm());
  }
}

TEST(Eigh, ReadsTheLowerTriangleAlone) {
  const Eigen::MatrixXd B = normal_matrix(6, 6, 1);
  const Eigen::MatrixXd A = B + B.transpose();
  Eigen::MatrixXd lower = A;
  lower.triangularView<Eigen::StrictlyUpper>().setConstant(std::nan(""));
  EXPECT_EQ(eigh(lower, kOneThread).values, eigh(A, kOneThread).values);
  EXPECT_EQ(eigh_largest(lower, 1, kOneThread).values, eigh_largest(A, 1, kOneThread).values);
  EXPECT_EQ(eigenvalues(lower, kOneThread), eigenvalues(A, kOneThread));
}

TEST(Eigh, OfNothingIsNothing) {
  EXPECT_EQ(eigh(Eigen::MatrixXd(0, 0), kOneThread).values.size(), 0);
  EXPECT_EQ(eigenvalues(Eigen::MatrixXd(0, 0), kOneThread).size(), 0);
}

TEST(EighLargest, IsTheEndOfTheWholeDecomposition) {
  const int64_t n = 24;
  const Eigen::MatrixXd A = with_eigenvalues(Eigen::VectorXd::LinSpaced(n, -3, 20), 4);
  const SymmetricEigen all = eigh(A, kOneThread);
  for (const int64_t count : {1, 2, 5, 6, 7, 23, 24}) {  // up to a quarter by its own routine
    SCOPED_TRACE(count);
    const SymmetricEigen some = eigh_largest(A, count, kOneThread);
    ASSERT_EQ(some.vectors.cols(), count);
    EXPECT_LT(distance(some.values, all.values.tail(count)), 1e-12);
    EXPECT_LT(distance(some.vectors.transpose() * some.vectors, identity(count)), 1e-12);
    EXPECT_LT(distance(A * some.vectors, some.vectors * some.values.asDiagonal()), 1e-11);
  }
}

TEST(EighLargest, CopesWithEqualEigenvalues) {
  Eigen::VectorXd values = Eigen::VectorXd::Ones(40);
  values.tail(3).setConstant(5);
  const Eigen::MatrixXd A = with_eigenvalues(values, 4);
  const SymmetricEigen some = eigh_largest(A, 6, kOneThread);
  EXPECT_LT(distance(some.values, values.tail(6)), 1e-13);
  EXPECT_LT(distance(some.vectors.transpose() * some.vectors, identity(6)), 1e-13);
}

TEST(Cholesky, Solves) {
  for (const int64_t n : {1, 2, 7, 50}) {
    const Eigen::MatrixXd A = with_eigenvalues(Eigen::VectorXd::LinSpaced(n, 1, 100), 2);
    const Eigen::MatrixXd X = normal_matrix(n, 3, 3);
    const Cholesky cholesky(A, kOneThread);
    Eigen::MatrixXd B = A * X;
    cholesky.solve(B);
    EXPECT_LT(distance(B, X), 1e-12);
    EXPECT_GT(cholesky.reciprocal_condition(), 1e-4);
    EXPECT_LE(cholesky.reciprocal_condition(), 1);
  }
}

// The estimate is within a small factor of 1 / (|A| |A^-1|), in the 1-norm.
TEST(Cholesky, EstimatesTheCondition) {
  for (const double condition : {1e1, 1e4, 1e8, 1e12}) {
    Eigen::MatrixXd A(2, 2);  // unit diagonal, eigenvalues 1 + c and 1 - c
    const double c = (condition - 1) / (condition + 1);
    A << 1, c, c, 1;
    const double exact = (1 - c) / (1 + c);
    const double estimate = Cholesky(A, kOneThread).reciprocal_condition();
    EXPECT_LT(estimate, 3 * exact);
    EXPECT_GT(estimate, exact / 3);
  }
  EXPECT_EQ(Cholesky(identity(5), kOneThread).reciprocal_condition(), 1);
}

// Units of the columns do not matter: scaled to unit diagonal by powers of two, exactly.
TEST(Cholesky, ScalingCostsNeitherConditionNorDigits) {
  const int64_t n = 8;
  const Eigen::MatrixXd A = with_eigenvalues(Eigen::VectorXd::LinSpaced(n, 1, 5), 2);
  Eigen::VectorXd units(n);
  for (int64_t i = 0; i < n; ++i) units(i) = std::ldexp(1.0, static_cast<int>(40 * i - 140));
  const Eigen::MatrixXd scaled = units.asDiagonal() * A * units.asDiagonal();
  const Cholesky plain(A, kOneThread), wild(scaled, kOneThread);
  EXPECT_EQ(wild.reciprocal_condition(), plain.reciprocal_condition());
  const Eigen::MatrixXd B = normal_matrix(n, 2, 3);
  Eigen::MatrixXd expected = B, actual = units.asDiagonal() * B;
  plain.solve(expected);
  wild.solve(actual);
  EXPECT_EQ((units.asDiagonal() * actual).eval(), expected);
}

TEST(Cholesky, NotPositiveDefiniteHasNoCondition) {
  const double nan = std::nan(""), inf = std::numeric_limits<double>::infinity();
  Eigen::MatrixXd singular = Eigen::MatrixXd::Ones(3, 3);
  Eigen::MatrixXd indefinite = identity(3);
  indefinite(2, 0) = indefinite(0, 2) = 2;
  EXPECT_LT(Cholesky(singular, kOneThread).reciprocal_condition(), 1e-15);
  EXPECT_EQ(Cholesky(indefinite, kOneThread).reciprocal_condition(), 0);
  EXPECT_EQ(Cholesky(Eigen::MatrixXd::Zero(3, 3), kOneThread).reciprocal_condition(), 0);
  for (const double bad : {0.0, -1.0, nan, inf}) {
    Eigen::MatrixXd A = identity(3);
    A(1, 1) = bad;
    EXPECT_EQ(Cholesky(A, kOneThread).reciprocal_condition(), 0) << bad;
  }
}

TEST(QrFactor, SquareIsThatOfTheMatrix) {
  for (const auto& [m, n] : {std::pair<int64_t, int64_t>{1, 1}, {5, 5}, {30, 4}, {3, 7}, {1, 4}}) {
    SCOPED_TRACE(::testing::Message() << m << " x " << n);
    const Eigen::MatrixXd A = normal_matrix(m, n, 1);
    const Eigen::MatrixXd R = qr_factor(A, kOneThread);
    ASSERT_EQ(R.rows(), n);
    ASSERT_EQ(R.cols(), n);
    EXPECT_TRUE(R.isUpperTriangular(0));
    EXPECT_LT(distance(R.transpose() * R, A.transpose() * A), 1e-13 * A.squaredNorm());
    for (int64_t i = m; i < n; ++i) EXPECT_EQ(R.row(i).norm(), 0);
  }
}

TEST(SvdTest, Decomposes) {
  for (const auto& [m, n] : {std::pair<int64_t, int64_t>{1, 1}, {6, 6}, {20, 5}, {5, 20}}) {
    SCOPED_TRACE(::testing::Message() << m << " x " << n);
    const int64_t k = std::min(m, n);
    const Eigen::MatrixXd A = normal_matrix(m, n, 1);
    const Svd actual = svd(A, kOneThread);
    EXPECT_LT(distance(actual.values, jacobi_svd(A.cast<Real>()).values), 1e-13);
    EXPECT_LT(distance(actual.u.transpose() * actual.u, identity(k)), 1e-13);
    EXPECT_LT(distance(actual.vt * actual.vt.transpose(), identity(k)), 1e-13);
    EXPECT_LT(distance(actual.u * actual.values.asDiagonal() * actual.vt, A), 1e-13);
  }
}

TEST(SvdTest, OfNothingIsNothing) {
  EXPECT_EQ(svd(Eigen::MatrixXd(4, 0), kOneThread).values.size(), 0);
  EXPECT_EQ(svd(Eigen::MatrixXd(0, 4), kOneThread).values.size(), 0);
}

// From this size on a decomposition runs detached: the wait is cut short where the caller is told
// to stop.
TEST(LargeMatrix, IsDecomposedAsidesAndTheWaitMayBeCancelled) {
  within_patience([] {
    Eigen::MatrixXd A = identity(kLargeMatrix);
    A(5, 4) = 0.5;
    A(4, 5) = 0.5;
    CountingMonitor monitor(1'000'000);
    const Cholesky cholesky(A, Context(2, &monitor));
    EXPECT_GT(cholesky.reciprocal_condition(), 0.1);
    Eigen::MatrixXd B = A.leftCols(2);
    cholesky.solve(B);
    EXPECT_LT(distance(B, identity(kLargeMatrix).leftCols(2)), 1e-14);
    // Seconds of work, given up after the first look.
    const Eigen::MatrixXd dense = normal_matrix(kLargeMatrix, kLargeMatrix, 1);
    const ImpatientContext impatient(2);
    EXPECT_THROW(eigenvalues(dense + dense.transpose(), impatient), Stop);
  });
}

Moments moments_of(const RealMatrix& X, const RealMatrix& Y) {
  Moments result;
  result.gram = (X.transpose() * X).cast<double>();
  result.cross = (X.transpose() * Y).cast<double>();
  return result;
}

TrainFactor factor_of(const RealMatrix& X, const RealMatrix& Y) {
  // Any Q R with the same R'R and R'Q'y serves: here R = S V', Q'y = U'y, though R is no triangle.
  const ReferenceSvd svd = jacobi_svd(X);
  TrainFactor result;
  result.factor = (svd.values.asDiagonal() * svd.v.transpose()).cast<double>();
  result.target = (svd.u.transpose() * Y).cast<double>();
  return result;
}

TEST(SpectrumTest, IsTheSvdWithTheTargetInItsBasis) {
  const RealMatrix X = conditioned(50, 6, 1e3L, 1) * 7;
  const RealMatrix Y = normal_matrix(50, 2, 2).cast<Real>();
  const RealVector expected = jacobi_svd(X).values;
  for (const Spectrum& actual :
       {spectrum(moments_of(X, Y), kOneThread), spectrum(factor_of(X, Y), kOneThread)}) {
    EXPECT_LT(distance(actual.values, expected), 1e-10);
    EXPECT_LT(distance(actual.vectors.transpose() * actual.vectors, identity(6)), 1e-13);
    const RealMatrix product = X * actual.vectors.cast<Real>();  // U S
    EXPECT_LT(
        distance(actual.values.asDiagonal() * actual.target, (product.transpose() * Y).eval()),
        1e-9);
  }
}

TEST(SpectrumTest, DirectionsWithoutVarianceTakeNoPart) {
  RealMatrix X = conditioned(50, 4, 10, 1);
  X.col(2).setZero();
  const RealMatrix Y = normal_matrix(50, 2, 2).cast<Real>();
  const Spectrum actual = spectrum(moments_of(X, Y), kOneThread);
  EXPECT_LT(actual.values(3), 1e-7 * actual.values(0));
  for (const double alpha : {0.0, 0.1}) {
    const ReferenceModel expected =
        reference_ridge({X, Y, RealVector::Ones(50)}, RealVector::Constant(2, alpha), false);
    const Eigen::MatrixXd coef = ridge_solution(actual, Eigen::VectorXd::Constant(2, alpha),
                                                alpha > 0 ? 0.0 : 1e-7 * actual.values(0));
    EXPECT_LT(relative_distance(coef, expected.coef), 1e-12);
  }
}

TEST(SpectrumTest, RidgeSolutionServesEveryPenaltyOfEveryTarget) {
  const RealMatrix X = conditioned(50, 6, 100, 1);
  const RealMatrix Y = normal_matrix(50, 3, 2).cast<Real>();
  const Spectrum shared = spectrum(factor_of(X, Y), kOneThread);
  const Eigen::Vector3d alpha(0, 0.01, 3);
  const ReferenceModel expected =
      reference_ridge({X, Y, RealVector::Ones(50)}, alpha.cast<Real>(), false);
  EXPECT_LT(relative_distance(ridge_solution(shared, alpha, 0.0), expected.coef), 1e-12);
}

// A direction too small for the Gram counts beside a penalty as far as the target lies along it.
TEST(SpectrumTest, PenaltyCountsInDirectionsThatRoundToNothing) {
  for (uint64_t seed = 1; seed < 20; ++seed) {
    const RealMatrix X = conditioned(50, 6, 1e9L, seed);
    const RealMatrix Y = normal_matrix(50, 1, 2).cast<Real>();
    const ReferenceModel expected =
        reference_ridge({X, Y, RealVector::Ones(50)}, RealVector::Constant(1, 1e-4L), false, 0);
    const Eigen::MatrixXd coef = ridge_solution(spectrum(moments_of(X, Y), kOneThread),
                                                Eigen::VectorXd::Constant(1, 1e-4), 0.0);
    EXPECT_LT(relative_distance(coef, expected.coef), 1e-10);
  }
}

TEST(SpectrumTest, CutoffDropsDirections) {
  const RealMatrix X = conditioned(50, 5, 1e4L, 1);  // values 1, 0.1, ..., 1e-4
  const RealMatrix Y = normal_matrix(50, 1, 2).cast<Real>();
  const ReferenceModel expected =
      reference_ridge({X, Y, RealVector::Ones(50)}, RealVector::Zero(1), false, 0.005L);
  const Eigen::MatrixXd coef =
      ridge_solution(spectrum(factor_of(X, Y), kOneThread), Eigen::VectorXd::Zero(1), 0.005);
  EXPECT_LT(relative_distance(coef, expected.coef), 1e-12);
}

}  // namespace
}  // namespace manyfit::testing
