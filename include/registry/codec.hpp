// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <registry/bytes.hpp>
#include <registry/error.hpp>
#include <registry/key.hpp>
#include <registry/message.hpp>
#include <registry/metadata.hpp>
#include <registry/value.hpp>

namespace registry {

/// How messages become bytes and back. A codec is stateless; encoders size their buffer once and fill it; decoders are
/// strict, allocate nothing from a count whose bytes they have not seen, and answer an error instead of throwing
/// (what they have written to their output by then means nothing). Outputs are cleared first, their capacity is kept.
template <class C, class K, class V, class M>
concept Codec =
    Key<K> && Value<V> && Metadata<M> &&
    requires(
        ByteView in, Bytes& out, MessageType type, std::span<const K> keys, std::span<const OffloadStatus> statuses,
        const K& key, const V& value, const M& metadata, std::uint64_t count, std::string_view text,
        std::vector<K>& keys_out, std::vector<Entry<K, V, M>>& entries_out, std::vector<OffloadStatus>& statuses_out,
        std::uint64_t& count_out, std::string& text_out, MessageType& type_out, std::span<const RenewStatus> renewals,
        std::vector<RenewStatus>& renewals_out, std::span<const RegisterStatus> outcomes,
        std::vector<RegisterStatus>& outcomes_out) {
      { C::protocol_version } -> std::convertible_to<unsigned>;
      { C::encode_keys(type, keys, out) };
      { C::begin_entries(type, out) };
      { C::append_entry(key, value, metadata, out) } -> std::same_as<std::optional<Error>>;
      { C::encode_statuses(type, statuses, out) };
      { C::encode_statuses(type, renewals, out) };
      { C::encode_statuses(type, outcomes, out) };
      { C::encode_count(type, count, out) };
      { C::encode_text(type, text, out) };
      { C::decode_type(in, type_out) } -> std::same_as<std::optional<Error>>;
      { C::decode_keys(in, keys_out) } -> std::same_as<std::optional<Error>>;
      { C::decode_entries(in, entries_out) } -> std::same_as<std::optional<Error>>;
      { C::decode_statuses(in, statuses_out) } -> std::same_as<std::optional<Error>>;
      { C::decode_statuses(in, renewals_out) } -> std::same_as<std::optional<Error>>;
      { C::decode_statuses(in, outcomes_out) } -> std::same_as<std::optional<Error>>;
      { C::decode_count(in, count_out) } -> std::same_as<std::optional<Error>>;
      { C::decode_text(in, text_out) } -> std::same_as<std::optional<Error>>;
    };

/// Protocol version 1: little-endian, `[version:1][type:1]` and then what the type says. Each decoder takes the whole
/// message and trusts the caller to have dispatched on `decode_type`.
template <Key K, Value V, Metadata M>
class BinaryCodec {
 public:
  static constexpr unsigned protocol_version = 1;
  using EntryType = Entry<K, V, M>;

  /// `count u32`, then per key `klen u16, key`: the form of every query about keys. At most 2^32-1 keys.
  template <ByteBuffer B>
  static void encode_keys(MessageType type, std::span<const K> keys, B& out) {
    out.resize(list_header + keys.size() * key_stride);
    std::byte* at = put_list_header(type, keys.size(), out.data());
    for (const K& key : keys) at = put_key(key, at);
  }

  /// Starts a list of entries with none in it; `append_entry` adds to it.
  static void begin_entries(MessageType type, Bytes& out) {
    out.resize(list_header);
    put_list_header(type, 0, out.data());
  }

  /// Adds one entry; on an EncodeError `out` is as before. Amortised, the message is copied once while it grows.
  static std::optional<Error> append_entry(const EntryType& entry, Bytes& out) {
    return append_entry(entry.key, entry.value, entry.metadata, out);
  }

  static std::optional<Error> append_entry(const K& key, const V& value, const M& metadata, Bytes& out) {
    const std::size_t value_size = wire_size(value);
    const std::size_t metadata_size = wire_size(metadata);
    if (value_size > max_field)
      return EncodeError{"a value of " + std::to_string(value_size) + " bytes, at most 65535"};
    if (metadata_size > max_field) {
      return EncodeError{"metadata of " + std::to_string(metadata_size) + " bytes, at most 65535"};
    }
    const std::size_t before = out.size();
    out.resize(before + key_stride + 4 + value_size + metadata_size);
    std::byte* at = put_key(key, out.data() + before);
    store_le(static_cast<std::uint16_t>(value_size), at);
    const bool value_ok = wire_encode(value, at + 2, value_size);
    at += 2 + value_size;
    store_le(static_cast<std::uint16_t>(metadata_size), at);
    const bool metadata_ok = wire_encode(metadata, at + 2, metadata_size);
    if (!value_ok || !metadata_ok) {
      out.resize(before);
      return EncodeError{value_ok ? "metadata that has no wire form (an optional field that is present but 0?)"
                                  : "a value that has no wire form"};
    }
    store_le(load_le<std::uint32_t>(out.data() + 2) + 1, out.data() + 2);
    return std::nullopt;
  }

