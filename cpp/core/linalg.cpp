#include "core/linalg.h"

#include <algorithm>
#include <limits>
#include <map>
#include <memory>

#include "core/blas_threads.h"
#include "core/errors.h"

namespace manyfit {
namespace {

// The table. Every argument is a pointer, so a routine is named by its C++ signature.
struct Routines {
  void (*dsyevd)(const char* jobz, const char* uplo, const int* n, double* a, const int* lda,
                 double* w, double* work, const int* lwork, int* iwork, const int* liwork,
                 int* info) = nullptr;
  void (*dsyevr)(const char* jobz, const char* range, const char* uplo, const int* n, double* a,
                 const int* lda, const double* vl, const double* vu, const int* il, const int* iu,
                 const double* abstol, int* m, double* w, double* z, const int* ldz, int* isuppz,
                 double* work, const int* lwork, int* iwork, const int* liwork,
                 int* info) = nullptr;
  void (*dpotrf)(const char* uplo, const int* n, double* a, const int* lda, int* info) = nullptr;
  void (*dpotrs)(const char* uplo, const int* n, const int* nrhs, const double* a, const int* lda,
                 double* b, const int* ldb, int* info) = nullptr;
  void (*dpocon)(const char* uplo, const int* n, const double* a, const int* lda,
                 const double* anorm, double* rcond, double* work, int* iwork, int* info) = nullptr;
  void (*dgeqrf)(const int* m, const int* n, double* a, const int* lda, double* tau, double* work,
                 const int* lwork, int* info) = nullptr;
  void (*dgesdd)(const char* jobz, const int* m, const int* n, double* a, const int* lda, double* s,
                 double* u, const int* ldu, double* vt, const int* ldvt, double* work,
                 const int* lwork, int* iwork, int* info) = nullptr;
};
Routines table;

template <class F>
void set(F& slot, void* routine) {
  slot = reinterpret_cast<F>(routine);
}

const std::map<std::string, void (*)(void*)> kInstall = {
    {"dsyevd", [](void* f) { set(table.dsyevd, f); }},
    {"dsyevr", [](void* f) { set(table.dsyevr, f); }},
    {"dpotrf", [](void* f) { set(table.dpotrf, f); }},
    {"dpotrs", [](void* f) { set(table.dpotrs, f); }},
    {"dpocon", [](void* f) { set(table.dpocon, f); }},
    {"dgeqrf", [](void* f) { set(table.dgeqrf, f); }},
    {"dgesdd", [](void* f) { set(table.dgesdd, f); }},
};

// Runs a call that owns `state`, detached where it may take long.
template <class State>
std::shared_ptr<State> run(State state, int64_t size, const Context& context,
                           void (*call)(State&)) {
  auto owned = std::make_shared<State>(std::move(state));
  const auto work = [owned, size, call] {
    const BlasThreads threads(size);
    call(*owned);
  };
  if (size >= kLargeMatrix)
    context.detach("decomposition", work);
  else
    work();
  return owned;
}

// LAPACK counts in 32 bits.
int checked(int64_t size) {
  if (size > 30000)
    throw InvalidInput(
        "X: the smaller of n_samples and n_features must be <= 30000 for a dense decomposition, "
        "got " +
        std::to_string(size));
  return static_cast<int>(size);
}

void require(int info, const char* routine) {
  if (info != 0)
    throw std::runtime_error(std::string(routine) + " did not converge (info " +
                             std::to_string(info) + ")");
}

struct EigenCall {
  Eigen::MatrixXd a;
  const char* vectors;
  Eigen::VectorXd values;
};

void call_dsyevd(EigenCall& state) {
  const int n = checked(state.a.rows());
  state.values.resize(n);
  if (n == 0) return;
  int info = 0, lwork = -1, liwork = -1;
  double work_size = 0;
  int iwork_size = 0;
  const auto call = [&](double* work, int* iwork) {
    table.dsyevd(state.vectors, "L", &n, state.a.data(), &n, state.values.data(), work, &lwork,
                 iwork, &liwork, &info);
  };
  call(&work_size, &iwork_size);
  lwork = static_cast<int>(work_size);
  liwork = iwork_size;
  std::vector<double> work(lwork);
  std::vector<int> iwork(liwork);
  call(work.data(), iwork.data());
  require(info, "dsyevd");
}

struct LargestCall {
  Eigen::MatrixXd a;
  int64_t count;
  SymmetricEigen result;
};

void call_dsyevr(LargestCall& state) {
  const int n = checked(state.a.rows());
  const int last = n, first = n - static_cast<int>(state.count) + 1;
  const double zero = 0;
  int found = 0, info = 0, lwork = -1, liwork = -1;
  double work_size = 0;
  int iwork_size = 0;
  std::vector<int> support(2 * n);
  Eigen::VectorXd values(n);
  state.result.vectors.resize(n, state.count);
  const auto call = [&](double* work, int* iwork) {
    table.dsyevr("V", "I", "L", &n, state.a.data(), &n, &zero, &zero, &first, &last, &zero, &found,
                 values.data(), state.result.vectors.data(), &n, support.data(), work, &lwork,
                 iwork, &liwork, &info);
  };
  call(&work_size, &iwork_size);
  lwork = static_cast<int>(work_size);
  liwork = iwork_size;
  std::vector<double> work(lwork);
  std::vector<int> iwork(liwork);
  call(work.data(), iwork.data());
  require(info, "dsyevr");
  state.result.values = values.head(state.count);
}

struct CholeskyCall {
  Eigen::MatrixXd a;
  Cholesky::Conditioning conditioning;
  double reciprocal_condition;
};

void call_dpotrf(CholeskyCall& state) {
  const int n = checked(state.a.rows());
  const bool estimate = state.conditioning == Cholesky::Conditioning::estimate;
  double norm = estimate ? 0 : 1;
  for (int j = 0; estimate && j < n; ++j) norm = std::max(norm, state.a.col(j).lpNorm<1>());
  int info = 0;
  table.dpotrf("L", &n, state.a.data(), &n, &info);
  if (info != 0 || !(norm > 0)) return;
  if (!estimate) {
    if (n > 0) state.reciprocal_condition = state.a.diagonal().array().square().minCoeff();
    return;
  }
  std::vector<double> work(3 * static_cast<size_t>(n));
  std::vector<int> iwork(n);
  table.dpocon("L", &n, state.a.data(), &n, &norm, &state.reciprocal_condition, work.data(),
               iwork.data(), &info);
}

void call_dgeqrf(Eigen::MatrixXd& a) {
  const int m = static_cast<int>(a.rows()), n = checked(a.cols());
  std::vector<double> tau(std::min(m, n));
  int info = 0, lwork = -1;
  double size = 0;
  table.dgeqrf(&m, &n, a.data(), &m, tau.data(), &size, &lwork, &info);
  lwork = static_cast<int>(size);
  std::vector<double> work(lwork);
  table.dgeqrf(&m, &n, a.data(), &m, tau.data(), work.data(), &lwork, &info);
}

struct SvdCall {
  Eigen::MatrixXd a;
  Svd result;
};

void call_dgesdd(SvdCall& state) {
  const int m = static_cast<int>(state.a.rows()), n = static_cast<int>(state.a.cols());
  const int k = checked(std::min(m, n));
  Svd& out = state.result;
  out.u.resize(m, k);
  out.values.resize(k);
  out.vt.resize(k, n);
  if (k == 0) return;
  int info = 0, lwork = -1;
  double size = 0;
  std::vector<int> iwork(8 * static_cast<size_t>(k));
  const auto call = [&](double* work) {
    table.dgesdd("S", &m, &n, state.a.data(), &m, out.values.data(), out.u.data(), &m,
                 out.vt.data(), &k, work, &lwork, iwork.data(), &info);
  };
  call(&size);
  lwork = static_cast<int>(size);
  std::vector<double> work(lwork);
  call(work.data());
  require(info, "dgesdd");
}

}  // namespace

std::vector<std::string> lapack_routines() {
  std::vector<std::string> names;
  for (const auto& [name, install] : kInstall) names.push_back(name);
  return names;
}

void install_lapack(const std::string& name, void* routine) {
  const auto found = kInstall.find(name);
  if (found == kInstall.end()) throw InvalidInput("install_lapack: no routine is named " + name);
  found->second(routine);
}

SymmetricEigen eigh(Eigen::MatrixXd A, const Context& context) {
  const int64_t n = A.rows();
  const auto done = run(EigenCall{std::move(A), "V", {}}, n, context, call_dsyevd);
  return {std::move(done->values), std::move(done->a)};
}

SymmetricEigen eigh_largest(Eigen::MatrixXd A, int64_t count, const Context& context) {
  const int64_t n = A.rows();
  if (4 * count > n) {
    SymmetricEigen all = eigh(std::move(A), context);
    return {all.values.tail(count), all.vectors.rightCols(count)};
  }
  return std::move(run(LargestCall{std::move(A), count, {}}, n, context, call_dsyevr)->result);
}

Eigen::VectorXd eigenvalues(Eigen::MatrixXd A, const Context& context) {
  const int64_t n = A.rows();
  return std::move(run(EigenCall{std::move(A), "N", {}}, n, context, call_dsyevd)->values);
}

Cholesky::Cholesky(Eigen::MatrixXd A, const Context& context, Conditioning conditioning) {
  // Powers of two near 1 / sqrt(diagonal): scaling by them is exact.
  scale_.resize(A.rows());
  for (int64_t i = 0; i < A.rows(); ++i) {
    if (!(A(i, i) > 0) || !std::isfinite(A(i, i))) return;
    scale_(i) = std::exp2(-std::round(std::log2(A(i, i)) / 2));
  }
  A.array().colwise() *= scale_.array();
  A.array().rowwise() *= scale_.transpose().array();
  const int64_t n = A.rows();
  const auto done = run(CholeskyCall{std::move(A), conditioning, 0.0}, n, context, call_dpotrf);
  factor_ = std::move(done->a);
  reciprocal_condition_ = done->reciprocal_condition;
}

void Cholesky::solve(Eigen::MatrixXd& B) const {
  const int n = static_cast<int>(factor_.rows()), columns = static_cast<int>(B.cols());
  B.array().colwise() *= scale_.array();
  int info = 0;
  const BlasThreads threads(n);
  table.dpotrs("L", &n, &columns, factor_.data(), &n, B.data(), &n, &info);
  B.array().colwise() *= scale_.array();
}

Eigen::MatrixXd qr_factor(Eigen::MatrixXd A, const Context& context) {
  const int64_t n = A.cols();
  const auto done = run(std::move(A), n, context, call_dgeqrf);
  Eigen::MatrixXd R = Eigen::MatrixXd::Zero(n, n);
  const int64_t rows = std::min(n, done->rows());
  for (int64_t j = 0; j < n; ++j)
    R.col(j).head(std::min(j + 1, rows)) = done->col(j).head(std::min(j + 1, rows));
  return R;
}

Svd svd(Eigen::MatrixXd A, const Context& context) {
  const int64_t n = std::min(A.rows(), A.cols());
  return std::move(run(SvdCall{std::move(A), {}}, n, context, call_dgesdd)->result);
}

}  // namespace manyfit
