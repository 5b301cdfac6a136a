// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

#include <registry/detail/block_table.hpp>
#include <registry/detail/lease.hpp>
#include <registry/key.hpp>
#include <registry/message.hpp>
#include <registry/metadata.hpp>
#include <registry/value.hpp>

namespace registry {

/// Where a hub keeps its entries: a map from key to value and metadata, used by one thread.
///   find     what is stored under the key, or null; valid until the next insert or erase (a whole answer is built
///            from such pointers before anything changes)
///   insert   stores the entry; what it replaced comes back
///   erase    forgets the key; what was stored comes back
///   size     the number of entries
/// A storage may throw from insert and erase if it then has changed nothing; the hub answers with a StorageError.
template <class S>
concept Storage =
    std::movable<S> && Key<typename S::key_type> && Value<typename S::value_type> &&
    Metadata<typename S::metadata_type> &&
    requires(S& storage, const S& view, const typename S::key_type& key,
             Entry<typename S::key_type, typename S::value_type, typename S::metadata_type> entry) {
      { view.find(key) } -> std::same_as<const Stored<typename S::value_type, typename S::metadata_type>*>;
      {
        storage.insert(std::move(entry))
      } -> std::same_as<std::optional<Stored<typename S::value_type, typename S::metadata_type>>>;
      { storage.erase(key) } -> std::same_as<std::optional<Stored<typename S::value_type, typename S::metadata_type>>>;
      { view.size() } -> std::convertible_to<std::size_t>;
    };

/// A storage (or an eviction policy) of exactly these types.
template <class S, class K, class V, class M>
concept StoresEntries = std::same_as<typename S::key_type, K> && std::same_as<typename S::value_type, V> &&
                        std::same_as<typename S::metadata_type, M>;

/// Entries in memory, in a hash table with a seeded hash that grows in small steps: no call waits until a large table
/// has been moved, and entries never move once there are some ten thousand of them.
template <Key K, Value V, Metadata M = NoMetadata>
class HashMapStorage {
 public:
  using key_type = K;
  using value_type = V;
  using metadata_type = M;
  using Table = detail::BlockTable<K, Stored<V, M>, detail::Lease>;

  HashMapStorage() = default;
  /// With a hash seed of one's own, for runs that must repeat exactly.
  explicit HashMapStorage(std::uint64_t hash_seed) : table_(KeyHash<K>{hash_seed}) {}

  const Stored<V, M>* find(const K& key) const {
    const auto found = table_.find(key, table_.hash(key));
    return found.kind == Table::Kind::stored ? &table_[found.number].value : nullptr;
  }

  std::optional<Stored<V, M>> insert(Entry<K, V, M> entry) {
    const auto hash = table_.hash(entry.key);
    return insert(std::move(entry), {hash});
  }

  /// The same for a caller who has the key's hash by the table already: a hub looks a batch up ahead.
  std::optional<Stored<V, M>> insert(Entry<K, V, M> entry, typename Table::LookUp look_up) {
    Stored<V, M> stored{std::move(entry.value), std::move(entry.metadata)};
    const auto found = table_.find(entry.key, look_up.hash, look_up.hint);
    if (found.kind == Table::Kind::stored) return std::exchange(table_[found.number].value, std::move(stored));
    table_.store(std::move(entry.key), look_up.hash, std::move(stored), found);
    return std::nullopt;
  }

  std::optional<Stored<V, M>> erase(const K& key) {
    const auto hash = table_.hash(key);
    const auto found = table_.find(key, hash);
    if (found.kind != Table::Kind::stored) return std::nullopt;
    return table_.erase(found.number, hash);
  }

  std::size_t size() const noexcept { return table_.size(); }

  /// Takes the memory for so many entries and leases now (24 to 31 and 40 to 47 bytes each, by their number, for keys
  /// and values of 8 bytes), and touches it, so that the hub does not have to while it serves: the system may take
  /// milliseconds for a page that is touched for the first time. A storage may grow beyond that; what the hub keeps
  /// once for all leases of a request, 56 bytes, comes as it is needed. Throws std::bad_alloc; what there is then stays
  /// good.
  void reserve(std::size_t entries, std::size_t leases) { table_.reserve(entries, leases); }

  /// What the hub and the policies of this library share with the storage.
  Table& table() noexcept { return table_; }

 private:
  Table table_;
};

}  // namespace registry
