// The GPU as algorithms see it: memory, the order of work, launches. Two libraries implement it,
// and a binary is linked with one of them: device_cuda.cu on NVIDIA's runtime, and
// device_simulated.cpp, which keeps "device memory" on the host and runs every kernel there
// (block.h), for tests on machines without a GPU.
//
// All work on a device goes, in order, to one stream; copies that overlap with it go to a second
// one. Nothing here may be used in a process forked from one that had used a device: that raises
// DeviceError. Every failure is a DeviceError that says what to do, or a DeviceMemoryError that
// says how many bytes were asked for and how many are free.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/block.h"
#include "core/context.h"
#include "core/errors.h"

namespace manyfit {

struct DeviceFacts {
  std::string name;
  int major = 0, minor = 0;  // compute capability
  int64_t memory = 0;        // bytes
  int multiprocessors = 0;
  int64_t shared_bytes = 0;     // the most a block can have
  bool fast_double = false;     // tensor cores for float64
  int driver = 0, runtime = 0;  // versions, 12040 is 12.4
};

// Devices that this process can use. Throws DeviceError where there is no driver, or one too old.
int device_count();

class Device {
 public:
  // Device `index` of this process, made ready at its first use.
  static Device& at(int index);

  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  int index() const { return index_; }
  const DeviceFacts& facts() const { return facts_; }
  int64_t free_memory();

  // Memory in the order of the work: what was given back serves what is asked for later.
  void* allocate(size_t bytes);
  void release(void* memory, size_t bytes) noexcept;
  void* allocate_pinned(size_t bytes);
  void release_pinned(void* memory) noexcept;

  // From any host memory; when it returns, `from` may change.
  void upload(void* to, const void* from, size_t bytes);
  // From pinned memory, on the stream of copies; `from` must not change until wait_copies() has let
  // the work wait, and the work has been waited for or a later copy_done() is true.
  void upload_beside(void* to, const void* pinned, size_t bytes);
  // When it returns, the bytes are there. Asks the context meanwhile.
  void download(void* to, const void* from, size_t bytes, const Context& context);
  void copy(void* to, const void* from, size_t bytes);  // within the device
  void zero(void* memory, size_t bytes);

  // Points in the order of the work. A mark of the work or of the copies made so far:
  struct Mark;
  using MarkPtr = std::shared_ptr<Mark>;
  MarkPtr mark_work();
  MarkPtr mark_copies();
  void work_waits(const MarkPtr& mark);                    // later work begins after the mark
  void copies_wait(const MarkPtr& mark);                   // later copies do
  void wait(const MarkPtr& mark, const Context& context);  // the caller does
  // The caller waits for all work; throws Cancelled or what the monitor throws while it does.
  void synchronize(const Context& context);

  // Work begins after what others have put on their stream (a handle as in the CUDA array
  // interface).
  void wait_for_stream(uintptr_t stream);
  // Handle of the stream of the work, for DLPack.
  uintptr_t stream() const;
  // Where memory lies: index of its device, or -1 for the host.
  static int device_of(const void* memory);

#if defined(__CUDACC__) || defined(MANYFIT_SIMULATED_DEVICE)
  // Runs kernel(block) for every block. Kernels should end within about 50 ms, so that Ctrl-C is
  // answered between them.
  template <class Kernel>
  void launch(Grid grid, int threads, size_t shared_bytes, const Kernel& kernel);
#endif

 private:
  explicit Device(int index);
  ~Device();
  friend struct Devices;

  void prepare();  // makes this the calling thread's device
  void check_launch(const char* what);
  void* native_stream() const;

  int index_;
  DeviceFacts facts_;
  struct State;
  std::unique_ptr<State> state_;
};

// Memory of a device for `size` values of T.
template <class T>
class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  DeviceBuffer(Device& device, int64_t size) : device_(&device), size_(size) {
    if (size > 0) data_ = static_cast<T*>(device.allocate(bytes()));
  }
  // A copy of host values.
  DeviceBuffer(Device& device, const std::vector<T>& values)
      : DeviceBuffer(device, static_cast<int64_t>(values.size())) {
    if (size_ > 0) device.upload(data_, values.data(), bytes());
  }
  DeviceBuffer(DeviceBuffer&& other) noexcept { swap(other); }
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept {
    swap(other);
    return *this;
  }
  ~DeviceBuffer() {
    if (data_ != nullptr) device_->release(data_, bytes());
  }

