// DLPack, the protocol by which libraries hand each other arrays without a copy: its structures, as
// its specification lays them out in memory (https://dmlc.github.io/dlpack/latest/c_api.html;
// version 1).
#pragma once

#include <cstdint>

namespace manyfit::bindings::dlpack {

inline constexpr int kCuda = 2, kCudaManaged = 13;  // types of devices
inline constexpr int kInt = 0, kUInt = 1, kFloat = 2, kBfloat = 4, kComplex = 5, kBool = 6;
inline constexpr uint64_t kReadOnly = 1;  // a flag
inline constexpr uint32_t kMajor = 1, kMinor = 0;

struct DeviceId {
  int32_t type;
  int32_t index;
};

struct DataType {
  uint8_t code;
  uint8_t bits;
  uint16_t lanes;
};

struct Tensor {
  void* data;
  DeviceId device;
  int32_t ndim;
  DataType dtype;
  int64_t* shape;
  int64_t* strides;  // in elements; null: C order
  uint64_t byte_offset;
};

// What a capsule "dltensor" holds. Who takes it renames the capsule to "used_dltensor", and calls
// the deleter when done.
struct Managed {
  static constexpr const char* kName = "dltensor";
  static constexpr const char* kUsed = "used_dltensor";

  Tensor tensor;
  void* context;
  void (*deleter)(Managed*);
};

// The same of a capsule "dltensor_versioned".
struct ManagedVersioned {
  static constexpr const char* kName = "dltensor_versioned";
  static constexpr const char* kUsed = "used_dltensor_versioned";

  uint32_t major, minor;
  void* context;
  void (*deleter)(ManagedVersioned*);
  uint64_t flags;
  Tensor tensor;
};

}  // namespace manyfit::bindings::dlpack
