// expect: hub<K, V, M>(storage): the storage is for other types than K, V and M
// SPDX-License-Identifier: Apache-2.0
// A hub named for one metadata over a storage for another would drop it.
#include <cstdint>

#include <registry/builder.hpp>

#ifdef REGISTRY_COMPILE_FAIL_CONTROL
using Storage = registry::HashMapStorage<std::uint64_t, std::uint64_t, registry::TimestampMetadata>;
#else
using Storage = registry::HashMapStorage<std::uint64_t, std::uint64_t>;
#endif

auto start() { return registry::hub<std::uint64_t, std::uint64_t, registry::TimestampMetadata>(Storage{}); }
