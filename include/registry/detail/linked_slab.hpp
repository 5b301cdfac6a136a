// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <utility>

#include <registry/detail/chunked_array.hpp>
#include <registry/detail/huge_pages.hpp>
#include <registry/detail/prefetch.hpp>

namespace registry::detail {

/// Nodes in one array, addressed by 32-bit index and linked into lists: an order (of grant, of use) whose every
/// operation is O(1) and allocates nothing per node. Freed nodes are reused; growing moves none. As to `Allocator` see
/// ChunkedArray.
template <class T, template <class> class Allocator = HugePageAllocator>
class LinkedSlab {
 public:
  using Index = std::uint32_t;
  static constexpr Index none = std::numeric_limits<Index>::max();

  /// A list of nodes of the slab; the slab does the work.
  struct List {
    Index front = none;
    Index back = none;
    bool empty() const noexcept { return front == none; }
  };

  Index push_back(List& list, T value) {
    Index index = free_;
    if (index == none) {
      if (nodes_.size() >= none) throw std::length_error("a list of more than 2^32 - 1 nodes");
      index = static_cast<Index>(nodes_.size());
      nodes_.push_back({std::move(value), none, none});
      link_back(list, index, nodes_.back());
    } else {
      Node& node = nodes_[index];
      free_ = node.next;
      if (free_ != none) prefetch_line(&nodes_[free_]);  // the node that comes next may lie anywhere
      node.value = std::move(value);
      link_back(list, index, node);
    }
    ++size_;
    return index;
  }

  void move_to_back(List& list, Index index) noexcept { move_to_back(list, list, index); }

  /// From one list to another.
  void move_to_back(List& from, List& to, Index index) noexcept {
    unlink(from, index);
    link_back(to, index, nodes_[index]);
  }

  T erase(List& list, Index index) noexcept {
    unlink(list, index);
    Node& node = nodes_[index];
    T value = std::exchange(node.value, T{});
    node.next = free_;
    free_ = index;
    --size_;
    return value;
  }

  T& operator[](Index index) noexcept { return nodes_[index].value; }
  const T& operator[](Index index) const noexcept { return nodes_[index].value; }

  /// The node behind `index` in its list, or `none`.
  Index next(Index index) const noexcept { return nodes_[index].next; }

  std::size_t size() const noexcept { return size_; }

  /// Has the memory for so many nodes, and has touched it.
  void populate(std::size_t nodes) { nodes_.populate(nodes); }

 private:
  struct Node {
    T value;
    Index previous;
    Index next;
  };

  void link_back(List& list, Index index, Node& node) noexcept {
    node.previous = list.back;
    node.next = none;
    (list.back == none ? list.front : nodes_[list.back].next) = index;
    list.back = index;
  }

  void unlink(List& list, Index index) noexcept {
    const Node& node = nodes_[index];
    (node.previous == none ? list.front : nodes_[node.previous].next) = node.next;
    (node.next == none ? list.back : nodes_[node.next].previous) = node.previous;
  }

  ChunkedArray<Node, Allocator<Node>> nodes_;
  Index free_ = none;
  std::size_t size_ = 0;
};

}  // namespace registry::detail
