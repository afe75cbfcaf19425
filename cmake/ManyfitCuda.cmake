# The CUDA module.
#
#   MANYFIT_CUDA=AUTO       for this machine's card alone, where there are nvcc >= 12.4 and a driver; otherwise
#                           no module, and show_config() says why
#   MANYFIT_CUDA=ON         also without a card; an error where nvcc is missing
#   MANYFIT_CUDA=OFF        none
#   MANYFIT_CUDA=SIMULATED  kernels run on the host: for tests
#   MANYFIT_CUDA_ARCHITECTURES  default: the card's (AUTO), all that releases serve (ON)
#
# Sets MANYFIT_CUDA_MODULE ("", "CUDA" or "SIMULATED") and MANYFIT_CUDA_BUILD, the words for show_config().

set(MANYFIT_CUDA AUTO CACHE STRING "CUDA module: AUTO, ON, OFF or SIMULATED")
set_property(CACHE MANYFIT_CUDA PROPERTY STRINGS AUTO ON OFF SIMULATED)
set(MANYFIT_CUDA_ARCHITECTURES "" CACHE STRING "GPU architectures, as CMAKE_CUDA_ARCHITECTURES")
# Code for each, and text that later cards compile for themselves.
set(MANYFIT_CUDA_RELEASE_ARCHITECTURES 75-real 80-real 86-real 89-real 90-real 100-real 120)
set(MANYFIT_CUDA_OLDER_ARCHITECTURES 75-real 80-real 86-real 89-real 90)  # before CUDA 12.8
set(MANYFIT_CUDA_OLDEST 12.4)

string(TOUPPER "${MANYFIT_CUDA}" MANYFIT_CUDA)
if(NOT MANYFIT_CUDA MATCHES "^(AUTO|ON|OFF|SIMULATED)$")
  message(FATAL_ERROR "MANYFIT_CUDA must be AUTO, ON, OFF or SIMULATED, got ${MANYFIT_CUDA}")
endif()

