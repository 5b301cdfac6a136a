// expect: constraints not satisfied
// expect: 'Storage
// expect: unordered_map
// SPDX-License-Identifier: Apache-2.0
// A standard map answers other questions than a storage does: what was replaced, and what was erased.
#include <cstdint>
#include <unordered_map>

#include <registry/eviction/tail.hpp>

#ifdef REGISTRY_COMPILE_FAIL_CONTROL
using Map = registry::HashMapStorage<std::uint64_t, std::uint64_t>;
#else
using Map = std::unordered_map<std::uint64_t, std::uint64_t>;
#endif

using Policy = registry::TailEviction<Map>;
