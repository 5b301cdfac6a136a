// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <set>
#include <utility>

#include <registry/core/client_core.hpp>
#include <registry/core/instant.hpp>
#include <registry/detail/linked_slab.hpp>

namespace registry {

/// Requests in progress. Most have the same timeout, so that the order in which they came is the order in which they
/// run out, and every operation on them is O(1); those with a time of their own are kept apart, which costs the
/// logarithm of their number. An id is generation << 32 | slot; that of a request that is gone finds nothing, so late
/// answers are dropped. Not thread-safe.
template <class T>
class RequestTable {
 public:
  /// `deadline` must not be before that of a request that was added earlier. Ids are above 0 and come again after 2^32
  /// requests.
  RequestId add(T request, SteadyTime deadline) {
    return name(slots_.push_back(order_, {std::move(request), 0, deadline, false}));
  }

  /// Adds a request that may run out at any time, whatever came before it.
  RequestId add_apart(T request, SteadyTime deadline) {
    const Index index = slots_.push_back(apart_, {std::move(request), 0, deadline, true});
    try {
      by_deadline_.emplace(deadline, index);
    } catch (...) {
      slots_.erase(apart_, index);
      throw;
    }
    return name(index);
  }

  /// Gives a request that was added apart, and is not gone, another deadline.
  void postpone(RequestId id, SteadyTime deadline) {
    const Index index = *slot(id);
    auto node = by_deadline_.extract({slots_[index].deadline, index});
    node.value().first = slots_[index].deadline = deadline;
    by_deadline_.insert(std::move(node));
  }

  /// The request, or null if it is gone; valid until the next `add`.
  T* find(RequestId id) {
    const auto index = slot(id);
    return index ? &slots_[*index].request : nullptr;
  }

  /// Takes the request out; nothing if it is gone.
  std::optional<T> take(RequestId id) {
    const auto index = slot(id);
    if (!index) return std::nullopt;
    const bool is_apart = slots_[*index].is_apart;
    if (is_apart) by_deadline_.erase({slots_[*index].deadline, *index});
    return std::move(slots_.erase(is_apart ? apart_ : order_, *index).request);
  }

  /// Calls `action(id, request)` for all of them; it must not add or take any.
  template <class Action>
  void for_each(Action action) {
    for (const auto& list : {order_, apart_}) {
      for (Index i = list.front; i != Slots::none; i = slots_.next(i)) action(slots_[i].id, slots_[i].request);
    }
  }

  /// The request that runs out first; nothing if there is none.
  std::optional<RequestId> first() const {
    const auto index = first_slot();
    return index ? std::optional{slots_[*index].id} : std::nullopt;
  }

  /// When the first request runs out.
  std::optional<SteadyTime> next_deadline() const {
    const auto index = first_slot();
    return index ? std::optional{slots_[*index].deadline} : std::nullopt;
  }

  std::size_t size() const noexcept { return slots_.size(); }

 private:
  struct Slot {
    T request{};
    RequestId id = 0;
    SteadyTime deadline;
    bool is_apart = false;
  };
  using Slots = detail::LinkedSlab<Slot>;
  using Index = typename Slots::Index;

  RequestId name(Index index) {
    if (index >= slot_count_) slot_count_ = std::size_t{index} + 1;
    if (++generation_ == 0) ++generation_;
    return slots_[index].id = std::uint64_t{generation_} << 32U | index;
  }

  std::optional<Index> first_slot() const {
    if (by_deadline_.empty()) return order_.empty() ? std::nullopt : std::optional{order_.front};
    const auto& [deadline, index] = *by_deadline_.begin();
    return order_.empty() || deadline < slots_[order_.front].deadline ? index : order_.front;
  }

  std::optional<Index> slot(RequestId id) const {
    const auto index = static_cast<Index>(id & std::numeric_limits<Index>::max());
    if (id == 0 || index >= slot_count_ || slots_[index].id != id) return std::nullopt;
    return index;
  }

  Slots slots_;
  typename Slots::List order_;
  typename Slots::List apart_;
  std::set<std::pair<SteadyTime, Index>> by_deadline_;  // of those apart
  std::size_t slot_count_ = 0;
  std::uint32_t generation_ = 0;
};

}  // namespace registry
