#include "linear_model/logistic_passes_cuda.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include "core/device_simulated.h"
#include "core/errors.h"
#include "device_forms.h"
#include "linear_model/logistic.h"
#include "linear_model/logistic_population.h"
#include "linear_model/logistic_port.h"
#include "linear_model/logistic_rounds_cuda.h"
#include "linear_model/logistic_rows.h"
#include "patience.h"
#include "tables.h"

namespace manyfit::testing {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// The same rows here and on the device.
template <class T>
class Both {
 public:
  Both(int64_t n, int64_t d, int64_t classes, bool weighted, bool fit_intercept,
       const std::vector<OwnedSplit>& splits, Layout layout = Layout::c, int64_t weight_rows = 2)
      : folds(folds_of(n, splits)),
        class_weights(Eigen::MatrixXd::Ones(weight_rows, classes)),
        X_(normal_table<T>(n, d, 7, layout, 0.5)),
        codes_(n),
        w_(weighted ? random_weights<T>(n, 3) : std::vector<T>()),
        device_folds_(device(), n, folds.atom_begin, folds.train, folds.order) {
    Random random(17);
    for (int64_t i = 0; i < n; ++i) {
      double best = -kInfinity;
      for (int64_t k = 0; k < classes; ++k) {
        double score = -std::log(-std::log(random.uniform() * 0.999 + 5e-4));
        for (int64_t j = k; j < d; j += classes) score += static_cast<double>(X_(i, j)) / 3;
        if (score > best) best = score, codes_[i] = k;
      }
    }
    if (weight_rows > 1) class_weights(1, 0) = 3;
    table = std::make_unique<LogisticTable<T>>(X_.view(), view(codes_), view(w_), folds, classes,
                                               fit_intercept, class_weights);
    // All memory that the view reaches, as it is.
    const MatrixView<const T> x = X_.view();
    const T *low = x.data, *high = x.data;
    for (const int64_t reach : {x.row_stride * (n - 1), x.col_stride * (d - 1)})
      (reach < 0 ? low : high) += d == 0 ? 0 : reach;
    x_ = DeviceBuffer<T>(device(), std::vector<T>(low, d == 0 ? low : high + 1));
    on_device_ = {x_.data() + (x.data - low), n, d, x.row_stride, x.col_stride};
    codes_on_device_ = DeviceBuffer<int64_t>(device(), codes_);
    w_on_device_ = DeviceBuffer<T>(device(), w_);
    by_row_ = class_weights;
    passes =
        logistic_passes_cuda<T>(on_device_, codes_view(), weights_view(), device_folds_, classes,
                                fit_intercept, by_row_.data(), weight_rows, Context(1));
    fit_intercept_ = fit_intercept;
  }

  // Passes over the rows here, which stream.
  std::unique_ptr<LogisticPasses> streamed(const Context& context = Context(2)) const {
    return logistic_passes_streamed_cuda<T>(
        X_.view(), folds.order.empty() ? nullptr : folds.order.data(), codes_view(), weights_view(),
        device_folds_, class_weights.cols(), fit_intercept_, by_row_.data(), class_weights.rows(),
        context);
  }
  int64_t bytes() const { return X_.rows() * X_.cols() * static_cast<int64_t>(sizeof(T)); }

  static Device& device() { return Device::at(0); }
  int64_t p() const { return table->parameters(); }
  int64_t K() const { return table->outputs(); }
  int64_t atoms() const { return folds.n_atoms(); }

  Eigen::MatrixXd model(uint64_t seed) const {
    Random random(seed);
    Eigen::MatrixXd coef(p(), K());
    for (int64_t i = 0; i < coef.size(); ++i)
      coef.data()[i] = random.normal() / std::sqrt(static_cast<double>(p()));
    return coef;
  }

  const Folds folds;
  Eigen::MatrixXd class_weights;
  std::unique_ptr<LogisticTable<T>> table;
  std::unique_ptr<LogisticPasses> passes;

