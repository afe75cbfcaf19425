// Calls from one extension module into another. Modules hide their types from each other, so an
// exception thrown in one could pass the other's handlers by; and what one was compiled with need
// not be what the other was. So nothing but plain numbers and pointers passes: the module that
// serves catches everything and says what it was by number and text, and asks by a function pointer
// whether to go on. The module that calls throws its own exception, or goes on with the very one
// that its monitor threw (KeyboardInterrupt).
#pragma once

#include <cstdint>
#include <exception>
#include <new>
#include <stdexcept>
#include <string>

#include "core/context.h"
#include "core/errors.h"

namespace manyfit {

enum BoundaryFailure : int32_t {
  kBoundaryStopped = 1,
  kBoundaryInvalidInput,
  kBoundaryNoMemory,
  kBoundaryDevice,
  kBoundaryDeviceMemory,
  kBoundaryOther,
};

// The caller's side, as the serving side sees it.
struct BoundaryCaller {
  void* self;
  bool (*stop)(void* self);  // whether to stop; throws nothing
  void (*fail)(void* self, int32_t failure, const char* text);
  int32_t threads;  // that the work may use
};

// Serving: work(context) with a context that asks the caller. Throws nothing; true if it ended
// well.
template <class Work>
bool serve(const BoundaryCaller& caller, Work&& work) noexcept {
  struct Relay : Monitor {
    const BoundaryCaller& caller;
    explicit Relay(const BoundaryCaller& c) : caller(c) {}
    void poll(const char*, double) override {
      if (caller.stop(caller.self)) throw Cancelled();
    }
  };
  const auto failed = [&](BoundaryFailure failure, const char* text) {
    caller.fail(caller.self, failure, text);
    return false;
  };
  try {
    Relay relay(caller);
    work(Context(caller.threads, &relay));
    return true;
  } catch (const Cancelled& e) {
    return failed(kBoundaryStopped, e.what());
  } catch (const InvalidInput& e) {
    return failed(kBoundaryInvalidInput, e.what());
  } catch (const DeviceMemoryError& e) {
    return failed(kBoundaryDeviceMemory, e.what());
  } catch (const DeviceError& e) {
    return failed(kBoundaryDevice, e.what());
  } catch (const std::bad_alloc& e) {
    return failed(kBoundaryNoMemory, e.what());
  } catch (const std::exception& e) {
    return failed(kBoundaryOther, e.what());
  } catch (...) {
    return failed(kBoundaryOther, "unknown error");
  }
}

// Calling: f(caller) calls what serves. Throws what went wrong there, or what the context's monitor
// threw when it was asked.
template <class F>
void call_across(const Context& context, F&& f) {
  struct State {
    const Context& context;
    std::exception_ptr stopped;
    int32_t failure = 0;
    std::string text;
  } state{context, nullptr, 0, {}};
  const BoundaryCaller caller{&state,
                              [](void* self) {
                                auto& at = *static_cast<State*>(self);
                                try {
                                  at.context.check();
                                } catch (...) {
                                  at.stopped = std::current_exception();
                                }
                                return at.stopped != nullptr;
                              },
                              [](void* self, int32_t failure, const char* text) {
                                auto& at = *static_cast<State*>(self);
                                at.failure = failure;
                                try {
                                  at.text = text;
                                } catch (...) {  // then without words
                                }
                              },
                              context.threads()};
  context.check();
  f(caller);
  if (state.stopped) std::rethrow_exception(state.stopped);
  switch (state.failure) {
    case 0:
      return;
    case kBoundaryStopped:
      throw Cancelled();
    case kBoundaryInvalidInput:
      throw InvalidInput(state.text);
    case kBoundaryNoMemory:
      throw std::bad_alloc();
    case kBoundaryDevice:
      throw DeviceError(state.text);
    case kBoundaryDeviceMemory:
      throw DeviceMemoryError(state.text);
    default:
      throw std::runtime_error(state.text);
  }
}

}  // namespace manyfit
