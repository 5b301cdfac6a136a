// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

#include <registry/detail/flat_map.hpp>
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

/// Entries in memory, in one flat hash map with a seeded hash: O(1) each, amortised; growing moves every entry.
template <Key K, Value V, Metadata M = NoMetadata>
class HashMapStorage {
 public:
  using key_type = K;
  using value_type = V;
  using metadata_type = M;

  HashMapStorage() = default;
  /// With a hash seed of one's own, for runs that must repeat exactly.
  explicit HashMapStorage(std::uint64_t hash_seed) : entries_(0, KeyHash<K>{hash_seed}) {}

  const Stored<V, M>* find(const K& key) const {
    const auto it = entries_.find(key);
    return it == entries_.end() ? nullptr : &it->second;
  }

  std::optional<Stored<V, M>> insert(Entry<K, V, M> entry) {
    Stored<V, M> stored{std::move(entry.value), std::move(entry.metadata)};
    const auto [it, is_new] = entries_.try_emplace(std::move(entry.key), std::move(stored));
    if (is_new) return std::nullopt;
    return std::exchange(it->second, std::move(stored));
  }

  std::optional<Stored<V, M>> erase(const K& key) {
    const auto it = entries_.find(key);
    if (it == entries_.end()) return std::nullopt;
    std::optional<Stored<V, M>> stored{std::move(it->second)};
    entries_.erase(it);
    return stored;
  }

  std::size_t size() const noexcept { return entries_.size(); }

 private:
  detail::FlatMap<K, Stored<V, M>> entries_;
};

}  // namespace registry
