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

/// Whether it is granted.
inline bool count_allocation(std::size_t size) noexcept {
  Allocations& counted = allocations();
  if (counted.left == 0) return false;
  --counted.left;
  counted.total += size;
  if (size > counted.largest) counted.largest = size;
  return true;
}

}  // namespace registry::test

// AddressSanitizer has a nothrow form of its own that does not come to the other one, and Catch uses it.
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  if (!registry::test::count_allocation(size)) return nullptr;
  return std::malloc(size == 0 ? 1 : size);
}

void* operator new(std::size_t size) {
  if (void* memory = operator new(size, std::nothrow)) return memory;
  throw std::bad_alloc{};
}

void* operator new(std::size_t size, std::align_val_t alignment) {
  if (!registry::test::count_allocation(size)) throw std::bad_alloc{};
  const auto unit = static_cast<std::size_t>(alignment);
  if (void* memory = std::aligned_alloc(unit, (size + unit - 1) / unit * unit)) return memory;
  throw std::bad_alloc{};
}

void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
