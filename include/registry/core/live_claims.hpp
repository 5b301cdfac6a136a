// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include <registry/core/claim_state.hpp>
#include <registry/core/client_core.hpp>
#include <registry/core/instant.hpp>
#include <registry/message.hpp>

namespace registry {

/// The claims of a client that may hold something: what has to be had back of a new hub. It owns none of them. Not
/// thread-safe.
template <class K>
class LiveClaims {
 public:
  using ClaimPtr = std::shared_ptr<ClaimState<K>>;

  /// Makes a claim of what was answered to it, `sent` when it was sent or before. Two hubs may have granted one key,
  /// the second because it did not know of the first's: the later grant counts, and what has the earlier loses the key,
  /// or does not get it if it comes second.
  ClaimPtr make(std::uint64_t number, ClaimAnswer<K> answer, SteadyTime sent) {
    if (!answer.result.can_offload.empty()) settle(answer);
    auto claim = std::make_shared<ClaimState<K>>(number, std::move(answer), sent);
    if (claim->holds_any()) add(claim);
    return claim;
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

  void settle(ClaimAnswer<K>& answer) {
    if (std::exchange(incarnation_, answer.incarnation) != answer.incarnation) has_foreign_ = true;
    // Looked for only after a restart: there may be many claims.
    if (!has_foreign_) return;
    const std::vector<ClaimPtr> foreign = foreign_to(answer.incarnation);
    has_foreign_ = !foreign.empty();
    for (const ClaimPtr& other : foreign) {
      if (other->token() < answer.token) {
        other->lose(answer.result.can_offload);
      } else {
        take_away(answer.result, *other);
      }
    }
  }

  /// What the other holds is leased, to the one who was answered.
  static void take_away(OffloadResult<K>& result, const ClaimState<K>& other) {
    const std::vector<K> granted = std::exchange(result.can_offload, {});
    const std::vector<K> leased = std::exchange(result.leased, {});
    auto next_granted = granted.begin();
    auto next_leased = leased.begin();
    for (OffloadStatus& status : result.statuses) {
      if (status == OffloadStatus::granted && other.holds(*next_granted)) {
        status = OffloadStatus::leased;
        result.leased.push_back(*next_granted++);
      } else if (status == OffloadStatus::granted) {
        result.can_offload.push_back(*next_granted++);
      } else if (status == OffloadStatus::leased) {
        result.leased.push_back(*next_leased++);
      }
    }
  }

  void add(const ClaimPtr& claim) {
    if (claims_.size() >= sweep_at_) {
      std::erase_if(claims_, [](const auto& other) { return !is_live(other.lock()); });
      sweep_at_ = std::max(least_sweep, 2 * claims_.size());
    }
    claims_.push_back(claim);
  }

  std::vector<std::weak_ptr<ClaimState<K>>> claims_;
  std::size_t sweep_at_ = least_sweep;
  std::uint64_t incarnation_ = 0;  // of the hub that granted the last one
  bool has_foreign_ = false;       // there may be claims of other hubs
};

}  // namespace registry