 private:
  VectorView<const int64_t> codes_view() const {
    return {codes_on_device_.data(), folds.n_rows, 1};
  }
  VectorView<const T> weights_view() const {
    return {w_.empty() ? nullptr : w_on_device_.data(), static_cast<int64_t>(w_.size()), 1};
  }

  Table<T> X_;
  std::vector<int64_t> codes_;
  std::vector<T> w_;
  bool fit_intercept_ = true;
  // (classes, rows) in memory as the device takes it.
  Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor> by_row_;
  DeviceFolds device_folds_;
  DeviceBuffer<T> x_, w_on_device_;
  DeviceBuffer<int64_t> codes_on_device_;
  MatrixView<const T> on_device_;
};

using Numbers = Eigen::VectorXd;

void expect_close(const Numbers& actual, const Numbers& expected, double tolerance,
                  const char* what) {
  ASSERT_TRUE(actual.allFinite()) << what;
  const double scale = expected.size() == 0 ? 0 : expected.cwiseAbs().maxCoeff();
  EXPECT_LE((actual - expected).cwiseAbs().maxCoeff(), tolerance * std::max(scale, 1e-300)) << what;
}

struct Points {
  std::vector<Eigen::MatrixXd> coef;
  std::vector<std::vector<uint8_t>> atoms;
  std::vector<LogisticPoint> list;

  // Some want every atom, some only a few.
  template <class B>
  Points(const B& both, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      coef.push_back(both.model(100 + i));
      atoms.emplace_back(both.atoms());
      for (int64_t a = 0; a < both.atoms(); ++a)
        atoms[i][a] = i % 3 == 0 || (a + i) % both.atoms() < 2;
    }
    for (int64_t i = 0; i < count; ++i)
      list.push_back({coef[i].data(), i % both.class_weights.rows(), atoms[i].data()});
  }
};

Numbers evaluated(const LogisticPasses& passes, const Points& points) {
  const auto n = static_cast<int64_t>(points.list.size());
  const int64_t size = passes.parameters() * passes.outputs(), atoms = passes.atoms();
  Numbers result(n * atoms * (1 + size));
  passes.evaluate(points.list.data(), n, result.data(), result.data() + n * atoms, Context(1));
  return result;
}

Numbers hessian_of(const LogisticPasses& passes, const LogisticPoint& point,
                   const std::vector<double>& times) {
  const int64_t size = passes.parameters() * passes.outputs();
  Numbers result(size * size);
  passes.hessian(point, times.data(), result.data(), Context(1));
  return result;
}

Numbers squares_of(const LogisticPasses& passes, const std::vector<double>& times) {
  Numbers result(passes.parameters());
  passes.squares(1, times.data(), result.data(), Context(1));
  return result;
}

Numbers weight_of(const LogisticPasses& passes) {
  Numbers result(passes.atoms());
  passes.total_weight(1, result.data(), Context(1));
  return result;
}

std::vector<LogisticScore> left_out_of(const LogisticPasses& passes, const Points& points) {
  std::vector<const double*> coef;
  std::vector<double> times;
  for (size_t i = 0; i < points.coef.size(); ++i) {
    coef.push_back(points.coef[i].data());
    for (size_t a = 0; a < points.atoms[i].size(); ++a)
      times.push_back((i + a) % 3 == 0 ? 0.0 : static_cast<double>(1 + a % 2));
  }
  std::vector<LogisticScore> scores(coef.size());
  passes.left_out(coef.data(), times.data(), static_cast<int64_t>(coef.size()), scores.data(),
                  Context(1));
  return scores;
}

