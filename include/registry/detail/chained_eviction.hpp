// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <registry/detail/block_table.hpp>
#include <registry/detail/chunked_array.hpp>
#include <registry/detail/leaf_heap.hpp>
#include <registry/detail/lease.hpp>
#include <registry/error.hpp>
#include <registry/eviction.hpp>
#include <registry/message.hpp>
#include <registry/metadata.hpp>
#include <registry/storage.hpp>

namespace registry::detail {

/// What the policies that respect chains have in common: they know who is whose parent, and only leaves, blocks without
/// a stored child, ever leave. `Order` says which leaf goes first (`before`) and whether use renews it (`use_renews`).
///
/// The structure is true at every moment: a link is what the latest registration of the child said. A parent that is
/// not stored is remembered by name as long as it has stored children, and so finds them when it comes (back).
///
/// Nothing here scans: a call costs a few look-ups and O(log leaves), but for one walk. A block that has children and
/// gets a new parent could become its own ancestor; the ancestors of that parent are looked through, as far as the
/// entries that came have earned it, each `ancestors_per_entry` and no more than `max_ancestors` saved up: so whoever
/// sends many such blocks below a deep chain cannot keep the hub busy. A parent that would close a cycle as the entry
/// comes, or for which this could not be ruled out, is ignored and counted: the entry has none.
///
/// All it keeps is by the numbers that the storage's table gives its keys: eight bytes for the links of a block, and
/// sixteen for its place in the order. Other storages have theirs numbered in a table of names beside them.
///
/// One thread at a time. What the storage throws passes through, and the policy is then as the storage is.
template <Storage S, class Order>
class ChainedEviction {
 public:
  using key_type = typename S::key_type;
  using value_type = typename S::value_type;
  using metadata_type = typename S::metadata_type;
  using EntryType = Entry<key_type, value_type, metadata_type>;
  using StoredType = Stored<value_type, metadata_type>;
  using ResultType = InsertResult<value_type, metadata_type>;
  using Table = TableOf<S>;

  static constexpr std::size_t max_ancestors = 8'192;
  static constexpr std::size_t ancestors_per_entry = 8;

  /// A bound of at least one entry around an empty storage: entries that did not come through the policy have no place
  /// in its order and would never leave. Throws a RegistryError (ConfigError) for anything else.
  ChainedEviction(S storage, std::size_t capacity) : storage_(std::move(storage)), capacity_(capacity) {
    if (capacity == 0) throw RegistryError{ConfigError{"capacity", "0", "at least 1"}};
    if (storage_.size() != 0) {
      throw RegistryError{ConfigError{"storage", std::to_string(storage_.size()) + " entries", "an empty storage"}};
    }
    keys().keep_names();
  }

  /// What is stored under the key, or null; valid until the next call that changes something. No use in itself.
  const StoredType* find(const key_type& key) const { return storage_.find(key); }

  /// Stores the entry as a child of `parent_key(key, metadata)`. Where that needs room, a leaf goes first and is
  /// appended to `evicted`: never the entry's parent, and so none of its ancestors, for these have children. Without
  /// another leaf the entry is refused and nothing has changed. A stored key needs no room.
  ResultType insert(EntryType entry, std::vector<EntryType>& evicted) {
    static_assert(std::same_as<decltype(parent_key(entry.key, entry.metadata)), std::optional<key_type>>,
                  "parent_key(key, metadata) must answer an optional of the key type");
    const std::optional<key_type> parent = parent_key(entry.key, entry.metadata);
    return insert_with_parent(std::move(entry), parent, evicted);
  }

  /// The same, with the parent said by the caller instead of the metadata.
  ResultType insert_with_parent(EntryType entry, const std::optional<key_type>& parent,
                                std::vector<EntryType>& evicted) {
    static_assert(std::same_as<decltype(chain_position(entry.metadata)), std::optional<std::uint32_t>>,
                  "chain_position(metadata) must answer an optional of std::uint32_t");
    may_walk_ = std::min(may_walk_ + ancestors_per_entry, max_ancestors);
    const Hold self{*this, entry.key};
    std::optional<Hold> above;
    if (parent) above.emplace(*this, *parent);
    const bool closes_cycle = above && would_close_cycle(self.node(), above->node());
    if (closes_cycle) above.reset();
    const bool is_new = !is_stored(self.node());
    if (is_new && !make_room(evicted)) return {};
    const std::optional<std::uint32_t> position = chain_position(entry.metadata);
    std::optional<StoredType> replaced = storage_.insert(std::move(entry));

    Inner& state = inner(self.node());
    state.depth = position ? *position : depth_below(above ? above->node() : none);
    if (is_new || Order::use_renews) state.moment = ++moments_;
    if (closes_cycle) ++cycles_ignored_;
    const Number old_parent = std::exchange(nodes_[self.node()].parent, above ? above->keep() : none);
    if (old_parent != none) release(old_parent);
    return {true, std::move(replaced)};
  }

