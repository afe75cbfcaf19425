#include <algorithm>
#include <limits>

#include "core/fold_gram_cuda.h"
#include "core/gram_register_cuda.h"
#include "core/gram_tensor_cuda.h"
#include "core/row_stream_cuda.h"

namespace manyfit {
namespace {

constexpr int64_t kSliceRows = 256;    // at least, where an atom is cut
constexpr double kPassSeconds = 0.04;  // a launch, at the rates below
constexpr size_t kSmall = 1 << 20;     // bytes that go in one piece
constexpr size_t kLeast = 64 << 10;    // of a piece, where memory is short

// 32 x 8 entries of M: rows from 8 `row` on, columns from 8 `strip` on, and which halves are
// needed.
struct Unit {
  int row, strip;
  bool upper, lower;
  int cost() const { return upper + lower; }
};

std::vector<Unit> units_of(int size_i, int size_j, bool diagonal) {
  std::vector<Unit> units;
  const int strips = (size_i + 7) / 8;
  // Rows go by 16: of an odd number of strips the first is a column of units and one of its own.
  const int head = diagonal ? strips % 2 : 0;
  const int blocks = (strips - head + 3) / 4;
  for (int block = blocks - 1; block >= 0; --block) {  // the longest first
    const int row = head + 4 * block;
    const int end = diagonal ? std::min(row + 4, strips) : (size_j + 7) / 8;
    for (int strip = 0; strip < end; ++strip)
      units.push_back({row, strip, !diagonal || strip < row + 2, row + 2 < strips});
  }
  if (head == 1) units.push_back({0, 0, true, false});
  return units;
}

// Shares the units among the warps: each takes a run of them that spans two blocks of rows at most.
// False where so many units a warp do not suffice.
bool share(const std::vector<Unit>& units, int most_units, WarpUnits* warps, int n_warps) {
  int total = 0;
  for (const Unit& unit : units) total += unit.cost();
  for (int most_cost = std::max(2, (total + n_warps - 1) / n_warps); most_cost <= 2 * most_units;
       ++most_cost) {
    std::vector<std::pair<int, WarpUnits>> shares;
    size_t next = 0;
    while (next < units.size()) {
      WarpUnits own;
      int cost = 0, count = 0;
      own.row = static_cast<uint8_t>(units[next].row);
      own.first = static_cast<uint8_t>(units[next].strip);
      for (; next < units.size() && count < most_units; ++next, ++count) {
        const Unit& unit = units[next];
        if (cost + unit.cost() > most_cost) break;
        if (unit.row == own.row && own.turn == count) {
          ++own.turn;
        } else if (own.turn == count) {
          own.next = static_cast<uint8_t>(unit.row);
        } else if (unit.row != own.next) {
          break;
        }
        cost += unit.cost();
        own.upper = static_cast<uint16_t>(own.upper | (unit.upper ? 1 << count : 0));
        own.lower = static_cast<uint16_t>(own.lower | (unit.lower ? 1 << count : 0));
      }
      shares.emplace_back(cost, own);
    }
    if (static_cast<int>(shares.size()) > n_warps) continue;
    // Warps w and w + 4 share a tensor core: the most beside the least.
    shares.resize(static_cast<size_t>(n_warps));
    std::stable_sort(shares.begin(), shares.end(),
                     [](const auto& a, const auto& b) { return a.first > b.first; });
    for (int w = 0; w < n_warps; ++w)
      warps[w < n_warps / 2 ? w : n_warps + n_warps / 2 - 1 - w] =
          shares[static_cast<size_t>(w)].second;
    return true;
  }
  return false;
}

// Prepares the kernel's tiling; false where it is not made for this shape.
template <class T, int W, int U, bool Pairs>
bool fits(TensorGram<T, W, U, Pairs>& kernel) {
  const int64_t d = kernel.rows.X.cols, attached = kernel.rows.columns() - d;
  TensorTiling& tiling = kernel.tiling;
  tiling.attached = Pairs && attached <= kernel.kMaxAttached ? attached : 0;
  tiling.columns = tiling.attached > 0 ? d : kernel.rows.columns();
  tiling.tiles = std::max<int64_t>(1, (tiling.columns + W - 1) / W);
  if (tiling.tiles > 1 && !Pairs) return false;
  // Whole strips of 16 columns to each tile.
  tiling.width = ((tiling.columns + tiling.tiles - 1) / tiling.tiles + 15) / 16 * 16;
  tiling.tiles = std::max<int64_t>(
      1, (tiling.columns + tiling.width - 1) / std::max<int64_t>(tiling.width, 1));
  const int more = static_cast<int>(tiling.attached);
  const int full = tiling.size(0), last = tiling.size(tiling.tiles - 1);
  const std::vector<Unit> kinds[4] = {units_of(full + more, full + more, true),
                                      units_of(last + more, last + more, true),
                                      units_of(full, full, false), units_of(last, full, false)};
  for (int kind = 0; kind < (Pairs ? 4 : 2); ++kind)
    if (!share(kinds[kind], U, kernel.units[kind], kernel.kWarps)) return false;
  return true;
}
template <class T>
bool fits(RegisterGram<T>&) {
  return true;
}

bool uses_tensors(const Device& device, GramKernel kernel) {
  return device.facts().fast_double && kernel == GramKernel::best;
}

// Adds the products of rows to M, pass by pass.
template <class T>
class GramSum {
 public:
  GramSum(Device& device, const DeviceGram& gram, const std::vector<int64_t>& atom_begin,
          GramKernel kernel)
      : device_(device), gram_(gram), atom_begin_(atom_begin) {
    tensor_ = uses_tensors(device, kernel);
  }

