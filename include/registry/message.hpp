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
};

/// The hub's answer for one key; the numbers are the wire's.
enum class OffloadStatus : std::uint8_t {
  granted = 0,         ///< the asker holds the lease: store the block, then register it
  already_stored = 1,  ///< nothing to do
  leased = 2,          ///< somebody else is storing it, or an object of that name is being deleted
};

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

/// The name of the catalogue that a client sees when it names none.
inline constexpr std::string_view default_namespace = "default";

}  // namespace registry
