// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace registry {

/// The life of a hub's leases. `active` counts those not yet collected; one past its deadline is over all the same.
struct LeaseStats {
  std::uint64_t active = 0;
  std::uint64_t granted = 0;    ///< to a new holder
  std::uint64_t renewed = 0;    ///< to the holder that asked again
  std::uint64_t expired = 0;    ///< ended by their deadline
  std::uint64_t released = 0;   ///< given back
  std::uint64_t converted = 0;  ///< ended by a registration
  std::uint64_t conflicts = 0;  ///< asked for while somebody held it

  LeaseStats& operator+=(const LeaseStats& other) noexcept {
    active += other.active;
    granted += other.granted;
    renewed += other.renewed;
    expired += other.expired;
    released += other.released;
    converted += other.converted;
    conflicts += other.conflicts;
    return *this;
  }
};

/// What a hub has done since it started, and what it holds now.
struct HubStats {
  std::uint64_t queries = 0;
  std::uint64_t registrations = 0;       ///< messages
  std::uint64_t entries_registered = 0;  ///< entries in them that were stored
  std::uint64_t entries_refused = 0;     ///< entries in them that were not: no room, or not the holder's
  std::uint64_t granted = 0;
  std::uint64_t already_stored = 0;
  std::uint64_t leased = 0;
  std::uint64_t stored = 0;          ///< entries in the catalogue now
  std::uint64_t malformed = 0;       ///< messages that were none, dropped or answered with an error
  std::uint64_t undeliverable = 0;   ///< answers whose recipient was gone or did not read
  std::uint64_t repeated = 0;        ///< registrations that had been applied before, and were not again
  std::uint64_t waiting_claims = 0;  ///< claims that wait now for keys which others hold
  std::uint64_t denied = 0;          ///< messages for a namespace that their sender may not use; counted nowhere else
  std::uint64_t removed = 0;
  std::uint64_t evicted = 0;
  std::uint64_t superseded = 0;
  std::uint64_t expired = 0;
  std::uint64_t hook_failures = 0;  ///< exceptions out of `on_evict`
  LeaseStats leases;

  HubStats& operator+=(const HubStats& other) noexcept {
    queries += other.queries;
    registrations += other.registrations;
    entries_registered += other.entries_registered;
    entries_refused += other.entries_refused;
    granted += other.granted;
    already_stored += other.already_stored;
    leased += other.leased;
    stored += other.stored;
    malformed += other.malformed;
    undeliverable += other.undeliverable;
    repeated += other.repeated;
    waiting_claims += other.waiting_claims;
    denied += other.denied;
    removed += other.removed;
    evicted += other.evicted;
    superseded += other.superseded;
    expired += other.expired;
    hook_failures += other.hook_failures;
    leases += other.leases;
    return *this;
  }
};

/// What a client has seen since it was made.
struct ClientStats {
  std::uint64_t late_answers = 0;    ///< to requests that were given up; dropped
  std::uint64_t batches_resent = 0;  ///< registrations that the hub had not confirmed in time
  std::uint64_t hubs_met = 0;        ///< incarnations of the hub that it has heard of
};

}  // namespace registry
