#include "bindings/cuda/array.h"

#include <pybind11/stl.h>

namespace manyfit::bindings {
namespace {

template <class T>
Array uploaded(const py::array& array, Device& device) {
  std::vector<int64_t> shape(array.shape(), array.shape() + array.ndim());
  const py::array_t<T, py::array::c_style> plain(array);
  Array result = new_array<T>(device, std::move(shape));
  if (result.size() > 0)
    device.upload(result.data, plain.data(), static_cast<size_t>(plain.nbytes()));
  return result;
}

template <class T>
py::array downloaded(const Array& array, const Execution& execution) {
  // Bytes from the lowest address to the highest, then a view of them.
  int64_t low = 0, high = 0;
  for (size_t i = 0; i < array.shape.size(); ++i) {
    if (array.shape[i] == 0) return py::array_t<T>(array.shape);
    const int64_t reach = (array.shape[i] - 1) * array.strides[i];
    (reach < 0 ? low : high) += reach;
  }
  py::array_t<T> all(high - low + 1);
  run(execution, [&](const Context& context) {
    array.device->download(all.mutable_data(), static_cast<const T*>(array.data) + low,
                           static_cast<size_t>(all.size()) * sizeof(T), context);
    return 0;
  });
  std::vector<py::ssize_t> shape(array.shape.begin(), array.shape.end()), strides;
  for (const int64_t stride : array.strides)
    strides.push_back(static_cast<py::ssize_t>(stride * static_cast<int64_t>(sizeof(T))));
  return py::array_t<T>(shape, strides, all.data() - low, all);
}

py::array download(const Array& array, const Execution& execution) {
  if (array.dtype == "f4") return downloaded<float>(array, execution);
  if (array.dtype == "f8") return downloaded<double>(array, execution);
  if (array.dtype == "i4") return downloaded<int32_t>(array, execution);
  return downloaded<int64_t>(array, execution);
}

Array upload(const py::array& array, int device) {
  Device& at = Device::at(device);
  if (py::isinstance<py::array_t<float>>(array)) return uploaded<float>(array, at);
  if (py::isinstance<py::array_t<double>>(array)) return uploaded<double>(array, at);
  if (py::isinstance<py::array_t<int32_t>>(array)) return uploaded<int32_t>(array, at);
  if (py::isinstance<py::array_t<int64_t>>(array)) return uploaded<int64_t>(array, at);
  throw InvalidInput(
      "an array must have dtype float32, float64, int32 or int64 to go to the device, got " +
      std::string(py::str(array.dtype())));
}

}  // namespace

void bind_arrays(py::module_& m) {
  py::class_<Array>(m, "Array", py::module_local())
      .def_static("upload", &upload, py::arg("array"), py::arg("device") = 0)
      .def("download", &download, py::arg("execution"))
      .def_property_readonly("device", [](const Array& array) { return array.device->index(); })
      .def_readonly("shape", &Array::shape)
      .def_readonly("strides", &Array::strides)
      .def_property_readonly("dtype", [](const Array& array) { return py::dtype(array.dtype); });
}

}  // namespace manyfit::bindings
