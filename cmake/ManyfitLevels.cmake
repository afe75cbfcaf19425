# Decides which CPU levels are built: sets MANYFIT_LEVELS, and MANYFIT_FLAGS_<level> for each.
# x86-64 knows v2, v3 and v4 (the levels of the x86-64 psABI); every other processor gets "base".

set(MANYFIT_FLAGS_v2 -march=x86-64-v2)
set(MANYFIT_FLAGS_v3 -march=x86-64-v3)
# Compilers hold back from 512-bit registers when they vectorise by themselves.
set(MANYFIT_FLAGS_v4 -march=x86-64-v4 -mprefer-vector-width=512)
set(MANYFIT_FLAGS_base "")

string(TOLOWER "${CMAKE_SYSTEM_PROCESSOR}" processor)
if(CMAKE_OSX_ARCHITECTURES)
  string(TOLOWER "${CMAKE_OSX_ARCHITECTURES}" processor)
endif()
if(processor MATCHES "^(x86_64|amd64)$" AND CMAKE_SIZEOF_VOID_P EQUAL 8)
  set(known_levels v2 v3 v4)
else()
  set(known_levels base)
endif()
set(MANYFIT_CPU_LEVELS "${known_levels}" CACHE STRING "CPU levels to build, or native")

set(MANYFIT_LEVELS "${MANYFIT_CPU_LEVELS}")
if(MANYFIT_LEVELS STREQUAL "native")
  if(NOT DEFINED CACHE{MANYFIT_NATIVE_LEVEL})
    try_run(native_status native_compiled
            "${CMAKE_BINARY_DIR}/native_level" "${CMAKE_CURRENT_LIST_DIR}/native_level.cpp"
            CMAKE_FLAGS "-DINCLUDE_DIRECTORIES=${CMAKE_CURRENT_SOURCE_DIR}/cpp"
            CXX_STANDARD 20
            RUN_OUTPUT_VARIABLE native_level)
    if(NOT native_compiled OR NOT native_status EQUAL 0)
      message(FATAL_ERROR "MANYFIT_CPU_LEVELS=native: this CPU fits none of ${known_levels}")
    endif()
    set(MANYFIT_NATIVE_LEVEL "${native_level}" CACHE INTERNAL "Best CPU level of the build machine")
  endif()
  set(MANYFIT_LEVELS "${MANYFIT_NATIVE_LEVEL}")
endif()

foreach(level IN LISTS MANYFIT_LEVELS)
  if(NOT level IN_LIST known_levels)
    message(FATAL_ERROR "MANYFIT_CPU_LEVELS must be native or a list out of \"${known_levels}\" "
                        "on ${processor}, got \"${MANYFIT_CPU_LEVELS}\"")
  endif()
endforeach()
if(NOT MANYFIT_LEVELS)
  message(FATAL_ERROR "MANYFIT_CPU_LEVELS must name at least one of \"${known_levels}\"")
endif()
message(STATUS "manyfit CPU levels: ${MANYFIT_LEVELS}")
