// SPDX-License-Identifier: Apache-2.0
// Counts what a program asks of operator new: the only way to see that nothing was allocated. One source of the suite
// includes support/count_allocations.hpp, which replaces the operators.
#pragma once

#include <cstddef>
#include <limits>
#include <new>

namespace registry::test {

/// What was asked for, in bytes: in all, and at most at once. When `left` have been granted, the next one fails.
struct Allocations {
  std::size_t total = 0;
  std::size_t largest = 0;
  std::size_t left = std::numeric_limits<std::size_t>::max();
};

/// What was asked for since the last change; to be changed freely.
Allocations& allocations() noexcept;

/// What a call asks for.
template <class Call>
Allocations allocations_of(Call call) {
  allocations() = {};
  call();
  return allocations();
}

/// Bytes that a call asks for.
template <class Call>
std::size_t allocated_by(Call call) {
  return allocations_of(call).total;
}

/// Makes a call during which only so many allocations succeed; whether it failed for want of another.
template <class Call>
bool fails_with_allocations(std::size_t left, Call call) {
  allocations().left = left;
  bool failed = false;
  try {
    call();
  } catch (const std::bad_alloc&) {
    failed = true;
  }
  allocations() = {};
  return failed;
}

}  // namespace registry::test
