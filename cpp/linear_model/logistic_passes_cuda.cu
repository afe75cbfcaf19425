#include <algorithm>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "linear_model/logistic_kernels_cuda.h"
#include "linear_model/logistic_narrow_cuda.h"
#include "linear_model/logistic_passes_cuda.h"
#include "linear_model/logistic_rounds_cuda.h"
#include "linear_model/logistic_sums_cuda.h"

namespace manyfit {
namespace {

using namespace logistic_kernels;

constexpr int64_t kNarrow = 64;     // parameters of one output that a kernel keeps in registers
constexpr int64_t kTermWork = 130;  // of a row's loss, in multiply-adds

class LogisticPassesCuda final : public LogisticPasses {
 public:
  LogisticPassesCuda(const DeviceFolds& folds, const Data& data, const double* class_weights,
                     int64_t class_weight_rows)
      : device_(folds.device()),
        folds_(folds),
        data_(data),
        class_weights_(
            device_,
            std::vector<double>(class_weights, class_weights + class_weight_rows * data.classes)),
        whole_(folds, 1) {
    data_.class_weights = class_weights_.data();
    data_.order = folds.order.empty() ? nullptr : folds.order.data();
    cut_ = &whole_;
  }

  // Labels, weights and shift, of X on the device or, where they are streamed, on the host.
  template <class T>
  void read(MatrixView<const T> X, VectorView<const int64_t> codes, VectorView<const T> w,
            bool fit_intercept, bool on_host, const Context& context) {
    const int64_t n = X.rows, d = X.cols;
    const Drained drained(device_);
    label_ = DeviceBuffer<int32_t>(device_, n);
    if (!w.empty()) weight_ = DeviceBuffer<double>(device_, n);
    const int64_t blocks = std::min<int64_t>(over(n, kSumThreads), 1024);
    DeviceBuffer<int32_t> bad(device_, blocks);
    device_.launch({blocks, 1, 1}, kSumThreads, kSumThreads * 4,
                   GatherKernel<T>{codes, w, data_.order, n, data_.classes, label_.data(),
                                   weight_.data(), bad.data()});
    for (const int32_t each : bad.download(context))
      if (each != 0) throw InvalidInput("codes must be classes");
    shift_.assign(static_cast<size_t>(d), 0.0);
    if (fit_intercept && on_host) {
      const MeansKernel<T> means{X, nullptr};
      for (int64_t j = 0; j < d; ++j) shift_[j] = means.mean(j);
    }
    shift_on_device_ = DeviceBuffer<double>(device_, shift_);
    if (fit_intercept && !on_host && d > 0) {
      device_.launch({over(d, kSumThreads), 1, 1}, kSumThreads, 0,
                     MeansKernel<T>{X, shift_on_device_.data()});
      device_.download(shift_.data(), shift_on_device_.data(), static_cast<size_t>(d) * 8, context);
    }
    data_.shift = shift_on_device_.data();
    data_.label = label_.data();
    data_.weight = w.empty() ? nullptr : weight_.data();
  }

  template <class T>
  void stream(MatrixView<const T> X, const int64_t* order, const Context& context) {
    streamed_ = std::make_unique<StreamedRows>(device_, X, order, context);
  }

  int64_t rows() const override { return folds_.n_rows; }
  int64_t parameters() const override { return data_.d + 1; }
  int64_t outputs() const override { return data_.classes == 2 ? 1 : data_.classes; }
  int64_t atoms() const override { return folds_.n_atoms(); }
  const double* shift() const override { return shift_.data(); }

  void sample(int64_t one_of) override {
    if (one_of != 1 && sampled_.step != one_of) sampled_ = Cut(folds_, one_of);
    cut_ = one_of == 1 ? &whole_ : &sampled_;
  }

  void total_weight(int64_t class_weight, double* total, const Context& context) const override {
    const Chunks chunks = chunked(*cut_, {8, 0, kTile});
    const DeviceBuffer<double> parts = zeros(chunks.count);
    each_round(chunks, data_, context, [&](const Part& part) {
      device_.launch({part.count, 1, 1}, kTile, kTile * 8,
                     WeightKernel{part.data, part.round, class_weight, parts.data()});
    });
    const std::vector<double> found = parts.download(context);
    for (int64_t a = 0; a < atoms(); ++a) {
      total[a] = 0;
      for (int64_t c = chunks.table.atom_chunk[a]; c < chunks.table.atom_chunk[a + 1]; ++c)
        total[a] += found[c];
    }
  }

