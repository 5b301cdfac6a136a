// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include <registry/error.hpp>
#include <registry/key.hpp>
#include <registry/message.hpp>

namespace registry {

/// What an acknowledged registration has come to: one outcome per entry, in their order, and the entries refused. Of an
/// asynchronous one that failed there are no outcomes, and all entries are under `refused`: they may be stored all the
/// same.
template <class EntryType>
struct RegisterResult {
  std::vector<RegisterStatus> statuses;
  std::vector<EntryType> refused;

  bool all_stored() const noexcept { return refused.empty(); }

  static RegisterResult of(std::span<const EntryType> entries, std::vector<RegisterStatus> statuses) {
    RegisterResult result{std::move(statuses), {}};
    for (std::size_t i = 0; i < entries.size(); ++i) {
      if (result.statuses[i] != RegisterStatus::stored) result.refused.push_back(entries[i]);
    }
    return result;
  }

  /// Why the first of those refused was; there must be one, with its outcome.
  Error why() const {
    const auto first = std::ranges::find_if(statuses, [](auto status) { return status != RegisterStatus::stored; });
    if (*first == RegisterStatus::lease_conflict) return LeaseConflict{key_hex(refused.front().key)};
    if (*first == RegisterStatus::superseded) return HubError{"another value is stored, which may be a later one"};
    return HubError{*first == RegisterStatus::limit_exceeded ? "there is no room" : "the storage failed"};
  }
};

}  // namespace registry
