// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <utility>

#include <registry/detail/chained_eviction.hpp>
#include <registry/detail/leaf_heap.hpp>
#include <registry/storage.hpp>

namespace registry {

namespace detail {

struct LeastRecentlyUsed {
  static constexpr bool use_renews = true;
  static bool before(const Leaf& a, const Leaf& b) noexcept { return a.moment < b.moment; }
};

}  // namespace detail

/// What was not used for longest leaves first. An insert, a registration of a stored key and a `touch` are uses; `find`
/// is none. Where blocks form chains only those without stored children leave; where no block has a parent, this is the
/// ordinary rule.
///
/// The use of a block is not one of its ancestors: whoever matched a whole prefix touches a whole prefix.
///
/// Models `Eviction`; its members, with `insert_with_parent` and `cycles_ignored`, are those of `ChainedEviction`. An
/// eviction costs O(log leaves); a use costs O(1) on average, for what was used belongs at the end, and allocates
/// nothing.
template <Storage S>
class RecencyEviction : public detail::ChainedEviction<S, detail::LeastRecentlyUsed> {
 public:
  /// Throws a RegistryError (ConfigError) for a capacity of 0 and for a storage that is not empty.
  RecencyEviction(S storage, std::size_t capacity)
      : detail::ChainedEviction<S, detail::LeastRecentlyUsed>(std::move(storage), capacity) {}
};

}  // namespace registry
