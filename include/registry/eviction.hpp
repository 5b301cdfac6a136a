// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include <registry/message.hpp>
#include <registry/storage.hpp>

namespace registry {

/// Why an entry left the catalogue. `superseded`: another value was registered under its key.
enum class EvictionReason : std::uint8_t { removed, evicted, superseded, expired };

/// What an insert did: whether the entry is stored now (if not, there was no room and nothing that might leave), and
/// what stood under its key before.
template <class V, class M>
struct InsertResult {
  bool stored = false;
  std::optional<Stored<V, M>> replaced;
};

/// A storage with a bound, and a rule for what leaves when it is met. Used by one thread, like the storage in it.
///   find, erase, size   as in Storage
///   insert              makes room first, appending what leaves to `evicted`; never at the cost of the entry inserted
///                       or of an ancestor of it; a stored key is replaced and needs no room
///   touch               says that the key was used; whether it is stored
///   evict               makes up to n entries leave, best first, and returns them in that order
///   capacity            the bound, or nothing
template <class P>
concept Eviction =
    std::movable<P> && Key<typename P::key_type> && Value<typename P::value_type> &&
    Metadata<typename P::metadata_type> &&
    requires(P& policy, const P& view, const typename P::key_type& key, std::size_t n,
             Entry<typename P::key_type, typename P::value_type, typename P::metadata_type> entry,
             std::vector<Entry<typename P::key_type, typename P::value_type, typename P::metadata_type>>& evicted) {
      { view.find(key) } -> std::same_as<const Stored<typename P::value_type, typename P::metadata_type>*>;
      {
        policy.insert(std::move(entry), evicted)
      } -> std::same_as<InsertResult<typename P::value_type, typename P::metadata_type>>;
      { policy.erase(key) } -> std::same_as<std::optional<Stored<typename P::value_type, typename P::metadata_type>>>;
      { policy.touch(key) } -> std::same_as<bool>;
      {
        policy.evict(n)
      } -> std::same_as<std::vector<Entry<typename P::key_type, typename P::value_type, typename P::metadata_type>>>;
      { view.size() } -> std::convertible_to<std::size_t>;
      { view.capacity() } -> std::same_as<std::optional<std::size_t>>;
    };

/// Nothing leaves by itself: beyond its capacity, if it has one, new keys are refused.
template <Storage S>
class NoEviction {
 public:
  using key_type = typename S::key_type;
  using value_type = typename S::value_type;
  using metadata_type = typename S::metadata_type;
  using EntryType = Entry<key_type, value_type, metadata_type>;
  using StoredType = Stored<value_type, metadata_type>;
  using Table = detail::TableOf<S>;

  explicit NoEviction(S storage, std::optional<std::size_t> capacity = std::nullopt)
      : storage_(std::move(storage)), capacity_(capacity) {}

  const StoredType* find(const key_type& key) const { return storage_.find(key); }

  InsertResult<value_type, metadata_type> insert(EntryType entry, std::vector<EntryType>&) {
    if (has_no_room_for(entry.key)) return {};
    return {true, storage_.insert(std::move(entry))};
  }

  /// The same with what the hub knows of the key already.
  template <class LookUp>
    requires requires(S& storage, EntryType entry, LookUp look_up) { storage.insert(std::move(entry), look_up); }
  InsertResult<value_type, metadata_type> insert(EntryType entry, std::vector<EntryType>&, LookUp look_up) {
    if (has_no_room_for(entry.key)) return {};
    return {true, storage_.insert(std::move(entry), look_up)};
  }

  std::optional<StoredType> erase(const key_type& key) { return storage_.erase(key); }
  bool touch(const key_type& key) { return storage_.find(key) != nullptr; }
  std::vector<EntryType> evict(std::size_t) { return {}; }
  std::size_t size() const { return storage_.size(); }
  std::optional<std::size_t> capacity() const noexcept { return capacity_; }

  /// The storage's.
  void reserve(std::size_t entries, std::size_t leases)
    requires requires(S& storage) { storage.reserve(entries, leases); }
  {
    storage_.reserve(entries, leases);
  }

  /// What the hub shares with the storage, where that has it.
  auto& table() noexcept
    requires detail::SharesTable<S>
  {
    return storage_.table();
  }

 private:
  bool has_no_room_for(const key_type& key) const {
    return capacity_ && storage_.size() >= *capacity_ && storage_.find(key) == nullptr;
  }

  S storage_;
  std::optional<std::size_t> capacity_;
};

}  // namespace registry
