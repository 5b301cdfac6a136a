# SPDX-License-Identifier: Apache-2.0
cmake_minimum_required(VERSION 3.25)

# What an earlier run left behind could hide that something is missing now.
file(REMOVE_RECURSE "${WORK_DIR}")

function(run)
  execute_process(COMMAND ${ARGN} COMMAND_ERROR_IS_FATAL ANY)
endfunction()

if(MODE STREQUAL "package")
  run("${CMAKE_COMMAND}" --install "${REGISTRY_BINARY_DIR}" --prefix "${WORK_DIR}/prefix")
  set(where "-DCMAKE_PREFIX_PATH=${WORK_DIR}/prefix")
else()
  set(where "-DREGISTRY_SOURCE_DIR=${REGISTRY_SOURCE_DIR}")
endif()

run("${CMAKE_COMMAND}"
  -S "${CMAKE_CURRENT_LIST_DIR}"
  -B "${WORK_DIR}/build"
  -G "${GENERATOR}"
  "-DCMAKE_CXX_COMPILER=${CXX_COMPILER}"
  -DCMAKE_BUILD_TYPE=Release
  "${where}"
)
run("${CMAKE_COMMAND}" --build "${WORK_DIR}/build")

execute_process(COMMAND "${WORK_DIR}/build/consumer" OUTPUT_VARIABLE output COMMAND_ERROR_IS_FATAL ANY)
# The version stands in the headers and in the CMake project: they have to agree.
if(NOT output STREQUAL "registry ${REGISTRY_VERSION}\n")
  message(FATAL_ERROR "the consumer said '${output}'; this is version ${REGISTRY_VERSION}")
endif()
