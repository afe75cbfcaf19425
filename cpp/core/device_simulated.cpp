// A device that is the host: memory from the heap, kernels run where they are launched. Fresh
// memory holds NaN, so that what a kernel reads before it was written shows.
#include "core/device_simulated.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <new>

#include "core/device.h"
#include "core/per_process.h"

namespace manyfit {
namespace {

constexpr int kDevices = 2;
constexpr int kUnset = 0xff;  // bytes of a NaN

struct Memory {
  std::mutex mutex;
  struct Block {
    size_t bytes;
    int device;  // -1: pinned
  };
  std::map<uintptr_t, Block> blocks;
  int64_t limit = int64_t{1} << 30;
  int64_t used[kDevices] = {};
};
Memory& memory() {
  static auto* const instance = new Memory();
  return *instance;
}
std::atomic<int> first_process{0};
std::atomic<int64_t> launches{0}, downloads{0};

}  // namespace

void set_simulated_memory(int64_t bytes) {
  const std::lock_guard lock(memory().mutex);
  memory().limit = bytes;
}

int64_t simulated_memory_used() {
  const std::lock_guard lock(memory().mutex);
  return memory().used[0] + memory().used[1];
}

int64_t simulated_launches() { return launches; }
int64_t simulated_downloads() { return downloads; }

struct Device::State {};
struct Device::Mark {};

int device_count() { return kDevices; }

struct Devices {
  static Device* make(int index) { return new Device(index); }
};

Device& Device::at(int index) {
  if (index < 0 || index >= kDevices)
    throw DeviceError("there is no device " + std::to_string(index) + ": " +
                      std::to_string(kDevices) + " are there");
  int none = 0;
  if (!first_process.compare_exchange_strong(none, process_id()) && none != process_id())
    throw DeviceError(
        "the device was used before this process was forked from its parent, and cannot be used "
        "after; start processes by 'spawn' or 'forkserver'");
  static Device* const devices[kDevices] = {Devices::make(0), Devices::make(1)};
  return *devices[index];
}

Device::Device(int index) : index_(index) {
  facts_.name = "simulated device " + std::to_string(index);
  facts_.major = 9;
  facts_.memory = memory().limit;
  facts_.multiprocessors = 4;
  facts_.shared_bytes = 227 * 1024;
  facts_.fast_double = true;
  facts_.driver = facts_.runtime = 0;
}
Device::~Device() = default;

int64_t Device::free_memory() {
  const std::lock_guard lock(memory().mutex);
  return memory().limit - memory().used[index_];
}

void* Device::allocate(size_t bytes) {
  Memory& all = memory();
  const std::lock_guard lock(all.mutex);
  const int64_t free = all.limit - all.used[index_];
  void* block = static_cast<int64_t>(bytes) > free
                    ? nullptr
                    : std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  if (block == nullptr)
    throw DeviceMemoryError("device memory of cuda:" + std::to_string(index_) + ": " +
                            std::to_string(bytes) + " bytes were asked for, " +
                            std::to_string(free) + " are free");
  std::memset(block, kUnset, bytes);
  all.blocks[reinterpret_cast<uintptr_t>(block)] = {bytes, index_};
  all.used[index_] += static_cast<int64_t>(bytes);
  return block;
}

void Device::release(void* block, size_t bytes) noexcept {
  Memory& all = memory();
  const std::lock_guard lock(all.mutex);
  all.blocks.erase(reinterpret_cast<uintptr_t>(block));
  all.used[index_] -= static_cast<int64_t>(bytes);
  std::free(block);
}

void* Device::allocate_pinned(size_t bytes) {
  void* block = std::malloc(bytes);
  if (block == nullptr) throw std::bad_alloc();
  return block;
}
void Device::release_pinned(void* block) noexcept { std::free(block); }

void Device::upload(void* to, const void* from, size_t bytes) { std::memcpy(to, from, bytes); }
void Device::upload_beside(void* to, const void* from, size_t bytes) {
  std::memcpy(to, from, bytes);
}
void Device::download(void* to, const void* from, size_t bytes, const Context& context) {
  context.check();
  downloads += static_cast<int64_t>(bytes);
  std::memcpy(to, from, bytes);
}
void Device::copy(void* to, const void* from, size_t bytes) { std::memmove(to, from, bytes); }
void Device::zero(void* block, size_t bytes) { std::memset(block, 0, bytes); }

Device::MarkPtr Device::mark_work() { return std::make_shared<Mark>(); }
Device::MarkPtr Device::mark_copies() { return std::make_shared<Mark>(); }
void Device::work_waits(const MarkPtr&) {}
void Device::copies_wait(const MarkPtr&) {}
void Device::wait(const MarkPtr&, const Context& context) { context.check(); }
void Device::synchronize(const Context& context) { context.check(); }
void Device::wait_for_stream(uintptr_t) {}
uintptr_t Device::stream() const { return 1; }

int Device::device_of(const void* pointer) {
  Memory& all = memory();
  const std::lock_guard lock(all.mutex);
  const auto place = reinterpret_cast<uintptr_t>(pointer);
  auto next = all.blocks.upper_bound(place);
  if (next == all.blocks.begin()) return -1;
  --next;
  return place < next->first + std::max<size_t>(next->second.bytes, 1) ? next->second.device : -1;
}

void Device::prepare() { ++launches; }
void Device::check_launch(const char*) {}
void* Device::native_stream() const { return nullptr; }

}  // namespace manyfit
