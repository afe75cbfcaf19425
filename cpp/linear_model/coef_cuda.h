// Coefficients of many fits on a device: they stay where they were found, for what is asked of them
// there (evaluate_cuda.h), unless they are few.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "core/device.h"

namespace manyfit {

class DeviceCoef {
 public:
  static constexpr int64_t kFew = 8192;  // travel in less time than a transfer needs to begin

  // Takes an answer that begins with `size` coefficients; returns what follows them.
  std::vector<double> take(DeviceBuffer<double> answer, int64_t size, const Context& context) {
    size_ = size;
    const bool few = size <= kFew;
    std::vector<double> rest(static_cast<size_t>(answer.size() - (few ? 0 : size)));
    if (!rest.empty())
      answer.device().download(rest.data(), answer.data() + (few ? 0 : size),
                               rest.size() * sizeof(double), context);
    if (few) {
      on_host_.assign(rest.begin(), rest.begin() + size);
      rest.erase(rest.begin(), rest.begin() + size);
    } else {
      on_device_ = std::move(answer);
    }
    return rest;
  }

  int64_t size() const { return size_; }
  // Where they are: one of the two is empty.
  const std::vector<double>& on_host() const { return on_host_; }
  DeviceBuffer<double>& on_device() { return on_device_; }

  std::vector<double> download(const Context& context) const {
    if (on_device_.empty()) return on_host_;
    std::vector<double> values(static_cast<size_t>(size_));
    on_device_.device().download(values.data(), on_device_.data(), values.size() * sizeof(double),
                                 context);
    return values;
  }

 private:
  int64_t size_ = 0;
  std::vector<double> on_host_;
  DeviceBuffer<double> on_device_;
};

}  // namespace manyfit
