#include "core/moments_cuda.h"

namespace manyfit {
namespace {

constexpr int kThreads = 256;

// One thread for each entry of the augmented matrix (1 + d + t) x (1 + d): reads every atom once.
// Cost: groups * atoms * p^2 loads, of a matrix that the second-level cache holds.
struct MomentsKernel {
  const double* moments;   // (atoms, stride, stride)
  const double* shift;     // (d + t)
  const double* times;     // (groups, atoms)
  const int32_t* centred;  // (groups)
  int64_t d, t, atoms, stride;
  double *gram, *cross, *mean, *target_mean, *target_squares, *shifted_squares, *weight;

  // Sum over the atoms of times * M[i][j], j <= i.
  MANYFIT_DEVICE double total(int64_t group, int64_t i, int64_t j) const {
    double sum = 0;
    for (int64_t a = 0; a < atoms; ++a) {
      const double count = times[group * atoms + a];
      if (count != 0) sum += count * moments[(a * stride + i) * stride + j];
    }
    return sum;
  }

  MANYFIT_DEVICE void operator()(Block& block) const {
    const int64_t group = block.y();
    block.each([&](int thread) {
      const int64_t p = 1 + d + t;
      for (int64_t place = block.first(thread); place < p * (1 + d); place += block.stride()) {
        const int64_t i = place / (1 + d), j = place % (1 + d);
        if (j <= i) entry(group, i, j);
      }
    });
  }

  MANYFIT_DEVICE void entry(int64_t group, int64_t i, int64_t j) const {
    const double W = total(group, 0, 0);
    if (i == 0) {
      weight[group] = W;
      return;
    }
    const double own = total(group, i, 0);  // sum w (z_i - shift_i)
    if (j == 0) {
      const double at = shift[i - 1] + own / W;
      if (i <= d) {
        mean[group * d + i - 1] = at;
      } else {
        target_mean[group * t + i - 1 - d] = at;
        const double squares = total(group, i, i);
        const double moved = own + W * shift[i - 1];
        target_squares[group * t + i - 1 - d] =
            centred[group] ? squares - own * (own / W) : squares + (own + moved) * shift[i - 1];
      }
      return;
    }
    const double sum = total(group, i, j), other = total(group, j, 0);
    const double value = centred[group]
                             ? sum - own * (other / W)
                             : sum + own * shift[j - 1] + shift[i - 1] * (other + W * shift[j - 1]);
    if (i <= d) {
      gram[(group * d + i - 1) * d + j - 1] = value;
      gram[(group * d + j - 1) * d + i - 1] = value;
      if (i == j) shifted_squares[group * d + i - 1] = sum;
    } else {
      cross[(group * t + i - 1 - d) * d + j - 1] = value;
    }
  }
};

}  // namespace

DeviceMoments moments_cuda(const DeviceGram& gram, const DeviceFolds& folds,
                           const std::vector<RowGroup>& groups) {
  Device& device = folds.device();
  const auto n = static_cast<int64_t>(groups.size());
  const int64_t d = gram.n_features, t = gram.n_targets;
  std::vector<double> numbers;
  std::vector<int32_t> centred;
  for (const RowGroup& group : groups) {
    const std::vector<int32_t>& times = group.left_out ? folds.test : folds.train;
    if (times.size() != folds.train.size())
      throw InvalidInput("these folds do not tell which rows splits leave out");
    const auto first = times.begin() + group.split * gram.n_atoms;
    numbers.insert(numbers.end(), first, first + gram.n_atoms);
    centred.push_back(group.centred);
  }
  const auto shift_at = static_cast<int64_t>(numbers.size());
  numbers.insert(numbers.end(), gram.shift.begin(), gram.shift.end());
  const DeviceBuffer<double> given(device, numbers);
  const DeviceBuffer<int32_t> centring(device, centred);
  DeviceMoments result;
  result.n_features = d;
  result.n_targets = t;
  result.n_groups = n;
  result.gram = DeviceBuffer<double>(device, n * d * d);
  result.cross = DeviceBuffer<double>(device, n * t * d);
  result.mean = DeviceBuffer<double>(device, n * d);
  result.target_mean = DeviceBuffer<double>(device, n * t);
  result.target_squares = DeviceBuffer<double>(device, n * t);
  result.shifted_squares = DeviceBuffer<double>(device, n * d);
  result.weight = DeviceBuffer<double>(device, n);
  MomentsKernel kernel;
  kernel.moments = gram.moments.data();
  kernel.shift = given.data() + shift_at;
  kernel.times = given.data();
  kernel.centred = centring.data();
  kernel.d = d;
  kernel.t = t;
  kernel.atoms = gram.n_atoms;
  kernel.stride = gram.stride;
  kernel.gram = result.gram.data();
  kernel.cross = result.cross.data();
  kernel.mean = result.mean.data();
  kernel.target_mean = result.target_mean.data();
  kernel.target_squares = result.target_squares.data();
  kernel.shifted_squares = result.shifted_squares.data();
  kernel.weight = result.weight.data();
  const int64_t entries = (1 + d + t) * (1 + d);
  device.launch({(entries + kThreads - 1) / kThreads, n, 1}, kThreads, 0, kernel);
  return result;
}

}  // namespace manyfit
