// expect: chain_position(metadata) must answer an optional of std::uint32_t
// SPDX-License-Identifier: Apache-2.0
// A wider position would be cut off without a word.
#include <cstdint>
#include <optional>
#include <vector>

#include <registry/eviction/recency.hpp>

struct Depth {
  std::uint32_t depth = 0;
};

template <>
struct registry::wire<Depth> : registry::wire_fields<&Depth::depth> {};

#ifdef REGISTRY_COMPILE_FAIL_CONTROL
inline std::optional<std::uint32_t> chain_position(const Depth& metadata) { return metadata.depth; }
#else
inline std::optional<std::uint64_t> chain_position(const Depth& metadata) { return metadata.depth; }
#endif

using Storage = registry::HashMapStorage<std::uint64_t, std::uint64_t, Depth>;

void insert(registry::RecencyEviction<Storage>& policy) {
  std::vector<registry::Entry<std::uint64_t, std::uint64_t, Depth>> evicted;
  policy.insert({}, evicted);
}
