// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <functional>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <registry/core/expiry_index.hpp>
#include <registry/core/failure.hpp>
#include <registry/core/instant.hpp>
#include <registry/core/key_holds.hpp>
#include <registry/detail/counter.hpp>
#include <registry/eviction.hpp>
#include <registry/log.hpp>
#include <registry/stats.hpp>

namespace registry {

/// Handed to `on_evict` with every entry that leaves: its way to keep the key.
template <Key K>
class Departure {
 public:
  Departure(KeyHolds<K>& holds, const K& key) noexcept : holds_(holds), key_(key) {}

  /// As long as a copy of the handle lives the key is Leased to everyone, so that no successor writes the object that
  /// is being deleted.
  [[nodiscard]] EvictionHandle hold() const { return holds_.hold(key_); }

 private:
  KeyHolds<K>& holds_;
  const K& key_;
};

/// Called for every entry that leaves the catalogue, on the hub's thread: it must not block or call the hub. An
/// exception out of it is counted and logged.
template <Key K, Value V, Metadata M>
using EvictionHook = std::function<void(const K&, const V&, const M&, EvictionReason, const Departure<K>&)>;

/// The stored entries of one namespace: an eviction policy, the ends of entries with a ttl, and the hook for what
/// leaves. One thread; the counters may be read from any.
template <Eviction P>
class Catalogue {
 public:
  using K = typename P::key_type;
  using V = typename P::value_type;
  using M = typename P::metadata_type;
  using EntryType = Entry<K, V, M>;
  using StoredType = Stored<V, M>;

  Catalogue(P policy, EvictionHook<K, V, M> on_evict, LogHook log)
      : policy_(std::move(policy)), on_evict_(std::move(on_evict)), log_(std::move(log)) {
    stored_.store(policy_.size());
  }

  /// Lets the entry under this key go if its time is over. To be called before any other question about a key; it
  /// invalidates what `find` returned.
  void drop_if_over(const K& key, WallTime now) {
    if constexpr (ExpiringMetadata<M>) {
      if (ends_.is_over(key, now)) drop_over(key);
    }
  }

  /// What is stored under the key, or null; valid until the next change.
  const StoredType* find(const K& key) const { return policy_.find(key); }

  /// Whether somebody may be deleting an object of some key; it becomes true only when an entry leaves.
  bool has_held() const noexcept { return holds_.any(); }

  /// Whether somebody is deleting an object of this key.
  bool is_held(const K& key) { return holds_.is_held(key); }

  /// Stores the entry; false if there is no room for it. What had to leave is handed to the hook first. `known` is what
  /// the policy takes beside it, or nothing.
  template <class... Known>
  bool insert(EntryType entry, WallTime now, const Known&... known) {
    drop_if_over(entry.key, now);
    const K key = entry.key;
    typename ExpiryIndex<K>::Prepared end;
    evicted_.clear();
    if constexpr (ExpiringMetadata<M>) {
      const auto arrival = std::chrono::floor<std::chrono::seconds>(now);
      make_room(key, now);
      // What may fail of giving it its end comes first: an entry is stored with its end or not at all.
      end = ends_.prepare(key, entry.metadata.expires_at(arrival));
    }
    InsertResult<V, M> result;
    try {
      result = policy_.insert(std::move(entry), evicted_, known...);
    } catch (...) {
      if constexpr (ExpiringMetadata<M>) ends_.discard(end);
      depart_evicted();
      throw;
    }
    if constexpr (ExpiringMetadata<M>) result.stored ? ends_.settle(key, end) : ends_.discard(end);
    depart_evicted();
    // An equal value is a retry: handing it on would get a live object deleted.
    if (result.replaced && !(result.replaced->value == policy_.find(key)->value)) {
      depart(key, result.replaced->value, result.replaced->metadata, EvictionReason::superseded);
    }
    return result.stored;
  }

  /// Forgets the key; whether it was stored.
  bool remove(const K& key, WallTime now) {
    drop_if_over(key, now);
    return erase(key, EvictionReason::removed);
  }

