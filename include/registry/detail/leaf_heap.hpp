// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace registry::detail {

/// A block without stored children, and what decides when its turn to leave has come.
struct Leaf {
  std::uint64_t moment = 0;  ///< when it came or was used: a count that no two leaves share
  std::uint32_t depth = 0;
  std::uint32_t node = 0;
};

/// Leaves in the order `Order::before(leaf, leaf)`: a heap that knows where each node is in it, so that any leaf can go
/// or change its place. Groups of four make it half as high as a binary one, and three leaves of four lie at its
/// bottom, where what was just used belongs: a change of place is O(log n), and mostly O(1).
template <class Order>
class LeafHeap {
 public:
  using Node = std::uint32_t;

  /// Sees to it that nodes up to this one can be pushed without an allocation, so that `push` cannot fail.
  void make_room_for(Node node) {
    if (node >= places_.size()) places_.resize(std::size_t{node} + 1, absent);
    if (leaves_.capacity() < places_.size()) leaves_.reserve(places_.capacity());
  }

  bool empty() const noexcept { return leaves_.empty(); }
  std::size_t size() const noexcept { return leaves_.size(); }
  bool contains(Node node) const noexcept { return node < places_.size() && places_[node] != absent; }

  /// The leaf before all others; there must be one.
  const Leaf& front() const noexcept { return leaves_.front(); }

  /// Adds a node that is not in the heap and that room was made for.
  void push(const Leaf& leaf) noexcept {
    leaves_.push_back(leaf);
    settle(leaves_.size() - 1, leaf);
  }

  /// Gives a node that is in the heap its new place.
  void update(const Leaf& leaf) noexcept { settle(places_[leaf.node], leaf); }

  /// Takes a node that is in the heap out of it.
  void erase(Node node) noexcept {
    const std::size_t hole = places_[node];
    places_[node] = absent;
    const Leaf last = leaves_.back();
    leaves_.pop_back();
    if (last.node != node) settle(hole, last);
  }

 private:
  static constexpr std::uint32_t absent = std::numeric_limits<std::uint32_t>::max();
  static constexpr std::size_t arity = 4;

  /// Puts `leaf` where it belongs, starting from a place whose own leaf is not needed any more.
  void settle(std::size_t place, const Leaf leaf) noexcept {
    while (place > 0) {
      const std::size_t above = (place - 1) / arity;
      if (!Order::before(leaf, leaves_[above])) break;
      put(place, leaves_[above]);
      place = above;
    }
    for (;;) {
      const std::size_t below = first_below(place);
      if (below == leaves_.size() || !Order::before(leaves_[below], leaf)) break;
      put(place, leaves_[below]);
      place = below;
    }
    put(place, leaf);
  }

  /// The first in order of the up to four leaves below a place; the end if there is none.
  std::size_t first_below(std::size_t place) const noexcept {
    const std::size_t begin = place * arity + 1;
    if (begin >= leaves_.size()) return leaves_.size();
    const std::size_t end = begin + arity < leaves_.size() ? begin + arity : leaves_.size();
    std::size_t first = begin;
    for (std::size_t i = begin + 1; i < end; ++i) {
      if (Order::before(leaves_[i], leaves_[first])) first = i;
    }
    return first;
  }

  void put(std::size_t place, const Leaf& leaf) noexcept {
    leaves_[place] = leaf;
    places_[leaf.node] = static_cast<std::uint32_t>(place);
  }

  std::vector<Leaf> leaves_;
  std::vector<std::uint32_t> places_;
};

}  // namespace registry::detail