// Every function of the device against the CPU's.
template <class T>
void expect_same(const Both<T>& both, int64_t count) {
  const Points points(both, count);
  expect_close(evaluated(*both.passes, points), evaluated(*both.table, points), 1e-12, "evaluate");
  std::vector<double> times(both.atoms());
  for (size_t a = 0; a < times.size(); ++a) times[a] = static_cast<double>((a + 1) % 3);
  expect_close(hessian_of(*both.passes, points.list.back(), times),
               hessian_of(*both.table, points.list.back(), times), 1e-12, "hessian");
  expect_close(squares_of(*both.passes, times), squares_of(*both.table, times), 1e-12, "squares");
  expect_close(weight_of(*both.passes), weight_of(*both.table), 1e-13, "weight");
  const Eigen::Map<const Numbers> here(both.table->shift(), both.p() - 1);
  const Eigen::Map<const Numbers> there(both.passes->shift(), both.p() - 1);
  EXPECT_EQ(there, here);
  const auto actual = left_out_of(*both.passes, points),
             expected = left_out_of(*both.table, points);
  for (size_t i = 0; i < actual.size(); ++i) {
    EXPECT_NEAR(actual[i].weight, expected[i].weight, 1e-12 * expected[i].weight);
    EXPECT_NEAR(actual[i].right, expected[i].right, 1e-12 * expected[i].weight);
    EXPECT_NEAR(actual[i].loss, expected[i].loss, 1e-12 * expected[i].loss);
  }
}

template <class T>
class LogisticPassesCudaTest : public ::testing::Test {};
TYPED_TEST_SUITE(LogisticPassesCudaTest, FloatTypes, TypeName);

TYPED_TEST(LogisticPassesCudaTest, SumsAreTheCpus) {
  for (const int64_t classes : {2, 3}) {
    for (const bool weighted : {false, true}) {
      for (const bool fit_intercept : {false, true}) {
        SCOPED_TRACE(::testing::Message() << classes << (weighted ? " weighted" : "")
                                          << (fit_intercept ? "" : " no intercept"));
        expect_same(Both<TypeParam>(700, 6, classes, weighted, fit_intercept, bootstrap(700, 3, 5)),
                    5);
      }
    }
  }
}

TYPED_TEST(LogisticPassesCudaTest, AnyNumberOfFeatures) {
  for (const int64_t d : {1, 7, 8, 15, 16, 31, 40, 55, 56, 63, 64, 70}) {
    SCOPED_TRACE(d);
    expect_same(Both<TypeParam>(300, d, 2, true, true, shuffled_k_fold(300, 3, 2)), 11);
  }
  for (const int64_t d : {1, 20, 66}) {
    SCOPED_TRACE(d);
    expect_same(Both<TypeParam>(200, d, 4, true, true, shuffled_k_fold(200, 3, 2)), 2);
  }
}

TYPED_TEST(LogisticPassesCudaTest, AnyNumberOfPoints) {
  for (const int64_t count : {1, 8, 9, 16, 17, 40, 64, 65, 140}) {
    SCOPED_TRACE(count);
    expect_same(Both<TypeParam>(260, 5, 2, true, true, k_fold(260, 2)), count);
  }
  expect_same(Both<TypeParam>(260, 5, 5, true, true, k_fold(260, 2)), 30);
}

TYPED_TEST(LogisticPassesCudaTest, AnyLayout) {
  for (const Layout layout : kLayouts) {
    SCOPED_TRACE(name(layout));
    for (const int64_t d : {9, 66})
      expect_same(Both<TypeParam>(150, d, 2, false, true, shuffled_k_fold(150, 2, 1), layout), 3);
  }
}

// So many rows that chunks have several tiles, and several launches go through them.
TYPED_TEST(LogisticPassesCudaTest, LaunchesGoOnFromEachOther) {
  for (const int64_t classes : {2, 3}) {
    SCOPED_TRACE(classes);
    const Both<TypeParam> both(90000, 2, classes, true, true, k_fold(90000, 2));
    const int64_t before = simulated_launches();
    weight_of(*both.passes);
    const int64_t of_one = simulated_launches() - before;
    const Points points(both, 2);
    evaluated(*both.passes, points);
    EXPECT_GT(simulated_launches() - before, 3 * of_one + (classes == 2 ? 0 : 3));
    expect_same(both, 2);
  }
}

