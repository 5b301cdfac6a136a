// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace registry {

/// The message types of protocol version 1. Types 1 to 10 are the wire-compatible core; 32 and up are additive.
enum class MessageType : std::uint8_t {
  register_entries = 1,
  can_offload = 2,
  match = 3,
  can_offload_response = 4,
  match_response = 5,
  remove = 6,
  remove_response = 7,
  touch = 8,
  touch_response = 9,
  error_response = 10,
  hello = 32,
  hello_response = 33,
  release = 34,
  release_response = 35,
  withdraw = 36,
  claim = 37,
  claim_response = 38,
  renew = 39,
  renew_response = 40,
  register_response = 41,
  remove_if = 42,
  sync = 43,
  sync_response = 44,
};

/// The hub's answer for one key; the numbers are the wire's.
enum class OffloadStatus : std::uint8_t {
  granted = 0,         ///< the asker holds the lease: store the block, then register it
  already_stored = 1,  ///< nothing to do
  leased = 2,          ///< somebody else is storing it, or an object of that name is being deleted
};

/// The hub's answer for one lease that its holder wants to keep; the numbers are the wire's.
enum class RenewStatus : std::uint8_t {
  held = 0,    ///< still the asker's, until a new deadline
  stored = 1,  ///< registered meanwhile, by whomever
  lost = 2,    ///< over, or somebody else's
};

/// The hub's answer for one entry of an acknowledged registration; the numbers are the wire's.
enum class RegisterStatus : std::uint8_t {
  stored = 0,          ///< by this registration, or one that came after it
  lease_conflict = 1,  ///< the hub insists on the holder of the lease, and this client is not
  limit_exceeded = 2,  ///< there is no room
  storage_error = 3,   ///< the storage failed
  superseded = 4,      ///< it was sent again, or came late, and another value is stored, which may be a later one
};

/// The highest byte that stands for an S on the wire, where S is what a hub says of one key or entry.
template <class S>
inline constexpr std::uint8_t last_status = 0;
template <>
inline constexpr std::uint8_t last_status<OffloadStatus> = 2;
template <>
inline constexpr std::uint8_t last_status<RenewStatus> = 2;
template <>
inline constexpr std::uint8_t last_status<RegisterStatus> = 4;

template <class S>
concept StatusByte = last_status<S> != 0;

/// One block of the catalogue.
template <class K, class V, class M>
struct Entry {
  K key{};
  V value{};
  [[no_unique_address]] M metadata{};
  friend bool operator==(const Entry&, const Entry&) = default;
};

/// What the catalogue keeps under a key.
template <class V, class M>
struct Stored {
  V value{};
  [[no_unique_address]] M metadata{};
  friend bool operator==(const Stored&, const Stored&) = default;
};

/// The answer to `can_offload`: the status of every key in the order asked, and the same keys sorted by status.
template <class K>
struct OffloadResult {
  std::vector<OffloadStatus> statuses;
  std::vector<K> can_offload;
  std::vector<K> already_stored;
  std::vector<K> leased;
};

/// What a hub says of itself in one number: this bit, that it insists on the holder of a lease.
inline constexpr std::uint64_t hub_insists_on_holder = 1;

/// How a hub begins to say that the CURVE key of a connection does not allow what came by it.
inline constexpr std::string_view key_may_not_use = "this client's key may not use namespace";

/// How a hub begins to say that it has refused what waited in vain for a registration. Whoever asks the same again is
/// answered, unless more is missing since.
inline constexpr std::string_view registration_missing = "the registration that this must follow has not arrived";

/// How a hub that stops refuses what waits for a registration: it has not been carried out.
inline constexpr std::string_view hub_is_stopping = "the hub is stopping";

/// The name of the catalogue that a client sees when it names none.
inline constexpr std::string_view default_namespace = "default";

}  // namespace registry
