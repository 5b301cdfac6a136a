// expect: parent_key(key, metadata) must answer an optional of the key type
// SPDX-License-Identifier: Apache-2.0
// A parent is named by a key of the same catalogue.
#include <cstdint>
#include <optional>
#include <vector>

#include <registry/eviction/tail.hpp>

struct Child {
  std::uint64_t parent = 0;
};

template <>
struct registry::wire<Child> : registry::wire_fields<&Child::parent> {};

#ifdef REGISTRY_COMPILE_FAIL_CONTROL
inline std::optional<registry::Key128> parent_key(const registry::Key128&, const Child& child) {
  return registry::Key128{0, child.parent};
}
#else
inline std::optional<std::uint64_t> parent_key(const registry::Key128&, const Child& child) { return child.parent; }
#endif

using Storage = registry::HashMapStorage<registry::Key128, std::uint64_t, Child>;

void insert(registry::TailEviction<Storage>& policy) {
  std::vector<registry::Entry<registry::Key128, std::uint64_t, Child>> evicted;
  policy.insert({}, evicted);
}
