// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cassert>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <string_view>

#include <registry/bytes.hpp>
#include <registry/key.hpp>
#include <registry/message.hpp>

namespace registry {

/// Who holds a lease: 128 random bits, made once per client and kept across reconnects.
struct ClientId {
  std::uint64_t high = 0;
  std::uint64_t low = 0;
  friend auto operator<=>(const ClientId&, const ClientId&) = default;

  static ClientId random() {
    std::random_device device;
    const auto word = [&] { return static_cast<std::uint64_t>(device()) << 32U | device(); };
    return {word(), word()};
  }
};

template <>
struct wire<ClientId> : wire_fields<&ClientId::low, &ClientId::high> {};

/// The frame that our clients add: before a query (`number` is the request id, and the hub sends the frame back) and
/// behind a registration (`number` is its sequence, counted from 1 per client).
///
/// Layout, 28 bytes in the common case: 'D' 'R' version:1 flags:1 number:8 client:16 [after:8 if flag 1]
/// namespace:rest. An absent namespace is `default`.
struct Envelope {
  std::uint64_t number = 0;
  ClientId client;
  /// A query that must not overtake the registration of this sequence by the same client.
  std::optional<std::uint64_t> after;
  /// Points into the bytes decoded from; 1 to 255 bytes, which whoever encodes sees to.
  std::string_view name_space = default_namespace;

  static constexpr std::size_t fixed_size = 28;
  static constexpr std::size_t max_namespace = 255;

  void encode(Bytes& out) const {
    // A longer one would make every message of this client a foreign one to the hub; an empty one would be `default`.
    assert(!name_space.empty() && name_space.size() <= max_namespace);
    const std::string_view name = name_space == default_namespace ? std::string_view{} : name_space;
    out.resize(fixed_size + (after ? 8U : 0U) + name.size());
    std::byte* at = out.data();
    store_le(magic, at);
    at[2] = std::byte{version};
    at[3] = std::byte{after ? flag_after : std::uint8_t{0}};
    store_le(number, at + 4);
    wire_encode(client, at + 12, wire<ClientId>::size);
    at += fixed_size;
    if (after) {
      store_le(*after, at);
      at += 8;
    }
    copy_bytes(as_bytes(name), at);
  }

  /// Nothing where the bytes are not an envelope of ours: such a frame means nothing and is only echoed.
  static std::optional<Envelope> decode(ByteView in) noexcept {
    if (in.size() < fixed_size || load_le<std::uint16_t>(in.data()) != magic) return std::nullopt;
    const auto flags = std::to_integer<std::uint8_t>(in[3]);
    if (std::to_integer<std::uint8_t>(in[2]) != version || (flags & ~flag_after) != 0) return std::nullopt;
    Envelope envelope;
    envelope.number = load_le<std::uint64_t>(in.data() + 4);
    envelope.client = *wire_decode<ClientId>(in.subspan(12, wire<ClientId>::size));
    ByteView rest = in.subspan(fixed_size);
    if ((flags & flag_after) != 0) {
      if (rest.size() < 8) return std::nullopt;
      envelope.after = load_le<std::uint64_t>(rest.data());
      rest = rest.subspan(8);
    }
    if (rest.size() > max_namespace) return std::nullopt;
    if (!rest.empty()) envelope.name_space = as_text(rest);
    return envelope;
  }

 private:
  static constexpr std::uint16_t magic = 0x5244;
  static constexpr std::uint8_t version = 1;
  static constexpr std::uint8_t flag_after = 1;
};

}  // namespace registry
