# SPDX-License-Identifier: Apache-2.0
cmake_minimum_required(VERSION 3.25)

include("${CMAKE_CURRENT_LIST_DIR}/../support/expect.cmake")

cmake_path(GET SOURCE FILENAME name)
# The messages that the tests expect are ours, and in English; the quotes around them depend on the locale.
set(ENV{LC_ALL} C)

execute_process(
  COMMAND "${COMPILER}" ${OPTIONS} -DREGISTRY_COMPILE_FAIL_CONTROL "${SOURCE}"
  RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output
)
if(NOT result EQUAL 0)
  message(NOTICE "${output}")
  message(FATAL_ERROR "${name}: with REGISTRY_COMPILE_FAIL_CONTROL it should compile; the compiler's output is above")
endif()

execute_process(
  COMMAND "${COMPILER}" ${OPTIONS} "${SOURCE}"
  RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output
)
expect_failure("${name}" "${result}" "${output}")

file(READ "${SOURCE}" content)
if(NOT content MATCHES "^// expect: ")
  message(FATAL_ERROR "${name}: the first line must be '// expect: some text'")
endif()
while(content MATCHES "^// expect: ([^\n]+)\n(.*)$")
  set(content "${CMAKE_MATCH_2}")
  expect_text("${name}" "${output}" "${CMAKE_MATCH_1}")
endwhile()
