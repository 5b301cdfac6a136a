// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include <registry/envelope.hpp>
#include <registry/holder.hpp>

namespace registry {

/// Who asks a query, and in whose name what it asks for is held.
struct QueryAsker {
  Holder holder;
  std::uint64_t request;
  std::string_view name_space;
  std::optional<Envelope> envelope;

  static QueryAsker of(const Envelope& ours) { return {holder_of(ours), ours.number, ours.name_space, ours}; }

  static Holder holder_of(const Envelope& ours) noexcept {
    return ours.claim ? Holder::claim(ours.client, *ours.claim) : Holder::client(ours.client);
  }

  /// Who answers for what the holder holds: its client, or the connection of one that does not say who it is.
  ClientId client() const noexcept { return envelope ? envelope->client : holder.id; }

  /// Where its claim waits among those of the holder's: see WaitingClaim::place.
  std::uint64_t place() const noexcept { return envelope && envelope->claim ? 0 : request; }
};

}  // namespace registry