  void evaluate(const LogisticPoint* points, int64_t n_points, double* loss, double* gradient,
                const Context& context) const override {
    const int64_t p = parameters(), K = outputs();
    std::vector<double> coef;
    std::vector<int64_t> class_weight;
    for (int64_t i = 0; i < n_points; ++i) {
      coef.insert(coef.end(), points[i].coef, points[i].coef + p * K);
      class_weight.push_back(points[i].class_weight);
    }
    const Wanted wanted(device_, atoms(), class_weight,
                        [&](int64_t i, int64_t a) { return points[i].atoms[a] != 0; });
    const DeviceBuffer<double> models(device_, coef);
    const int64_t losses = n_points * atoms();
    const Drained drained(device_);
    const DeviceBuffer<double> sums = zeros(losses * (1 + p * K));
    const Results results{sums.data(), sums.data() + losses, atoms(), p, K};
    const int64_t widest = wanted.members.widest;
    if (widest > 0 && K == 1 && p <= kNarrow) {
      const auto narrow = [&]<int NB>() {
        if (widest > 8)
          evaluate_narrow<NB, 2>(wanted, models, results, context);
        else
          evaluate_narrow<NB, 1>(wanted, models, results, context);
      };
      if (p <= 8)
        narrow.template operator()<1>();
      else if (p <= 16)
        narrow.template operator()<2>();
      else if (p <= 32)
        narrow.template operator()<4>();
      else if (p <= 56)
        narrow.template operator()<7>();
      else
        narrow.template operator()<8>();
    } else if (widest > 0) {
      evaluate_wide(wanted, models, results, context);
    }
    const std::vector<double> found = sums.download(context);
    std::copy_n(found.begin(), losses, loss);
    std::copy(found.begin() + losses, found.end(), gradient);
  }

  void hessian(const LogisticPoint& point, const double* times, double* result,
               const Context& context) const override {
    const int64_t p = parameters(), K = outputs(), pairs = K * (K + 1) / 2;
    const Wanted wanted(device_, atoms(), {point.class_weight},
                        [&](int64_t, int64_t a) { return times[a] != 0; });
    const DeviceBuffer<double> model(device_, std::vector<double>(point.coef, point.coef + p * K));
    const DeviceBuffer<double> often(device_, std::vector<double>(times, times + atoms()));
    const Drained drained(device_);
    const DeviceBuffer<double> whole = scratch(p * K * p * K);
    const int64_t sides = over(p, ProductsKernel<Curved, true>::kSide);
    const int64_t blocks = sides * (sides + 1) / 2;
    const Chunks chunks = chunked(*cut_, {pairs * p * p * 8, (K + pairs) * kTile * 8,
                                          static_cast<double>(kTile * pairs * blocks) * 4096});
    const int64_t slots = chunks.count * chunks.width;
    const DeviceBuffer<double> scores = scratch(slots * K * kTile);
    const DeviceBuffer<double> curvature = scratch(slots * pairs * kTile);
    const DeviceBuffer<double> parts = zeros(chunks.count * pairs * p * p);
    over_rows(chunks, wanted, context, [&](const Part& part) {
      launch_scores(wanted, part, model, scores);
      device_.launch({part.count * part.round.width, 1, 1}, kTile, 0,
                     CurvatureKernel{part.data, part.round, wanted.members, point.class_weight, K,
                                     scores.data(), curvature.data()});
      using Kernel = ProductsKernel<Curved, true>;
      device_.launch({part.count * pairs * blocks, 1, 1}, Kernel::kThreads, Kernel::kShared,
                     Kernel{part.data, part.round, wanted.members, Curved{curvature.data(), pairs},
                            blocks, sides, pairs, p, p, part.of(parts.data(), pairs * p * p)});
    });
    const int64_t entries = pairs * p * p;
    device_.launch({over(entries, kSumThreads), 1, 1}, kSumThreads, 0,
                   HessianSum{parts.data(), often.data(), chunks.table.begin.data(), atoms(), p, K,
                              whole.data()});
    device_.download(result, whole.data(), whole.bytes(), context);
  }

