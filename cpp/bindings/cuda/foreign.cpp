#include "bindings/cuda/foreign.h"

#include <cstdint>

namespace manyfit::bindings {

void refuse_dtype(const std::string& name, const std::string& dtype) {
  throw InvalidInput(name + " must have dtype float32 or float64 on the device, got " + dtype +
                     "; convert it first, for example by " + name + ".astype('float32')");
}

std::vector<int64_t> c_strides(const std::vector<int64_t>& shape) {
  std::vector<int64_t> strides(shape.size());
  int64_t step = 1;
  for (size_t i = shape.size(); i-- > 0; step *= shape[i]) strides[i] = step;
  return strides;
}

void adopt(Array& array, Device* expected, std::shared_ptr<void> owner, const std::string& name) {
  for (const int64_t extent : array.shape)
    if (extent < 0) throw InvalidInput(name + ": a negative length in the array's shape");
  if (array.size() > 0) {
    if (reinterpret_cast<uintptr_t>(array.data) % static_cast<uintptr_t>(array.itemsize()) != 0)
      throw InvalidInput(name + " must be aligned to its item size on the device");
    const int place = Device::device_of(array.data);
    if (place < 0)
      throw InvalidInput(name +
                         " must lie in the memory of a device, but its pointer does not (was the "
                         "array freed, or does it lie on the host?)");
    if (expected != nullptr && expected->index() != place)
      throw InvalidInput(name + " says that it lies on cuda:" + std::to_string(expected->index()) +
                         ", but its memory is that of cuda:" + std::to_string(place));
    if (expected == nullptr) expected = &Device::at(place);
  }
  if (expected == nullptr) expected = &Device::at(0);
  Device* device = array.device = expected;
  array.owner = std::shared_ptr<void>(nullptr, [device, owner = std::move(owner)](void*) mutable {
    // Our kernels may still read it, and its owner knows nothing of our stream.
    try {
      device->synchronize(Context(1));
    } catch (...) {  // a forked child, or the process is at its end
    }
    owner.reset();
  });
}

namespace {

bool holds(const py::dict& facts, const char* key) {
  return facts.contains(key) && !facts[key].is_none();
}

// "<f4" and the like, as the array interface writes types.
std::string dtype_of(const std::string& type, const std::string& name) {
  const bool swapped = !type.empty() && type[0] == '>';
  const std::string plain = type.size() == 3 ? type.substr(1) : type;
  static constexpr const char* known[] = {"f4", "f8", "i1", "i2", "i4", "i8",
                                          "u1", "u2", "u4", "u8", "b1"};
  for (const char* one : known)
    if (plain == one && !(swapped && plain[1] != '1')) return plain;
  refuse_dtype(name, swapped ? type : std::string(py::str(py::dtype(type))));
}

// Lets our work wait until the array is written.
void wait_for(Device& device, const py::dict& facts, const std::string& name) {
  const int version = facts.contains("version") ? facts["version"].cast<int>() : 0;
  if (!holds(facts, "stream")) {
    // Version 3 says that nobody need wait. Those before knew one stream alone.
    if (version < 3) device.wait_for_stream(1);
    return;
  }
  const auto stream = facts["stream"].cast<int64_t>();
  if (stream <= 0)
    throw InvalidInput(
        name +
        ": stream of __cuda_array_interface__ must be None, 1, 2 or the handle of a stream, got " +
        std::to_string(stream));
  device.wait_for_stream(static_cast<uintptr_t>(stream));
}

py::dict interface_of(const Array& array) {
  const int64_t size = array.itemsize();
  py::list strides;
  for (const int64_t stride : array.strides) strides.append(stride * size);
  const char order = size == 1 ? '|' : '<';
  py::object step = py::none();
  if (array.strides != c_strides(array.shape)) step = py::tuple(strides);
  return py::dict(
      py::arg("version") = 3, py::arg("shape") = py::tuple(py::cast(array.shape)),
      py::arg("typestr") = order + array.dtype, py::arg("strides") = step,
      py::arg("data") = py::make_tuple(reinterpret_cast<uintptr_t>(array.data), array.read_only),
      py::arg("stream") = array.device->stream());
}

}  // namespace

Array array_from_interface(const py::object& object, const std::string& name) {
  const auto facts = object.attr("__cuda_array_interface__").cast<py::dict>();
  for (const char* key : {"shape", "typestr", "data"})
    if (!facts.contains(key))
      throw InvalidInput(name + ": its __cuda_array_interface__ lacks " + key);
  if (holds(facts, "mask"))
    throw InvalidInput(name + " must not be masked, got a mask in its __cuda_array_interface__");
  Array array;
  array.dtype = dtype_of(facts["typestr"].cast<std::string>(), name);
  array.shape = facts["shape"].cast<std::vector<int64_t>>();
  if (holds(facts, "strides")) {
    for (const auto bytes : facts["strides"].cast<std::vector<int64_t>>()) {
      if (bytes % array.itemsize() != 0)
        throw InvalidInput(name + " must have strides that are multiples of its item size, got " +
                           std::to_string(bytes));
      array.strides.push_back(bytes / array.itemsize());
    }
    if (array.strides.size() != array.shape.size())
      throw InvalidInput(name +
                         ": shape and strides of __cuda_array_interface__ must be of one length");
  } else {
    array.strides = c_strides(array.shape);
  }
  const auto [place, read_only] = facts["data"].cast<std::pair<uintptr_t, bool>>();
  array.data = reinterpret_cast<void*>(place);
  array.read_only = read_only;
  const std::shared_ptr<py::object> own(new py::object(object), [](py::object* one) {
    if (!Py_IsInitialized()) return;
    const py::gil_scoped_acquire gil;
    delete one;
  });
  adopt(array, nullptr, own, name);
  wait_for(*array.device, facts, name);
  return array;
}

void bind_interface(py::class_<Array>& array) {
  array.def_property_readonly("__cuda_array_interface__", &interface_of);
}

}  // namespace manyfit::bindings