  // A pass of at most so many rows takes a launch.
  int64_t rows_of_a_pass() const {
    const double rate = tensor_ ? 1e13 : std::is_same_v<T, float> ? 2e12 : 1e11;
    const auto p = static_cast<double>(gram_.stride);
    return std::max<int64_t>(int64_t{1} << 14,
                             static_cast<int64_t>(kPassSeconds * rate / (p * (p / 2 + 64))));
  }

  // Adds rows at positions [begin, end), in passes that end soon enough to answer Ctrl-C.
  void add(GramRows<T> rows, int64_t begin, int64_t end, const Context& context) {
    const int64_t step = rows_of_a_pass();
    if (begin == end) start(begin, end);
    Device::MarkPtr before;
    while (begin < end) {
      const int64_t to = end - begin <= step + step / 2 ? end : begin + step;
      pass(rows, begin, to);
      if (to < end) {  // never more than two passes ahead of the device
        const Device::MarkPtr mark = device_.mark_work();
        if (before != nullptr) device_.wait(before, context);
        before = mark;
      }
      if (rows.shift == nullptr) {  // the first pass has computed it
        rows.shift = rows.shift_to;
        rows.shift_to = nullptr;
      }
      begin = to;
    }
  }

 private:
  // True where what comes next can be put where M is to be; else M is made zero.
  bool start(int64_t begin, int64_t end) {
    if (started_) return false;
    started_ = true;
    if (begin == 0 && end == atom_begin_.back() &&
        std::adjacent_find(atom_begin_.begin(), atom_begin_.end()) == atom_begin_.end())
      return true;
    device_.zero(gram_.moments.data(), static_cast<size_t>(gram_.size()) * sizeof(double));
    return false;
  }

  void pass(const GramRows<T>& rows, int64_t begin, int64_t end) {
    const GramOutput output{gram_.moments.data(), gram_.stride, nullptr, !start(begin, end)};
    if (!tensor_) {
      run<RegisterGram<T>>(rows, output, begin, end);
      return;
    }
    if (rows.columns() <= 32 && run<TensorGram<T, 32, 1, false>>(rows, output, begin, end)) return;
    if (rows.columns() <= 64 && run<TensorGram<T, 64, 2, false>>(rows, output, begin, end)) return;
    if (run<TensorGram<T, 128, 4, false>>(rows, output, begin, end)) return;
    if (run<TensorGram<T, 128, 6, false>>(rows, output, begin, end)) return;
    run<TensorGram<T, 128, 8, true>>(rows, output, begin, end);
  }

  template <class Kernel>
  bool run(const GramRows<T>& rows, const GramOutput& output, int64_t begin, int64_t end) {
    Kernel kernel;
    kernel.rows = rows;
    kernel.output = output;
    kernel.by_rows = lies_by_rows(rows.X.row_stride, rows.X.col_stride);
    if (!fits(kernel)) return false;
    launch(kernel, begin, end);
    return true;
  }