  void squares(int64_t class_weight, const double* times, double* result,
               const Context& context) const override {
    const int64_t p = parameters();
    const Wanted wanted(device_, atoms(), {class_weight},
                        [&](int64_t, int64_t a) { return times[a] != 0; });
    const DeviceBuffer<double> often(device_, std::vector<double>(times, times + atoms()));
    const Chunks chunks = chunked(*cut_, {p * 8, 0, static_cast<double>(kTile * p)});
    const Drained drained(device_);
    const DeviceBuffer<double> parts = zeros(chunks.count * p), total = scratch(p);
    const int64_t groups = over(p, kTile);
    over_rows(chunks, wanted, context, [&](const Part& part) {
      device_.launch(
          {part.count * groups, 1, 1}, kTile, kTile * 16,
          SquaresKernel{part.data, part.round, class_weight, groups, part.of(parts.data(), p)});
    });
    device_.launch({over(p, kSumThreads), 1, 1}, kSumThreads, 0,
                   SquaresSum{parts.data(), often.data(), chunks.table.begin.data(), atoms(), p,
                              total.data()});
    device_.download(result, total.data(), total.bytes(), context);
  }

  void left_out(const double* const* coef, const double* times, int64_t n_models,
                LogisticScore* result, const Context& context) const override {
    const int64_t p = parameters(), K = outputs();
    std::vector<double> models;
    for (int64_t i = 0; i < n_models; ++i) {
      models.insert(models.end(), coef[i], coef[i] + p * K);
      for (int64_t k = 0; k < K; ++k) {  // in terms of x - shift
        double* own = models.data() + (i * K + k) * p;
        for (int64_t j = 0; j + 1 < p; ++j) own[p - 1] += shift_[j] * own[j];
      }
      result[i] = LogisticScore();
    }
    const Wanted wanted(device_, atoms(), std::vector<int64_t>(n_models),
                        [&](int64_t i, int64_t a) { return times[i * atoms() + a] > 0; });
    const int64_t widest = wanted.members.widest;
    if (widest == 0) return;
    const DeviceBuffer<double> given(device_, models);
    const Chunks chunks =
        chunked(whole_, {widest * 24, widest * K * kTile * 8,
                         static_cast<double>(kTile * widest * K * (p + kTermWork))});
    const Drained drained(device_);
    const DeviceBuffer<double> scores = scratch(chunks.count * chunks.width * widest * K * kTile);
    const DeviceBuffer<double> parts = zeros(chunks.count * widest * 3);
    over_rows(chunks, wanted, context, [&](const Part& part) {
      launch_scores(wanted, part, given, scores);
      device_.launch({part.count * widest, 1, 1}, kTile, 3 * kTile * 8,
                     LeftOutKernel{part.data, part.round, wanted.members, K, scores.data(),
                                   part.of(parts.data(), widest * 3)});
    });
    const std::vector<double> found = parts.download(context);
    for (int64_t a = 0; a < atoms(); ++a) {
      for (size_t i = 0; i < wanted.of[a].size(); ++i) {
        const int64_t model = wanted.of[a][i];
        const double often = times[model * atoms() + a];
        for (int64_t c = chunks.table.atom_chunk[a]; c < chunks.table.atom_chunk[a + 1]; ++c) {
          const double* sums = found.data() + (c * widest + static_cast<int64_t>(i)) * 3;
          result[model].weight += often * sums[0];
          result[model].right += often * sums[1];
          result[model].loss += often * sums[2];
        }
      }
    }
  }

 private:
  // Which points want each atom, here and on the device.
  struct Wanted {
    std::vector<std::vector<int64_t>> of;  // [atom]
    DeviceBuffer<int64_t> memory;          // begin, class_weight, member, in one copy
    Members members{};
    const int64_t* class_weight = nullptr;  // (points,)

    template <class F>
    Wanted(Device& device, int64_t atoms, const std::vector<int64_t>& class_weights, F&& wants)
        : of(atoms) {
      const auto points = static_cast<int64_t>(class_weights.size());
      std::vector<int64_t> all, begin = {0};
      for (int64_t a = 0; a < atoms; ++a) {
        for (int64_t i = 0; i < points; ++i)
          if (wants(i, a)) of[a].push_back(i);
        all.insert(all.end(), of[a].begin(), of[a].end());
        begin.push_back(static_cast<int64_t>(all.size()));
        members.widest = std::max(members.widest, begin[a + 1] - begin[a]);
      }
      begin.insert(begin.end(), class_weights.begin(), class_weights.end());
      begin.insert(begin.end(), all.begin(), all.end());
      memory = DeviceBuffer<int64_t>(device, begin);
      members.begin = memory.data();
      class_weight = memory.data() + atoms + 1;
      members.member = class_weight + points;
    }
  };

