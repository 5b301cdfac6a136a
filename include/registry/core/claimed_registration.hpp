// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <variant>
#include <vector>

#include <registry/core/claim_state.hpp>
#include <registry/error.hpp>
#include <registry/message.hpp>

namespace registry {

/// A registration in the name of a claim. A hub that insists on the holder and has taken the place of the one that has
/// granted the claim refuses what the claim holds, until that is had back of it: this says what is to be registered
/// once more then, under another number. Claim and entries outlive it.
template <class EntryType>
class ClaimedRegistration {
 public:
  using ClaimType = ClaimState<decltype(EntryType::key)>;

  /// Before it is sent.
  ClaimedRegistration(const ClaimType& claim, std::span<const EntryType> entries)
      : claim_(&claim), entries_(entries), granted_by_(claim.incarnation()) {}

  /// Whether something was refused as another's that the claim holds still.
  bool is_refused_though_held(std::span<const RegisterStatus> outcomes) const {
    for (std::size_t i = 0; i < entries_.size(); ++i) {
      if (is_refused_though_held(i, outcomes)) return true;
    }
    return false;
  }

  /// Whether the claim was had back of another hub since.
  bool is_had_back() const { return claim_->incarnation() != granted_by_; }

  /// What is to be registered once more: nothing, if the hub is the one that has granted it.
  std::vector<EntryType> to_be_repeated(std::span<const RegisterStatus> outcomes) {
    std::vector<EntryType> again;
    places_.clear();
    for (std::size_t i = 0; i < entries_.size() && is_had_back(); ++i) {
      if (!is_refused_though_held(i, outcomes)) continue;
      again.push_back(entries_[i]);
      places_.push_back(i);
    }
    return again;
  }

  /// Whether this says that none of those was registered: what was answered at first stands then. Of a call that was
  /// sent and ends otherwise, or was sent again for want of an answer, nobody knows what has become of it.
  template <class AnyCall>
  static bool is_refusal(const Error& error, const AnyCall& call) {
    return !call.resent && (std::holds_alternative<HubError>(error) || std::holds_alternative<Unsupported>(error));
  }

  /// Puts what has become of those in its place.
  void correct(std::span<RegisterStatus> outcomes, std::span<const RegisterStatus> repeated) const {
    for (std::size_t i = 0; i < places_.size(); ++i) outcomes[places_[i]] = repeated[i];
  }

 private:
  bool is_refused_though_held(std::size_t i, std::span<const RegisterStatus> outcomes) const {
    return outcomes[i] == RegisterStatus::lease_conflict && claim_->holds(entries_[i].key);
  }

  const ClaimType* claim_;
  std::span<const EntryType> entries_;
  std::uint64_t granted_by_;
  std::vector<std::size_t> places_;  // of what is to be registered once more
};

}  // namespace registry
