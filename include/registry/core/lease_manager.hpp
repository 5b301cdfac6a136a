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
#include <registry/detail/chunked_array.hpp>
#include <registry/detail/counter.hpp>
#include <registry/detail/lease.hpp>
#include <registry/detail/linked_slab.hpp>
#include <registry/envelope.hpp>
#include <registry/holder.hpp>
#include <registry/stats.hpp>

namespace registry {

enum class LeaseAnswer { granted, leased, full, client_full };

/// Who may store which key until when. What one request is granted at a time is one grant: the keys are in the table of
/// the entries, and what is the same for all of them is here, once. All grants last equally long, so in the order in
/// which they were made they are also in the order of their deadlines: every operation is O(1), and expiry takes them
/// from the front. A lease is over at its deadline whether or not it has been collected.
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

  /// Whom `acquire` and `renew` are for from now on: a holder, which is this client or part of it, in the name of
  /// `request`, a number that the holder uses once.
  void ask_for(const Holder& holder, const ClientId& client, std::uint64_t request, SteadyTime now) {
    asking_ = {holder, mark_of(holder), accounts_.of(client), request, now};
  }

  /// Asks for the lease on a key that is not stored; `found` is what the table has just said of the key. The holder
  /// itself gets the lease again, with a new deadline, except within one request: a key named twice is granted once.
  [[gnu::always_inline]] LeaseAnswer acquire(const Found& found, const K& key, Hash hash) {
    if (found.kind == Table::Kind::leased && is_refused(found.number)) {
      conflicts_.add();
      return LeaseAnswer::leased;
    }
    return found.kind == Table::Kind::leased ? acquire_again(found.number, key, hash) : acquire_new(key, hash);
  }

  /// Gives back what `holder` holds; false if that was nothing.
  bool release(const K& key, Hash hash, const Holder& holder, SteadyTime now) {
    return release_if(key, hash, now, [&](Number number) { return grant(number).holder == holder; });
  }

  /// Takes back what this request alone was granted: what the holder had been granted before, or was granted again
  /// since, somebody may be relying on.
  bool withdraw(const K& key, Hash hash, const Holder& holder, std::uint64_t request, SteadyTime now) {
    return release_if(key, hash, now, [&](Number number) {
      return grant(number).holder == holder && grant(number).request == request && !lease(number).is_shared();
    });
  }

  /// Gives the lease of this number another deadline, if it is the holder's. Throws std::bad_alloc; nothing has changed
  /// then.
  bool renew(Number number) {
    if (asking_.now >= lease(number).deadline || !is_holders(number)) return false;
    regrant(number, grant_of(grant(number).account, grant(number).request), true);
    renewed_.add();
    return true;
  }

  /// From now on the keys of leases that end are appended to `ended`, until it is null.
  void watch(std::vector<K>* ended) noexcept { ended_ = ended; }

  /// Ends the lease of this number, whose key has been registered, whoever held it. Who watches knows of that: nothing
  /// may fail now that the key is stored.
  void convert(Number number, Hash hash, SteadyTime now) noexcept {
    (now < lease(number).deadline ? converted_ : expired_).add();
    forget(number, hash);
  }

  /// Who holds the lease of this number now, or null; valid until the next change.
  const Holder* holder(Number number, SteadyTime now) const {
    return now < lease(number).deadline ? &grant(number).holder : nullptr;
  }

  /// Collects at most `most` leases that are over, and answers how many; the first over go first.
  std::size_t expire(SteadyTime now, std::size_t most) {
    std::size_t count = 0;
    while (count < most) {
      // A few at a time, so that they wait for memory together.
      std::array<Hash, 32> hashes;
      std::size_t due = 0;
      const std::size_t limit = std::min(hashes.size(), most - count);
      for (GrantNumber over = order_.front; over != Grants::none && due < limit && now >= deadline_of(over);
           over = grants_.next(over)) {
        for (Number number = grants_[over].leases.front; number != Leases::none && due < limit;
             number = table_.leases().next(number)) {
          hashes[due] = table_.hash(table_.leases()[number].key);
          table_.prefetch_index(hashes[due++]);
        }
      }
      for (std::size_t i = 0; i < due; ++i) drop(grants_[order_.front].leases.front, hashes[i]);
      count += due;
      if (due < hashes.size()) break;
    }
    expired_.add(count);
    return count;
  }