  /// Forgets the entry and returns what was stored. Its children stay, and find it again if it comes back.
  std::optional<StoredType> erase(const key_type& key) {
    std::optional<StoredType> gone = storage_.erase(key);
    if (const Number node = number_of(key); node != none) forget(node);
    return gone;
  }

  /// Whether the key is stored; where use counts, it was used now. Allocates nothing.
  bool touch(const key_type& key) {
    if constexpr (Order::use_renews) {
      const Number node = number_of(key);
      if (node == none || !is_stored(node)) return false;
      if (is_inner(node)) {
        inner(node).moment = ++moments_;
      } else {
        const Place place = nodes_[node].place;
        leaves_.postpone(place, {++moments_, leaves_[place].depth, node}, keep_place());
      }
      return true;
    } else {
      return storage_.find(key) != nullptr;
    }
  }

  /// Makes up to n leaves leave, one after the other, and returns them in that order. If the storage throws, what has
  /// left by then is returned; the exception passes through only if that is nothing.
  std::vector<EntryType> evict(std::size_t n) {
    std::vector<EntryType> evicted;
    try {
      while (evicted.size() < n && !leaves_.empty()) evict_front(evicted);
    } catch (...) {
      if (evicted.empty()) throw;
    }
    return evicted;
  }

  std::size_t size() const { return storage_.size(); }
  std::optional<std::size_t> capacity() const noexcept { return capacity_; }

  /// What the hub shares with the storage, where that has it.
  auto& table() noexcept
    requires SharesTable<S>
  {
    return storage_.table();
  }

  /// As the storage's `reserve`, with what the order of the entries takes, 24 bytes each: not with the 16 more of a
  /// block that has children.
  void reserve(std::size_t entries, std::size_t leases)
    requires requires(S& storage) { storage.reserve(entries, leases); }
  {
    // What comes has its number before what it drives out has left, and room for another then.
    storage_.reserve(entries + 1, leases);
    if constexpr (!SharesTable<S>) names_.reserve(entries + 2, 0);
    nodes_.populate(entries + 2);
    leaves_.populate(entries + 2);
  }

  /// How many parents were ignored because they would have closed a cycle, or might have.
  std::uint64_t cycles_ignored() const noexcept { return cycles_ignored_; }

 private:
  using Number = std::uint32_t;
  using Place = std::uint32_t;
  static constexpr Number none = std::numeric_limits<Number>::max();

  /// What is known of every number: its parent's (none unless it is stored), and the place of the rest. A stored block
  /// without children, a leaf, has the rest in the heap; what has children, an inner node, in `inner_`, and its place
  /// is marked.
  struct Node {
    Number parent = none;
    Place place = 0;
  };
  static constexpr Place inner_bit = 0x8000'0000;

  /// A block with children, or the name of one that children wait for.
  struct Inner {
    std::uint64_t moment = 0;  // 0: not stored
    std::uint32_t depth = 0;
    std::uint32_t children = 0;  // stored ones, and holds; of a free one, the next free
  };

  /// A node that is made, if need be, and cannot leave meanwhile: it counts as a parent. The destructor lets go; `keep`
  /// leaves the count to a child.
  class Hold {
   public:
    Hold(ChainedEviction& policy, const key_type& key) : policy_(policy), node_(policy.hold(key)) {}
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;
    ~Hold() {
      if (node_ != none) policy_.release(node_);
    }

    Number node() const noexcept { return node_; }
    Number keep() noexcept { return std::exchange(node_, none); }

   private:
    ChainedEviction& policy_;
    Number node_;
  };

  /// Where keys have numbers: in the table that the storage shares, or in one of names alone.
  auto& keys() noexcept {
    if constexpr (SharesTable<S>) {
      return storage_.table();
    } else {
      return names_;
    }
  }

  Number number_of(const key_type& key) noexcept { return keys().number_of(key, keys().hash(key)); }

