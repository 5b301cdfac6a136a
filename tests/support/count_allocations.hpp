// SPDX-License-Identifier: Apache-2.0
// Replaces operator new and delete for the whole program: for exactly one of its sources.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <new>

#include "support/allocation_counter.hpp"

namespace registry::test {

Allocations& allocations() noexcept {
  static constinit Allocations counted;
  return counted;
}

}  // namespace registry::test

// AddressSanitizer has a nothrow form of its own that does not come to the other one, and Catch uses it.
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  registry::test::Allocations& counted = registry::test::allocations();
  if (counted.left == 0) return nullptr;
  --counted.left;
  counted.total += size;
  if (size > counted.largest) counted.largest = size;
  return std::malloc(size == 0 ? 1 : size);
}

void* operator new(std::size_t size) {
  if (void* memory = operator new(size, std::nothrow)) return memory;
  throw std::bad_alloc{};
}

void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