TYPED_TEST(LogisticPassesCudaTest, SamplesAreTheCpus) {
  Both<TypeParam> both(40000, 3, 2, true, true, shuffled_k_fold(40000, 3, 4));
  const Numbers all = weight_of(*both.passes);
  for (const int64_t one_of : {4, 16, 1}) {
    SCOPED_TRACE(one_of);
    both.table->sample(one_of);
    both.passes->sample(one_of);
    expect_same(both, 2);
    EXPECT_EQ(weight_of(*both.passes) == all, one_of == 1);
  }
}

template <class T>
void expect_same_fit(const Both<T>& both, const std::vector<LogisticJob>& jobs, double tolerance) {
  const auto expected = logistic_population(*both.table, both.folds, jobs, Context(2));
  const auto actual = logistic_population(*both.passes, both.folds, jobs, Context(2));
  for (size_t b = 0; b < jobs.size(); ++b) {
    SCOPED_TRACE(::testing::Message() << "job " << b << ", C " << jobs[b].C << ", l1 ratio "
                                      << jobs[b].l1_ratio << ", split " << jobs[b].split);
    EXPECT_TRUE(actual.converged[b]);
    EXPECT_TRUE(actual.finite[b]);
    const double scale = std::max(1.0, expected.coef[b].cwiseAbs().maxCoeff());
    EXPECT_LT((actual.coef[b] - expected.coef[b]).cwiseAbs().maxCoeff(), tolerance * scale);
    for (int64_t i = 0; i < expected.coef[b].size(); ++i)
      EXPECT_EQ(actual.coef[b].data()[i] == 0, expected.coef[b].data()[i] == 0);
  }
}

TYPED_TEST(LogisticPassesCudaTest, FitsAreTheCpus) {
  for (const int64_t classes : {2, 3}) {
    SCOPED_TRACE(classes);
    const Both<TypeParam> both(500, 6, classes, true, true, shuffled_k_fold(500, 3, 4));
    std::vector<LogisticJob> jobs;
    for (int64_t s = 0; s < 3; ++s)
      for (const double C : {1e-3, 0.03, 1.0})
        for (const double ratio : {0.0, 0.5, 1.0}) jobs.push_back({s, s % 2, C, ratio, 1e-6});
    expect_same_fit(both, jobs, 1e-9);
  }
  const Both<TypeParam> wide(200, 70, 2, true, true, k_fold(200, 2));
  expect_same_fit(wide, {{0, 0, 1e-2, 0, 1e-6}, {1, 1, 0.1, 0.5, 1e-6}}, 1e-9);
}

TYPED_TEST(LogisticPassesCudaTest, FitsFromSamplesAndByGradientsAreTheCpus) {
  {
    const Both<TypeParam> both(24000, 4, 2, false, true, shuffled_k_fold(24000, 3, 4));
    std::vector<LogisticJob> jobs;
    for (int64_t s = 0; s < 3; ++s)
      for (const double C : {1e-4, 1e-2, 1.0}) jobs.push_back({s, 0, C, 0, 1e-10});
    expect_same_fit(both, jobs, 1e-7);
  }
  {
    const Both<TypeParam> both(60, 600, 2, true, true, k_fold(60, 2));
    const std::vector<LogisticJob> jobs = {{0, 0, 0.1, 0, 1e-10, 2000},
                                           {1, 1, 0.01, 0, 1e-10, 2000}};
    expect_same_fit(both, jobs, 1e-7);
  }
}

TEST(LogisticPassesCuda, TheSameBitsTwice) {
  const Both<float> both(900, 9, 3, true, true, bootstrap(900, 3, 5));
  const Both<float> again(900, 9, 3, true, true, bootstrap(900, 3, 5));
  const Points points(both, 20);
  EXPECT_EQ(evaluated(*both.passes, points), evaluated(*again.passes, points));
  const Both<float> narrow(900, 9, 2, true, true, bootstrap(900, 3, 5));
  const Points others(narrow, 20);
  EXPECT_EQ(evaluated(*narrow.passes, others), evaluated(*narrow.passes, others));
}

