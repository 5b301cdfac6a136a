// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include <registry/bytes.hpp>
#include <registry/core/instant.hpp>
#include <registry/detail/flat_map.hpp>
#include <registry/detail/linked_slab.hpp>
#include <registry/holder.hpp>
#include <registry/key.hpp>
#include <registry/message.hpp>

namespace registry {

/// A claim that waits for keys which others hold, with all that is needed to answer it later.
template <Key K>
struct WaitingClaim {
  Bytes sender;
  Bytes envelope;
  Holder holder;
  std::uint64_t request = 0;
  /// Tells apart what of one holder waits at a time: a claim asks for one thing, by which request ever, and has 0 here.
  std::uint64_t place = 0;
  std::vector<K> keys;
  std::vector<OffloadStatus> statuses;
  SteadyTime since;
  SteadyTime deadline;

  /// What it takes in memory while it waits, indexes included, rather too much than too little.
  std::size_t bytes() const noexcept {
    return 512 + sender.size() + envelope.size() + keys.size() * (3 * sizeof(K) + 40);
  }
};

/// Claims that wait, first come, first served, for each key by itself. A claim is in the queue of every key that was
/// `leased` when it came. Every operation is O(1) or logarithmic for each key it is about. One thread.
template <Key K>
class ClaimQueue {
 public:
  using Number = std::uint32_t;

  /// Takes in a claim of which at least one key is `leased`. One that waits in its place already is replaced, and if it
  /// waits for the same the new one is served when that would have been.
  void add(WaitingClaim<K> claim) {
    if (const auto before = find(claim.holder, claim.place)) {
      if (waits_for_the_same(claims_[*before], claim)) return replace(*before, std::move(claim));
      take(*before);
    }
    const Number number = claims_.push_back(all_, Waiting{std::move(claim), {}, 0});
    Waiting& waiting = claims_[number];
    bytes_ += waiting.claim.bytes();
    try {
      waiting.places.assign(waiting.claim.keys.size(), Places::none);
      for (std::uint32_t i = 0; i < waiting.places.size(); ++i) {
        if (waiting.claim.statuses[i] == OffloadStatus::leased) enter(waiting, number, i);
      }
      by_deadline_.emplace(waiting.claim.deadline, number);
      by_place_.emplace(name(waiting.claim), number);
    } catch (...) {
      take(number);
      throw;
    }
  }

  bool empty() const noexcept { return claims_.size() == 0; }
  std::size_t size() const noexcept { return claims_.size(); }

  /// What the claims that wait take in memory, roughly.
  std::size_t bytes() const noexcept { return bytes_; }

  bool is_awaited(const K& key) const { return by_key_.contains(key); }

  /// Who is next for this key.
  std::optional<Number> first(const K& key) const {
    const auto it = by_key_.find(key);
    if (it == by_key_.end()) return std::nullopt;
    return places_[it->second.front].claim;
  }

  const WaitingClaim<K>& operator[](Number number) const noexcept { return claims_[number].claim; }

  /// What waits in this place of the holder's.
  std::optional<Number> find(const Holder& holder, std::uint64_t place) const {
    const auto it = by_place_.find({holder.id, place});
    if (it == by_place_.end()) return std::nullopt;
    return it->second;
  }

  /// Says to the first claim for this key what has become of it; answers its number if it waits for nothing else.
  std::optional<Number> decide_first(const K& key, OffloadStatus status) {
    const Place place = places_[by_key_.at(key).front];
    Waiting& waiting = claims_[place.claim];
    waiting.claim.statuses[place.position] = status;
    leave(waiting, place.position);
    return waiting.undecided == 0 ? std::optional{place.claim} : std::nullopt;
  }

  /// Takes a claim out of all its queues.
  WaitingClaim<K> take(Number number) {
    Waiting& waiting = claims_[number];
    for (std::uint32_t i = 0; i < waiting.places.size(); ++i) leave(waiting, i);
    by_deadline_.erase({waiting.claim.deadline, number});
    by_place_.erase(name(waiting.claim));
    bytes_ -= waiting.claim.bytes();
    return std::move(claims_.erase(all_, number).claim);
  }

  /// The claim whose wait ends first.
  std::optional<Number> first_due() const {
    if (by_deadline_.empty()) return std::nullopt;
    return by_deadline_.begin()->second;
  }

  std::optional<SteadyTime> next_deadline() const {
    if (by_deadline_.empty()) return std::nullopt;
    return by_deadline_.begin()->first;
  }

 private:
  struct Place {
    Number claim = 0;
    std::uint32_t position = 0;
  };
  using Places = detail::LinkedSlab<Place>;

  struct Waiting {
    WaitingClaim<K> claim;
    std::vector<typename Places::Index> places;  // of each key; none where it is decided
    std::size_t undecided = 0;
  };
  using Name = std::pair<ClientId, std::uint64_t>;

  static Name name(const WaitingClaim<K>& claim) { return {claim.holder.id, claim.place}; }

  /// Not if it was passed over for a key: it is `leased` to it then, but the claim has no place in the queue any more.
  static bool waits_for_the_same(const Waiting& before, const WaitingClaim<K>& claim) {
    const auto leased = std::ranges::count(claim.statuses, OffloadStatus::leased);
    return before.claim.keys == claim.keys && before.claim.statuses == claim.statuses &&
           before.undecided == static_cast<std::size_t>(leased);
  }

  void replace(Number number, WaitingClaim<K> claim) {
    WaitingClaim<K>& before = claims_[number].claim;
    by_deadline_.emplace(claim.deadline, number);
    if (before.deadline != claim.deadline) by_deadline_.erase({before.deadline, number});
    bytes_ += claim.bytes();
    bytes_ -= before.bytes();
    before = std::move(claim);
  }

  void enter(Waiting& waiting, Number number, std::uint32_t position) {
    const auto queue = by_key_.try_emplace(waiting.claim.keys[position]).first;
    try {
      waiting.places[position] = places_.push_back(queue->second, {number, position});
    } catch (...) {
      if (queue->second.empty()) by_key_.erase(queue);
      throw;
    }
    ++waiting.undecided;
  }

  void leave(Waiting& waiting, std::uint32_t position) {
    const auto place = std::exchange(waiting.places[position], Places::none);
    if (place == Places::none) return;
    const auto queue = by_key_.find(waiting.claim.keys[position]);
    places_.erase(queue->second, place);
    if (queue->second.empty()) by_key_.erase(queue);
    --waiting.undecided;
  }

  detail::LinkedSlab<Waiting> claims_;
  typename detail::LinkedSlab<Waiting>::List all_;
  Places places_;
  detail::FlatMap<K, typename Places::List> by_key_;
  std::set<std::pair<SteadyTime, Number>> by_deadline_;
  std::map<Name, Number> by_place_;
  std::size_t bytes_ = 0;
};

}  // namespace registry