  template <class Kernel>
  void launch(Kernel& kernel, int64_t begin, int64_t end) {
    // As many slices as keep the device's multiprocessors busy, in proportion to the atoms.
    const int64_t pairs = kernel.pairs();
    const int64_t places = device_.facts().multiprocessors * Kernel::kBlocksTogether;
    const int64_t most = pairs == 1 ? places : (8 * places + pairs - 1) / pairs;
    const int64_t slice_rows = std::max(kSliceRows, (end - begin + most - 1) / most);
    std::vector<GramSlices::Atom> atoms;
    int64_t slices = 0;
    auto a = std::upper_bound(atom_begin_.begin(), atom_begin_.end(), begin) - 1;
    for (; a + 1 != atom_begin_.end() && *a < end; ++a) {
      const int64_t from = std::max(begin, *a), to = std::min(end, *(a + 1));
      if (from >= to) continue;
      atoms.push_back({a - atom_begin_.begin(), from, to, slices});
      slices += std::max<int64_t>(1, (to - from + slice_rows / 2) / slice_rows);
    }
    const auto n_atoms = static_cast<int64_t>(atoms.size());
    kernel.slices.n_atoms = n_atoms;
    kernel.slices.n_slices = slices;
    DeviceBuffer<GramSlices::Atom> table;
    if (n_atoms > GramSlices::kInline) {
      table = DeviceBuffer<GramSlices::Atom>(device_, atoms);
      kernel.slices.table = table.data();
    } else {
      std::copy(atoms.begin(), atoms.end(), kernel.slices.own);
    }
    if (slices > n_atoms) {
      const int64_t size = slices * pairs * Kernel::kEntries * Kernel::kThreads;
      if (parts_.size() < size) {
        parts_ = DeviceBuffer<double>();
        parts_ = DeviceBuffer<double>(device_, size);
      }
      kernel.output.parts = parts_.data();
    }
    device_.launch(Grid{slices * pairs}, Kernel::kThreads, Kernel::shared_bytes(), kernel);
    if (kernel.output.parts == nullptr) return;
    constexpr int64_t kMostInZ = 65535;
    for (int64_t first = 0; first < n_atoms; first += kMostInZ) {
      AddParts<Kernel> add{kernel, first};
      device_.launch(Grid{Kernel::kEntries, pairs, std::min(kMostInZ, n_atoms - first)},
                     AddParts<Kernel>::kThreads, AddParts<Kernel>::kThreads * sizeof(double), add);
    }
  }

  Device& device_;
  const DeviceGram& gram_;
  const std::vector<int64_t>& atom_begin_;
  bool tensor_, started_ = false;
  DeviceBuffer<double> parts_;
};

template <class T>
DeviceGram make_gram(Device& device, int64_t d, int64_t t, int64_t n_atoms, GramKernel kernel) {
  DeviceGram gram;
  gram.n_features = d;
  gram.n_targets = t;
  gram.n_atoms = n_atoms;
  gram.stride = 1 + d + t;
  const bool tensor = uses_tensors(device, kernel);
  // As on the CPU, where float32 is summed in float32.
  gram.precision =
      std::is_same_v<T, float> && !tensor ? 1e-8 : std::numeric_limits<double>::epsilon();
  gram.moments = DeviceBuffer<double>(device, gram.size() + d + t);  // and the shift at the end
  return gram;
}

// One download tells when the work is over, and brings the shift and what is small.
void finish(DeviceGram& gram, const Context& context) {
  Device& device = gram.moments.device();
  if (gram.moments.bytes() <= kSmall) {
    gram.on_host = gram.moments.download(context);
    gram.shift.assign(gram.on_host.begin() + gram.size(), gram.on_host.end());
    return;
  }
  gram.shift.resize(static_cast<size_t>(gram.n_features + gram.n_targets));
  if (gram.shift.empty())
    device.synchronize(context);
  else
    device.download(gram.shift.data(), gram.moments.data() + gram.size(),
                    gram.shift.size() * sizeof(double), context);
}

// Rows of the host in the layout of a tile: X, Y, weights, one after another, in the order of the
// atoms.
template <class T>
class RowTiles {
 public:
  RowTiles(MatrixView<const T> X, MatrixView<const T> Y, VectorView<const T> w,
           const int64_t* order)
      : X_(X, order),
        Y_(Y, order),
        w_({w.data, w.size, w.data != nullptr ? 1 : 0, w.stride, 1}, order) {}

  size_t bytes(int64_t n) const {
    return static_cast<size_t>(n) * (X_.row_bytes() + Y_.row_bytes() + w_.row_bytes());
  }

  void pack(int64_t begin, int64_t n, T* to, const Context& context) const {
    constexpr int64_t kPieceBytes = 256 << 10;
    const int64_t pieces = static_cast<int64_t>(bytes(n)) / kPieceBytes + 1;
    context.parallel_for("rows to the device", pieces, [&](int64_t piece) {
      const int64_t first = n * piece / pieces, size = n * (piece + 1) / pieces - first;
      X_.pack(begin + first, size, to, first, n);
      Y_.pack(begin + first, size, Y(to, n), first, n);
      w_.pack(begin + first, size, w(to, n), first, n);
    });
  }

