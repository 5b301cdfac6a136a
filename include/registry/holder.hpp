// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include <registry/bytes.hpp>
#include <registry/envelope.hpp>
#include <registry/key.hpp>

namespace registry {

/// Whom a lease belongs to: a client or one of its claims by its identity, or, if it sends none, the connection by its
/// routing id.
struct Holder {
  ClientId id;
  bool by_connection = false;
  friend bool operator==(const Holder&, const Holder&) = default;

  static Holder client(const ClientId& id) noexcept { return {id, false}; }

  /// A claim of a client's (counted from 1) is a holder of its own. The identities of two clients differ in their high
  /// halves, so that the low one is free for counting.
  static Holder claim(const ClientId& id, std::uint64_t number) noexcept { return {{id.high, id.low + number}, false}; }

  /// A routing id of up to 15 bytes (ZeroMQ's own have 5) is kept as it is; a longer one is hashed with a secret seed.
  static Holder connection(ByteView routing_id) noexcept {
    std::array<std::byte, 16> packed{};
    if (routing_id.size() < packed.size()) {
      copy_bytes(routing_id, packed.data());
      packed.back() = static_cast<std::byte>(routing_id.size() + 1);
      return {{load_le<std::uint64_t>(packed.data() + 8), load_le<std::uint64_t>(packed.data())}, true};
    }
    const KeyHash<Key128> hash;
    Key128 digest{routing_id.size(), ~std::uint64_t{0}};
    for (const std::byte b : routing_id) {
      digest = {hash(digest), hash(Key128{digest.low ^ std::to_integer<std::uint64_t>(b), digest.high})};
    }
    return {{digest.high & 0x00ff'ffff'ffff'ffffU, digest.low}, true};
  }
};

}  // namespace registry
