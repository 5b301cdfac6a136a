// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include <registry/core/call_order.hpp>
#include <registry/core/client_core.hpp>
#include <registry/transport/asio_operation.hpp>

namespace registry::detail {

/// The calls of a client on an executor that must not overtake each other. Those that share a key go on one after the
/// other; some of those that may then wait in front, in turn, until what is batched has gone. Not thread-safe.
template <class Core>
class AsioCallLine {
 public:
  using Query = AsioQuery<Core>;
  using Write = AsioWrite<Core>;
  using Name = AsioCallName;

  /// False if a call that shares a key is before it, if it changes something: then `take_ready` says when it may go on.
  bool enter(Query& query) {
    if (query.place || query.changes().empty()) return true;
    query.place.emplace(Order::enter(order_, {query.id, true}, query.changes()));
    if (query.place->is_first()) return true;
    await(query);
    return false;
  }

  /// For one that may go on.
  void wait_in_front(Query& query) {
    await(query);
    front_.push_back({query.id, true});
  }

  /// To the front, as soon as it may. One without entries waits for all that wait before it.
  void enter(Write& write) {
    const Name name{write.id, false};
    if (write.entries.empty()) {
      drains_.emplace_back(order_->last(), name);
      return let_drains_pass();
    }
    write.place.emplace(Order::enter(order_, name, write.entries, &Core::EntryType::key));
    if (write.place->is_first()) front_.push_back(name);
  }

  /// What a write has become has its place.
  void replace(Write& write, Query& query) {
    if (!write.place) {
      enter(query);
      return;
    }
    query.place.emplace(std::move(*write.place));
    write.place.reset();
  }

  /// The queries that may go on now; the writes have come to the front. `let_drains_pass` is to be called next.
  std::vector<RequestId> take_ready() {
    std::vector<RequestId> queries;
    for (const Name name : order_->take_ready()) {
      if (name.is_query) {
        queries.push_back(name.id);
      } else {
        front_.push_back(name);
      }
    }
    return queries;
  }

  /// Writes without entries, to the front.
  void let_drains_pass() {
    while (!drains_.empty() && !order_->waits_up_to(drains_.front().first)) {
      front_.push_back(drains_.front().second);
      drains_.pop_front();
    }
  }

  bool has_ready() const noexcept { return order_->has_ready(); }

  /// Whether no call that changes something is in progress.
  bool empty() const noexcept { return order_->empty() && front_.empty(); }

  /// What waits in front.
  bool has_front() const noexcept { return !front_.empty(); }
  Name front() const noexcept { return front_.front(); }
  void pop_front() noexcept { front_.pop_front(); }

  /// Whether a call of this claim has not begun.
  bool holds_up(std::uint64_t claim) const { return claims_->contains(claim); }

  /// The calls themselves are ended by whoever calls this.
  void clear() noexcept {
    front_.clear();
    drains_.clear();
  }

 private:
  using Order = AsioCallOrder<Core>;
  using Ticket = typename Order::Ticket;

  void await(Query& query) {
    if (query.claim() && !query.unbegun) query.unbegun.emplace(claims_, *query.claim());
  }

  std::shared_ptr<Order> order_ = std::make_shared<Order>();
  std::deque<Name> front_;
  std::deque<std::pair<Ticket, Name>> drains_;  // with the last ticket before it
  std::shared_ptr<CountedClaim::Counts> claims_ = std::make_shared<CountedClaim::Counts>();  // with calls not begun
};

}  // namespace registry::detail