# manyfit_find_nvcc(<variable>): path of nvcc, of a toolkit or of NVIDIA's wheels; sets <variable>_WHY without.
function(manyfit_find_nvcc result)
  if(Python_EXECUTABLE)
    execute_process(
      COMMAND "${Python_EXECUTABLE}" -c
        "import nvidia; print(*(f'{p}/cu13/bin' for p in nvidia.__path__), sep=';')"
      OUTPUT_VARIABLE wheel_folders OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  endif()
  if(DEFINED ENV{CUDACXX})
    set(MANYFIT_NVCC "$ENV{CUDACXX}" CACHE FILEPATH "nvcc")
  endif()
  find_program(MANYFIT_NVCC nvcc
    HINTS ENV CUDA_HOME ENV CUDA_PATH PATH_SUFFIXES bin
    PATHS /usr/local/cuda/bin ${wheel_folders})
  mark_as_advanced(MANYFIT_NVCC)
  set(${result} "" PARENT_SCOPE)
  if(NOT MANYFIT_NVCC)
    set(${result}_WHY "nvcc was not found" PARENT_SCOPE)
    return()
  endif()
  execute_process(COMMAND "${MANYFIT_NVCC}" --version OUTPUT_VARIABLE told ERROR_QUIET)
  if(NOT told MATCHES "release ([0-9]+\\.[0-9]+)")
    set(${result}_WHY "nvcc does not run" PARENT_SCOPE)
  elseif(CMAKE_MATCH_1 VERSION_LESS MANYFIT_CUDA_OLDEST)
    set(${result}_WHY "nvcc is of CUDA ${CMAKE_MATCH_1}, and ${MANYFIT_CUDA_OLDEST} is the oldest that serves"
        PARENT_SCOPE)
  else()
    set(${result} "${MANYFIT_NVCC}" PARENT_SCOPE)
    set(${result}_VERSION "${CMAKE_MATCH_1}" PARENT_SCOPE)
  endif()
endfunction()

set(MANYFIT_CUDA_MODULE "")
set(MANYFIT_CUDA_BUILD "")
if(NOT MANYFIT_BUILD_PYTHON OR MANYFIT_CUDA STREQUAL "OFF")
  set(MANYFIT_CUDA_BUILD "built with MANYFIT_CUDA=OFF")
elseif(MANYFIT_CUDA STREQUAL "SIMULATED")
  set(MANYFIT_CUDA_MODULE SIMULATED)
elseif(MANYFIT_CUDA STREQUAL "ON")
  manyfit_find_nvcc(nvcc)
  if(NOT nvcc)
    message(FATAL_ERROR "MANYFIT_CUDA=ON, but ${nvcc_WHY}. Install NVIDIA's CUDA toolkit "
      "(${MANYFIT_CUDA_OLDEST} or newer) and put nvcc on the PATH or name it in CUDACXX; or, from PyPI: "
      "pip install 'nvidia-cuda-nvcc==13.*' 'nvidia-cuda-runtime==13.*' 'nvidia-cuda-cccl==13.*'. "
      "MANYFIT_CUDA=OFF builds without it.")
  endif()
  set(MANYFIT_CUDA_MODULE CUDA)
  if(NOT MANYFIT_CUDA_ARCHITECTURES)
    set(MANYFIT_CUDA_ARCHITECTURES ${MANYFIT_CUDA_RELEASE_ARCHITECTURES})
    if(nvcc_VERSION VERSION_LESS 12.8)
      set(MANYFIT_CUDA_ARCHITECTURES ${MANYFIT_CUDA_OLDER_ARCHITECTURES})
    endif()
  endif()
else()
  execute_process(COMMAND nvidia-smi --query-gpu=compute_cap --format=csv,noheader
                  OUTPUT_VARIABLE capabilities OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
  if(NOT "${failed}" STREQUAL "0" OR NOT capabilities MATCHES "^[0-9]+\\.[0-9]+")
    set(MANYFIT_CUDA_BUILD "no NVIDIA GPU and driver were there when this was built (nvidia-smi)")
  else()
    manyfit_find_nvcc(nvcc)
    if(nvcc)
      set(MANYFIT_CUDA_MODULE CUDA)
      if(NOT MANYFIT_CUDA_ARCHITECTURES)
        string(REGEX MATCHALL "[0-9]+\\.[0-9]+" capabilities "${capabilities}")
        list(REMOVE_DUPLICATES capabilities)
        string(REPLACE "." "" capabilities "${capabilities}")
        list(TRANSFORM capabilities APPEND -real)
        set(MANYFIT_CUDA_ARCHITECTURES ${capabilities})
      endif()
    else()
      set(MANYFIT_CUDA_BUILD "when this was built, ${nvcc_WHY}")
    endif()
  endif()
endif()

if(MANYFIT_CUDA_MODULE STREQUAL "CUDA")
  set(CMAKE_CUDA_COMPILER "${nvcc}")
  set(CMAKE_CUDA_ARCHITECTURES ${MANYFIT_CUDA_ARCHITECTURES})
  set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
  set(CMAKE_CUDA_STANDARD 20)
  set(CMAKE_CUDA_STANDARD_REQUIRED ON)
  set(CMAKE_CUDA_VISIBILITY_PRESET hidden)
  enable_language(CUDA)
  string(REPLACE ";" " " architectures "${MANYFIT_CUDA_ARCHITECTURES}")
  set(MANYFIT_CUDA_BUILD "nvcc ${nvcc_VERSION}, sm ${architectures}")
elseif(MANYFIT_CUDA_MODULE STREQUAL "SIMULATED")
  set(MANYFIT_CUDA_BUILD "simulated on the host, for tests")
endif()
message(STATUS "CUDA module: ${MANYFIT_CUDA_MODULE} ${MANYFIT_CUDA_BUILD}")

# What is written once and compiled by nvcc, or for the simulated device by the host's compiler.
file(GLOB MANYFIT_DEVICE_SOURCES CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/cpp/*/*_cuda.cu")
list(FILTER MANYFIT_DEVICE_SOURCES EXCLUDE REGEX "/core/device_cuda\\.cu$")

# manyfit_add_device(<target>): an object library of the algorithms on NVIDIA's runtime.
function(manyfit_add_device target)
  add_library(${target} OBJECT ${MANYFIT_DEVICE_SOURCES} "${CMAKE_SOURCE_DIR}/cpp/core/device_cuda.cu")
  target_include_directories(${target} PUBLIC "${CMAKE_SOURCE_DIR}/cpp")
  target_compile_options(${target} PRIVATE --expt-relaxed-constexpr
    "-Xcompiler=-Wall,-Wextra,-ffile-prefix-map=${CMAKE_SOURCE_DIR}=manyfit,-ffile-prefix-map=${CMAKE_BINARY_DIR}=build")
endfunction()

# manyfit_add_simulated_device(<target>): the same on the simulated device.
function(manyfit_add_simulated_device target)
  set_source_files_properties(${MANYFIT_DEVICE_SOURCES} PROPERTIES LANGUAGE CXX)
  add_library(${target} OBJECT ${MANYFIT_DEVICE_SOURCES} "${CMAKE_SOURCE_DIR}/cpp/core/device_simulated.cpp")
  target_include_directories(${target} PUBLIC "${CMAKE_SOURCE_DIR}/cpp")
  target_compile_definitions(${target} PUBLIC MANYFIT_SIMULATED_DEVICE)
  target_link_libraries(${target} PUBLIC manyfit_flags)
endfunction()
