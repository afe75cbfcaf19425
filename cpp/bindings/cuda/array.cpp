#include "bindings/cuda/array.h"

#include <algorithm>

#include "bindings/cuda/foreign.h"

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

// Bytes from the lowest address to the highest, then a view of them.
py::array download(const Array& array, const Execution& execution) {
  const py::dtype dtype(array.dtype);
  const int64_t size = array.itemsize();
  int64_t low = 0, high = 0;
  for (size_t i = 0; i < array.shape.size(); ++i) {
    if (array.shape[i] == 0) return py::array(dtype, array.shape);
    const int64_t reach = (array.shape[i] - 1) * array.strides[i];
    (reach < 0 ? low : high) += reach;
  }
  py::array all(dtype, std::vector<py::ssize_t>{static_cast<py::ssize_t>(high - low + 1)});
  run(execution, [&](const Context& context) {
    array.device->download(all.mutable_data(), static_cast<const char*>(array.data) + low * size,
                           static_cast<size_t>((high - low + 1) * size), context);
    return 0;
  });
  std::vector<py::ssize_t> shape(array.shape.begin(), array.shape.end()), strides;
  for (const int64_t stride : array.strides)
    strides.push_back(static_cast<py::ssize_t>(stride * size));
  return py::array(dtype, shape, strides, static_cast<const char*>(all.data()) - low * size, all);
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

// An array of any library that lies on a device; no copy is made.
Array array_of(const py::object& object, const std::string& name) {
  if (py::isinstance<Array>(object)) return object.cast<Array>();
  if (py::hasattr(object, "__dlpack__") && py::hasattr(object, "__dlpack_device__"))
    return array_from_dlpack(object, name);
  if (py::hasattr(object, "__cuda_array_interface__")) return array_from_interface(object, name);
  throw py::type_error(
      name + " must be an array on a device (with __dlpack__ or __cuda_array_interface__), got " +
      std::string(py::str(py::type::of(object).attr("__name__"))));
}

std::string described(const Array& array) {
  return "<manyfit device array of shape " +
         std::string(py::str(py::tuple(py::cast(array.shape)))) + ", " +
         std::string(py::str(py::dtype(array.dtype))) +
         ", on cuda:" + std::to_string(array.device->index()) + ">";
}

}  // namespace

py::object coef_array(DeviceCoef coef, std::vector<int64_t> shape) {
  if (!coef.on_device().empty())
    return py::cast(array_of_buffer(std::move(coef.on_device()), std::move(shape)));
  py::array_t<double> array(std::vector<py::ssize_t>(shape.begin(), shape.end()));
  std::copy(coef.on_host().begin(), coef.on_host().end(), array.mutable_data());
  return array;
}

py::array_t<double> to_array(const std::vector<double>& values, std::vector<py::ssize_t> shape) {
  py::array_t<double> array(std::move(shape));
  std::copy(values.begin(), values.end(), array.mutable_data());
  return array;
}

void require_order(const Order& order, const DeviceFolds& folds, int64_t rows) {
  const int64_t *begin = order.data(), *end = begin + order.size();
  if ((order.size() == 0 ? rows : order.size()) < folds.atom_begin.back() ||
      std::any_of(begin, end, [&](int64_t row) { return row < 0 || row >= rows; }))
    throw InvalidInput("order must name a row of X for every position of the folds");
}

void bind_arrays(py::module_& m) {
  m.def("array", &array_of, py::arg("object"), py::arg("name") = "X");
  py::class_<Array> array(m, "Array", py::module_local());
  array.def_static("upload", &upload, py::arg("array"), py::arg("device") = 0)
      .def("download", &download, py::arg("execution") = quiet())
      .def("numpy", [](const Array& one) { return download(one, quiet()); })
      .def("__len__",
           [](const Array& one) {
             if (one.shape.empty()) throw py::type_error("an array of no dimension has no length");
             return one.shape[0];
           })
      .def("column",
           [](const Array& one) {  // of shape (n, 1) as (n,)
             if (one.shape.size() != 2 || one.shape[1] != 1)
               throw InvalidInput("only an array of one column is one, got " + described(one));
             Array column = one;
             column.shape.pop_back();
             column.strides.pop_back();
             return column;
           })
      .def("__repr__", &described)
      .def_property_readonly("device", [](const Array& one) { return one.device->index(); })
      .def_property_readonly("shape",
                             [](const Array& one) { return py::tuple(py::cast(one.shape)); })
      .def_property_readonly("strides",
                             [](const Array& one) { return py::tuple(py::cast(one.strides)); })
      .def_property_readonly("ndim", [](const Array& one) { return one.shape.size(); })
      .def_property_readonly("size", &Array::size)
      .def_property_readonly("nbytes", [](const Array& one) { return one.size() * one.itemsize(); })
      .def_property_readonly("dtype", [](const Array& one) { return py::dtype(one.dtype); });
  bind_dlpack(array);
  bind_interface(array);
}

}  // namespace manyfit::bindings
