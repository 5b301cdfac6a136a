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

/// What a query must not overtake.
struct Turn {
  MessageType type;
  ClientId client;
  /// The last registration that it must not overtake.
  std::uint64_t after;
  /// Its client knows what is missing up to this one.
  std::uint64_t waived;

  /// A removal that overtakes a registration is undone by it, and whoever asked for it would not know; anything else
  /// takes no harm from one that somebody has waited for in vain.
  bool is_removal() const noexcept { return type == MessageType::remove || type == MessageType::remove_if; }

  bool has_come(const SequenceTracker& sequences, SteadyTime now) const {
    return is_removal() ? sequences.has_come(client, after, waived, now) : sequences.has_applied(client, after);
  }
};

/// A query that waits for registrations of its client, with all that is needed to answer it later.
struct WaitingQuery {
  Bytes sender;
  Bytes envelope;
  Bytes message;
  Turn turn;
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

  /// The first, from the i-th on, that has nothing to wait for any more.
  std::optional<std::size_t> first_ready(const SequenceTracker& sequences, SteadyTime now, std::size_t i) const {
    for (; i < queries_.size(); ++i) {
      if (queries_[i].turn.has_come(sequences, now)) return i;
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
