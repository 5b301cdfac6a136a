// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <registry/detail/flat_map.hpp>
#include <registry/detail/leaf_heap.hpp>
#include <registry/detail/linked_slab.hpp>
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
/// gets a new parent could become its own ancestor; the ancestors of that parent are looked through, at most
/// `max_ancestors` of them. A parent that would close a cycle as the entry comes, or that lies so deep that this was
/// not ruled out, is ignored and counted: the entry has none.
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

  static constexpr std::size_t max_ancestors = 65'536;

  /// A bound of at least one entry around an empty storage: entries that did not come through the policy have no place
  /// in its order and would never leave. Throws a RegistryError (ConfigError) for anything else.
  ChainedEviction(S storage, std::size_t capacity) : storage_(std::move(storage)), capacity_(capacity) {
    if (capacity == 0) throw RegistryError{ConfigError{"capacity", "0", "at least 1"}};
    if (storage_.size() != 0) {
      throw RegistryError{ConfigError{"storage", std::to_string(storage_.size()) + " entries", "an empty storage"}};
    }
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
    const Hold self{*this, entry.key};
    std::optional<Hold> above;
    if (parent) above.emplace(*this, *parent);
    const bool closes_cycle = above && would_close_cycle(self.node(), above->node());
    if (closes_cycle) above.reset();
    const bool is_new = !nodes_[self.node()].stored;
    if (is_new && !make_room(evicted)) return {};
    const std::optional<std::uint32_t> position = chain_position(entry.metadata);
    std::optional<StoredType> replaced = storage_.insert(std::move(entry));

    Node& node = nodes_[self.node()];
    node.stored = true;
    node.depth = position ? *position : depth_below(above ? above->node() : none);
    if (is_new || Order::use_renews) node.moment = ++moments_;
    if (closes_cycle) ++cycles_ignored_;
    const Index old_parent = std::exchange(node.parent, above ? above->keep() : none);
    if (old_parent != none) release(old_parent);
    return {true, std::move(replaced)};
  }

  /// Forgets the entry and returns what was stored. Its children stay, and find it again if it comes back.
  std::optional<StoredType> erase(const key_type& key) {
    std::optional<StoredType> gone = storage_.erase(key);
    if (const auto it = index_.find(key); it != index_.end()) forget(it->second);
    return gone;
  }

  /// Whether the key is stored; where use counts, it was used now. Allocates nothing.
  bool touch(const key_type& key) {
    if constexpr (Order::use_renews) {
      const auto it = index_.find(key);
      if (it == index_.end() || !nodes_[it->second].stored) return false;
      nodes_[it->second].moment = ++moments_;
      if (leaves_.contains(it->second)) leaves_.update(leaf(it->second));
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

  /// How many parents were ignored because they would have closed a cycle, or might have (`max_ancestors`).
  std::uint64_t cycles_ignored() const noexcept { return cycles_ignored_; }

 private:
  using Index = std::uint32_t;
  static constexpr Index none = std::numeric_limits<Index>::max();

  /// A stored block, or (not `stored`) the name of one that stored children wait for.
  struct Node {
    key_type key{};
    std::uint64_t moment = 0;
    Index parent = none;
    std::uint32_t children = 0;  // stored ones, and holds
    std::uint32_t depth = 0;
    bool stored = false;
  };

  /// The node of a key, made if need be, that cannot leave meanwhile: it counts as a parent. The destructor lets go;
  /// `keep` leaves the count to a child.
  class Hold {
   public:
    Hold(ChainedEviction& policy, const key_type& key) : policy_(policy), node_(policy.node_of(key)) {
      policy.hold(node_);
    }
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;
    ~Hold() {
      if (node_ != none) policy_.release(node_);
    }

    Index node() const noexcept { return node_; }
    Index keep() noexcept { return std::exchange(node_, none); }

   private:
    ChainedEviction& policy_;
    Index node_;
  };

  /// All allocations are here: what follows a change of the storage cannot fail.
  Index node_of(const key_type& key) {
    const auto [it, is_new] = index_.try_emplace(key, none);
    if (!is_new) return it->second;
    Index node = none;
    try {
      node = nodes_.push_back(all_, Node{key});
      leaves_.make_room_for(node);
    } catch (...) {
      if (node != none) nodes_.erase(all_, node);
      index_.erase(it);
      throw;
    }
    it->second = node;
    return node;
  }

  void hold(Index node) noexcept {
    if (nodes_[node].children++ == 0 && nodes_[node].stored) leaves_.erase(node);
  }

  void release(Index node) noexcept {
    if (--nodes_[node].children != 0) return;
    if (nodes_[node].stored) {
      leaves_.push(leaf(node));
    } else {
      discard(node);
    }
  }

  void discard(Index node) noexcept {
    index_.erase(nodes_[node].key);
    nodes_.erase(all_, node);
  }

  /// The entry of this node is not stored any more.
  void forget(Index node) noexcept {
    nodes_[node].stored = false;
    const Index parent = std::exchange(nodes_[node].parent, none);
    if (nodes_[node].children == 0) {
      leaves_.erase(node);
      discard(node);
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
    const Index node = leaves_.front().node;
    evicted.push_back({nodes_[node].key, {}, {}});  // first: once the storage has let go, nothing may fail
    try {
      std::optional<StoredType> gone = storage_.erase(nodes_[node].key);
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
  bool would_close_cycle(Index node, Index parent) const noexcept {
    if (nodes_[node].children == 1 || nodes_[node].parent == parent) return false;
    std::size_t seen = 0;
    for (Index at = parent; at != none; at = nodes_[at].parent) {
      if (at == node || ++seen > max_ancestors) return true;
    }
    return false;
  }

  std::uint32_t depth_below(Index parent) const noexcept {
    if (parent == none || !nodes_[parent].stored) return 0;
    const std::uint32_t depth = nodes_[parent].depth;
    return depth == std::numeric_limits<std::uint32_t>::max() ? depth : depth + 1;
  }

  Leaf leaf(Index node) const noexcept { return {nodes_[node].moment, nodes_[node].depth, node}; }

  S storage_;
  std::size_t capacity_;
  FlatMap<key_type, Index> index_;
  LinkedSlab<Node> nodes_;
  typename LinkedSlab<Node>::List all_;
  LeafHeap<Order> leaves_;
  std::uint64_t moments_ = 0;
  std::uint64_t cycles_ignored_ = 0;
};

}  // namespace registry::detail
