#include <cuda_runtime.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>
#include <new>
#include <thread>

#include "core/device.h"
#include "core/per_process.h"

namespace manyfit {
namespace {

std::atomic<int> first_process{0};
constexpr auto kSpin = std::chrono::microseconds(200);  // a short wait does not sleep
constexpr auto kNap = std::chrono::microseconds(50);

std::string version(int number) {
  return std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10);
}

void check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  cudaGetLastError();  // an error that does not stick is forgotten
  throw DeviceError(std::string("CUDA: ") + what + ": " + cudaGetErrorString(error) + " (" +
                    cudaGetErrorName(error) + ")");
}

// Why there is no device.
[[noreturn]] void refuse(cudaError_t error) {
  cudaGetLastError();
  int driver = 0, runtime = 0;
  cudaDriverGetVersion(&driver);
  cudaRuntimeGetVersion(&runtime);
  if (driver == 0)
    throw DeviceError(
        "no NVIDIA driver was found on this machine (libcuda.so); use device='cpu', or install the "
        "driver of the GPU");
  if (error == cudaErrorInsufficientDriver)
    throw DeviceError("the NVIDIA driver serves CUDA " + version(driver) +
                      ", and this build needs " + version(runtime) +
                      "; update the driver, or use device='cpu'");
  if (error == cudaErrorNoDevice)
    throw DeviceError(
        "there is a driver, but no GPU that this process may use (CUDA_VISIBLE_DEVICES?); use "
        "device='cpu'");
  check(error, "the devices cannot be counted");
  throw DeviceError("no device");
}

// Also refuses a process forked from one that had used a device: the runtime is not there any more.
void enter_process() {
  int none = 0;
  if (!first_process.compare_exchange_strong(none, process_id()) && none != process_id())
    throw DeviceError(
        "the device was used before this process was forked from its parent, and cannot be used "
        "after; start processes by 'spawn' or 'forkserver'");
}

bool in_forked_child() { return first_process != 0 && first_process != process_id(); }

}  // namespace

int device_count() {
  enter_process();
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess || count == 0) refuse(error == cudaSuccess ? cudaErrorNoDevice : error);
  return count;
}

struct Device::Mark {
  cudaEvent_t event = nullptr;
  Mark() { check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "event"); }
  ~Mark() {
    if (!in_forked_child()) cudaEventDestroy(event);
  }
};

struct Device::State {
  cudaStream_t work = nullptr, copies = nullptr;
  bool pools = false;  // memory in the order of the work; some virtual GPUs have none
};

struct Devices {
  static Device* make(int index) { return new Device(index); }
};

Device& Device::at(int index) {
  enter_process();
  static std::mutex mutex;
  static auto* const devices = new std::vector<Device*>();  // until the process ends
  const std::lock_guard lock(mutex);
  if (devices->empty()) devices->resize(static_cast<size_t>(device_count()));
  const auto count = static_cast<int>(devices->size());
  if (index < 0 || index >= count)
    throw DeviceError("there is no device " + std::to_string(index) + ": this machine has " +
                      std::to_string(count) + " (cuda:0" +
                      (count > 1 ? " to cuda:" + std::to_string(count - 1) : "") + ")");
  Device*& place = (*devices)[static_cast<size_t>(index)];
  if (place == nullptr) place = Devices::make(index);
  place->prepare();
  return *place;
}

Device::Device(int index) : index_(index), state_(std::make_unique<State>()) {
  prepare();
  cudaDeviceProp properties;
  check(cudaGetDeviceProperties(&properties, index), "properties of the device");
  facts_.name = properties.name;
  facts_.major = properties.major;
  facts_.minor = properties.minor;
  facts_.memory = static_cast<int64_t>(properties.totalGlobalMem);
  facts_.multiprocessors = properties.multiProcessorCount;
  facts_.shared_bytes = static_cast<int64_t>(properties.sharedMemPerBlockOptin);
  facts_.fast_double = properties.minor == 0 && properties.major >= 8 && properties.major <= 10;
  check(cudaDriverGetVersion(&facts_.driver), "version of the driver");
  check(cudaRuntimeGetVersion(&facts_.runtime), "version of the runtime");
  check(cudaStreamCreateWithFlags(&state_->work, cudaStreamNonBlocking), "stream");
  check(cudaStreamCreateWithFlags(&state_->copies, cudaStreamNonBlocking), "stream");
  int pools = 0;
  check(cudaDeviceGetAttribute(&pools, cudaDevAttrMemoryPoolsSupported, index), "attributes");
  state_->pools = pools != 0;
  if (!state_->pools) return;
  // What is given back stays with the pool: a later fit finds it there without a call of the
  // driver.
  cudaMemPool_t pool;
  uint64_t keep = static_cast<uint64_t>(facts_.memory / 8);
  check(cudaDeviceGetDefaultMemPool(&pool, index), "memory pool");
  check(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &keep), "memory pool");
}

Device::~Device() = default;

void Device::prepare() { check(cudaSetDevice(index_), "the device cannot be used"); }

int64_t Device::free_memory() {
  prepare();
  size_t free = 0, total = 0;
  check(cudaMemGetInfo(&free, &total), "free memory");
  return static_cast<int64_t>(free);
}

