// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
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
  /// One that is not there yet.
  void add(Batch<K> batch, SteadyTime now) {
    const std::size_t size = size_of(batch);
    const std::uint64_t sequence = batch.sequence;
    sent_.emplace_hint(sent_.end(), sequence, Sent{std::move(batch), now});
    bytes_ += size;
  }

  bool empty() const noexcept { return sent_.empty(); }

  /// What they take in memory, roughly.
  std::size_t bytes() const noexcept { return bytes_; }

  /// The one with the lowest number; there must be one.
  const Batch<K>& first() const noexcept { return sent_.begin()->second.batch; }

  Batch<K> take_first() {
    Batch<K> batch = std::move(sent_.extract(sent_.begin()).mapped().batch);
    bytes_ -= size_of(batch);
    return batch;
  }

  bool contains(std::uint64_t sequence) const { return sent_.contains(sequence); }

  /// It counts as last sent at that time; false if it is not there.
  bool mark_sent(std::uint64_t sequence, SteadyTime time) noexcept {
    const auto sent = sent_.find(sequence);
    if (sent == sent_.end()) return false;
    sent->second.at = time;
    return true;
  }

  /// A copy of the next one, from this number on, that was sent by `time`; it counts as sent `now`, as `revise` leaves
  /// it.
  template <class Revise>
  std::optional<Batch<K>> next_sent_by(SteadyTime time, std::uint64_t sequence, SteadyTime now, Revise revise) {
    auto sent = sent_.lower_bound(sequence);
    while (sent != sent_.end() && sent->second.at > time) ++sent;
    if (sent == sent_.end()) return std::nullopt;
    this->revise(sent->second, revise);
    sent->second.at = now;
    return sent->second.batch;
  }

  /// Has each up to this number be as `revise` leaves it.
  template <class Revise>
  void revise_up_to(std::uint64_t sequence, Revise revise) {
    const auto end = sent_.upper_bound(sequence);
    for (auto sent = sent_.begin(); sent != end; ++sent) this->revise(sent->second, revise);
  }

 private:
  struct Sent {
    Batch<K> batch;
    SteadyTime at;
  };

  template <class Revise>
  void revise(Sent& sent, Revise& revise) {
    const std::size_t before = size_of(sent.batch);
    revise(sent.batch);
    bytes_ += size_of(sent.batch) - before;
  }

  /// With a node of the map, and what is kept of each key elsewhere.
  static std::size_t size_of(const Batch<K>& batch) noexcept {
    const std::size_t keys = batch.keys.size() + batch.left_out.size();
    return sizeof(Sent) + 48 + batch.message.size() + batch.envelope.size() + keys * (2 * sizeof(K) + 24) +
           batch.dropped.size() / 8;
  }

  std::map<std::uint64_t, Sent> sent_;
  std::size_t bytes_ = 0;
};

}  // namespace registry