TEST(LogisticPassesCuda, ScoresThatAreNotFiniteShow) {
  for (const int64_t classes : {2, 3}) {
    const Both<double> both(100, 3, classes, false, true, k_fold(100, 2));
    Points points(both, 1);
    points.coef[0](0, 0) = kInfinity;
    const Numbers found = evaluated(*both.passes, points);
    EXPECT_FALSE(std::isfinite(found(0)));
  }
}

TEST(LogisticPassesCuda, RefusesCodesThatAreNoClasses) {
  const Folds folds = all_rows(4);
  const DeviceFolds on_device(Device::at(0), 4, folds.atom_begin, folds.train, folds.order);
  const DeviceBuffer<double> x(Device::at(0), {1, 2, 3, 4});
  const double ones[] = {1, 1};
  for (const int64_t bad : {-1, 2}) {
    const DeviceBuffer<int64_t> codes(Device::at(0), {0, 1, bad, 1});
    EXPECT_THROW(logistic_passes_cuda<double>({x.data(), 4, 1, 1, 1}, {codes.data(), 4, 1}, {},
                                              on_device, 2, true, ones, 1, Context(1)),
                 InvalidInput);
  }
}

// What every function of the passes finds.
template <class B>
std::vector<Numbers> sums_of(const B& both, const LogisticPasses& passes, int64_t count) {
  const Points points(both, count);
  std::vector<double> times(both.atoms());
  for (size_t a = 0; a < times.size(); ++a) times[a] = static_cast<double>((a + 1) % 3);
  std::vector<Numbers> found = {evaluated(passes, points),
                                hessian_of(passes, points.list.back(), times),
                                squares_of(passes, times), weight_of(passes),
                                Eigen::Map<const Numbers>(passes.shift(), both.p() - 1)};
  for (const LogisticScore& each : left_out_of(passes, points))
    found.push_back(Eigen::Vector3d(each.weight, each.right, each.loss));
  return found;
}

// Memory for the buffers and the labels of rows that are streamed, and for so many bytes of them.
template <class T>
int64_t room_for(const Both<T>& both, int64_t bytes) {
  const int64_t tile = logistic_kernels::kTile * (both.p() - 1) * static_cast<int64_t>(sizeof(T));
  const int64_t buffers = 3 * logistic_kernels::widest_round(tile) * (tile + 24) + 64;
  return buffers + (both.folds.n_rows / 128 + 64) * 16 + both.folds.n_rows * 12 + 2 * bytes;
}

TYPED_TEST(LogisticPassesCudaTest, StreamedRowsGiveTheSameBits) {
  for (const Layout layout : kLayouts) {
    for (const int64_t classes : {2, 3}) {
      for (const int64_t d : {9, 66}) {
        const int64_t n = 1000;
        const bool weighted = (classes + d) % 2 == 0;
        const std::vector<OwnedSplit> splits =
            layout == Layout::c ? k_fold(n, 3) : shuffled_k_fold(n, 3, 4);
        const Both<TypeParam> both(n, d, classes, weighted, d == 9, splits, layout);
        const std::vector<Numbers> expected = sums_of(both, *both.passes, 3);
        const int64_t used = simulated_memory_used();
        for (const double part : {1.0, 0.4, 0.0}) {  // of the rows, kept on the device
          SCOPED_TRACE(::testing::Message() << name(layout) << ", " << classes << " classes, " << d
                                            << " features, " << part << " kept");
          const auto bytes = static_cast<double>(both.bytes());
          std::unique_ptr<LogisticPasses> streamed;
          {
            const Memory memory(room_for(both, static_cast<int64_t>(part * bytes)));
            const int64_t none = room_for(both, 0);
            streamed = both.streamed();
            const auto kept = static_cast<double>(simulated_memory_used() - used - none);
            EXPECT_NEAR(kept, part * bytes, 0.25 * bytes);
          }
          EXPECT_EQ(sums_of(both, *streamed, 3), expected);
          streamed.reset();
          EXPECT_EQ(simulated_memory_used(), used);
        }
      }
    }
  }
}

