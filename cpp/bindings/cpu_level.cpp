// Module `_cpu_level`: `supported`, the tuple of CPU levels this machine runs, lowest first.
//
// A module of its own, compiled without any -march, because it must run on every CPU: it decides
// which of the `_core_*` modules may be loaded at all.

#define PY_SSIZE_T_CLEAN
#include "core/cpu_level.h"

#include <Python.h>

namespace {

int add_supported(PyObject* module) {
  const auto levels = manyfit::supported_cpu_levels();
  PyObject* supported = PyTuple_New(static_cast<Py_ssize_t>(levels.size()));
  if (supported == nullptr) return -1;
  for (std::size_t i = 0; i < levels.size(); ++i) {
    PyObject* name = PyUnicode_FromString(levels[i]);
    if (name == nullptr) {
      Py_DECREF(supported);
      return -1;
    }
    PyTuple_SET_ITEM(supported, static_cast<Py_ssize_t>(i), name);
  }
  const int status = PyModule_AddObjectRef(module, "supported", supported);
  Py_DECREF(supported);
  return status;
}

PyModuleDef_Slot slots[] = {
    {Py_mod_exec, reinterpret_cast<void*>(add_supported)},
#ifdef Py_mod_multiple_interpreters
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
#ifdef Py_mod_gil
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, nullptr},
};

PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    "_cpu_level",
    "CPU levels this machine runs.",
    0,
    nullptr,
    slots,
    nullptr,
    nullptr,
    nullptr,
};

}  // namespace

PyMODINIT_FUNC PyInit__cpu_level() { return PyModuleDef_Init(&definition); }
