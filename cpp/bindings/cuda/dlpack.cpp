#include "bindings/cuda/dlpack.h"

#include <optional>
#include <utility>

#include "bindings/cuda/foreign.h"

namespace manyfit::bindings {
namespace {

using namespace dlpack;

std::string dtype_of(const DataType& dtype, const std::string& name) {
  static constexpr std::pair<int, const char*> kinds[] = {
      {kInt, "int"},       {kUInt, "uint"},       {kFloat, "float"},
      {kBfloat, "bfloat"}, {kComplex, "complex"}, {kBool, "bool"}};
  std::string known = "of DLPack type " + std::to_string(dtype.code) + ", ";
  for (const auto& [code, kind] : kinds)
    if (code == dtype.code) known = kind;
  if (dtype.code != kBool || dtype.bits != 8) known += std::to_string(dtype.bits);
  if (dtype.lanes != 1) known += " in vectors of " + std::to_string(dtype.lanes);
  const bool whole = dtype.code == kInt || dtype.code == kUInt;
  const int bytes = dtype.bits / 8;
  const bool sized = dtype.bits == 8 || dtype.bits == 16 || dtype.bits == 32 || dtype.bits == 64;
  if (dtype.lanes == 1 && whole && sized)
    return (dtype.code == kInt ? "i" : "u") + std::to_string(bytes);
  if (dtype.lanes == 1 && dtype.code == kFloat && (dtype.bits == 32 || dtype.bits == 64))
    return "f" + std::to_string(bytes);
  if (dtype.lanes == 1 && dtype.code == kBool && dtype.bits == 8) return "b1";
  refuse_dtype(name, known);
}

// The array that a capsule holds. The capsule is used up, also where the array is refused.
template <class Held>
Array taken(const py::object& capsule, const std::string& name) {
  auto* held = static_cast<Held*>(PyCapsule_GetPointer(capsule.ptr(), Held::kName));
  if (held == nullptr) throw py::error_already_set();
  PyCapsule_SetName(capsule.ptr(), Held::kUsed);
  PyCapsule_SetDestructor(capsule.ptr(), nullptr);
  const std::shared_ptr<Held> own(held, [](Held* one) {
    if (one->deleter == nullptr || !Py_IsInitialized()) return;
    const py::gil_scoped_acquire gil;
    const py::error_scope errors;
    one->deleter(one);
  });
  if constexpr (std::is_same_v<Held, ManagedVersioned>)
    if (held->major > kMajor)
      throw InvalidInput(name + " is handed over by DLPack " + std::to_string(held->major) +
                         ", and this build of manyfit knows DLPack " + std::to_string(kMajor));
  const Tensor& tensor = held->tensor;
  Array array;
  array.dtype = dtype_of(tensor.dtype, name);
  array.shape.assign(tensor.shape, tensor.shape + tensor.ndim);
  if (tensor.strides != nullptr)
    array.strides.assign(tensor.strides, tensor.strides + tensor.ndim);
  else
    array.strides = c_strides(array.shape);
  array.data = static_cast<char*>(tensor.data) + tensor.byte_offset;
  if constexpr (std::is_same_v<Held, ManagedVersioned>)
    array.read_only = (held->flags & kReadOnly) != 0;
  adopt(array, &Device::at(tensor.device.index), own, name);
  return array;
}

// What a capsule of ours holds.
struct Given {
  Array array;
  uintptr_t stream;
};

template <class Held>
void dispose(Held* held) {
  auto* given = static_cast<Given*>(held->context);
  // The memory serves our later work: not before what was put on the stream it was handed to.
  // Other streams than the two of every device may be gone by now.
  if (given->stream == 1 || given->stream == 2) {
    try {
      given->array.device->wait_for_stream(given->stream);
    } catch (...) {  // the process is a forked child, or at its end
    }
  }
  delete given;
  delete held;
}

DataType dlpack_dtype(const Array& array) {
  const char kind = array.dtype[0];
  const int code = kind == 'f' ? kFloat : kind == 'i' ? kInt : kind == 'u' ? kUInt : kBool;
  return {static_cast<uint8_t>(code), static_cast<uint8_t>(8 * array.itemsize()), 1};
}

template <class Held>
py::object capsule_of(const Array& array, uintptr_t stream) {
  auto given = std::make_unique<Given>(Given{array, stream});
  auto held = std::make_unique<Held>();
  Array& kept = given->array;
  held->tensor = {kept.data,
                  {kCuda, kept.device->index()},
                  static_cast<int32_t>(kept.shape.size()),
                  dlpack_dtype(kept),
                  kept.shape.data(),
                  kept.strides.data(),
                  0};
  held->deleter = &dispose<Held>;
  if constexpr (std::is_same_v<Held, ManagedVersioned>) {
    held->major = kMajor;
    held->minor = kMinor;
    held->flags = kept.read_only ? kReadOnly : 0;
  }
  held->context = given.get();
  PyObject* capsule = PyCapsule_New(held.get(), Held::kName, [](PyObject* object) {
    if (!PyCapsule_IsValid(object, Held::kName)) return;  // taken
    auto* one = static_cast<Held*>(PyCapsule_GetPointer(object, Held::kName));
    one->deleter(one);
  });
  if (capsule == nullptr) throw py::error_already_set();
  given.release();
  held.release();
  return py::reinterpret_steal<py::object>(capsule);
}

[[noreturn]] void refuse_to_give(const char* why) {
  PyErr_SetString(PyExc_BufferError, why);
  throw py::error_already_set();
}

py::object give(const Array& array, const std::optional<int64_t>& stream,
                const std::optional<std::pair<uint32_t, uint32_t>>& max_version,
                const std::optional<std::pair<int, int>>& device, const std::optional<bool>& copy) {
  if (device && *device != std::pair<int, int>(kCuda, array.device->index()))
    refuse_to_give(
        "a device array can only be handed over where it lies; numpy() copies it to the host");
  if (copy && *copy) refuse_to_give("a device array is handed over without a copy (copy=True)");
  if (stream && (*stream == 0 || *stream < -1))
    throw InvalidInput("stream must be None, -1, 1, 2 or the handle of a stream, got " +
                       std::to_string(*stream));
  // Who waits is the host: whatever stream reads the array then finds it written.
  if (!stream || *stream != -1)
    run(quiet(), [&](const Context& context) {
      array.device->synchronize(context);
      return 0;
    });
  const auto reader = static_cast<uintptr_t>(stream && *stream > 0 ? *stream : 1);
  if (max_version && max_version->first >= kMajor)
    return capsule_of<ManagedVersioned>(array, reader);
  if (array.read_only) refuse_to_give("a read-only array needs DLPack 1.0 (max_version)");
  return capsule_of<Managed>(array, reader);
}

}  // namespace

Array array_from_dlpack(const py::object& object, const std::string& name) {
  const auto where = object.attr("__dlpack_device__")().cast<std::pair<int, int>>();
  if (where.first != kCuda && where.first != kCudaManaged)
    throw InvalidInput(
        name + " must lie in the memory of an NVIDIA GPU, got an array on DLPack's device type " +
        std::to_string(where.first));
  const Device& device = Device::at(where.second);
  // Asked for on our stream: the owner lets it wait until the array is written.
  const py::int_ stream(device.stream());
  py::object capsule;
  try {
    capsule = object.attr("__dlpack__")(py::arg("stream") = stream,
                                        py::arg("max_version") = py::make_tuple(kMajor, kMinor));
  } catch (const py::error_already_set& error) {
    if (!error.matches(PyExc_TypeError)) throw;
    capsule = object.attr("__dlpack__")(py::arg("stream") = stream);
  }
  if (PyCapsule_IsValid(capsule.ptr(), ManagedVersioned::kName))
    return taken<ManagedVersioned>(capsule, name);
  if (PyCapsule_IsValid(capsule.ptr(), Managed::kName)) return taken<Managed>(capsule, name);
  throw InvalidInput(name + ": its __dlpack__ must return a capsule that has not been used, got " +
                     std::string(py::repr(capsule)));
}

void bind_dlpack(py::class_<Array>& array) {
  array
      .def("__dlpack__", &give, py::kw_only(), py::arg("stream") = py::none(),
           py::arg("max_version") = py::none(), py::arg("dl_device") = py::none(),
           py::arg("copy") = py::none())
      .def("__dlpack_device__",
           [](const Array& one) { return py::make_tuple(kCuda, one.device->index()); });
}

}  // namespace manyfit::bindings
