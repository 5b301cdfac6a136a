# SPDX-License-Identifier: Apache-2.0
#[=======================================================================[
Findasio
--------

Finds standalone Asio, which ships neither a CMake nor a pkg-config file, and defines the target asio::asio.
#]=======================================================================]

find_path(asio_INCLUDE_DIR asio.hpp)
mark_as_advanced(asio_INCLUDE_DIR)

if(asio_INCLUDE_DIR AND EXISTS "${asio_INCLUDE_DIR}/asio/version.hpp")
  file(STRINGS "${asio_INCLUDE_DIR}/asio/version.hpp" asio_version_line REGEX "^#define ASIO_VERSION [0-9]+")
  string(REGEX MATCH "[0-9]+" asio_version_number "${asio_version_line}")
  math(EXPR asio_version_major "${asio_version_number} / 100000")
  math(EXPR asio_version_minor "${asio_version_number} / 100 % 1000")
  math(EXPR asio_version_patch "${asio_version_number} % 100")
  set(asio_VERSION "${asio_version_major}.${asio_version_minor}.${asio_version_patch}")
endif()

find_package(Threads)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(asio
  REQUIRED_VARS asio_INCLUDE_DIR Threads_FOUND
  VERSION_VAR asio_VERSION
)

if(asio_FOUND AND NOT TARGET asio::asio)
  add_library(asio::asio INTERFACE IMPORTED)
  # Asio 1.22 looks for coroutines under clang only in <experimental/coroutine>. The definitions belong to the target,
  # so that every translation unit of a program sees the same Asio; a later Asio would define them itself.
  set_target_properties(asio::asio PROPERTIES
    INTERFACE_INCLUDE_DIRECTORIES "${asio_INCLUDE_DIR}"
    INTERFACE_COMPILE_DEFINITIONS
      "ASIO_STANDALONE;$<$<CXX_COMPILER_ID:Clang,AppleClang>:ASIO_HAS_CO_AWAIT=1;ASIO_HAS_STD_COROUTINE=1>"
    INTERFACE_LINK_LIBRARIES Threads::Threads
  )
endif()
