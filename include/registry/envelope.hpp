// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
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
/// [claim:8 if flag 2] [sequence:8 if flag 4] [resent:8 if flag 8] namespace:rest. An absent namespace is `default`.
struct Envelope {
  std::uint64_t number = 0;
  ClientId client;
  /// A query that must not overtake the registration of this sequence by the same client.
  std::optional<std::uint64_t> after = std::nullopt;
  /// Points into the bytes decoded from; 1 to 255 bytes, which whoever encodes sees to.
  std::string_view name_space = default_namespace;
  /// The claim of the client, counted from 1, in whose name this is said.
  std::optional<std::uint64_t> claim = std::nullopt;
  /// The sequence of a registration that travels as a query, to be acknowledged.
  std::optional<std::uint64_t> sequence = std::nullopt;
  /// The registration may have come before; the client had by then used sequences up to this one.
  std::optional<std::uint64_t> resent = std::nullopt;

  static constexpr std::size_t fixed_size = 28;
  static constexpr std::size_t max_namespace = 255;

  void encode(Bytes& out) const {
    // A longer one would make every message of this client a foreign one to the hub; an empty one would be `default`.
    assert(!name_space.empty() && name_space.size() <= max_namespace);
    const std::string_view name = name_space == default_namespace ? std::string_view{} : name_space;
    const std::array optional{after, claim, sequence, resent};
    const auto present =
        static_cast<std::size_t>(std::ranges::count_if(optional, [](const auto& field) { return field.has_value(); }));
    out.resize(fixed_size + 8 * present + name.size());
    std::byte* at = out.data();
    store_le(magic, at);
    at[2] = std::byte{version};
    std::uint8_t flags = 0;
    store_le(number, at + 4);
    wire_encode(client, at + 12, wire<ClientId>::size);
    std::byte* rest = at + fixed_size;
    for (std::size_t i = 0; i < optional.size(); ++i) {
      if (!optional[i]) continue;
      flags = static_cast<std::uint8_t>(flags | 1U << i);
      store_le(*optional[i], rest);
      rest += 8;
    }
    at[3] = std::byte{flags};
    copy_bytes(as_bytes(name), rest);
  }

  /// Nothing where the bytes are not an envelope of ours: such a frame means nothing and is only echoed.
  static std::optional<Envelope> decode(ByteView in) noexcept {
    if (in.size() < fixed_size || load_le<std::uint16_t>(in.data()) != magic) return std::nullopt;
    const auto flags = std::to_integer<unsigned>(in[3]);
    if (std::to_integer<std::uint8_t>(in[2]) != version || flags > all_flags) return std::nullopt;
    Envelope envelope;
    envelope.number = load_le<std::uint64_t>(in.data() + 4);
    envelope.client = *wire_decode<ClientId>(in.subspan(12, wire<ClientId>::size));
    ByteView rest = in.subspan(fixed_size);
    if (flags != 0) {
      const std::array optional{&envelope.after, &envelope.claim, &envelope.sequence, &envelope.resent};
      for (std::size_t i = 0; i < optional.size(); ++i) {
        if ((flags >> i & 1U) == 0) continue;
        if (rest.size() < 8) return std::nullopt;
        *optional[i] = load_le<std::uint64_t>(rest.data());
        rest = rest.subspan(8);
      }
    }
    if (rest.size() > max_namespace) return std::nullopt;
    if (!rest.empty()) envelope.name_space = as_text(rest);
    return envelope;
  }

 private:
  static constexpr std::uint16_t magic = 0x5244;
  static constexpr std::uint8_t version = 1;
  static constexpr unsigned all_flags = 15;
};

}  // namespace registry
