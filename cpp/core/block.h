// What device kernels are written in. A kernel is a functor: `kernel(block)` says what one block of
// threads does, as steps that each thread takes and after which all threads of the block wait for
// each other:
//
//   struct Scale {
//     double* x; int64_t n; double by;
//     MANYFIT_DEVICE void operator()(Block& block) const {
//       block.each([&](int thread) {
//         for (int64_t i = block.first(thread); i < n; i += block.stride()) x[i] *= by;
//       });
//     }
//   };
//
// nvcc makes a step a piece of straight code and a barrier. Any other compiler makes it a loop over
// the threads, so that the same kernel runs on the host, thread by thread, and its arithmetic and
// indices are tested (and its accesses checked by sanitizers) on machines without a GPU. What a
// thread keeps from one step to the next is a PerThread; what threads share lies in shared().
// Steps may stand in loops and conditions that are the same for all threads of a block.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#if defined(__CUDACC__)
#define MANYFIT_DEVICE __device__ __forceinline__
#define MANYFIT_HOST_DEVICE __host__ __device__ __forceinline__
#define MANYFIT_UNROLL _Pragma("unroll")
#define MANYFIT_PRAGMA(words) _Pragma(#words)
#define MANYFIT_UNROLL_BY(times) MANYFIT_PRAGMA(unroll times)
#else
#define MANYFIT_DEVICE inline
#define MANYFIT_HOST_DEVICE inline
#define MANYFIT_UNROLL
#define MANYFIT_UNROLL_BY(times)
#endif

namespace manyfit {

// How many blocks a launch has.
struct Grid {
  int64_t x = 1, y = 1, z = 1;
};

inline constexpr int kWarp = 32;

#if defined(__CUDACC__)

extern __shared__ __align__(16) double block_shared_memory[];

// A T of each thread that outlives a step: registers, as long as indices are known to the compiler.
template <class T>
class PerThread {
 public:
  template <class Block>
  __device__ explicit PerThread(const Block&) {}
  __device__ T& operator[](int) { return value_; }

 private:
  T value_{};
};

class Block {
 public:
  // Place among the blocks of the launch.
  __device__ int64_t x() const { return blockIdx.x; }
  __device__ int64_t y() const { return blockIdx.y; }
  __device__ int64_t z() const { return blockIdx.z; }
  __device__ int threads() const { return static_cast<int>(blockDim.x); }
  // For loops of the whole x dimension over elements: where a thread begins, and how far it steps.
  __device__ int64_t first(int thread) const { return x() * threads() + thread; }
  __device__ int64_t stride() const { return static_cast<int64_t>(gridDim.x) * threads(); }

  template <class Step>
  __device__ void each(Step&& step) const {
    step(static_cast<int>(threadIdx.x));
    __syncthreads();
  }

  // A step after which no thread waits: nobody may read what it shares before a later each() ends.
  template <class Step>
  __device__ void each_alone(Step&& step) const {
    step(static_cast<int>(threadIdx.x));
  }

  // Memory of the launch's `shared_bytes` from an offset on (a multiple of 16 bytes).
  template <class T>
  __device__ T* shared(size_t offset = 0) const {
    return reinterpret_cast<T*>(reinterpret_cast<char*>(block_shared_memory) + offset);
  }

  // For each warp, D += A B of 8 x 4 times 4 x 8 doubles, on tensor cores (compute capability 8.0
  // on). Of A a lane holds (lane / 4, lane % 4), of B (lane % 4, lane / 4), and of D the two
  // entries (lane / 4, 2 (lane % 4) + {0, 1}). All threads of the block take part; d, a and b say
  // which registers, given a thread: double& d0(int), ...
  template <class D0, class D1, class A, class B>
  __device__ void multiply_add_8x8x4(D0&& d0, D1&& d1, A&& a, B&& b) const {
    const int thread = static_cast<int>(threadIdx.x);
#if __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%0, %1}, {%2}, {%3}, {%0, %1};"
        : "+d"(d0(thread)), "+d"(d1(thread))
        : "d"(a(thread)), "d"(b(thread)));
#else
    const int lane = thread % kWarp;
    const double own_a = a(thread), own_b = b(thread);
    for (int k = 0; k < 4; ++k) {
      const double left = __shfl_sync(0xffffffffu, own_a, lane / 4 * 4 + k);
      d0(thread) += left * __shfl_sync(0xffffffffu, own_b, lane % 4 * 2 * 4 + k);
      d1(thread) += left * __shfl_sync(0xffffffffu, own_b, (lane % 4 * 2 + 1) * 4 + k);
    }
#endif
  }