void* Device::allocate(size_t bytes) {
  prepare();
  void* memory = nullptr;
  const auto ask = [&] {
    return state_->pools ? cudaMallocAsync(&memory, bytes, state_->work)
                         : cudaMalloc(&memory, bytes);
  };
  cudaError_t error = ask();
  if (error == cudaErrorMemoryAllocation && state_->pools) {
    cudaGetLastError();
    cudaStreamSynchronize(state_->work);
    cudaMemPool_t pool;
    if (cudaDeviceGetDefaultMemPool(&pool, index_) == cudaSuccess) cudaMemPoolTrimTo(pool, 0);
    error = ask();
  }
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    throw DeviceMemoryError("device memory of cuda:" + std::to_string(index_) + ": " +
                            std::to_string(bytes) + " bytes were asked for, " +
                            std::to_string(free_memory()) + " are free");
  }
  check(error, "memory");
  return memory;
}

void Device::release(void* memory, size_t) noexcept {
  if (in_forked_child()) return;
  int before = 0;
  cudaGetDevice(&before);
  cudaSetDevice(index_);
  if (state_->pools)
    cudaFreeAsync(memory, state_->work);
  else
    cudaFree(memory);
  cudaSetDevice(before);
  cudaGetLastError();
}

void* Device::allocate_pinned(size_t bytes) {
  prepare();
  void* memory = nullptr;
  const cudaError_t error = cudaHostAlloc(&memory, bytes, cudaHostAllocDefault);
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    throw std::bad_alloc();
  }
  check(error, "pinned memory");
  return memory;
}

void Device::release_pinned(void* memory) noexcept {
  if (!in_forked_child()) cudaFreeHost(memory);
}

void Device::upload(void* to, const void* from, size_t bytes) {
  prepare();
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, state_->work),
        "copy to the device");
}

void Device::upload_beside(void* to, const void* pinned, size_t bytes) {
  prepare();
  check(cudaMemcpyAsync(to, pinned, bytes, cudaMemcpyHostToDevice, state_->copies),
        "copy to the device");
}

void Device::download(void* to, const void* from, size_t bytes, const Context& context) {
  prepare();
  synchronize(context);
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, state_->work),
        "copy from the device");
  synchronize(context);
}

void Device::copy(void* to, const void* from, size_t bytes) {
  prepare();
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, state_->work), "copy");
}

void Device::zero(void* memory, size_t bytes) {
  prepare();
  check(cudaMemsetAsync(memory, 0, bytes, state_->work), "fill");
}

Device::MarkPtr Device::mark_work() {
  prepare();
  auto mark = std::make_shared<Mark>();
  check(cudaEventRecord(mark->event, state_->work), "event");
  return mark;
}

Device::MarkPtr Device::mark_copies() {
  prepare();
  auto mark = std::make_shared<Mark>();
  check(cudaEventRecord(mark->event, state_->copies), "event");
  return mark;
}

void Device::work_waits(const MarkPtr& mark) {
  check(cudaStreamWaitEvent(state_->work, mark->event, 0), "event");
}

void Device::copies_wait(const MarkPtr& mark) {
  check(cudaStreamWaitEvent(state_->copies, mark->event, 0), "event");
}

void Device::wait(const MarkPtr& mark, const Context& context) {
  prepare();
  const auto begin = std::chrono::steady_clock::now();
  while (true) {
    const cudaError_t error = cudaEventQuery(mark->event);
    if (error == cudaSuccess) return;
    if (error != cudaErrorNotReady) check(error, "a kernel or copy failed");
    cudaGetLastError();
    context.check();
    if (std::chrono::steady_clock::now() - begin > kSpin) std::this_thread::sleep_for(kNap);
  }
}

void Device::synchronize(const Context& context) { wait(mark_work(), context); }

void Device::wait_for_stream(uintptr_t stream) {
  prepare();
  auto mark = std::make_shared<Mark>();
  // 1 and 2 stand for the two default streams there are; 0 is ambiguous, and ordered like the
  // first.
  const cudaStream_t theirs = stream == 0   ? cudaStreamLegacy
                              : stream == 1 ? cudaStreamLegacy
                              : stream == 2 ? cudaStreamPerThread
                                            : reinterpret_cast<cudaStream_t>(stream);
  check(cudaEventRecord(mark->event, theirs), "the stream of an array given cannot be waited for");
  work_waits(mark);
  copies_wait(mark);
}

uintptr_t Device::stream() const { return reinterpret_cast<uintptr_t>(state_->work); }

int Device::device_of(const void* memory) {
  cudaPointerAttributes attributes;
  const cudaError_t error = cudaPointerGetAttributes(&attributes, memory);
  if (error == cudaErrorInvalidValue) {
    cudaGetLastError();
    return -1;
  }
  check(error, "where an array lies cannot be told");
  return attributes.type == cudaMemoryTypeDevice || attributes.type == cudaMemoryTypeManaged
             ? attributes.device
             : -1;
}

void Device::check_launch(const char* what) { check(cudaGetLastError(), what); }

void* Device::native_stream() const { return state_->work; }

}  // namespace manyfit
