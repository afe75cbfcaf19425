#include <algorithm>
#include <map>
#include <mutex>

#include "core/per_process.h"
#include "core/row_stream_cuda.h"

namespace manyfit {
namespace {

// Pinned memory is slow to make: what was used is kept for the next time.
class PinnedPool {
 public:
  using Buffer = std::unique_ptr<PinnedBuffer>;

  Buffer take(Device& device, size_t bytes) {
    {
      const std::lock_guard lock(mutex_);
      auto& kept = kept_[device.index()];
      for (auto& buffer : kept)
        if (buffer->bytes() >= bytes) {
          std::swap(buffer, kept.back());
          Buffer result = std::move(kept.back());
          kept.pop_back();
          return result;
        }
    }
    return std::make_unique<PinnedBuffer>(device, bytes);
  }
  void give_back(Device& device, Buffer buffer) {
    const std::lock_guard lock(mutex_);
    auto& kept = kept_[device.index()];
    kept.push_back(std::move(buffer));
    std::sort(kept.begin(), kept.end(),
              [](const Buffer& a, const Buffer& b) { return a->bytes() > b->bytes(); });
    if (kept.size() > RowStream::kBuffers) kept.pop_back();
  }

 private:
  std::mutex mutex_;
  std::map<int, std::vector<Buffer>> kept_;
};

}  // namespace

Drained::~Drained() {
  if (std::uncaught_exceptions() <= before_) return;
  try {
    device_.wait(device_.mark_copies(), Context(1));
    device_.synchronize(Context(1));
  } catch (...) {  // what went wrong before is thrown
  }
}

struct RowStream::Stage {
  Stage(Device& of, size_t bytes)
      : device(of),
        tile(of, static_cast<int64_t>(bytes)),
        pinned(per_process<PinnedPool>().take(of, bytes)) {}
  Stage(const Stage&) = delete;
  Stage& operator=(const Stage&) = delete;
  ~Stage() { per_process<PinnedPool>().give_back(device, std::move(pinned)); }

  Device& device;
  DeviceBuffer<char> tile;
  PinnedPool::Buffer pinned;
  Device::MarkPtr copied, used;
};

RowStream::RowStream(Device& device, size_t bytes, int buffers) : device_(device), bytes_(bytes) {
  for (int i = 0; i < buffers; ++i) stages_.push_back(std::make_unique<Stage>(device, bytes));
  device_.copies_wait(device_.mark_work());  // the memory is there in the order of the work
}

RowStream::~RowStream() {
  try {
    device_.wait(device_.mark_copies(), Context(1));
  } catch (...) {
  }
}

void* RowStream::next(const Context& context) {
  Stage& stage = *stages_[turn_];
  if (stage.copied != nullptr) device_.wait(stage.copied, context);
  return stage.pinned->data<char>();
}

const void* RowStream::copy(size_t bytes, void* to) {
  Stage& stage = *stages_[turn_];
  if (to == nullptr) {
    to = stage.tile.data();
    if (stage.used != nullptr) device_.copies_wait(stage.used);
  }
  device_.upload_beside(to, stage.pinned->data<char>(), bytes);
  stage.copied = device_.mark_copies();
  device_.work_waits(stage.copied);
  return to;
}

void RowStream::used() {
  Stage& stage = *stages_[turn_];
  stage.used = device_.mark_work();
  turn_ = (turn_ + 1) % stages_.size();
}

}  // namespace manyfit
