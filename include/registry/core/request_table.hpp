// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <utility>

#include <registry/core/client_core.hpp>
#include <registry/core/instant.hpp>
#include <registry/detail/linked_slab.hpp>

namespace registry {

/// Requests in progress that all have the same timeout, so that the order in which they came is the order in which they
/// run out: every operation is O(1). An id is generation << 32 | slot; that of a request that is gone finds nothing, so
/// late answers are dropped. Not thread-safe.
template <class T>
class RequestTable {
 public:
  /// `deadline` must not be before that of an earlier request. Ids are above 0 and come again after 2^32 requests.
  RequestId add(T request, SteadyTime deadline) {
    const Index index = slots_.push_back(order_, {std::move(request), 0, deadline});
    if (index >= slot_count_) slot_count_ = std::size_t{index} + 1;
    if (++generation_ == 0) ++generation_;
    return slots_[index].id = std::uint64_t{generation_} << 32U | index;
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
    return std::move(slots_.erase(order_, *index).request);
  }

  /// The request that runs out first, or that came first; nothing if there is none.
  std::optional<RequestId> first() const {
    if (order_.empty()) return std::nullopt;
    return slots_[order_.front].id;
  }

  /// When the first request runs out.
  std::optional<SteadyTime> next_deadline() const {
    if (order_.empty()) return std::nullopt;
    return slots_[order_.front].deadline;
  }

  std::size_t size() const noexcept { return slots_.size(); }

 private:
  struct Slot {
    T request{};
    RequestId id = 0;
    SteadyTime deadline;
  };
  using Slots = detail::LinkedSlab<Slot>;
  using Index = typename Slots::Index;

  std::optional<Index> slot(RequestId id) const {
    const auto index = static_cast<Index>(id & std::numeric_limits<Index>::max());
    if (id == 0 || index >= slot_count_ || slots_[index].id != id) return std::nullopt;
    return index;
  }

  Slots slots_;
  typename Slots::List order_;
  std::size_t slot_count_ = 0;
  std::uint32_t generation_ = 0;
};

}  // namespace registry
