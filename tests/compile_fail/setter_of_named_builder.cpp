// expect: lease_ttl
// expect: 'this' argument
// SPDX-License-Identifier: Apache-2.0
// Setters hand the builder on. On one that has a name they would leave an emptied one behind.
#include <chrono>
#include <cstdint>
#include <utility>

#include <registry/builder.hpp>

auto start() {
  auto builder = registry::hub<std::uint64_t, std::uint64_t>(registry::HashMapStorage<std::uint64_t, std::uint64_t>{});
#ifdef REGISTRY_COMPILE_FAIL_CONTROL
  return std::move(builder).lease_ttl(std::chrono::seconds{5}).build();
#else
  return builder.lease_ttl(std::chrono::seconds{5}).build();
#endif
}
