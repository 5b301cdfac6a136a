// expect: hub<K, V, M>(function): what it makes is neither a Storage nor an Eviction policy
// SPDX-License-Identifier: Apache-2.0
// A pointer to a storage is none: the hub owns the catalogue of each namespace.
#include <cstdint>
#include <memory>
#include <string_view>

#include <registry/builder.hpp>

using Storage = registry::HashMapStorage<std::uint64_t, std::uint64_t>;

auto start() {
  return registry::hub<std::uint64_t, std::uint64_t>([](std::string_view) {
#ifdef REGISTRY_COMPILE_FAIL_CONTROL
    return Storage{};
#else
    return std::make_unique<Storage>();
#endif
  });
}
