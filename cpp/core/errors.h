// The library's errors. The binding's one table turns them into Python exceptions; nothing here
// prints or aborts.
#pragma once

#include <stdexcept>
#include <string>

namespace manyfit {

// A value the caller gave breaks a rule; the message names the parameter, the rule and the value.
struct InvalidInput : std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};

// A device was asked for that is not there, or it failed.
struct DeviceError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// A device has no memory left; the message names the bytes asked for and those that are free.
struct DeviceMemoryError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// The caller asked to stop (Ctrl-C). Whatever was under way is dropped.
struct Cancelled : std::runtime_error {
  Cancelled() : std::runtime_error("cancelled") {}
};

}  // namespace manyfit