  /// When the next lease ends.
  std::optional<SteadyTime> next_deadline() const {
    if (order_.empty()) return std::nullopt;
    return deadline_of(order_.front);
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

  using Leases = typename Table::Leases;

  /// Of leases with one deadline, at least one.
  struct Grant {
    Holder holder;
    std::uint64_t request = 0;
    Account account = 0;
    typename Leases::List leases;
  };
  using Grants = detail::LinkedSlab<Grant, detail::CacheLineAllocator>;
  using GrantNumber = typename Grants::Index;

  struct Asking {
    Holder holder;
    std::uint32_t mark = 0;
    Account account = 0;
    std::uint64_t request = 0;
    SteadyTime now{};
    GrantNumber grant = Grants::none;  // what it has been granted, if that is anything
  };

  std::size_t size() const noexcept { return table_.leases().size(); }
  detail::Lease& lease(Number number) noexcept { return table_.leases()[number].lease; }
  const detail::Lease& lease(Number number) const noexcept { return table_.leases()[number].lease; }
  const Grant& grant(Number number) const noexcept { return grants_[lease(number).grant()]; }

  /// Clients differ in the high half of their identity, their claims in the low one. Whoever chooses its own may make
  /// both alike: without the first multiplication all of those would have one mark.
  static std::uint32_t mark_of(const Holder& holder) noexcept {
    constexpr std::uint64_t multiplier = 0x9e37'79b9'7f4a'7c15;
    return static_cast<std::uint32_t>((holder.id.low * multiplier ^ holder.id.high) * multiplier >> 32U);
  }
  bool is_holders(Number number) const noexcept {
    return lease(number).holder_mark == asking_.mark && grant(number).holder == asking_.holder;
  }

  SteadyTime deadline_of(GrantNumber number) const noexcept { return lease(grants_[number].leases.front).deadline; }
  SteadyTime new_deadline() const noexcept { return asking_.now + ttl_; }

  /// Whether it is somebody else's, or has been granted by this very request.
  bool is_refused(Number number) const {
    return asking_.now < lease(number).deadline && (!is_holders(number) || grant(number).request == asking_.request);
  }

  /// Of a lease that is over. Not if it is counted as another client's, and this one has its share.
  bool may_change_hands(Number number) const {
    return grant(number).account == asking_.account || !accounts_.is_full(asking_.account);
  }

  LeaseAnswer acquire_again(Number number, const K& key, Hash hash) {
    if (asking_.now < lease(number).deadline) {
      regrant(number, own_grant(), true);
      renewed_.add();
      return LeaseAnswer::granted;
    }
    if (!may_change_hands(number)) {
      // Its new holder has its share, but that may be over as well.
      drop(number, hash);
      expired_.add();
      return acquire_new(key, hash);
    }
    const Account account_before = grant(number).account;
    regrant(number, own_grant(), false);
    accounts_.add(asking_.account);
    accounts_.drop(account_before);
    expired_.add();
    granted_.add();
    return LeaseAnswer::granted;
  }

  LeaseAnswer acquire_new(const K& key, Hash hash) {
    const Account account = asking_.account;
    if (size() >= max_leases_ && expire(asking_.now, 1) == 0) return LeaseAnswer::full;
    if (accounts_.is_full(account)) expire(asking_.now, collected_for_full_client);
    if (accounts_.is_full(account)) return LeaseAnswer::client_full;
    add(key, hash);
    accounts_.add(account);
    granted_.add();
    active_.store(size());
    return LeaseAnswer::granted;
  }

  void add(const K& key, Hash hash) {
    const GrantNumber number = own_grant();
    try {
      table_.add_lease(grants_[number].leases, key, hash, {new_deadline(), asking_.mark, number, false});
    } catch (...) {
      close_if_empty(number);
      throw;
    }
  }

  /// Makes a lease part of another grant, with a new deadline.
  void regrant(Number number, GrantNumber to, bool is_shared) noexcept {
    const GrantNumber from = lease(number).grant();
    table_.leases().move_to_back(grants_[from].leases, grants_[to].leases, number);
    lease(number) = {new_deadline(), asking_.mark, to, is_shared};
    close_if_empty(from);
  }

  GrantNumber own_grant() {
    if (asking_.grant == Grants::none) asking_.grant = grant_of(asking_.account, asking_.request);
    return asking_.grant;
  }

  /// The last grant, if it is one with this deadline to this holder by this request, or a new one.
  GrantNumber grant_of(Account account, std::uint64_t request) {
    if (!order_.empty()) {
      const Grant& last = grants_[order_.back];
      if (last.request == request && last.holder == asking_.holder && last.account == account &&
          deadline_of(order_.back) == new_deadline()) {
        return order_.back;
      }
    }
    return grants_.push_back(order_, {asking_.holder, request, account, {}});
  }

  void close_if_empty(GrantNumber number) noexcept {
    if (!grants_[number].leases.empty()) return;
    if (asking_.grant == number) asking_.grant = Grants::none;
    grants_.erase(order_, number);
  }

  template <class Predicate>
  bool release_if(const K& key, Hash hash, SteadyTime now, Predicate predicate) {
    const Found found = table_.find(key, hash);
    if (found.kind != Table::Kind::leased) return false;
    if (now >= lease(found.number).deadline || !predicate(found.number)) return false;
    drop(found.number, hash);
    released_.add();
    return true;
  }

  void drop(Number number, Hash hash) {
    if (ended_ != nullptr) ended_->push_back(table_.leases()[number].key);
    forget(number, hash);
  }

  void forget(Number number, Hash hash) noexcept {
    const GrantNumber part_of = lease(number).grant();
    accounts_.drop(grants_[part_of].account);
    table_.erase_lease(grants_[part_of].leases, number, hash);
    close_if_empty(part_of);
    active_.store(size());
  }

  Table& table_;
  std::chrono::nanoseconds ttl_;
  std::size_t max_leases_;
  LeaseAccounts accounts_;
  Grants grants_;
  typename Grants::List order_;
  Asking asking_;
  std::vector<K>* ended_ = nullptr;
  detail::Counter active_, granted_, renewed_, expired_, released_, converted_, conflicts_;
};

}  // namespace registry