  // Tables of chunks are kept: a fit makes hundreds of passes of few shapes.
  Chunks chunked(const Cut& cut, const Needs& needs) const {
    const int64_t each = Chunks::each(cut, needs);
    auto& table = tables_[{cut.step, each}];
    if (!table) table = std::make_unique<const ChunkTable>(device_, cut, each);
    const int64_t row = data_.d * (data_.single ? 4 : 8);
    return {device_, *table, cut, needs, kTile * row};
  }

  // Memory of a pass. Rows that were kept on the device give way to it.
  DeviceBuffer<double> scratch(int64_t size) const {
    try {
      return {device_, size};
    } catch (const DeviceMemoryError&) {
      if (streamed_ == nullptr || !streamed_->give_way()) throw;
    }
    return {device_, size};
  }
  DeviceBuffer<double> zeros(int64_t size) const {
    DeviceBuffer<double> result = scratch(size);
    result.zero();
    return result;
  }

  // f(part) for each launch over the rows of the atoms wanted.
  template <class F>
  void over_rows(const Chunks& chunks, const Wanted& wanted, const Context& context, F&& f) const {
    if (streamed_ == nullptr) {
      each_round(chunks, data_, context, f);
      return;
    }
    const auto wants = [&](int64_t atom) { return !wanted.of[atom].empty(); };
    streamed_->each_round(chunks, data_, context, wants, f);
  }

  template <int NB, int MB>
  void evaluate_narrow(const Wanted& wanted, const DeviceBuffer<double>& models,
                       const Results& results, const Context& context) const {
    using Kernel = NarrowPass<NB, MB>;
    const int64_t widest = wanted.members.widest, needed = over(widest, 8 * MB);
    const int64_t grid = over(needed, 8);  // eight warps a block, about
    const auto columns = static_cast<int>(over(needed, grid));
    int rows = 1;
    while (rows * 2 * columns <= 8) rows *= 2;
    const Chunks chunks = chunked(*cut_, {widest * Kernel::kLength * 8, 0,
                                          static_cast<double>(kTile * grid * columns * 8 * MB) *
                                              static_cast<double>(2 * Kernel::P + kTermWork)});
    const DeviceBuffer<double> parts = zeros(chunks.count * widest * Kernel::kLength);
    over_rows(chunks, wanted, context, [&](const Part& part) {
      device_.launch(
          {part.count, grid, 1}, columns * rows * kWarp, Kernel::kShared,
          Kernel{part.data, part.round, wanted.members, models.data(), wanted.class_weight, columns,
                 rows, part.of(parts.data(), widest * Kernel::kLength)});
    });
    device_.launch({over(atoms() * widest * (parameters() + 1), kSumThreads), 1, 1}, kSumThreads, 0,
                   NarrowSum{parts.data(), chunks.table.begin.data(), wanted.members, Kernel::P,
                             Kernel::kLength, results});
  }

  void evaluate_wide(const Wanted& wanted, const DeviceBuffer<double>& models,
                     const Results& results, const Context& context) const {
    using Kernel = ProductsKernel<Slopes, false>;
    const int64_t p = parameters(), K = outputs(), widest = wanted.members.widest;
    const int64_t columns = widest * K, sides = over(columns, Kernel::kSide);
    const int64_t blocks = sides * over(p, Kernel::kSide);
    const Chunks chunks = chunked(
        *cut_, {(columns * p + widest) * 8, columns * kTile * 8,
                static_cast<double>(kTile * columns) * static_cast<double>(2 * p + kTermWork)});
    const DeviceBuffer<double> scores = scratch(chunks.count * chunks.width * columns * kTile);
    const DeviceBuffer<double> gradients = zeros(chunks.count * columns * p);
    const DeviceBuffer<double> losses = zeros(chunks.count * widest);
    over_rows(chunks, wanted, context, [&](const Part& part) {
      launch_scores(wanted, part, models, scores);
      device_.launch({part.count * widest, 1, 1}, kTile, kTile * 8,
                     LossKernel{part.data, part.round, wanted.members, wanted.class_weight, K,
                                scores.data(), part.of(losses.data(), widest)});
      device_.launch({part.count * blocks, 1, 1}, Kernel::kThreads, Kernel::kShared,
                     Kernel{part.data, part.round, wanted.members, Slopes{scores.data(), widest, K},
                            blocks, sides, 1, columns, p, part.of(gradients.data(), columns * p)});
    });
    device_.launch({over(atoms() * widest * (p * K + 1), kSumThreads), 1, 1}, kSumThreads, 0,
                   WideSum{gradients.data(), losses.data(), chunks.table.begin.data(),
                           wanted.members, results});
  }

