// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <registry/core/claim_queue.hpp>
#include <registry/core/failure.hpp>
#include <registry/core/instant.hpp>
#include <registry/core/key_states.hpp>
#include <registry/core/lease_manager.hpp>
#include <registry/core/options.hpp>
#include <registry/core/query_asker.hpp>
#include <registry/core/reports.hpp>
#include <registry/core/spare_memory.hpp>
#include <registry/detail/counter.hpp>
#include <registry/detail/flat_map.hpp>
#include <registry/envelope.hpp>
#include <registry/eviction.hpp>
#include <registry/holder.hpp>
#include <registry/message.hpp>
#include <registry/stats.hpp>

namespace registry {

/// The claims that wait, and who of them is granted a key that has come free. Claims that wait no longer are handed to
/// `end(claim) -> bool`, which answers them and says whether that reached them. One thread; the counter may be read
/// from any.
template <Eviction P>
class WaitingClaims {
 public:
  using K = typename P::key_type;
  using Hash = typename KeyStates<P>::Hash;
  using Number = typename KeyStates<P>::Number;

  WaitingClaims(KeyStates<P>& states, const HubOptions& options, Reports& reports)
      : states_(states), options_(options), reports_(reports) {}
  WaitingClaims(const WaitingClaims&) = delete;
  WaitingClaims& operator=(const WaitingClaims&) = delete;

  bool empty() const noexcept { return queue_.empty(); }
  std::size_t size() const noexcept { return queue_.size(); }

  /// What they take in memory, roughly.
  std::size_t bytes() const noexcept { return queue_.bytes(); }

  bool is_awaited(const K& key) const { return !queue_.empty() && queue_.is_awaited(key); }

  /// What waits in the place of the asker, or null; valid until the next change.
  const WaitingClaim<K>* find(const QueryAsker& asker) const {
    const auto number = queue_.find(asker.holder, asker.place());
    return number ? &queue_[*number] : nullptr;
  }

  /// Lets a claim wait, in the place of one that waits there already. Throws what its keys throw.
  void add(WaitingClaim<K> claim, Instant now) {
    forget_unawaited();
    for (const K& key : claim.keys) {
      if (states_.is_recovering(now) || states_.catalogue().is_held(key)) block(key, now);
    }
    queue_.add(std::move(claim));
    states_.leases().watch(&freed_);
    count_.store(queue_.size());
  }

  /// Gives up what waits in the place of the asker.
  void withdraw(const QueryAsker& asker) {
    if (const auto number = queue_.find(asker.holder, asker.place())) queue_.take(*number);
  }

  /// Says that the key is about to be stored. Leases that end are heard of without being told, and of what is stored
  /// already those who wait will be told.
  void note_registration_of(const K& key, Hash hash, Number hint) {
    if (!is_awaited(key)) return;
    if (states_.stored_under(key, hash, hint) == nullptr || states_.has_lease_left(key, hash)) freed_.push_back(key);
  }

  /// Tells those who wait what has become of the keys that have been freed or stored; a slice of them at a time.
  template <class End>
  void serve(Instant now, End end) {
    if (!blocked_.empty() && !states_.is_recovering(now) && now.lease >= retry_at_) {
      freed_.insert(freed_.end(), blocked_.begin(), blocked_.end());
      blocked_.clear();
    }
    for (std::size_t left = slice; left > 0 && !freed_.empty() && !queue_.empty();) {
      const K key = freed_.back();
      freed_.pop_back();
      if (!serve_key(key, now, end, left)) freed_.push_back(key);
    }
    if (queue_.empty()) {
      freed_.clear();
      give_back_spare(freed_);
      blocked_.clear();
      states_.leases().watch(nullptr);
    }
    count_.store(queue_.size());
  }

  /// Ends, a slice at a time, those that have waited for as long as they wanted to.
  template <class End>
  void end_due(Instant now, End end) {
    for (std::size_t left = slice; left > 0; --left) {
      const auto deadline = queue_.next_deadline();
      if (!deadline || now.lease < *deadline) return;
      end(queue_.take(*queue_.first_due()));
    }
  }

