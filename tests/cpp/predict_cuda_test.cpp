#include "linear_model/predict_cuda.h"

#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "tables.h"

namespace manyfit::testing {
namespace {

template <class T>
class PredictCudaTest : public ::testing::Test {};
TYPED_TEST_SUITE(PredictCudaTest, FloatTypes, TypeName);

template <class T>
struct OnDevice {
  DeviceBuffer<T> buffer;
  MatrixView<const T> view;

  // `like` moved to the device: all memory it spans, with its strides.
  explicit OnDevice(MatrixView<const T> like) : view(like) {
    const int64_t reach_rows = (like.rows - 1) * like.row_stride,
                  reach_cols = (like.cols - 1) * like.col_stride;
    const int64_t low = std::min<int64_t>(reach_rows, 0) + std::min<int64_t>(reach_cols, 0);
    const int64_t high = std::max<int64_t>(reach_rows, 0) + std::max<int64_t>(reach_cols, 0);
    buffer = DeviceBuffer<T>(Device::at(0), std::vector<T>(like.data + low, like.data + high + 1));
    view.data = buffer.data() - low;
  }
};

TYPED_TEST(PredictCudaTest, EqualsTheProduct) {
  using T = TypeParam;
  Device& device = Device::at(0);
  for (const int64_t d : {1, 31, 32, 70})
    for (const int64_t t : {1, 3, 8, 19})
      for (const int64_t n : {1, 127, 300})
        for (const Layout layout : {Layout::c, Layout::fortran}) {
          const Table<T> X = normal_table<T>(n, d, 3, layout, 0.5);
          const OnDevice<T> moved(X.view());
          std::vector<double> coef(t * d), intercept(t);
          for (size_t i = 0; i < coef.size(); ++i) coef[i] = 0.1 * static_cast<double>(i % 17) - 1;
          for (size_t k = 0; k < intercept.size(); ++k) intercept[k] = 3 + static_cast<double>(k);
          DeviceBuffer<T> out(device, n * t);
          ASSERT_TRUE(predict_cuda(device, moved.view, coef, intercept, out.data(), Context(1)));
          const std::vector<T> found = out.download(Context(1));
          for (int64_t i = 0; i < n; ++i)
            for (int64_t k = 0; k < t; ++k) {
              double expected = intercept[k];
              for (int64_t j = 0; j < d; ++j)
                expected += static_cast<double>(X(i, j)) * coef[k * d + j];
              ASSERT_NEAR(found[i * t + k], expected,
                          (std::is_same_v<T, float> ? 1e-5 : 1e-13) * (10 + d));
            }
        }
}

TYPED_TEST(PredictCudaTest, TellsWhatIsNotFinite) {
  using T = TypeParam;
  Device& device = Device::at(0);
  for (const T value : {std::numeric_limits<T>::quiet_NaN(), std::numeric_limits<T>::infinity()}) {
    Table<T> X = normal_table<T>(200, 5, 3, Layout::c, 0.5);
    X(199, 4) = value;
    const OnDevice<T> moved(X.view());
    DeviceBuffer<T> out(device, 200);
    EXPECT_FALSE(predict_cuda(device, moved.view, std::vector<double>(5, 0.0), {1.0}, out.data(),
                              Context(1)));
  }
}

}  // namespace
}  // namespace manyfit::testing
