// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>
#include <utility>
#include <vector>

#include <registry/core/client_core.hpp>
#include <registry/core/instant.hpp>
#include <registry/detail/flat_map.hpp>
#include <registry/key.hpp>
#include <registry/message.hpp>

namespace registry {

/// What one claim holds: granted, and neither registered nor given back nor lost. Without sockets, clocks or threads;
/// safe from any thread, because a client that meets a new hub claims back what its claims hold.
template <Key K>
class ClaimState {
 public:
  /// `sent` is when the claim's request was sent, or before.
  ClaimState(std::uint64_t number, ClaimAnswer<K> answer, SteadyTime sent)
      : number_(number),
        answer_(std::move(answer)),
        held_(answer_.result.can_offload.begin(), answer_.result.can_offload.end()),
        incarnation_(answer_.incarnation),
        ttl_(answer_.ttl),
        renewed_at_(sent + answer_.waited) {}

  std::uint64_t number() const noexcept { return number_; }
  /// As it was at first.
  const OffloadResult<K>& result() const noexcept { return answer_.result; }
  std::uint64_t token() const noexcept { return answer_.token; }

  /// Until when, and not a moment longer, the keys are certainly held.
  SteadyTime deadline() const {
    const std::lock_guard lock(mutex_);
    return renewed_at_ + ttl_;
  }

  /// When a third of the time is over: late enough to be rare, early enough to be tried twice more.
  SteadyTime renewal_due() const {
    const std::lock_guard lock(mutex_);
    return renewed_at_ + ttl_ / 3;
  }

  std::vector<K> held() const {
    const std::lock_guard lock(mutex_);
    return {held_.begin(), held_.end()};
  }

  bool holds(const K& key) const {
    const std::lock_guard lock(mutex_);
    return held_.contains(key);
  }

  /// What it has held and lost: the lease was over, or the key granted to somebody else or stored by him.
  std::vector<K> lost() const {
    const std::lock_guard lock(mutex_);
    return lost_;
  }

  /// What of that the hub has said to be stored, by whomever.
  std::vector<K> stored_meanwhile() const {
    const std::lock_guard lock(mutex_);
    return stored_meanwhile_;
  }

  /// The hub that granted, or confirmed last, what is held.
  std::uint64_t incarnation() const {
    const std::lock_guard lock(mutex_);
    return incarnation_;
  }

  /// Whether there is anything that it could lose.
  bool holds_any() const {
    const std::lock_guard lock(mutex_);
    return !held_.empty();
  }

  /// The call that has the lease time begin anew for all that is held; `renewed` takes in its answer, for its keys.
  RenewCall<K> renewal(SteadyTime now) const {
    const std::lock_guard lock(mutex_);
    // What is over cannot be had back of another hub, which does not know that it is: somebody else may hold it.
    const std::uint64_t granted_by = now < renewed_at_ + ttl_ ? incarnation_ : 0;
    return {{MessageType::renew, 0, {}, {}, {held_.begin(), held_.end()}, number_}, granted_by};
  }

  /// Takes out what has been registered, and what turns out to be somebody else's.
  void registered(std::span<const K> keys, std::span<const RegisterStatus> outcomes) {
    const std::lock_guard lock(mutex_);
    for (std::size_t i = 0; i < keys.size(); ++i) {
      if (outcomes[i] == RegisterStatus::stored) {
        held_.erase(keys[i]);
        // A renewal on another thread may have been told already that it is stored, and not by whom.
        std::erase(lost_, keys[i]);
        std::erase(stored_meanwhile_, keys[i]);
      }
      if (outcomes[i] == RegisterStatus::lease_conflict) lose(keys[i]);
      if (outcomes[i] == RegisterStatus::superseded && lose(keys[i])) stored_meanwhile_.push_back(keys[i]);
    }
  }

  /// These were granted to another claim of the client, by a hub that does not know of this one.
  void lose(std::span<const K> keys) {
    const std::lock_guard lock(mutex_);
    for (const K& key : keys) lose(key);
  }

  /// Takes these out, to be given back; answers those that it held.
  std::vector<K> give_back(std::span<const K> keys) {
    const std::lock_guard lock(mutex_);
    std::vector<K> given;
    for (const K& key : keys) {
      if (held_.erase(key) != 0) given.push_back(key);
    }
    return given;
  }

  std::vector<K> give_back_all() {
    const std::lock_guard lock(mutex_);
    const auto held = std::exchange(held_, {});
    return {held.begin(), held.end()};
  }

  /// What this answer says is held and the claim holds no longer, given up meanwhile or had back too late: to be given
  /// back, or it stays leased to nobody.
  std::vector<K> held_in_vain(std::span<const K> keys, const RenewAnswer& answer) const {
    const std::lock_guard lock(mutex_);
    std::vector<K> vain;
    for (std::size_t i = 0; i < keys.size(); ++i) {
      if (answer.statuses[i] == RenewStatus::held && !held_.contains(keys[i])) vain.push_back(keys[i]);
    }
    return vain;
  }

  /// The hub's answer for `keys` to a renewal sent at `sent`, come by `now`; answers which are no longer held. What
  /// another hub gives back counts only while the time runs that the one before it gave: afterwards that one may have
  /// granted it to somebody else before it was gone.
  std::vector<K> renewed(std::span<const K> keys, const RenewAnswer& answer, SteadyTime sent, SteadyTime now) {
    const std::lock_guard lock(mutex_);
    const bool is_too_late = answer.incarnation != incarnation_ && now >= renewed_at_ + ttl_;
    std::vector<K> gone;
    for (std::size_t i = 0; i < keys.size(); ++i) {
      if ((!is_too_late && answer.statuses[i] == RenewStatus::held) || !lose(keys[i])) continue;
      gone.push_back(keys[i]);
      if (answer.statuses[i] == RenewStatus::stored) stored_meanwhile_.push_back(keys[i]);
    }
    incarnation_ = answer.incarnation;
    ttl_ = answer.ttl;
    renewed_at_ = std::max(renewed_at_, sent);
    return gone;
  }

 private:
  bool lose(const K& key) {
    if (held_.erase(key) == 0) return false;
    lost_.push_back(key);
    return true;
  }

  const std::uint64_t number_;
  const ClaimAnswer<K> answer_;
  mutable std::mutex mutex_;
  detail::FlatSet<K> held_;
  std::vector<K> lost_;
  std::vector<K> stored_meanwhile_;
  std::uint64_t incarnation_;
  std::chrono::nanoseconds ttl_;
  SteadyTime renewed_at_;
};

}  // namespace registry
