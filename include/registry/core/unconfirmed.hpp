// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <utility>

#include <registry/core/batcher.hpp>
#include <registry/core/instant.hpp>

namespace registry {

/// Registrations that were handed to the transport and that the hub has not confirmed yet, in the order of their
/// numbers. Not thread-safe.
template <class K>
class Unconfirmed {
 public:
  void add(Batch<K> batch, SteadyTime now) {
    bytes_ += size_of(batch);
    const auto place = std::ranges::upper_bound(sent_, batch.sequence, {}, &Sent::sequence);
    sent_.insert(place, {std::move(batch), now});
  }

  bool empty() const noexcept { return sent_.empty(); }

  /// What they take in memory, roughly.
  std::size_t bytes() const noexcept { return bytes_; }

  /// The one with the lowest number; there must be one.
  const Batch<K>& first() const noexcept { return sent_.front().batch; }

  Batch<K> take_first() {
    Batch<K> batch = std::move(sent_.front().batch);
    sent_.pop_front();
    bytes_ -= size_of(batch);
    return batch;
  }

  bool contains(std::uint64_t sequence) const {
    return std::ranges::binary_search(sent_, sequence, {}, &Sent::sequence);
  }

  /// It counts as last sent at that time; false if it is not there.
  bool mark_sent(std::uint64_t sequence, SteadyTime time) noexcept {
    const auto sent = std::ranges::lower_bound(sent_, sequence, {}, &Sent::sequence);
    if (sent == sent_.end() || sent->sequence() != sequence) return false;
    sent->at = time;
    return true;
  }

  /// A copy of the next one, from this number on, that was sent by `time`; it counts as sent `now`, as `revise` leaves
  /// it.
  template <class Revise>
  std::optional<Batch<K>> next_sent_by(SteadyTime time, std::uint64_t sequence, SteadyTime now, Revise revise) {
    auto sent = std::ranges::lower_bound(sent_, sequence, {}, &Sent::sequence);
    while (sent != sent_.end() && sent->at > time) ++sent;
    if (sent == sent_.end()) return std::nullopt;
    this->revise(*sent, revise);
    sent->at = now;
    return sent->batch;
  }

  /// Has each up to this number be as `revise` leaves it.
  template <class Revise>
  void revise_up_to(std::uint64_t sequence, Revise revise) {
    for (Sent& sent : sent_) {
      if (sent.batch.sequence > sequence) return;
      this->revise(sent, revise);
    }
  }

 private:
  struct Sent {
    Batch<K> batch;
    SteadyTime at;

    std::uint64_t sequence() const noexcept { return batch.sequence; }
  };

  template <class Revise>
  void revise(Sent& sent, Revise& revise) {
    const std::size_t before = size_of(sent.batch);
    revise(sent.batch);
    bytes_ += size_of(sent.batch) - before;
  }

  /// With what is kept of each key beside them.
  static std::size_t size_of(const Batch<K>& batch) noexcept {
    const std::size_t keys = batch.keys.size() + batch.left_out.size();
    return sizeof(Sent) + batch.message.size() + batch.envelope.size() + keys * (2 * sizeof(K) + 24) +
           batch.dropped.size() / 8;
  }

  std::deque<Sent> sent_;
  std::size_t bytes_ = 0;
};

}  // namespace registry
