#include <algorithm>

#include "linear_model/predict_cuda.h"

namespace manyfit {
namespace {

constexpr int kRows = 128;                      // of a block, one for each thread
constexpr int kColumns = 32;                    // that pass through shared memory together
constexpr int kTargets = 8;                     // of a block
constexpr int64_t kNumbers = int64_t{1} << 32;  // looked at in a launch: some 10 ms

// A block reads its rows once for eight targets: as many bytes as X has, whatever its order. In
// shared memory a row is one number longer than it need be, so that threads, each in its own row,
// meet different banks.
template <class T>
struct PredictKernel {
  MatrixView<const T> X;
  const double* coef;       // (t, d)
  const double* intercept;  // (t,)
  int64_t t, first_row;
  T* out;         // (n, t)
  int32_t* lost;  // one number, set to 1 where X is not finite

  static constexpr size_t kTile = size_t{kRows} * (kColumns + 1);
  static constexpr size_t kSharedBytes = (kTile + size_t{kTargets} * kColumns) * sizeof(T) + 16;

  MANYFIT_DEVICE void operator()(Block& block) const {
    T* const tile = block.shared<T>();
    T* const factors = tile + kTile;
    const int64_t begin = first_row + block.x() * kRows;
    const int64_t rows = X.rows - begin < kRows ? X.rows - begin : kRows;
    const int64_t target = block.y() * kTargets;
    const int targets = static_cast<int>(t - target < kTargets ? t - target : kTargets);
    const bool by_columns = X.row_stride == 1;
    PerThread<double[kTargets]> sums(block);
    block.each([&](int thread) {
      for (int k = 0; k < kTargets; ++k) sums[thread][k] = k < targets ? intercept[target + k] : 0;
    });
    for (int64_t column = 0; column < X.cols; column += kColumns) {
      const int columns = static_cast<int>(X.cols - column < kColumns ? X.cols - column : kColumns);
      block.each([&](int thread) {
        for (int place = thread; place < kRows * kColumns; place += kRows) {
          // Neighbouring threads read neighbouring numbers.
          const int row = by_columns ? place % kRows : place / kColumns;
          const int j = by_columns ? place / kRows : place % kColumns;
          T value = 0;
          if (row < rows && j < columns) value = X(begin + row, column + j);
          tile[row * (kColumns + 1) + j] = value;
          if (!(value - value == 0)) *lost = 1;
        }
        for (int place = thread; place < kTargets * kColumns; place += kRows) {
          const int k = place / kColumns, j = place % kColumns;
          factors[place] = k < targets && j < columns
                               ? static_cast<T>(coef[(target + k) * X.cols + column + j])
                               : T{0};
        }
      });
      block.each([&](int thread) {
        T part[kTargets] = {};
        for (int j = 0; j < kColumns; ++j) {
          const T value = tile[thread * (kColumns + 1) + j];
          for (int k = 0; k < kTargets; ++k) part[k] += value * factors[k * kColumns + j];
        }
        for (int k = 0; k < kTargets; ++k) sums[thread][k] += static_cast<double>(part[k]);
      });
    }
    block.each([&](int thread) {
      if (thread >= rows) return;
      for (int k = 0; k < kTargets; ++k)
        if (k < targets) out[(begin + thread) * t + target + k] = static_cast<T>(sums[thread][k]);
    });
  }
};

}  // namespace

template <class T>
bool predict_cuda(Device& device, MatrixView<const T> X, const std::vector<double>& coef,
                  const std::vector<double>& intercept, T* out, const Context& context) {
  const auto t = static_cast<int64_t>(intercept.size());
  const DeviceBuffer<double> factors(device, coef), constants(device, intercept);
  DeviceBuffer<int32_t> lost(device, 1);
  lost.zero();
  PredictKernel<T> kernel;
  kernel.X = X;
  kernel.coef = factors.data();
  kernel.intercept = constants.data();
  kernel.t = t;
  kernel.out = out;
  kernel.lost = lost.data();
  const int64_t groups = (t + kTargets - 1) / kTargets;
  const int64_t rows =
      std::max<int64_t>(kNumbers / std::max<int64_t>(X.cols * groups, 1) / kRows, 1) * kRows;
  for (int64_t first = 0; first < X.rows; first += rows) {
    kernel.first_row = first;
    const int64_t blocks = (std::min(rows, X.rows - first) + kRows - 1) / kRows;
    device.launch({blocks, groups, 1}, kRows, PredictKernel<T>::kSharedBytes, kernel);
    if (first + rows < X.rows) device.synchronize(context);
  }
  return lost.download(context)[0] == 0;
}

template bool predict_cuda(Device&, MatrixView<const float>, const std::vector<double>&,
                           const std::vector<double>&, float*, const Context&);
template bool predict_cuda(Device&, MatrixView<const double>, const std::vector<double>&,
                           const std::vector<double>&, double*, const Context&);

}  // namespace manyfit
