// expect: hub<K, V, M>(storage): neither a Storage nor an Eviction policy (see registry/storage.hpp)
// SPDX-License-Identifier: Apache-2.0
// A standard map cannot say what it replaced.
#include <cstdint>
#include <unordered_map>

#include <registry/builder.hpp>

#ifdef REGISTRY_COMPILE_FAIL_CONTROL
using Storage = registry::HashMapStorage<std::uint64_t, std::uint64_t>;
#else
using Storage = std::unordered_map<std::uint64_t, std::uint64_t>;
#endif

auto start() { return registry::hub<std::uint64_t, std::uint64_t>(Storage{}); }