  // Such a tile on the device.
  GramRows<T> rows(const T* tile, int64_t begin, int64_t n, const double* shift) const {
    GramRows<T> rows;
    rows.X = X_.packed(tile, n, n);
    rows.Y = Y_.packed(Y(tile, n), n, n);
    if (w_.columns() > 0) rows.w = {w(tile, n), n, 1};
    rows.first = begin;
    rows.shift = shift;
    return rows;
  }

 private:
  template <class U>
  U* Y(U* tile, int64_t n) const {
    return tile + n * X_.columns();
  }
  template <class U>
  U* w(U* tile, int64_t n) const {
    return tile + n * (X_.columns() + Y_.columns());
  }

  HostRows<T> X_, Y_, w_;
};

}  // namespace

template <class T>
DeviceGram fold_gram_cuda(MatrixView<const T> X, MatrixView<const T> Y, VectorView<const T> w,
                          const DeviceFolds& folds, const Context& context, GramKernel kernel) {
  Device& device = folds.device();
  DeviceGram gram = make_gram<T>(device, X.cols, Y.cols, folds.n_atoms(), kernel);
  double* const shift = gram.moments.data() + gram.size();
  const int64_t end = folds.atom_begin.back();
  if (end == 0) device.zero(shift, static_cast<size_t>(X.cols + Y.cols) * sizeof(double));
  GramRows<T> rows;
  rows.X = X;
  rows.Y = Y;
  rows.w = w;
  rows.order = folds.order.data();
  rows.shift_to = shift;
  GramSum<T> sum(device, gram, folds.atom_begin, kernel);
  Drained drained(device);
  sum.add(rows, 0, end, context);
  finish(gram, context);
  return gram;
}

template <class T>
DeviceGram fold_gram_streamed_cuda(MatrixView<const T> X, MatrixView<const T> Y,
                                   VectorView<const T> w, const std::vector<int64_t>& order,
                                   const DeviceFolds& folds, const Context& context,
                                   GramKernel kernel) {
  Device& device = folds.device();
  DeviceGram gram = make_gram<T>(device, X.cols, Y.cols, folds.n_atoms(), kernel);
  GramRows<T> all;
  all.X = X;
  all.Y = Y;
  std::vector<double> means;
  for (int64_t j = 0; j < all.columns(); ++j)
    if (j != X.cols) means.push_back(all.mean(j));
  double* const shift = gram.moments.data() + gram.size();
  if (!means.empty()) device.upload(shift, means.data(), means.size() * sizeof(double));

  const RowTiles<T> tiles(X, Y, w, order.empty() ? nullptr : order.data());
  const int64_t n = folds.atom_begin.back();
  const size_t bytes = tiles.bytes(n);
  GramSum<T> sum(device, gram, folds.atom_begin, kernel);
  if (bytes <= kSmall) {
    std::vector<T> packed(bytes / sizeof(T));
    tiles.pack(0, n, packed.data(), context);
    const DeviceBuffer<T> tile(device, packed);
    Drained drained(device);
    sum.add(tiles.rows(tile.data(), 0, n, shift), 0, n, context);
    finish(gram, context);
    return gram;
  }

  const auto room = static_cast<size_t>(std::max<int64_t>(device.free_memory(), 0)) / 8;
  const size_t aim =
      std::min({RowStream::kBytes, std::max(kSmall, bytes / 8), std::max(kLeast, room)});
  const int64_t rows = std::clamp<int64_t>(static_cast<int64_t>(aim / tiles.bytes(1)), 1, n);
  RowStream stream(device, tiles.bytes(rows),
                   static_cast<int>(std::min<int64_t>(RowStream::kBuffers, (n + rows - 1) / rows)));
  Drained drained(device);
  for (int64_t begin = 0; begin < n; begin += rows) {
    context.check();
    const int64_t size = std::min(rows, n - begin);
    T* const packed = stream.fill<T>(context);
    tiles.pack(begin, size, packed, context);
    const T* const tile = stream.send<T>(tiles.bytes(size));
    sum.add(tiles.rows(tile, begin, size, shift), begin, begin + size, context);
    stream.used();
  }
  finish(gram, context);
  return gram;
}

#define MANYFIT_INSTANTIATE(T)                                                                  \
  template DeviceGram fold_gram_cuda(MatrixView<const T>, MatrixView<const T>,                  \
                                     VectorView<const T>, const DeviceFolds&, const Context&,   \
                                     GramKernel);                                               \
  template DeviceGram fold_gram_streamed_cuda(MatrixView<const T>, MatrixView<const T>,         \
                                              VectorView<const T>, const std::vector<int64_t>&, \
                                              const DeviceFolds&, const Context&, GramKernel);
MANYFIT_INSTANTIATE(float)
MANYFIT_INSTANTIATE(double)
#undef MANYFIT_INSTANTIATE

}  // namespace manyfit
