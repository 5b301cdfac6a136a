# SPDX-License-Identifier: Apache-2.0
cmake_minimum_required(VERSION 3.25)

include("${CMAKE_CURRENT_LIST_DIR}/../support/expect.cmake")

execute_process(
  COMMAND "${CMAKE_COMMAND}" -D "TABLE=${TABLE}" -D "INCLUDE_DIR=${FIXTURE}" -P "${CMAKE_CURRENT_LIST_DIR}/check.cmake"
  RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output
)
cmake_path(GET FIXTURE FILENAME name)
expect_failure("${name}" "${result}" "${output}")

file(READ "${FIXTURE}/expected.txt" expected)
string(STRIP "${expected}" expected)
expect_text("${name}" "${output}" "${expected}")