  // For each warp that wants it, D += A B of 16 x 8 times 8 x 8 doubles, which is one instruction
  // on Hopper, whose tensor cores take twice the work at a time. Of A a lane holds a[2 s + h] =
  // (lane / 4 + 8 h, 4 s + lane % 4), of B b[s] = (4 s + lane % 4, lane / 4), s < 2, and of D d[2 h
  // + c] = (lane / 4 + 8 h, 2 (lane % 4) + c). d, a and b give a thread's arrays, `wanted` whether
  // its warp takes part.
  template <class Wanted, class D, class A, class B>
  __device__ void multiply_add_16x8x8(Wanted&& wanted, D&& d, A&& a, B&& b) const {
    const int thread = static_cast<int>(threadIdx.x);
    if (!wanted(thread)) return;
    double* const to = d(thread);
    const double *const left = a(thread), *const right = b(thread);
#if __CUDA_ARCH__ >= 900 && __CUDA_ARCH__ < 1000
    asm("mma.sync.aligned.m16n8k8.row.col.f64.f64.f64.f64 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
        "{%8, %9}, {%0, %1, %2, %3};"
        : "+d"(to[0]), "+d"(to[1]), "+d"(to[2]), "+d"(to[3])
        : "d"(left[0]), "d"(left[1]), "d"(left[2]), "d"(left[3]), "d"(right[0]), "d"(right[1]));
#else
#pragma unroll
    for (int s = 0; s < 2; ++s)
#pragma unroll
      for (int h = 0; h < 2; ++h)
        multiply_add_8x8x4([&](int) -> double& { return to[2 * h]; },
                           [&](int) -> double& { return to[2 * h + 1]; },
                           [&](int) { return left[2 * s + h]; }, [&](int) { return right[s]; });
#endif
  }
};

#else

template <class T>
class PerThread {
 public:
  template <class Block>
  explicit PerThread(const Block& block) : values_(static_cast<size_t>(block.threads())) {}
  T& operator[](int thread) { return values_[static_cast<size_t>(thread)]; }

 private:
  std::vector<T> values_;
};

class Block {
 public:
  Block(Grid grid, Grid place, int threads, size_t shared_bytes)
      : grid_(grid),
        place_(place),
        threads_(threads),
        shared_((shared_bytes + 15) / 16 * 2, std::numeric_limits<double>::quiet_NaN()) {}

  int64_t x() const { return place_.x; }
  int64_t y() const { return place_.y; }
  int64_t z() const { return place_.z; }
  int threads() const { return threads_; }
  int64_t first(int thread) const { return x() * threads_ + thread; }
  int64_t stride() const { return grid_.x * threads_; }

  template <class Step>
  void each(Step&& step) const {
    for (int thread = 0; thread < threads_; ++thread) step(thread);
  }
  template <class Step>
  void each_alone(Step&& step) const {
    each(step);
  }

  template <class T>
  T* shared(size_t offset = 0) {
    return reinterpret_cast<T*>(reinterpret_cast<char*>(shared_.data()) + offset);
  }

  template <class D0, class D1, class A, class B>
  void multiply_add_8x8x4(D0&& d0, D1&& d1, A&& a, B&& b) const {
    for (int warp = 0; warp < threads_; warp += kWarp)
      for (int lane = 0; lane < kWarp; ++lane) {
        const int row = lane / 4, column = 2 * (lane % 4);
        for (int k = 0; k < 4; ++k) {
          const double left = a(warp + row * 4 + k);
          d0(warp + lane) += left * b(warp + column * 4 + k);
          d1(warp + lane) += left * b(warp + (column + 1) * 4 + k);
        }
      }
  }

  template <class Wanted, class D, class A, class B>
  void multiply_add_16x8x8(Wanted&& wanted, D&& d, A&& a, B&& b) const {
    for (int warp = 0; warp < threads_; warp += kWarp) {
      if (!wanted(warp)) continue;
      for (int lane = 0; lane < kWarp; ++lane)
        for (int k = 0; k < 8; ++k)
          for (int h = 0; h < 2; ++h) {
            const double left = a(warp + lane / 4 * 4 + k % 4)[k / 4 * 2 + h];
            for (int c = 0; c < 2; ++c)
              d(warp + lane)[2 * h + c] += left * b(warp + (lane % 4 * 2 + c) * 4 + k % 4)[k / 4];
          }
    }
  }

 private:
  Grid grid_, place_;
  int threads_;
  std::vector<double> shared_;  // NaN at first, so that what was never written shows
};

#endif

}  // namespace manyfit
