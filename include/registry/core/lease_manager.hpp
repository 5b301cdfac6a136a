// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>

#include <registry/core/instant.hpp>
#include <registry/core/lease_accounts.hpp>
#include <registry/detail/counter.hpp>
#include <registry/detail/lease.hpp>
#include <registry/envelope.hpp>
#include <registry/holder.hpp>
#include <registry/stats.hpp>

namespace registry {

enum class LeaseAnswer { granted, leased, full, client_full };

/// Who may store which key until when. The leases are in the table of the entries; here is their order. All last
/// equally long, so in the order of their (last) grant they are also in the order of their deadlines: every operation
/// is O(1), and expiry takes them from the front. A lease is over at its deadline whether or not it has been collected.
///
/// Keys come with their hash, by the table. One thread; `stats` from any.
template <class Table>
class LeaseManager {
 public:
  using K = decltype(Table::LeaseRecord::key);
  using Hash = typename Table::Hash;
  using Number = typename Table::Number;
  using Found = typename Table::Found;
  using Account = LeaseAccounts::Account;

  /// At most `max_leases` (and at most 2^31-2) at a time, in a table that outlives this, `max_per_client` of them one
  /// client's.
  LeaseManager(Table& table, std::chrono::nanoseconds ttl, std::size_t max_leases, std::size_t max_per_client)
      : table_(table),
        ttl_(ttl),
        max_leases_(std::min<std::size_t>(max_leases, 0x7fff'fffe)),
        accounts_(max_per_client < max_leases_ ? std::optional{max_per_client} : std::nullopt) {}

  /// What the leases of this client are counted under; good until the next call.
  Account account(const ClientId& client) { return accounts_.of(client); }

  /// Asks for the lease on a key that is not stored, in the name of `request`, a number that the holder uses once;
  /// `found` is what the table has just said of the key. The holder itself gets the lease again, with a new deadline,
  /// except within one request: a key named twice is granted once.
  LeaseAnswer acquire(const Found& found, const K& key, Hash hash, const Holder& holder, Account account,
                      std::uint64_t request, SteadyTime now) {
    if (found.kind == Table::Kind::leased) {
      if (may_change_hands(found.number, account, now)) {
        return acquire_again(found.number, holder, account, request, now);
      }
      // Its new holder has its share, but that may be over as well.
      drop(found.number, hash);
      expired_.add();
    }
    if (size() >= max_leases_ && expire(now, 1) == 0) return LeaseAnswer::full;
    if (accounts_.is_full(account)) expire(now, collected_for_full_client);
    if (accounts_.is_full(account)) return LeaseAnswer::client_full;
    table_.add_lease(order_, key, hash, {holder, false, account, request, now + ttl_});
    accounts_.add(account);
    granted_.add();
    active_.store(size());
    return LeaseAnswer::granted;
  }

  /// Gives back what `holder` holds; false if that was nothing.
  bool release(const K& key, Hash hash, const Holder& holder, SteadyTime now) {
    return release_if(key, hash, now, [&](const detail::Lease& lease) { return lease.holder == holder; });
  }

  /// Takes back what this request alone was granted: what the holder had been granted before, or was granted again
  /// since, somebody may be relying on.
  bool withdraw(const K& key, Hash hash, const Holder& holder, std::uint64_t request, SteadyTime now) {
    return release_if(key, hash, now, [&](const detail::Lease& lease) {
      return lease.holder == holder && lease.request == request && !lease.shared;
    });
  }

  /// Gives the lease of this number another deadline, if it is `holder`'s.
  bool renew(Number number, const Holder& holder, SteadyTime now) {
    if (const Holder* current = this->holder(number, now); current == nullptr || !(*current == holder)) return false;
    renewed_.add();
    at(number).shared = true;
    at(number).deadline = now + ttl_;
    table_.leases().move_to_back(order_, number);
    return true;
  }

  /// From now on the keys of leases that end are appended to `ended`, until it is null.
  void watch(std::vector<K>* ended) noexcept { ended_ = ended; }

  /// Ends the lease of this number, whose key has been registered, whoever held it. Who watches knows of that: nothing
  /// may fail now that the key is stored.
  void convert(Number number, Hash hash, SteadyTime now) noexcept {
    (now < at(number).deadline ? converted_ : expired_).add();
    forget(number, hash);
  }

  /// Who holds the lease of this number now, or null; valid until the next change.
  const Holder* holder(Number number, SteadyTime now) const {
    return now < at(number).deadline ? &at(number).holder : nullptr;
  }

  /// Collects at most `most` leases that are over, and answers how many; the first over go first.
  std::size_t expire(SteadyTime now, std::size_t most) {
    std::size_t count = 0;
    while (count < most) {
      // A few at a time, so that they wait for memory together.
      std::array<Hash, 32> hashes;
      std::size_t due = 0;
      for (Number number = order_.front;
           number != Table::Leases::none && due < std::min(hashes.size(), most - count) && now >= at(number).deadline;
           number = table_.leases().next(number)) {
        hashes[due] = table_.hash(table_.leases()[number].key);
        table_.prefetch_index(hashes[due++]);
      }
      for (std::size_t i = 0; i < due; ++i) drop(order_.front, hashes[i]);
      count += due;
      if (due < hashes.size()) break;
    }
    expired_.add(count);
    return count;
  }

  /// When the next lease ends.
  std::optional<SteadyTime> next_deadline() const {
    if (order_.empty()) return std::nullopt;
    return at(order_.front).deadline;
  }

  std::size_t max_leases() const noexcept { return max_leases_; }
  std::chrono::nanoseconds ttl() const noexcept { return ttl_; }

  LeaseStats stats() const noexcept {
    return {active_.load(),   granted_.load(),   renewed_.load(),  expired_.load(),
            released_.load(), converted_.load(), conflicts_.load()};
  }

 private:
  /// Some of a client's leases may be over and not collected yet. To find them all could take long, for those of others
  /// that ended before come first; so many take some ten microseconds, and whoever is refused and asks again finds
  /// more.
  static constexpr std::size_t collected_for_full_client = 256;

  std::size_t size() const noexcept { return table_.leases().size(); }
  detail::Lease& at(Number number) noexcept { return table_.leases()[number].lease; }
  const detail::Lease& at(Number number) const noexcept { return table_.leases()[number].lease; }

  /// Not if it is over and counted as another client's, and this one has its share.
  bool may_change_hands(Number number, Account account, SteadyTime now) const {
    return now < at(number).deadline || at(number).account == account || !accounts_.is_full(account);
  }

  LeaseAnswer acquire_again(Number number, const Holder& holder, Account account, std::uint64_t request,
                            SteadyTime now) {
    detail::Lease& lease = at(number);
    if (now >= lease.deadline) {
      accounts_.add(account);
      accounts_.drop(lease.account);
      expired_.add();
      granted_.add();
      lease = {holder, false, account, request, now + ttl_};
    } else if (lease.holder == holder && lease.request != request) {
      renewed_.add();
      lease.request = request;
      lease.shared = true;
      lease.deadline = now + ttl_;
    } else {
      conflicts_.add();
      return LeaseAnswer::leased;
    }
    table_.leases().move_to_back(order_, number);
    return LeaseAnswer::granted;
  }

  template <class Predicate>
  bool release_if(const K& key, Hash hash, SteadyTime now, Predicate predicate) {
    const Found found = table_.find(key, hash);
    if (found.kind != Table::Kind::leased) return false;
    if (now >= at(found.number).deadline || !predicate(at(found.number))) return false;
    drop(found.number, hash);
    released_.add();
    return true;
  }

  void drop(Number number, Hash hash) {
    if (ended_ != nullptr) ended_->push_back(table_.leases()[number].key);
    forget(number, hash);
  }

  void forget(Number number, Hash hash) noexcept {
    accounts_.drop(at(number).account);
    table_.erase_lease(order_, number, hash);
    active_.store(size());
  }

  Table& table_;
  std::chrono::nanoseconds ttl_;
  std::size_t max_leases_;
  LeaseAccounts accounts_;
  typename Table::Leases::List order_;
  std::vector<K>* ended_ = nullptr;
  detail::Counter active_, granted_, renewed_, expired_, released_, converted_, conflicts_;
};

}  // namespace registry