  /// Ends them all as if their time were over.
  template <class End>
  void end_all(End end) {
    while (const auto claim = queue_.first_due()) end(queue_.take(*claim));
  }

  /// When `serve` or `end_due` may have something to do, apart from keys that nothing will say are free.
  std::optional<SteadyTime> next_deadline() const {
    if (!freed_.empty()) return SteadyTime::min();
    const auto due = queue_.next_deadline();
    const auto lease_over = states_.leases().next_deadline();
    return due && lease_over ? std::min(*due, *lease_over) : due;
  }

  void add_to(HubStats& stats) const noexcept { stats.waiting_claims += count_.load(); }

 private:
  using Table = typename KeyStates<P>::Table;

  static constexpr std::size_t slice = 256;

  /// Whether all is said about the key for now; false if `left` has become 0 before.
  template <class End>
  bool serve_key(const K& key, Instant now, End& end, std::size_t& left) {
    auto& leases = states_.leases();
    const auto hash = states_.table().hash(key);
    for (; left > 0; --left) {
      const auto first = queue_.first(key);
      if (!first) return true;
      const auto found = attempt(now, [&] {
        states_.catalogue().drop_if_over(key, now.wall);
        return states_.look_up(key, hash, Table::none);
      });
      if (!found) return block(key, now);
      if (found->kind == Table::Kind::stored) {
        decide_first(key, OffloadStatus::already_stored, end);
        continue;
      }
      if (states_.is_recovering(now) || states_.catalogue().is_held(key)) return block(key, now);
      const Holder holder = queue_[*first].holder;
      const std::uint64_t request = queue_[*first].request;
      const ClientId client = Envelope::decode(queue_[*first].envelope)->client;
      const auto answer = attempt(now, [&] {
        leases.ask_for(holder, client, request, now.lease);
        return leases.acquire(*found, key, hash);
      });
      if (!answer || answer == LeaseAnswer::full) return block(key, now);
      if (answer == LeaseAnswer::leased) return true;
      if (answer == LeaseAnswer::client_full) {
        decide_first(key, OffloadStatus::leased, end);
        continue;
      }
      queue_.decide_first(key, OffloadStatus::granted);
      if (end(queue_.take(*first))) continue;
      // To the next one at once: nobody need be told, for which there may be no memory.
      leases.watch(nullptr);
      leases.withdraw(key, hash, holder, request, now.lease);
      leases.watch(&freed_);
    }
    return false;
  }

  /// Says so to the first that waits for the key, and ends it if it waits for nothing else.
  template <class End>
  void decide_first(const K& key, OffloadStatus status, End& end) {
    if (const auto done = queue_.decide_first(key, status)) end(queue_.take(*done));
  }

  /// Looks at a key that somebody waits for. Nothing, and a report, where the storage throws.
  template <class Look>
  auto attempt(Instant now, Look look) -> std::optional<decltype(look())> {
    try {
      return look();
    } catch (...) {
      reports_.add(now.lease, "what has become of a key that a claim waits for is not known: " + failure_text());
      return std::nullopt;
    }
  }

  /// Nothing will say when the key is free: it is looked at again at the next cleanup.
  bool block(const K& key, Instant now) {
    if (blocked_.empty()) retry_at_ = now.lease + options_.lease_cleanup_interval;
    blocked_.insert(key);
    return true;
  }

  /// Keys stay blocked when those who waited for them have gone: here they are taken out, so that they are never many
  /// more than are awaited. O(1) for each on average.
  void forget_unawaited() {
    if (blocked_.size() < forget_at_) return;
    erase_if(blocked_, [this](const K& key) { return !queue_.is_awaited(key); });
    forget_at_ = std::max(least_forgotten, 2 * blocked_.size());
  }

  static constexpr std::size_t least_forgotten = 1024;

  KeyStates<P>& states_;
  const HubOptions& options_;
  Reports& reports_;
  ClaimQueue<K> queue_;
  std::vector<K> freed_;        // that somebody may wait for and whose lease has ended or that have been stored
  detail::FlatSet<K> blocked_;  // that somebody waits for and that nothing will say is free
  std::size_t forget_at_ = least_forgotten;
  SteadyTime retry_at_{};
  detail::Counter count_;
};

}  // namespace registry
