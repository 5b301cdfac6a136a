# SPDX-License-Identifier: Apache-2.0
# What our own tests and examples are compiled with, and no consumer.
add_library(registry_dev_options INTERFACE)

target_compile_options(registry_dev_options INTERFACE
  -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror
)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION MATCHES "^12\\.")
  # False positives of GCC 12: string literal + std::string + literal, and frames of coroutines.
  target_compile_options(registry_dev_options INTERFACE -Wno-restrict -Wno-mismatched-new-delete)
endif()
# Only here: whether a user's own code may use deprecated Asio is for the user to say.
target_compile_definitions(registry_dev_options INTERFACE ASIO_NO_DEPRECATED)

# Not optimised: it compiles in less than half the time, and nothing is optimised away that a sanitizer could report.
if(REGISTRY_SANITIZE STREQUAL "address,undefined")
  target_compile_options(registry_dev_options INTERFACE
    -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -g1
  )
  target_compile_definitions(registry_dev_options INTERFACE _GLIBCXX_ASSERTIONS)
  target_link_options(registry_dev_options INTERFACE -fsanitize=address,undefined)
elseif(REGISTRY_SANITIZE STREQUAL "thread")
  target_compile_options(registry_dev_options INTERFACE -fsanitize=thread -fno-omit-frame-pointer -g1)
  # ThreadSanitizer does not understand atomic_thread_fence, which Asio's fenced block is made of.
  target_compile_definitions(registry_dev_options INTERFACE ASIO_DISABLE_FENCED_BLOCK)
  target_link_options(registry_dev_options INTERFACE -fsanitize=thread)
elseif(REGISTRY_SANITIZE)
  message(FATAL_ERROR "REGISTRY_SANITIZE is '${REGISTRY_SANITIZE}': expected empty, address,undefined or thread")
endif()
