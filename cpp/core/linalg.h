// Dense decompositions, by LAPACK. The routines come as function pointers (SciPy's, at import; the
// system's in the C++ tests), so nothing is linked and nothing is compiled per CPU level.
//
// LAPACK cannot be interrupted, and OpenBLAS brings threads of its own. Matrices below kLargeMatrix
// are decomposed on one thread, in well under the time Ctrl-C may take, and several of them at once
// on our threads. Larger ones come one at a time, with the BLAS's own threads, detached so that
// Ctrl-C is answered.
#pragma once

#include <Eigen/Core>
#include <string>
#include <vector>

#include "core/context.h"

namespace manyfit {

inline constexpr int64_t kLargeMatrix = 1024;

// Names of the routines needed, and a place to put them. Fortran calling convention, 32-bit
// integers.
std::vector<std::string> lapack_routines();
void install_lapack(const std::string& name, void* routine);

struct SymmetricEigen {
  Eigen::VectorXd values;   // ascending
  Eigen::MatrixXd vectors;  // columns
};

// A = V diag(values) V' for symmetric A, of which the lower triangle is read. 9 d^3 operations.
SymmetricEigen eigh(Eigen::MatrixXd A, const Context& context);
// The `count` largest values and their vectors; less work than all where count is small against d.
SymmetricEigen eigh_largest(Eigen::MatrixXd A, int64_t count, const Context& context);
Eigen::VectorXd eigenvalues(Eigen::MatrixXd A, const Context& context);

// A = L L' of a symmetric positive definite matrix that was scaled to unit diagonal.
class Cholesky {
 public:
  enum class Conditioning {
    estimate,  // of the inverse's norm, by some solves: for answers that must keep their digits
    pivots,    // the smallest square of L's diagonal, for nothing: tells dependent columns
  };
  Cholesky(Eigen::MatrixXd A, const Context& context,
           Conditioning conditioning = Conditioning::estimate);
  // About 1 / (|A| |A^-1|) of the scaled matrix; 0 where A is not positive definite.
  double reciprocal_condition() const { return reciprocal_condition_; }
  // A X = B, in B's place.
  void solve(Eigen::MatrixXd& B) const;

 private:
  Eigen::MatrixXd factor_;
  Eigen::VectorXd scale_;
  double reciprocal_condition_ = 0;
};

// A = Q R: the upper triangle R (cols x cols; rows of zeros where A has fewer rows), Q is dropped.
Eigen::MatrixXd qr_factor(Eigen::MatrixXd A, const Context& context);

struct Svd {
  Eigen::MatrixXd u;       // (m, min(m, n))
  Eigen::VectorXd values;  // descending
  Eigen::MatrixXd vt;      // (min(m, n), n)
};
Svd svd(Eigen::MatrixXd A, const Context& context);

}  // namespace manyfit