  bool is_inner(Number node) const noexcept { return (nodes_[node].place & inner_bit) != 0; }
  Inner& inner(Number node) noexcept { return inner_[nodes_[node].place & ~inner_bit]; }
  const Inner& inner(Number node) const noexcept { return inner_[nodes_[node].place & ~inner_bit]; }
  bool is_stored(Number node) const noexcept { return !is_inner(node) || inner(node).moment != 0; }

  /// For the heap to say where it put a leaf.
  auto keep_place() noexcept {
    return [this](Number node, Place place) { nodes_[node].place = place; };
  }

  /// All allocations are here: what follows a change of the storage cannot fail.
  Number hold(const key_type& key) {
    const auto hash = keys().hash(key);
    Number node = keys().number_of(key, hash);
    if (node != none && is_inner(node)) {
      ++inner(node).children;
      return node;
    }
    if (free_inner_ == none) add_inner();
    if (node == none) {
      while (nodes_.size() <= keys().numbers()) nodes_.push_back({});
      leaves_.reserve(nodes_.size());
      node = keys().add_name(key, hash);
      become_inner(node, {0, 0, 1});
    } else {
      const Place place = nodes_[node].place;
      const Leaf leaf = leaves_[place];
      leaves_.erase(place, keep_place());
      become_inner(node, {leaf.moment, leaf.depth, 1});
    }
    return node;
  }

  void release(Number node) noexcept {
    const Inner state = inner(node);
    if (state.children > 1) {
      --inner(node).children;
      return;
    }
    give_back_inner(node);
    if (state.moment != 0) {
      leaves_.push({state.moment, state.depth, node}, keep_place());
    } else {
      keys().erase_name(node);
    }
  }

  void add_inner() {
    inner_.push_back({0, 0, free_inner_});
    free_inner_ = static_cast<std::uint32_t>(inner_.size() - 1);
  }
  void become_inner(Number node, const Inner& state) noexcept {
    nodes_[node].place = free_inner_ | inner_bit;
    free_inner_ = std::exchange(inner(node), state).children;
  }
  void give_back_inner(Number node) noexcept {
    inner(node) = {0, 0, free_inner_};
    free_inner_ = nodes_[node].place & ~inner_bit;
  }

  /// The entry of this node is not stored any more.
  void forget(Number node) noexcept {
    const Number parent = std::exchange(nodes_[node].parent, none);
    if (is_inner(node)) {
      inner(node).moment = 0;
    } else {
      leaves_.erase(nodes_[node].place, keep_place());
      keys().erase_name(node);
    }
    if (parent != none) release(parent);
  }

  bool make_room(std::vector<EntryType>& evicted) {
    while (storage_.size() >= capacity_) {
      if (leaves_.empty()) return false;
      evict_front(evicted);
    }
    return true;
  }

  void evict_front(std::vector<EntryType>& evicted) {
    const Number node = leaves_.front().node;
    evicted.push_back({keys()[node].key, {}, {}});  // first: once the storage has let go, nothing may fail
    try {
      std::optional<StoredType> gone = storage_.erase(evicted.back().key);
      if (gone) {
        evicted.back().value = std::move(gone->value);
        evicted.back().metadata = std::move(gone->metadata);
      } else {
        evicted.pop_back();
      }
    } catch (...) {
      evicted.pop_back();
      throw;
    }
    forget(node);
  }

  /// Only a block that has children can be an ancestor of anything. One of its children here is the hold, and if it
  /// names itself as its parent, so is another.
  bool would_close_cycle(Number node, Number parent) noexcept {
    if (inner(node).children == 1 || nodes_[node].parent == parent) return false;
    for (Number at = parent; at != none; at = nodes_[at].parent) {
      if (at == node || may_walk_ == 0) return true;
      --may_walk_;
    }
    return false;
  }

  std::uint32_t depth_below(Number parent) const noexcept {
    if (parent == none || !is_stored(parent)) return 0;
    const std::uint32_t depth = inner(parent).depth;
    return depth == std::numeric_limits<std::uint32_t>::max() ? depth : depth + 1;
  }

  struct NoTable {};
  using Names = std::conditional_t<SharesTable<S>, NoTable, BlockTable<key_type, NoMetadata, NoMetadata>>;

  S storage_;
  std::size_t capacity_;
  [[no_unique_address]] Names names_;
  ChunkedArray<Node> nodes_;
  ChunkedArray<Inner> inner_;
  std::uint32_t free_inner_ = none;
  LeafHeap<Order> leaves_;
  std::uint64_t moments_ = 0;
  std::uint64_t cycles_ignored_ = 0;
  std::size_t may_walk_ = max_ancestors;
};

}  // namespace registry::detail
