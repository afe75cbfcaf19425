# Compiler check and the flags every target shares, as the interface target `manyfit_flags`.

if(NOT ((CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_GREATER_EQUAL 12)
        OR (CMAKE_CXX_COMPILER_ID MATCHES "Clang" AND CMAKE_CXX_COMPILER_VERSION VERSION_GREATER_EQUAL 14)))
  message(FATAL_ERROR "manyfit needs GCC >= 12 or Clang >= 14, "
                      "found ${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}")
endif()

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
set(CMAKE_INTERPROCEDURAL_OPTIMIZATION OFF)

# Contraction into FMA is asked for by name: the default differs between compilers and between
# -std=c++20 and -std=gnu++20, and with it the last bits. Value-changing flags (-ffast-math) are not used.
set(MANYFIT_ARITHMETIC_FLAGS -ffp-contract=fast)

add_library(manyfit_flags INTERFACE)
target_compile_options(manyfit_flags INTERFACE ${MANYFIT_ARITHMETIC_FLAGS} -Wall -Wextra)
# Eigen must not start threads of its own.
target_compile_definitions(manyfit_flags INTERFACE EIGEN_DONT_PARALLELIZE EIGEN_MPL2_ONLY)
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  # Indices are 64 bits wide everywhere; GCC has no such warning.
  target_compile_options(manyfit_flags INTERFACE -Werror=shorten-64-to-32)
elseif(CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # GCC 12 warns about its own AVX-512 intrinsics wherever they are inlined (GCC bug 105593).
  target_compile_options(manyfit_flags INTERFACE -Wno-uninitialized -Wno-maybe-uninitialized)
endif()

if(MANYFIT_SANITIZE)
  # Assertions on (Eigen's shape checks too), optimisation low: the build is for finding errors.
  set(sanitizer_flags -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_compile_options(manyfit_flags INTERFACE ${sanitizer_flags} -UNDEBUG -O1 -g)
  target_link_options(manyfit_flags INTERFACE ${sanitizer_flags})
endif()

# manyfit_hide_path(<directory> <name>): binaries say <name> where they would say <directory>.
function(manyfit_hide_path directory name)
  file(REAL_PATH "${directory}" real_directory)
  foreach(path IN ITEMS "${directory}" "${real_directory}")
    target_compile_options(manyfit_flags INTERFACE "-ffile-prefix-map=${path}=${name}")
  endforeach()
endfunction()
manyfit_hide_path("${CMAKE_CURRENT_SOURCE_DIR}" manyfit)
manyfit_hide_path("${CMAKE_CURRENT_BINARY_DIR}" build)
