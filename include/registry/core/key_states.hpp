// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <type_traits>
#include <utility>
#include <vector>

#include <registry/core/catalogue.hpp>
#include <registry/core/instant.hpp>
#include <registry/core/lease_manager.hpp>
#include <registry/core/options.hpp>
#include <registry/core/spare_memory.hpp>
#include <registry/detail/lease.hpp>
#include <registry/detail/look_ahead.hpp>
#include <registry/eviction.hpp>
#include <registry/metadata.hpp>
#include <registry/stats.hpp>

namespace registry {

/// What each key of a namespace is: stored, leased or neither. The catalogue, the leases, and after a restart the time
/// in which a key that looks free may be leased by the hub before this one. One thread; the counters may be read from
/// any.
template <Eviction P>
class KeyStates {
  struct NoTable {};
  /// A policy that is spared a second look-up of what it stores.
  template <class Q>
  static constexpr bool takes_look_up =
      detail::SharesTable<Q> &&
      requires(Q& policy, Entry<typename Q::key_type, typename Q::value_type, typename Q::metadata_type> entry,
               std::vector<decltype(entry)>& evicted,
               typename Q::Table::LookUp look_up) { policy.insert(std::move(entry), evicted, look_up); };
  /// Leases are kept in the table of the entries, if it can be had, or else in one of their own.
  static auto table_type() {
    if constexpr (detail::SharesTable<P>) {
      return std::type_identity<typename P::Table>{};
    } else {
      return std::type_identity<detail::BlockTable<typename P::key_type, NoMetadata, detail::Lease>>{};
    }
  }

 public:
  using K = typename P::key_type;
  using V = typename P::value_type;
  using M = typename P::metadata_type;
  using Table = typename decltype(table_type())::type;
  using Hash = typename Table::Hash;
  using Found = typename Table::Found;
  using Number = typename Table::Number;

  KeyStates(P policy, EvictionHook<K, V, M> on_evict, const HubOptions& options)
      : catalogue_(std::move(policy), std::move(on_evict), options.log),
        leases_(table(), options.lease_ttl, options.max_leases, options.max_leases_per_client),
        recovery_time_(options.recovery_time) {}
  KeyStates(const KeyStates&) = delete;
  KeyStates& operator=(const KeyStates&) = delete;

  Catalogue<P>& catalogue() noexcept { return catalogue_; }
  const Catalogue<P>& catalogue() const noexcept { return catalogue_; }
  LeaseManager<Table>& leases() noexcept { return leases_; }
  const LeaseManager<Table>& leases() const noexcept { return leases_; }

  Table& table() noexcept {
    if constexpr (detail::SharesTable<P>) {
      return catalogue_.policy().table();
    } else {
      return own_table_;
    }
  }

  /// When the hub has started; the first call counts.
  void begin(Instant now) {
    if (std::exchange(has_begun_, true)) return;
    recovered_at_ = now.lease + recovery_time_;
  }

  bool is_recovering(Instant now) const { return now.lease < recovered_at_; }

  /// Whether a lease of the hub before this one may go on here: certainly not if somebody else has been granted the key
  /// meanwhile. Of what has gone again nothing is known, so then none may.
  bool accepts_claim_backs(Instant now) const {
    if (is_recovering(now)) return true;
    if (now.lease >= recovered_at_ + leases_.ttl()) return false;
    const LeaseStats ended = leases_.stats();
    HubStats gone;
    catalogue_.add_to(gone);
    return ended.released + ended.expired == 0 && gone.removed + gone.evicted + gone.expired == 0;
  }

  /// Calls `action(i, hash, hint)` in turn for what has the keys `key_of(items[i])`.
  template <class Items, class KeyOf, class Action>
  void for_each(const Items& items, KeyOf key_of, Action action) {
    hash_all(items, key_of);
    detail::look_ahead(table(), hashes_, [&](std::size_t i, Number hint) { action(i, hashes_[i], hint); });
  }

  /// Before `for_each`, not within: what goes makes hints void.
  void drop_what_is_over(const std::vector<K>& keys, Instant now) {
    if constexpr (ExpiringMetadata<M>) {
      for (const K& key : keys) catalogue_.drop_if_over(key, now.wall);
    }
  }

  /// Whether the key is stored, leased or neither.
  Found look_up(const K& key, Hash hash, Number hint) {
    if constexpr (!detail::SharesTable<P>) {
      if (catalogue_.find(key) != nullptr) return {Table::Kind::stored, Table::none};
    }
    return table().find(key, hash, hint);
  }

  /// What is stored under the key, or null; valid until the next change.
  const Stored<V, M>* stored_under(const K& key, [[maybe_unused]] Hash hash, [[maybe_unused]] Number hint) {
    if constexpr (detail::SharesTable<P>) {
      const Found found = table().find(key, hash, hint);
      return found.kind == Table::Kind::stored ? &table()[found.number].value : nullptr;
    } else {
      return catalogue_.find(key);
    }
  }

  /// Stores the entry, whose key has this hash and hint; false if there is no room for it.
  bool store(Entry<K, V, M> entry, [[maybe_unused]] Hash hash, [[maybe_unused]] Number hint, Instant now) {
    if constexpr (takes_look_up<P>) {
      // An entry of this key whose time is over goes first: then the hint is none any more.
      const typename Table::LookUp look_up{hash, ExpiringMetadata<M> ? Table::none : hint};
      return catalogue_.insert(std::move(entry), now.wall, look_up);
    } else {
      return catalogue_.insert(std::move(entry), now.wall);
    }
  }

  /// Whether there is a lease left on a key that is stored: it was stored past this.
  bool has_lease_left(const K& key, Hash hash) { return lease_on_stored(key, hash) != Table::none; }

  /// Gives back what an unusually large batch took.
  void give_back_spare_memory() noexcept { give_back_spare(hashes_); }

  /// Ends the lease, if any, on a key that has just been stored.
  void convert_lease(const K& key, Hash hash, Instant now) {
    if (const Number lease = lease_on_stored(key, hash); lease != Table::none) leases_.convert(lease, hash, now.lease);
  }

 private:
  template <class Items, class KeyOf>
  void hash_all(const Items& items, KeyOf key_of) {
    hashes_.resize(items.size());
    for (std::size_t i = 0; i < items.size(); ++i) hashes_[i] = table().hash(key_of(items[i]));
  }

  Number lease_on_stored(const K& key, [[maybe_unused]] Hash hash) {
    if constexpr (detail::SharesTable<P>) {
      return table().superseded(key);
    } else {
      return table().find(key, hash).number;
    }
  }

  Catalogue<P> catalogue_;
  [[no_unique_address]] std::conditional_t<detail::SharesTable<P>, NoTable, Table> own_table_;
  LeaseManager<Table> leases_;
  std::chrono::nanoseconds recovery_time_;
  bool has_begun_ = false;
  SteadyTime recovered_at_{};
  std::vector<Hash> hashes_;
};

}  // namespace registry