// Chunks of several tiles, in several rounds.
TYPED_TEST(LogisticPassesCudaTest, DataLargerThanTheDeviceStream) {
  Both<TypeParam> both(140000, 30, 2, true, true, shuffled_k_fold(140000, 3, 4));
  const std::vector<Numbers> sums = sums_of(both, *both.passes, 2);
  both.passes->sample(4);
  const std::vector<Numbers> of_sample = sums_of(both, *both.passes, 2);
  const int64_t used = simulated_memory_used();
  {
    const int64_t room = both.bytes() * 3 / (std::is_same_v<TypeParam, float> ? 4 : 8);
    const Memory memory(room);
    const auto streamed = both.streamed();
    EXPECT_EQ(sums_of(both, *streamed, 2), sums);
    streamed->sample(4);
    EXPECT_EQ(sums_of(both, *streamed, 2), of_sample);
  }
  EXPECT_EQ(simulated_memory_used(), used);
}

// What a pass needs, rows that were kept give.
TEST(LogisticPassesCuda, KeptRowsGiveWay) {
  const Both<double> both(20000, 20, 2, false, true, k_fold(20000, 2));
  const std::vector<Numbers> expected = sums_of(both, *both.passes, 1);
  const Memory memory(int64_t{16} << 20);
  const auto streamed = both.streamed();
  const int64_t used = simulated_memory_used();
  const Memory little(int64_t{100} << 10);
  EXPECT_EQ(sums_of(both, *streamed, 1), expected);
  EXPECT_LT(simulated_memory_used(), used - both.bytes() / 2);
}

TYPED_TEST(LogisticPassesCudaTest, TooLittleToStream) {
  const Both<TypeParam> both(20000, 30, 2, true, true, k_fold(20000, 2));
  const int64_t used = simulated_memory_used();
  for (const int64_t room : {0, 100 << 10, 1 << 20}) {
    const Memory memory(room);
    EXPECT_THROW(both.streamed(), DeviceMemoryError);
    EXPECT_EQ(simulated_memory_used(), used);
  }
}

TYPED_TEST(LogisticPassesCudaTest, StreamsStopWhenToldTo) {
  const Both<TypeParam> both(60000, 30, 2, false, true, shuffled_k_fold(60000, 2, 1));
  const int64_t used = simulated_memory_used();
  for (const int patience : {1, 3, 6}) {  // while labels are read, while rows are brought
    SCOPED_TRACE(patience);
    const ImpatientContext context(1, patience);
    EXPECT_THROW(both.streamed(context), Stop);
    EXPECT_EQ(simulated_memory_used(), used);
  }
  const Points points(both, 2);
  const Numbers expected = evaluated(*both.passes, points);
  const int64_t before = simulated_memory_used();
  {
    const Memory memory(both.bytes());
    const auto streamed = both.streamed();
    EXPECT_EQ(evaluated(*streamed, points), expected);
    const int64_t kept = simulated_memory_used();
    for (const int patience : {1, 4, 9}) {
      SCOPED_TRACE(patience);
      const ImpatientContext context(1, patience);
      Numbers result(expected.size());
      EXPECT_THROW(streamed->evaluate(points.list.data(), 2, result.data(),
                                      result.data() + 2 * both.atoms(), context),
                   Stop);
      EXPECT_EQ(simulated_memory_used(), kept);
    }
    EXPECT_EQ(evaluated(*streamed, points), expected);
  }
  EXPECT_EQ(simulated_memory_used(), before);
}

