// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include <registry/detail/flat_map.hpp>
#include <registry/key.hpp>

namespace registry {

/// Lets calls that share a key go on one after the other, in the order in which they came; others pass. What it costs
/// a call depends on its own keys only. `Call` is what the caller knows a call by. Not thread-safe.
template <Key K, class Call>
class CallOrder {
 public:
  using Ticket = std::uint64_t;

  /// A place in the order, until it is destroyed. Outlives the order if need be.
  class Place {
   public:
    Place(std::shared_ptr<CallOrder> order, Ticket ticket) noexcept : order_(std::move(order)), ticket_(ticket) {}
    Place(Place&& other) noexcept : order_(std::exchange(other.order_, nullptr)), ticket_(other.ticket_) {}
    Place& operator=(Place&&) = delete;
    ~Place() {
      if (order_) order_->leave(ticket_);
    }

    /// Whether nothing before it shares a key with it.
    bool is_first() const { return order_->calls_.find(ticket_)->second.before == 0; }

   private:
    std::shared_ptr<CallOrder> order_;
    Ticket ticket_;
  };

  /// A place behind all that have one and share a key. If it is not the first, `take_ready` says when it is. Throws
  /// std::bad_alloc, and all is as before.
  template <class Items, class KeyOf = std::identity>
  static Place enter(const std::shared_ptr<CallOrder>& order, Call call, const Items& items, KeyOf key_of = {}) {
    order->make_room();
    const Ticket ticket = ++order->last_;
    order->calls_.emplace(ticket, Entry{std::move(call), {}});
    Place place(order, ticket);
    order->stand_in_line(ticket, items, key_of);
    if (!place.is_first()) order->waiting_.insert(ticket);
    return place;
  }

  bool empty() const noexcept { return calls_.empty(); }

  /// The last ticket that was given.
  Ticket last() const noexcept { return last_; }

  /// Whether a call up to this ticket, and not over, is not the first yet, or is and has not been taken.
  bool waits_up_to(Ticket ticket) const noexcept {
    return has_ready() || (!waiting_.empty() && *waiting_.begin() <= ticket);
  }

  bool has_ready() const noexcept { return !ready_.empty(); }

  /// The calls that had to wait and are the first now, in the order in which they have become so.
  std::vector<Call> take_ready() {
    std::vector<Call> ready;
    ready.reserve(ready_.size());
    for (const Ticket ticket : ready_) {
      const auto it = calls_.find(ticket);
      if (it != calls_.end()) ready.push_back(it->second.call);
    }
    ready_.clear();
    return ready;
  }

 private:
  struct Entry {
    Call call;
    std::vector<K> keys;
    std::size_t before = 0;  // keys that are still another's
    bool is_over = false;
  };
  /// Of a key: whose it is, and who waits for it, from `next` on.
  struct Line {
    Ticket holder;
    std::vector<Ticket> waiting;
    std::size_t next = 0;
  };

  template <class Items, class KeyOf>
  void stand_in_line(Ticket ticket, const Items& items, KeyOf key_of) {
    Entry& entry = calls_.find(ticket)->second;
    entry.keys.reserve(items.size());
    for (const auto& item : items) {
      entry.keys.push_back(std::invoke(key_of, item));
      bool is_in_line = false;
      try {
        is_in_line = stand_in_line(ticket, entry);
      } catch (...) {
        entry.keys.pop_back();
        throw;
      }
      if (!is_in_line) entry.keys.pop_back();
    }
  }

  /// For the last of its keys; false if that was named before.
  bool stand_in_line(Ticket ticket, Entry& entry) {
    const auto [it, is_new] = lines_.try_emplace(entry.keys.back(), Line{ticket, {}});
    if (is_new) return true;
    Line& line = it->second;
    if ((line.waiting.empty() ? line.holder : line.waiting.back()) == ticket) return false;
    line.waiting.push_back(ticket);
    ++entry.before;
    return true;
  }

  /// So that leaving cannot fail.
  void make_room() {
    const std::size_t most = ready_.size() + calls_.size() + 1;
    if (ready_.capacity() < most) ready_.reserve(2 * most);
  }

  /// What is not the first keeps its place, for nobody, until it is.
  void leave(Ticket ticket) noexcept {
    Entry& entry = calls_.find(ticket)->second;
    entry.is_over = true;
    if (entry.before > 0) {
      waiting_.erase(ticket);
      return;
    }
    std::size_t next = ready_.size();
    hand_on(ticket);
    // Those that are over by now leave as soon as they are the first.
    for (; next < ready_.size(); ++next) {
      if (calls_.find(ready_[next])->second.is_over) hand_on(ready_[next]);
    }
  }

  void hand_on(Ticket ticket) noexcept {
    const auto call = calls_.find(ticket);
    for (const K& key : call->second.keys) {
      const auto it = lines_.find(key);
      Line& line = it->second;
      if (line.next == line.waiting.size()) {
        lines_.erase(it);
        continue;
      }
      line.holder = line.waiting[line.next++];
      if (2 * line.next >= line.waiting.size()) {
        line.waiting.erase(line.waiting.begin(), line.waiting.begin() + static_cast<std::ptrdiff_t>(line.next));
        line.next = 0;
      }
      if (--calls_.find(line.holder)->second.before > 0) continue;
      waiting_.erase(line.holder);
      ready_.push_back(line.holder);
    }
    calls_.erase(call);
  }

  std::unordered_map<Ticket, Entry> calls_;
  detail::FlatMap<K, Line> lines_;
  std::set<Ticket> waiting_;  // that are not over
  std::vector<Ticket> ready_;
  Ticket last_ = 0;
};

}  // namespace registry