  void launch_scores(const Wanted& wanted, const Part& part, const DeviceBuffer<double>& models,
                     const DeviceBuffer<double>& scores) const {
    const int64_t columns = wanted.members.widest * outputs();
    const auto go = [&]<int CB>() {
      using Kernel = ScoresKernel<CB>;
      const int64_t blocks = over(columns, Kernel::kColumns);
      device_.launch({part.count * part.round.width * blocks, 1, 1}, Kernel::kThreads,
                     Kernel::kShared,
                     Kernel{part.data, part.round, wanted.members, models.data(), outputs(), blocks,
                            scores.data()});
    };
    if (columns <= 8)
      go.template operator()<1>();
    else
      go.template operator()<4>();
  }

  Device& device_;
  const DeviceFolds& folds_;
  Data data_;
  DeviceBuffer<double> class_weights_;
  DeviceBuffer<int32_t> label_;
  DeviceBuffer<double> weight_;
  DeviceBuffer<double> shift_on_device_;
  std::vector<double> shift_;
  std::unique_ptr<StreamedRows> streamed_;
  Cut whole_, sampled_;
  const Cut* cut_;
  mutable std::map<std::pair<int64_t, int64_t>, std::unique_ptr<const ChunkTable>> tables_;
};

template <class T>
std::unique_ptr<LogisticPassesCuda> make_passes(MatrixView<const T> X, const DeviceFolds& folds,
                                                int64_t n_classes, bool fit_intercept,
                                                const double* class_weights,
                                                int64_t class_weight_rows) {
  Data data{};
  data.x = X.data;
  data.single = sizeof(T) == sizeof(float);
  data.row_stride = X.row_stride;
  data.col_stride = X.col_stride;
  data.d = X.cols;
  data.classes = n_classes;
  data.one = fit_intercept ? 1 : 0;
  return std::make_unique<LogisticPassesCuda>(folds, data, class_weights, class_weight_rows);
}

}  // namespace

template <class T>
std::unique_ptr<LogisticPasses> logistic_passes_cuda(
    MatrixView<const T> X, VectorView<const int64_t> codes, VectorView<const T> w,
    const DeviceFolds& folds, int64_t n_classes, bool fit_intercept, const double* class_weights,
    int64_t class_weight_rows, const Context& context) {
  auto passes = make_passes(X, folds, n_classes, fit_intercept, class_weights, class_weight_rows);
  passes->read(X, codes, w, fit_intercept, false, context);
  return passes;
}

template <class T>
std::unique_ptr<LogisticPasses> logistic_passes_streamed_cuda(
    MatrixView<const T> X, const int64_t* order, VectorView<const int64_t> codes,
    VectorView<const T> w, const DeviceFolds& folds, int64_t n_classes, bool fit_intercept,
    const double* class_weights, int64_t class_weight_rows, const Context& context) {
  auto passes = make_passes(X, folds, n_classes, fit_intercept, class_weights, class_weight_rows);
  passes->read(X, codes, w, fit_intercept, true, context);
  passes->stream(X, order, context);
  return passes;
}

bool logistic_rows_fit(Device& device, int64_t rows, int64_t bytes) {
  constexpr int64_t kOfARow = 8 + 4 + 8 + 8 + 8;  // code, label, weight given and taken, order
  constexpr int64_t kRoom = int64_t{768} << 20;
  const int64_t free = device.free_memory();
  return bytes + rows * kOfARow <= free - std::min(kRoom, free / 4);
}

#define MANYFIT_INSTANTIATE(T)                                                                 \
  template std::unique_ptr<LogisticPasses> logistic_passes_cuda(                               \
      MatrixView<const T>, VectorView<const int64_t>, VectorView<const T>, const DeviceFolds&, \
      int64_t, bool, const double*, int64_t, const Context&);                                  \
  template std::unique_ptr<LogisticPasses> logistic_passes_streamed_cuda(                      \
      MatrixView<const T>, const int64_t*, VectorView<const int64_t>, VectorView<const T>,     \
      const DeviceFolds&, int64_t, bool, const double*, int64_t, const Context&);
MANYFIT_INSTANTIATE(float)
MANYFIT_INSTANTIATE(double)
#undef MANYFIT_INSTANTIATE

}  // namespace manyfit
