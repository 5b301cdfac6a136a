// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>

#include <registry/core/holder.hpp>
#include <registry/core/instant.hpp>
#include <registry/detail/counter.hpp>
#include <registry/detail/flat_map.hpp>
#include <registry/detail/linked_slab.hpp>
#include <registry/key.hpp>
#include <registry/stats.hpp>

namespace registry {

enum class LeaseAnswer { granted, leased, full };

/// Who may store which key until when. All leases last equally long, so in the order of their (last) grant they are
/// also in the order of their deadlines: every operation is O(1), and expiry takes them from the front. A lease is
/// over at its deadline whether or not it has been collected. One thread; `stats` from any.
template <Key K>
class LeaseManager {
 public:
  /// At most `max_leases` (and at most 2^32-2) at a time.
  LeaseManager(std::chrono::nanoseconds ttl, std::size_t max_leases)
      : ttl_(ttl), max_leases_(std::min<std::size_t>(max_leases, Leases::none - 1)) {}

  /// Asks for the lease on `key` in the name of `request`, a number that the holder uses once. The holder itself gets
  /// it again, with a new deadline, except within one request: a key named twice is granted once.
  LeaseAnswer acquire(const K& key, const Holder& holder, std::uint64_t request, SteadyTime now) {
    if (const auto it = by_key_.find(key); it != by_key_.end()) {
      Lease& lease = leases_[it->second];
      if (now >= lease.deadline) {
        expired_.add();
        granted_.add();
        lease = {key, holder, request, false, now + ttl_};
      } else if (lease.holder == holder && lease.request != request) {
        renewed_.add();
        lease.request = request;
        lease.shared = true;
        lease.deadline = now + ttl_;
      } else {
        conflicts_.add();
        return LeaseAnswer::leased;
      }
      leases_.move_to_back(order_, it->second);
      return LeaseAnswer::granted;
    }
    if (leases_.size() >= max_leases_ && expire(now, 1) == 0) return LeaseAnswer::full;
    const Index index = leases_.push_back(order_, {key, holder, request, false, now + ttl_});
    try {
      by_key_.emplace(key, index);
    } catch (...) {
      leases_.erase(order_, index);
      throw;
    }
    granted_.add();
    active_.store(leases_.size());
    return LeaseAnswer::granted;
  }

  /// Gives back what `holder` holds; false if that was nothing.
  bool release(const K& key, const Holder& holder, SteadyTime now) {
    return release_if(key, now, [&](const Lease& lease) { return lease.holder == holder; });
  }

  /// Takes back what this request alone was granted: what the holder had been granted before, or was granted again
  /// since, somebody may be relying on.
  bool withdraw(const K& key, const Holder& holder, std::uint64_t request, SteadyTime now) {
    return release_if(key, now, [&](const Lease& lease) {
      return lease.holder == holder && lease.request == request && !lease.shared;
    });
  }

  /// Ends the lease on a key that has been registered, whoever held it.
  void convert(const K& key, SteadyTime now) {
    const auto it = by_key_.find(key);
    if (it == by_key_.end()) return;
    (now < leases_[it->second].deadline ? converted_ : expired_).add();
    drop(it);
  }

  /// Who holds the key now, or null; valid until the next change.
  const Holder* holder(const K& key, SteadyTime now) const {
    const auto it = by_key_.find(key);
    if (it == by_key_.end() || now >= leases_[it->second].deadline) return nullptr;
    return &leases_[it->second].holder;
  }

  /// Collects at most `most` leases that are over, and answers how many; the first over go first.
  std::size_t expire(SteadyTime now, std::size_t most) {
    std::size_t count = 0;
    while (count < most && !order_.empty() && now >= leases_[order_.front].deadline) {
      drop(by_key_.find(leases_[order_.front].key));
      ++count;
    }
    expired_.add(count);
    return count;
  }

  /// When the next lease ends.
  std::optional<SteadyTime> next_deadline() const {
    if (order_.empty()) return std::nullopt;
    return leases_[order_.front].deadline;
  }

  std::size_t max_leases() const noexcept { return max_leases_; }

  LeaseStats stats() const noexcept {
    return {active_.load(),   granted_.load(),   renewed_.load(),  expired_.load(),
            released_.load(), converted_.load(), conflicts_.load()};
  }

 private:
  struct Lease {
    K key{};
    Holder holder;
    std::uint64_t request = 0;
    bool shared = false;  // granted by more than one request
    SteadyTime deadline;
  };
  using Leases = detail::LinkedSlab<Lease>;
  using Index = typename Leases::Index;

  template <class Predicate>
  bool release_if(const K& key, SteadyTime now, Predicate predicate) {
    const auto it = by_key_.find(key);
    if (it == by_key_.end()) return false;
    const Lease& lease = leases_[it->second];
    if (now >= lease.deadline || !predicate(lease)) return false;
    drop(it);
    released_.add();
    return true;
  }

  void drop(typename detail::FlatMap<K, Index>::iterator it) {
    leases_.erase(order_, it->second);
    by_key_.erase(it);
    active_.store(leases_.size());
  }

  std::chrono::nanoseconds ttl_;
  std::size_t max_leases_;
  Leases leases_;
  typename Leases::List order_;
  detail::FlatMap<K, Index> by_key_;
  detail::Counter active_, granted_, renewed_, expired_, released_, converted_, conflicts_;
};

}  // namespace registry