  T* data() const { return data_; }
  int64_t size() const { return size_; }
  size_t bytes() const { return static_cast<size_t>(size_) * sizeof(T); }
  bool empty() const { return size_ == 0; }
  Device& device() const { return *device_; }

  std::vector<T> download(const Context& context) const {
    std::vector<T> values(static_cast<size_t>(size_));
    if (size_ > 0) device_->download(values.data(), data_, bytes(), context);
    return values;
  }
  void zero() {
    if (size_ > 0) device_->zero(data_, bytes());
  }

 private:
  void swap(DeviceBuffer& other) noexcept {
    std::swap(device_, other.device_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
  }

  Device* device_ = nullptr;
  T* data_ = nullptr;
  int64_t size_ = 0;
};

// Host memory that the device reads at full speed and beside its work.
class PinnedBuffer {
 public:
  PinnedBuffer(Device& device, size_t bytes)
      : device_(device), data_(device.allocate_pinned(bytes)), bytes_(bytes) {}
  PinnedBuffer(const PinnedBuffer&) = delete;
  PinnedBuffer& operator=(const PinnedBuffer&) = delete;
  ~PinnedBuffer() { device_.release_pinned(data_); }

  template <class T>
  T* data() const {
    return static_cast<T*>(data_);
  }
  size_t bytes() const { return bytes_; }

 private:
  Device& device_;
  void* data_;
  size_t bytes_;
};

#if defined(__CUDACC__)

template <class Kernel>
__global__ void run_kernel(const Kernel kernel) {
  Block block;
  kernel(block);
}

// Of a kernel that says how many blocks of kThreads a multiprocessor is to hold together, and so,
// how many registers a thread may use: kBlocksTogether.
template <class Kernel>
__global__ void __launch_bounds__(Kernel::kThreads, Kernel::kBlocksTogether)
    run_kernel_together(const Kernel kernel) {
  Block block;
  kernel(block);
}

template <class Kernel>
void Device::launch(Grid grid, int threads, size_t shared_bytes, const Kernel& kernel) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  prepare();
  void (*run)(const Kernel);
  if constexpr (requires { Kernel::kBlocksTogether; })
    run = run_kernel_together<Kernel>;
  else
    run = run_kernel<Kernel>;
  constexpr size_t usual = 48 * 1024;
  if (shared_bytes > usual)
    cudaFuncSetAttribute(run, cudaFuncAttributeMaxDynamicSharedMemorySize,
                         static_cast<int>(shared_bytes));
  const dim3 blocks(static_cast<unsigned>(grid.x), static_cast<unsigned>(grid.y),
                    static_cast<unsigned>(grid.z));
  run<<<blocks, static_cast<unsigned>(threads), shared_bytes,
        static_cast<cudaStream_t>(native_stream())>>>(kernel);
  check_launch("launch");
}

#elif defined(MANYFIT_SIMULATED_DEVICE)

template <class Kernel>
void Device::launch(Grid grid, int threads, size_t shared_bytes, const Kernel& kernel) {
  prepare();
  if (static_cast<int64_t>(shared_bytes) > facts_.shared_bytes || threads > 1024 ||
      grid.y > 65535 || grid.z > 65535)
    throw DeviceError("a launch asks for more than a block or a grid can have");
  Grid place;
  for (place.z = 0; place.z < grid.z; ++place.z)
    for (place.y = 0; place.y < grid.y; ++place.y)
      for (place.x = 0; place.x < grid.x; ++place.x) {
        Block block(grid, place, threads, shared_bytes);
        kernel(block);
      }
}

#endif

}  // namespace manyfit