TEST(LogisticPassesCuda, TablesThatFit) {
  Device& device = Device::at(0);
  const int64_t rows = 1000;
  EXPECT_TRUE(logistic_rows_fit(device, rows, 8 * rows));
  const Memory memory(1 << 20);
  EXPECT_TRUE(logistic_rows_fit(device, rows, 500 << 10));
  EXPECT_FALSE(logistic_rows_fit(device, rows, 1 << 20));
  EXPECT_FALSE(logistic_rows_fit(device, 100 * rows, 8 * rows));
}

struct Impatient : Monitor {
  int polls = 0;
  void poll(const char*, double) override {
    ++polls;
    throw std::domain_error("enough");
  }
};

// What the caller's monitor throws comes back as itself through a port, as do the errors of the
// side that serves.
TEST(LogisticPort, NoExceptionIsLost) {
  const Both<double> both(20000, 30, 2, false, true, k_fold(20000, 5));
  LogisticServer server(*both.passes, 2);
  LogisticClient client(server);
  std::vector<LogisticJob> jobs;
  for (int64_t s = 0; s < 5; ++s)
    for (const double C : {1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0}) jobs.push_back({s, 0, C, 0, 1e-10});
  Impatient monitor;
  EXPECT_THROW(logistic_population(client, both.folds, jobs,
                                   Context(1, &monitor, std::chrono::milliseconds(0))),
               std::domain_error);
  EXPECT_GE(monitor.polls, 1);

  const int64_t used = simulated_memory_used();
  set_simulated_memory(used + 1000);
  EXPECT_THROW(logistic_population(client, both.folds, jobs, Context(1)), DeviceMemoryError);
  set_simulated_memory(int64_t{1} << 30);
  EXPECT_EQ(simulated_memory_used(), used);
}

struct Broken : LogisticPasses {
  int kind = 0;
  mutable int threads = 0;
  int64_t rows() const override { return 1; }
  int64_t parameters() const override { return 1; }
  int64_t outputs() const override { return 1; }
  int64_t atoms() const override { return 1; }
  const double* shift() const override { return nullptr; }
  void sample(int64_t) override {}
  void total_weight(int64_t, double*, const Context& context) const override {
    threads = context.threads();
    if (kind == 0) throw DeviceError("device");
    if (kind == 1) throw DeviceMemoryError("memory");
    if (kind == 2) throw InvalidInput("input");
    if (kind == 3) throw std::bad_alloc();
    if (kind == 4) throw Cancelled();
    if (kind == 5) throw std::runtime_error("words");
    throw 7;
  }
  void evaluate(const LogisticPoint*, int64_t, double*, double*, const Context&) const override {}
  void hessian(const LogisticPoint&, const double*, double*, const Context&) const override {}
  void squares(int64_t, const double*, double*, const Context&) const override {}
  void left_out(const double* const*, const double*, int64_t, LogisticScore*,
                const Context&) const override {}
};

TEST(LogisticPort, WorkMayUseTheCallersThreads) {
  Broken broken;
  LogisticServer server(broken, 1);
  const LogisticClient client(server);
  double total = 0;
  EXPECT_THROW(client.total_weight(0, &total, Context(3)), DeviceError);
  EXPECT_EQ(broken.threads, 3);
}

TEST(LogisticPort, ErrorsKeepTheirKindAndWords) {
  Broken broken;
  LogisticServer server(broken, 1);
  const LogisticClient client(server);
  const auto call = [&](int kind) {
    broken.kind = kind;
    double total = 0;
    client.total_weight(0, &total, Context(1));
  };
  EXPECT_THROW(call(0), DeviceError);
  EXPECT_THROW(call(1), DeviceMemoryError);
  EXPECT_THROW(call(2), InvalidInput);
  EXPECT_THROW(call(3), std::bad_alloc);
  EXPECT_THROW(call(4), Cancelled);
  EXPECT_THROW(call(6), std::runtime_error);
  try {
    call(5);
    FAIL();
  } catch (const std::runtime_error& e) {
    EXPECT_STREQ(e.what(), "words");
  }
}

}  // namespace
}  // namespace manyfit::testing
