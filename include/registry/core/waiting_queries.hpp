// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <utility>

#include <registry/bytes.hpp>
#include <registry/core/instant.hpp>
#include <registry/core/sequence_tracker.hpp>
#include <registry/envelope.hpp>
#include <registry/message.hpp>

namespace registry {

/// A query that waits for registrations of its client, with all that is needed to answer it later.
struct WaitingQuery {
  Bytes sender;
  Bytes envelope;
  Bytes message;
  MessageType type;
  ClientId client;
  /// The last registration that it must not overtake.
  std::uint64_t after;
  SteadyTime deadline;

  std::size_t bytes() const noexcept { return sender.size() + envelope.size() + message.size(); }
};

/// Queries that wait for registrations, in the order in which they came. All wait equally long, so that is also the
/// order of their deadlines. One thread.
class WaitingQueries {
 public:
  void add(WaitingQuery query) {
    const std::size_t bytes = query.bytes();
    queries_.push_back(std::move(query));
    bytes_ += bytes;
  }

  bool empty() const noexcept { return queries_.empty(); }
  std::size_t size() const noexcept { return queries_.size(); }

  /// What the messages that wait take in memory.
  std::size_t bytes() const noexcept { return bytes_; }

  const WaitingQuery& front() const noexcept { return queries_.front(); }

  WaitingQuery take(std::size_t i) {
    WaitingQuery taken = std::move(queries_[i]);
    queries_.erase(queries_.begin() + static_cast<std::ptrdiff_t>(i));
    bytes_ -= taken.bytes();
    return taken;
  }

  /// The first, from the i-th on, that has nothing to wait for any more and `may_go`.
  template <class Predicate>
  std::optional<std::size_t> first_ready(const SequenceTracker& sequences, Predicate may_go, std::size_t i) const {
    for (; i < queries_.size(); ++i) {
      if (may_go(queries_[i]) && sequences.has_applied(queries_[i].client, queries_[i].after)) return i;
    }
    return std::nullopt;
  }

  std::optional<SteadyTime> next_deadline() const {
    if (queries_.empty()) return std::nullopt;
    return queries_.front().deadline;
  }

 private:
  std::deque<WaitingQuery> queries_;
  std::size_t bytes_ = 0;
};

}  // namespace registry
