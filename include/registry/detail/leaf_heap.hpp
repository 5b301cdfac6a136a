// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include <registry/detail/chunked_array.hpp>
#include <registry/detail/prefetch.hpp>

namespace registry::detail {

/// A block without stored children, and what decides when its turn to leave has come.
struct Leaf {
  std::uint64_t moment = 0;  ///< when it came or was used: a count that no two leaves share
  std::uint32_t depth = 0;
  std::uint32_t node = 0;
};

/// Leaves in the order `Order::before(leaf, leaf)`: a heap from which any leaf can be taken by its place. Whoever
/// pushes leaves keeps their places: each call that changes something is given `moved(node, place)`, which is told of
/// every leaf that it puts somewhere.
///
/// Groups of four, a cache line each, make it half as high as a binary one, and three leaves of four lie at its bottom,
/// where what was just used belongs: a change of place is O(log n), and mostly O(1). It never moves to grow.
template <class Order>
class LeafHeap {
 public:
  using Place = std::uint32_t;

  /// Sees to it that a `push` up to this number of leaves needs no memory, so that it cannot fail.
  void reserve(std::size_t leaves) {
    leaves_.reserve(root + leaves);
    while (leaves_.size() < root) leaves_.push_back({});
  }

  /// The same, and touches that memory now.
  void populate(std::size_t leaves) { leaves_.populate(root + leaves); }

  bool empty() const noexcept { return leaves_.size() <= root; }
  std::size_t size() const noexcept { return empty() ? 0 : leaves_.size() - root; }

  /// The leaf before all others; there must be one.
  const Leaf& front() const noexcept { return leaves_[root]; }

  const Leaf& operator[](Place place) const noexcept { return leaves_[place]; }

  /// Adds a leaf that room was made for.
  template <class Moved>
  void push(const Leaf& leaf, Moved moved) noexcept {
    leaves_.push_back(leaf);
    settle(leaves_.size() - 1, leaf, moved);
  }

  /// Puts in the place of a leaf one that is not before it.
  template <class Moved>
  void postpone(Place place, const Leaf& leaf, Moved moved) noexcept {
    sink<false>(place, leaf, moved);
  }

  template <class Moved>
  void erase(Place place, Moved moved) noexcept {
    const Leaf last = leaves_.back();
    leaves_.pop_back();
    if (place != leaves_.size()) settle(place, last, moved);
  }

 private:
  static constexpr std::size_t arity = 4;
  /// Places below are not used, so that every four leaves below one begin at a multiple of four.
  static constexpr std::size_t root = arity - 1;
  static constexpr std::size_t above(std::size_t place) noexcept { return place / arity + arity - 2; }
  static constexpr std::size_t below(std::size_t place) noexcept { return (place - (arity - 2)) * arity; }

  template <class Moved>
  void put(std::size_t place, const Leaf& leaf, Moved& moved) noexcept {
    leaves_[place] = leaf;
    moved(leaf.node, static_cast<Place>(place));
  }

  /// Puts `leaf` where it belongs, starting from a place whose own leaf is not needed any more.
  template <class Moved>
  void settle(std::size_t place, const Leaf leaf, Moved& moved) noexcept {
    if (place == root || !Order::before(leaf, leaves_[above(place)])) return sink<true>(place, leaf, moved);
    do {
      put(place, leaves_[above(place)], moved);
      place = above(place);
    } while (place > root && Order::before(leaf, leaves_[above(place)]));
    put(place, leaf, moved);
  }

  /// The same, for a leaf that is not before the one above. What comes from the bottom goes back to it, through all
  /// levels, and they are fetched ahead; what was used mostly stays where it is, and fetching would only cost.
  template <bool fetches_ahead, class Moved>
  void sink(std::size_t place, const Leaf leaf, Moved& moved) noexcept {
    for (std::size_t first = below(place); first < leaves_.size(); first = below(place)) {
      first = first_of_four(first);
      if (!Order::before(leaves_[first], leaf)) break;
      put(place, leaves_[first], moved);
      place = first;
      if constexpr (fetches_ahead) fetch_below(below(place));
    }
    put(place, leaf, moved);
  }

  std::size_t first_of_four(std::size_t begin) const noexcept {
    const std::size_t end = std::min(begin + arity, leaves_.size());
    std::size_t first = begin;
    for (std::size_t i = begin + 1; i < end; ++i) {
      if (Order::before(leaves_[i], leaves_[first])) first = i;
    }
    return first;
  }

  /// One of the groups below these four may be next but one: in a large heap none of them is in a cache.
  [[gnu::always_inline]] void fetch_below(std::size_t begin) const noexcept {
    if (below(begin + arity) > leaves_.size()) return;
    for (std::size_t i = 0; i < arity; ++i) prefetch_line(&leaves_[below(begin + i)]);
  }

  ChunkedArray<Leaf> leaves_;
};

}  // namespace registry::detail