  /// Forgets the key if this value is stored under it; whether it was.
  bool remove_if(const K& key, const V& value, WallTime now) {
    drop_if_over(key, now);
    const StoredType* stored = find(key);
    return stored != nullptr && stored->value == value && erase(key, EvictionReason::removed);
  }

  /// Tells the policy that the key was used; whether it is stored.
  bool touch(const K& key, WallTime now) {
    drop_if_over(key, now);
    return policy_.touch(key);
  }

  /// Lets at most `most` entries go whose time is over, and answers how many.
  std::size_t expire(WallTime now, std::size_t most) {
    std::size_t count = 0;
    if constexpr (ExpiringMetadata<M>) {
      for (; count < most; ++count) {
        const auto key = ends_.first_over(now);
        if (!key) break;
        drop_over(*key);
      }
    }
    return count;
  }

  bool has_expiring() const noexcept { return !ends_.empty(); }

  P& policy() noexcept { return policy_; }

  void add_to(HubStats& stats) const noexcept {
    stats.stored = stored_.load();
    stats.removed = removed_.load();
    stats.evicted = evictions_.load();
    stats.superseded = superseded_.load();
    stats.expired = expired_.load();
    stats.hook_failures = hook_failures_.load();
  }

 private:
  /// Where the policy would refuse or evict, entries that are over go first: they are as good as absent, and must take
  /// no room from those that are not.
  void make_room(const K& key, WallTime now) {
    const auto is_full = [&] {
      const auto capacity = policy_.capacity();
      return capacity && policy_.size() >= *capacity;
    };
    if (!is_full() || policy_.find(key) != nullptr) return;
    while (expire(now, 1) == 1 && is_full()) {
    }
  }

  void drop_over(const K& key) {
    const K copy = key;
    erase(copy, EvictionReason::expired);
    // Also if the policy had let it go by itself, or it would be tried for ever; but not if the storage threw: the
    // entry is still there then, and still over.
    ends_.erase(copy);
  }

  void depart_evicted() {
    stored_.store(policy_.size());
    for (const EntryType& gone : evicted_) {
      if constexpr (ExpiringMetadata<M>) ends_.erase(gone.key);
      depart(gone.key, gone.value, gone.metadata, EvictionReason::evicted);
    }
  }

  bool erase(const K& key, EvictionReason reason) {
    const std::optional<StoredType> gone = policy_.erase(key);
    if (!gone) return false;
    if constexpr (ExpiringMetadata<M>) ends_.erase(key);
    stored_.store(policy_.size());
    depart(key, gone->value, gone->metadata, reason);
    return true;
  }

  void depart(const K& key, const V& value, const M& metadata, EvictionReason reason) {
    counter(reason).add();
    if (!on_evict_) return;
    try {
      on_evict_(key, value, metadata, reason, Departure<K>{holds_, key});
    } catch (...) {
      report_hook_failure(key);
    }
  }

  void report_hook_failure(const K& key) {
    hook_failures_.add();
    if (!log_) return;
    try {
      log_(LogLevel::error, "on_evict threw for key " + key_hex(key) + ": " + failure_text());
    } catch (const std::bad_alloc&) {
      // Nobody is told then, but what was done is done: an insert must not fail once the entry is stored.
    }
  }

  detail::Counter& counter(EvictionReason reason) noexcept {
    switch (reason) {
      case EvictionReason::removed: return removed_;
      case EvictionReason::evicted: return evictions_;
      case EvictionReason::superseded: return superseded_;
      case EvictionReason::expired: break;
    }
    return expired_;
  }

  P policy_;
  EvictionHook<K, V, M> on_evict_;
  LogHook log_;
  ExpiryIndex<K> ends_;
  KeyHolds<K> holds_;
  std::vector<EntryType> evicted_;
  detail::Counter stored_, removed_, evictions_, superseded_, expired_, hook_failures_;
};

}  // namespace registry
