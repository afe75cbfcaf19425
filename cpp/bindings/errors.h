// The one table from the library's errors to Python's.
#pragma once

#include <pybind11/pybind11.h>

#include "core/errors.h"

namespace manyfit::bindings {

// For register_local_exception_translator. std::bad_alloc becomes MemoryError by itself.
inline void translate(std::exception_ptr error) {
  try {
    if (error) std::rethrow_exception(error);
  } catch (const InvalidInput& e) {
    PyErr_SetString(PyExc_ValueError, e.what());
  } catch (const DeviceMemoryError& e) {
    PyErr_SetString(PyExc_MemoryError, e.what());
  } catch (const DeviceError& e) {
    const pybind11::object type =
        pybind11::module_::import("manyfit.exceptions").attr("DeviceError");
    PyErr_SetString(type.ptr(), e.what());
  } catch (const Cancelled&) {
    PyErr_SetNone(PyExc_KeyboardInterrupt);
  }
}

}  // namespace manyfit::bindings
