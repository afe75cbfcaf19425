# Finds Eigen >= 3.4 and < 6 and defines Eigen3::Eigen.
#
# Looked for in this order: Eigen3_DIR or Eigen3_ROOT given by the user; the `cmeel-eigen` wheel in the
# Python that builds (a build requirement, so `pip install` compiles against the same Eigen everywhere);
# the system.

if(NOT Eigen3_DIR AND NOT Eigen3_ROOT AND Python_EXECUTABLE)
  execute_process(
    COMMAND "${Python_EXECUTABLE}" -c "import pathlib, sys
for entry in sys.path:
    config = pathlib.Path(entry or '.', 'cmeel.prefix', 'share', 'eigen3', 'cmake')
    if (config / 'Eigen3Config.cmake').is_file():
        print(config.resolve().as_posix(), end='')
        break"
    OUTPUT_VARIABLE eigen_wheel
    COMMAND_ERROR_IS_FATAL ANY)
  if(eigen_wheel)
    set(Eigen3_DIR "${eigen_wheel}" CACHE PATH "Directory of Eigen3Config.cmake")
  endif()
endif()

# The version is checked here because Eigen's own files refuse ranges (3.4.0) or the next major (5.x).
find_package(Eigen3 CONFIG QUIET)
if(NOT Eigen3_FOUND)
  message(FATAL_ERROR "Eigen >= 3.4 was not found. Install it (Debian: libeigen3-dev), "
                      "or `pip install cmeel-eigen`, or pass -DEigen3_DIR=<directory of Eigen3Config.cmake>.")
endif()
set(eigen_version "${Eigen3_VERSION}")
if(NOT eigen_version)
  set(eigen_version "${EIGEN3_VERSION_STRING}")
endif()
if(eigen_version VERSION_LESS 3.4 OR eigen_version VERSION_GREATER_EQUAL 6)
  message(FATAL_ERROR "manyfit needs 3.4 <= Eigen < 6, found ${eigen_version} in ${Eigen3_DIR}")
endif()
message(STATUS "Eigen ${eigen_version}: ${Eigen3_DIR}")

get_target_property(eigen_include Eigen3::Eigen INTERFACE_INCLUDE_DIRECTORIES)
foreach(directory IN LISTS eigen_include)
  if(IS_DIRECTORY "${directory}")
    manyfit_hide_path("${directory}" eigen)
  endif()
endforeach()
