// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include <registry/core/claim_state.hpp>

namespace registry {

/// The claims of a client that may hold something: what has to be had back of a new hub. It owns none of them. Not
/// thread-safe.
template <class K>
class LiveClaims {
 public:
  using ClaimPtr = std::shared_ptr<ClaimState<K>>;

  void add(const ClaimPtr& claim) {
    if (claims_.size() >= sweep_at_) {
      std::erase_if(claims_, [](const auto& other) { return !is_live(other.lock()); });
      sweep_at_ = std::max(least_sweep, 2 * claims_.size());
    }
    claims_.push_back(claim);
  }

  bool any() const {
    return std::ranges::any_of(claims_, [](const auto& claim) { return is_live(claim.lock()); });
  }

  /// Those whose leases are another hub's than this.
  std::vector<ClaimPtr> foreign_to(std::uint64_t incarnation) const {
    std::vector<ClaimPtr> foreign;
    for (const auto& claim : claims_) {
      if (auto state = claim.lock(); is_live(state) && state->incarnation() != incarnation) {
        foreign.push_back(std::move(state));
      }
    }
    return foreign;
  }

 private:
  static constexpr std::size_t least_sweep = 16;

  static bool is_live(const ClaimPtr& claim) { return claim && claim->holds_any(); }

  std::vector<std::weak_ptr<ClaimState<K>>> claims_;
  std::size_t sweep_at_ = least_sweep;
};

}  // namespace registry
