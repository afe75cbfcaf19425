// A warp of a block (block.h): threads that go on by themselves, in control flow of their own, and
// hand each other values without a barrier of the block. What a warp does is written as steps of
// its lanes, in loops and conditions that are the same for all of them:
//
//   for_each_warp(block, [&](Warp warp) {
//     PerThread<double> x(warp);
//     warp.each([&](int lane) { x[lane] = ...; });
//     const double first = warp.from(0, [&](int lane) { return x[lane]; });
//   });
//
// On the host the warps of a block run one after another.
#pragma once

#include <bit>
#include <cstdint>

#include "core/block.h"

#if defined(__CUDACC__)
#define MANYFIT_UNROLL _Pragma("unroll")
#define MANYFIT_DEVICE_CALL __device__ __noinline__
#else
#define MANYFIT_UNROLL
#define MANYFIT_DEVICE_CALL
#endif

namespace manyfit {

MANYFIT_HOST_DEVICE double larger_of(double a, double b) { return a > b ? a : b; }

#if defined(__CUDACC__)

class Warp {
 public:
  __device__ explicit Warp(const Block&) {}
  __device__ int index() const { return static_cast<int>(threadIdx.x) / kWarp; }
  __device__ int threads() const { return kWarp; }

  // What a lane writes to memory in a step, all lanes see after it.
  template <class Step>
  __device__ __forceinline__ void each(Step&& step) const {
    step(own());
    __syncwarp();
  }
  // Steps that touch registers, and memory that no lane writes.
  template <class Step>
  __device__ __forceinline__ void lanes(Step&& step) const {
    step(own());
  }

  // A lane's value, for all.
  template <class Value>
  __device__ __forceinline__ auto from(int lane, Value&& value) const {
    return __shfl_sync(kAll, value(own()), lane);
  }
  // Bit i: whether lane i says so.
  template <class Test>
  __device__ __forceinline__ uint32_t ballot(Test&& test) const {
    return __ballot_sync(kAll, test(own()));
  }
  // In an order that does not vary, the same bits in all lanes.
  template <class Value>
  __device__ __forceinline__ double sum(Value&& value) const {
    double total = value(own());
    MANYFIT_UNROLL
    for (int step = kWarp / 2; step > 0; step /= 2) total += __shfl_xor_sync(kAll, total, step);
    return total;
  }
  template <class Value>
  __device__ __forceinline__ double largest(Value&& value) const {
    double most = value(own());
    MANYFIT_UNROLL
    for (int step = kWarp / 2; step > 0; step /= 2)
      most = larger_of(most, __shfl_xor_sync(kAll, most, step));
    return most;
  }

  __device__ static int count(uint32_t bits) { return __popc(bits); }
  __device__ static int lowest(uint32_t bits) { return __ffs(static_cast<int>(bits)) - 1; }

 private:
  static constexpr unsigned kAll = 0xffffffffu;
  __device__ static int own() { return static_cast<int>(threadIdx.x) % kWarp; }
};

template <class Work>
__device__ __forceinline__ void for_each_warp(Block& block, Work&& work) {
  work(Warp(block));
  __syncthreads();
}

#else

class Warp {
 public:
  explicit Warp(int index) : index_(index) {}
  int index() const { return index_; }
  int threads() const { return kWarp; }

  template <class Step>
  void each(Step&& step) const {
    for (int lane = 0; lane < kWarp; ++lane) step(lane);
  }
  template <class Step>
  void lanes(Step&& step) const {
    each(step);
  }
  template <class Value>
  auto from(int lane, Value&& value) const {
    return value(lane);
  }
  template <class Test>
  uint32_t ballot(Test&& test) const {
    uint32_t bits = 0;
    for (int lane = 0; lane < kWarp; ++lane) bits |= static_cast<uint32_t>(test(lane)) << lane;
    return bits;
  }
  template <class Value>
  double sum(Value&& value) const {
    return butterfly(value, [](double a, double b) { return a + b; });
  }
  template <class Value>
  double largest(Value&& value) const {
    return butterfly(value, larger_of);
  }

  static int count(uint32_t bits) { return std::popcount(bits); }
  static int lowest(uint32_t bits) { return std::countr_zero(bits); }

 private:
  template <class Value, class Join>
  static double butterfly(Value&& value, Join&& join) {
    double all[kWarp];
    for (int lane = 0; lane < kWarp; ++lane) all[lane] = value(lane);
    for (int step = kWarp / 2; step > 0; step /= 2)
      for (int lane = 0; lane < step; ++lane) all[lane] = join(all[lane], all[lane + step]);
    return all[0];
  }

  int index_;
};

template <class Work>
void for_each_warp(Block& block, Work&& work) {
  for (int i = 0; i < block.threads() / kWarp; ++i) work(Warp(i));
}

#endif

}  // namespace manyfit
