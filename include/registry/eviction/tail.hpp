// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <utility>

#include <registry/detail/chained_eviction.hpp>
#include <registry/detail/leaf_heap.hpp>
#include <registry/storage.hpp>

namespace registry {

namespace detail {

struct DeepestThenOldest {
  static constexpr bool use_renews = false;
  static bool before(const Leaf& a, const Leaf& b) noexcept {
    return a.depth != b.depth ? a.depth > b.depth : a.moment < b.moment;
  }
};

}  // namespace detail

/// Chains of blocks lose their tails: only a block without stored children leaves, the deepest first, among equals the
/// one that came first. So no child is orphaned, and the head of a chain, which every block behind it needs, stays
/// longest.
///
/// The depth of a block is `chain_position(metadata)` where there is one; else, as of its latest registration, one more
/// than its parent's, or 0 if none is stored. A parent that comes later does not change it. Registering a stored key
/// again changes parent and depth to what is said now, and leaves the age as it was. `touch` changes nothing.
///
/// Models `Eviction`; its members, with `insert_with_parent` and `cycles_ignored`, are those of `ChainedEviction`. Each
/// call costs a few look-ups and O(log leaves); an entry costs 24 bytes beside what the storage keeps of it.
template <Storage S>
class TailEviction : public detail::ChainedEviction<S, detail::DeepestThenOldest> {
 public:
  /// Throws a RegistryError (ConfigError) for a capacity of 0 and for a storage that is not empty.
  TailEviction(S storage, std::size_t capacity)
      : detail::ChainedEviction<S, detail::DeepestThenOldest>(std::move(storage), capacity) {}
};

}  // namespace registry
