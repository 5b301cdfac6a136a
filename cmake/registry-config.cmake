# SPDX-License-Identifier: Apache-2.0
include(CMakeFindDependencyMacro)

find_dependency(Threads)
find_dependency(cppzmq)
find_dependency(Boost 1.81 CONFIG)

# Our Findasio.cmake stands beside this file; the path of whoever finds us is left as it was.
set(registry_saved_module_path "${CMAKE_MODULE_PATH}")
list(APPEND CMAKE_MODULE_PATH "${CMAKE_CURRENT_LIST_DIR}")
find_dependency(asio 1.22)
set(CMAKE_MODULE_PATH "${registry_saved_module_path}")
unset(registry_saved_module_path)

include("${CMAKE_CURRENT_LIST_DIR}/registry-targets.cmake")