  /// `count u32`, then a byte per key or entry: the answers that say something of each.
  template <StatusByte S, ByteBuffer B>
  static void encode_statuses(MessageType type, std::span<const S> statuses, B& out) {
    out.resize(list_header + statuses.size());
    std::byte* at = put_list_header(type, statuses.size(), out.data());
    for (const S status : statuses) *at++ = static_cast<std::byte>(status);
  }

  /// `count u64`: the answer to remove, touch and release.
  template <ByteBuffer B>
  static void encode_count(MessageType type, std::uint64_t count, B& out) {
    out.resize(header + 8);
    put_header(type, out.data());
    store_le(count, out.data() + header);
  }

  /// `length u16`, UTF-8 text, cut to 65,535 bytes: ErrorResponse, and the namespace in hello and its answer.
  template <ByteBuffer B>
  static void encode_text(MessageType type, std::string_view text, B& out) {
    if (text.size() > max_field) {
      // Between two characters: half a character is no UTF-8, and a strict reader refuses the whole text for it.
      std::size_t end = max_field;
      while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0U) == 0x80U) --end;
      text = text.substr(0, end);
    }
    out.resize(header + 2 + text.size());
    put_header(type, out.data());
    store_le(static_cast<std::uint16_t>(text.size()), out.data() + header);
    copy_bytes(as_bytes(text), out.data() + header + 2);
  }

  static std::optional<Error> decode_type(ByteView in, MessageType& type) {
    if (in.size() < header) return MessageTooShort{header, in.size()};
    const auto version = std::to_integer<unsigned>(in[0]);
    if (version != protocol_version) return VersionMismatch{protocol_version, version};
    const auto number = std::to_integer<std::uint8_t>(in[1]);
    type = static_cast<MessageType>(number);
    switch (type) {
      case MessageType::register_entries:
      case MessageType::can_offload:
      case MessageType::match:
      case MessageType::can_offload_response:
      case MessageType::match_response:
      case MessageType::remove:
      case MessageType::remove_response:
      case MessageType::touch:
      case MessageType::touch_response:
      case MessageType::error_response:
      case MessageType::hello:
      case MessageType::hello_response:
      case MessageType::release:
      case MessageType::release_response:
      case MessageType::withdraw:
      case MessageType::claim:
      case MessageType::claim_response:
      case MessageType::renew:
      case MessageType::renew_response:
      case MessageType::register_response:
      case MessageType::remove_if:
      case MessageType::sync:
      case MessageType::sync_response: return std::nullopt;
    }
    return InvalidMessageType{number};
  }

  static std::optional<Error> decode_keys(ByteView in, std::vector<K>& keys) {
    keys.clear();
    std::uint32_t count = 0;
    if (auto error = take_list_header(in, count)) return error;
    if (in.size() - list_header != std::uint64_t{count} * key_stride) {
      return DecodeError{"keys, in bytes", std::uint64_t{count} * key_stride, in.size() - list_header};
    }
    keys.resize(count);
    const std::byte* at = in.data() + list_header;
    for (K& key : keys) {
      if (!take_key(at, key)) return key_error(at);
      at += key_stride;
    }
    return std::nullopt;
  }

  static std::optional<Error> decode_entries(ByteView in, std::vector<EntryType>& entries) {
    entries.clear();
    std::uint32_t count = 0;
    if (auto error = take_list_header(in, count)) return error;
    constexpr std::uint64_t least = key_stride + 4 + wire_min_size<V>() + wire_min_size<M>();
    if (std::uint64_t{count} * least > in.size() - list_header) {
      return DecodeError{"entries, in bytes at least", std::uint64_t{count} * least, in.size() - list_header};
    }
    entries.resize(count);
    ByteView rest = in.subspan(list_header);
    for (EntryType& entry : entries) {
      if (rest.size() < key_stride) return DecodeError{"a key, in bytes", key_stride, rest.size()};
      if (!take_key(rest.data(), entry.key)) return key_error(rest.data());
      rest = rest.subspan(key_stride);
      if (!take_field(rest, entry.value)) return field_error<V>("value", rest);
      if (!take_field(rest, entry.metadata)) return field_error<M>("metadata", rest);
    }
    if (!rest.empty()) return DecodeError{"bytes behind the last entry", 0, rest.size()};
    return std::nullopt;
  }

  template <StatusByte S>
  static std::optional<Error> decode_statuses(ByteView in, std::vector<S>& statuses) {
    statuses.clear();
    std::uint32_t count = 0;
    if (auto error = take_list_header(in, count)) return error;
    if (in.size() - list_header != count) return DecodeError{"statuses, in bytes", count, in.size() - list_header};
    statuses.resize(count);
    const std::byte* at = in.data() + list_header;
    for (S& status : statuses) {
      const auto number = std::to_integer<std::uint8_t>(*at++);
      if (number > last_status<S>) return DecodeError{"a status, at most", last_status<S>, number};
      status = static_cast<S>(number);
    }
    return std::nullopt;
  }

  static std::optional<Error> decode_count(ByteView in, std::uint64_t& count) {
    if (in.size() < header + 8) return MessageTooShort{header + 8, in.size()};
    if (in.size() != header + 8) return DecodeError{"a count, in bytes", header + 8, in.size()};
    count = load_le<std::uint64_t>(in.data() + header);
    return std::nullopt;
  }

  static std::optional<Error> decode_text(ByteView in, std::string& text) {
    text.clear();
    if (in.size() < header + 2) return MessageTooShort{header + 2, in.size()};
    const std::size_t size = load_le<std::uint16_t>(in.data() + header);
    if (in.size() - header - 2 != size) return DecodeError{"text, in bytes", size, in.size() - header - 2};
    text = as_text(in.subspan(header + 2));
    return std::nullopt;
  }

 private:
  static constexpr std::size_t header = 2;
  static constexpr std::size_t list_header = 6;
  static constexpr std::size_t key_stride = 2 + wire<K>::size;
  static constexpr std::size_t max_field = std::numeric_limits<std::uint16_t>::max();

  static void put_header(MessageType type, std::byte* out) noexcept {
    out[0] = std::byte{protocol_version};
    out[1] = static_cast<std::byte>(type);
  }

  static std::byte* put_list_header(MessageType type, std::size_t count, std::byte* out) noexcept {
    put_header(type, out);
    store_le(static_cast<std::uint32_t>(count), out + header);
    return out + list_header;
  }

  static std::byte* put_key(const K& key, std::byte* out) {
    store_le(static_cast<std::uint16_t>(wire<K>::size), out);
    wire_encode(key, out + 2, wire<K>::size);
    return out + key_stride;
  }

  static std::optional<Error> take_list_header(ByteView in, std::uint32_t& count) {
    if (in.size() < list_header) return MessageTooShort{list_header, in.size()};
    count = load_le<std::uint32_t>(in.data() + header);
    return std::nullopt;
  }

  /// Decoders of parts answer with a bool, so that what is done for every key stays small; what was wrong is found out
  /// afterwards.
  static bool take_key(const std::byte* at, K& key) {
    if (load_le<std::uint16_t>(at) != wire<K>::size) return false;
    auto decoded = wire_decode<K>(ByteView{at + 2, wire<K>::size});
    if (decoded) key = std::move(*decoded);
    return decoded.has_value();
  }

  static Error key_error(const std::byte* at) {
    const std::size_t size = load_le<std::uint16_t>(at);
    if (size != wire<K>::size) return DecodeError{"key length", wire<K>::size, size};
    return DecodeError{"a key of the registered type, in bytes", wire<K>::size, size};
  }

  /// Takes a field off the front of `rest`; where it cannot, `rest` stays as it is.
  template <class T>
  static bool take_field(ByteView& rest, T& field) {
    if (rest.size() < 2) return false;
    const std::size_t size = load_le<std::uint16_t>(rest.data());
    if (rest.size() - 2 < size) return false;
    auto decoded = wire_decode<T>(rest.subspan(2, size));
    if (!decoded) return false;
    field = std::move(*decoded);
    rest = rest.subspan(2 + size);
    return true;
  }

  template <class T>
  static Error field_error(const std::string& name, ByteView rest) {
    if (rest.size() < 2) return DecodeError{name + " length, in bytes", 2, rest.size()};
    const std::size_t size = load_le<std::uint16_t>(rest.data());
    if (rest.size() - 2 < size) return DecodeError{name + ", in bytes", size, rest.size() - 2};
    return DecodeError{name + " of the registered type, in bytes", FixedWire<T> ? wire_min_size<T>() : size, size};
  }
};

}  // namespace registry
