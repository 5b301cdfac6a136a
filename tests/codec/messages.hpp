// SPDX-License-Identifier: Apache-2.0
// Messages as a test names them, whatever their types: how they are encoded, and what the right decoder makes of bytes.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <registry/codec.hpp>
#include <registry/trailer.hpp>

namespace registry::test {

enum class Answer { same, different, refused };

struct Message {
  std::string name;  // of its vector
  std::function<Bytes()> encode;
  std::function<Answer(ByteView, std::optional<Error>&)> decode;
};

/// Decodes as the hub and the client do: the type first, then what it says. An `expected` of another type is refused by
/// whoever waits for it, which is the case here, too.
template <class Codec, class Decode>
std::optional<Error> decode_as(MessageType expected, ByteView in, Decode decode) {
  MessageType type{};
  if (auto error = Codec::decode_type(in, type)) return error;
  if (type != expected) return InvalidMessageType{static_cast<unsigned>(type)};
  return decode();
}

inline Answer compare(const std::optional<Error>& error, bool equal) {
  return error ? Answer::refused : equal ? Answer::same : Answer::different;
}

template <class K, class V = std::uint64_t, class M = NoMetadata>
Message keys_message(std::string name, MessageType type, std::vector<K> keys) {
  using C = BinaryCodec<K, V, M>;
  return {std::move(name),
          [=] {
            Bytes out{std::byte{1}};  // what was there before is gone
            C::encode_keys(type, std::span<const K>{keys}, out);
            return out;
          },
          [=](ByteView in, std::optional<Error>& error) {
            std::vector<K> decoded(3);
            error = decode_as<C>(type, in, [&] { return C::decode_keys(in, decoded); });
            return compare(error, decoded == keys);
          }};
}

template <class K, class V, class M>
Message entries_message(std::string name, MessageType type, std::vector<Entry<K, V, M>> entries) {
  using C = BinaryCodec<K, V, M>;
  return {std::move(name),
          [=] {
            Bytes out{std::byte{1}};
            C::begin_entries(type, out);
            for (const auto& entry : entries) {
              if (auto error = C::append_entry(entry, out)) throw RegistryError{*error};
            }
            return out;
          },
          [=](ByteView in, std::optional<Error>& error) {
            std::vector<Entry<K, V, M>> decoded(3);
            error = decode_as<C>(type, in, [&] { return C::decode_entries(in, decoded); });
            return compare(error, decoded == entries);
          }};
}

using AnyCodec = BinaryCodec<std::uint64_t, std::uint64_t, NoMetadata>;

template <StatusByte S>
Message statuses_message(std::string name, MessageType type, std::vector<S> statuses) {
  return {std::move(name),
          [=] {
            Bytes out{std::byte{1}};
            AnyCodec::encode_statuses(type, std::span<const S>{statuses}, out);
            return out;
          },
          [=](ByteView in, std::optional<Error>& error) {
            std::vector<S> decoded(3);
            error = decode_as<AnyCodec>(type, in, [&] { return AnyCodec::decode_statuses(in, decoded); });
            return compare(error, decoded == statuses);
          }};
}

inline Message statuses_message(std::string name, std::vector<OffloadStatus> statuses) {
  return statuses_message(std::move(name), MessageType::can_offload_response, std::move(statuses));
}

/// The message with numbers behind it.
template <std::size_t N>
Message with_trailer(Message message, std::array<std::uint64_t, N> numbers) {
  return {message.name,
          [=] {
            Bytes out = message.encode();
            append_trailer(numbers, out);
            return out;
          },
          [=](ByteView in, std::optional<Error>& error) {
            const auto parts = split_trailer<N>(in);
            if (!parts) {
              error = MessageTooShort{8 * N, in.size()};
              return Answer::refused;
            }
            const Answer answer = message.decode(parts->first, error);
            return answer == Answer::same && parts->second != numbers ? Answer::different : answer;
          }};
}

inline Message count_message(std::string name, MessageType type, std::uint64_t count) {
  return {std::move(name),
          [=] {
            Bytes out{std::byte{1}};
            AnyCodec::encode_count(type, count, out);
            return out;
          },
          [=](ByteView in, std::optional<Error>& error) {
            std::uint64_t decoded = count + 1;
            error = decode_as<AnyCodec>(type, in, [&] { return AnyCodec::decode_count(in, decoded); });
            return compare(error, decoded == count);
          }};
}

inline Message text_message(std::string name, MessageType type, std::string text) {
  return {std::move(name),
          [=] {
            Bytes out{std::byte{1}};
            AnyCodec::encode_text(type, text, out);
            return out;
          },
          [=](ByteView in, std::optional<Error>& error) {
            std::string decoded = "old";
            error = decode_as<AnyCodec>(type, in, [&] { return AnyCodec::decode_text(in, decoded); });
            return compare(error, decoded == text);
          }};
}

/// Every valid message for which there is a vector.
inline std::vector<Message> valid_messages() {
  using T = MessageType;
  using Number = std::uint64_t;
  using Plain = Entry<Number, Number, NoMetadata>;
  using Positioned = Entry<Number, Number, PositionMetadata>;
  constexpr Number max = ~Number{0};
  constexpr Key128 digest{0x0123456789abcdef, 0xfedcba9876543210};
  constexpr auto object = StorageBackend::object;
  constexpr auto disk = StorageBackend::disk;

  using O = OffloadStatus;
  using R = RegisterStatus;
  return {
      with_trailer<1>(keys_message<Number>("claim_u64", T::claim, {5, 6}), {2'000'000'000}),
      with_trailer<4>(statuses_message<O>("claim_response", T::claim_response, {O::granted, O::leased}),
                      {7, 9, 30'000'000'000, 1'000'000'000}),
      with_trailer<1>(keys_message<Number>("renew_u64", T::renew, {5, 6}), {7}),
      with_trailer<2>(statuses_message<RenewStatus>("renew_response", T::renew_response,
                                                    {RenewStatus::held, RenewStatus::stored, RenewStatus::lost}),
                      {7, 30'000'000'000}),
      statuses_message<R>("register_response", T::register_response,
                          {R::stored, R::lease_conflict, R::limit_exceeded, R::storage_error, R::superseded}),
      entries_message<Number, Number, NoMetadata>("remove_if_u64", T::remove_if, {{1, 100, {}}}),
      count_message("sync", T::sync, 3),
      with_trailer<3>(count_message("sync_response", T::sync_response, 9), {7, 1, 0}),
      entries_message<Number, Number, NoMetadata>(
          "register_u64_nometadata", T::register_entries, {{1, 100, {}}, {2, 200, {}}}),
      entries_message<Key128, Number, TimestampMetadata>(
          "register_key128_timestamp", T::register_entries,
          {{{0x123456789abcdef0, 0xfedcba9876543210}, 7, {1234567890, 3600}}, {{0, 1}, 8, {1, std::nullopt}}}),
      entries_message<PositionalKey, StorageLocation, NoMetadata>(
          "register_positional_storagelocation_u16path", T::register_entries,
          {{{123, 456, 789}, {object, "bucket/key/object.bin", 1048576}, {}}}),
      keys_message<Number>("query_can_offload_u64", T::can_offload, {1, 2, 3}),
      keys_message<PositionalKey>("query_match_positional", T::match, {{0, 0x1111, 0}, {0, 0x2222, 1}}),
      keys_message<CompositeKey>("query_remove_composite", T::remove, {{123, 456}}),
      statuses_message(
          "response_can_offload", {OffloadStatus::granted, OffloadStatus::already_stored, OffloadStatus::leased}),
      count_message("response_remove", T::remove_response, 3),
      count_message("response_touch", T::touch_response, 2),
      keys_message<Number>("query_empty", T::can_offload, {}),

      entries_message<Number, Number, PositionMetadata>(
          "register_u64_position", T::register_entries,
          {Positioned{2, 20, {1, 1, 9, 1700000000}}, Positioned{1, 10, {0, std::nullopt, std::nullopt, 0}}}),
      entries_message<CompositeKey, StorageLocation, TimestampMetadata>(
          "register_composite_disk_timestamp", T::register_entries,
          {{{7, 0xfedcba9876543210}, {disk, "/mnt/kv/0001.blk", 4096}, {1700000000, 60}}}),
      entries_message<Number, Number, NoMetadata>("register_empty", T::register_entries, {}),
      entries_message<Number, Number, NoMetadata>("match_response_u64", T::match_response, {Plain{1, 100, {}}}),
      entries_message<PositionalKey, StorageLocation, PositionMetadata>(
          "match_response_positional_disk_position", T::match_response,
          {{{1, 2, 3}, {disk, "", 0}, {3, max, std::nullopt, 5}},
           {{1, 4, 4},
            {object,
             "b\xc3\xbc"
             "cher/4",
             max},
            {4, 2, 5, 6}}}),
      entries_message<Key128, Number, TimestampMetadata>(
          "match_response_key128_timestamp", T::match_response, {{digest, 0, {0, 0xffffffff}}}),
      entries_message<Number, Number, PositionMetadata>("match_response_empty", T::match_response, {}),
      keys_message<Number>("query_match_u64", T::match, {1, max}),
      keys_message<Key128>("query_can_offload_key128", T::can_offload, {digest}),
      keys_message<CompositeKey>("query_touch_composite", T::touch, {{1, 2}, {3, 4}}),
      keys_message<PositionalKey>("query_remove_positional", T::remove, {{1, 2, 0xffffffff}}),
      statuses_message("response_can_offload_empty", {}),
      count_message("response_remove_max", T::remove_response, max),
      text_message("error_response", T::error_response, "unbekannte L\xc3\xa4nge"),
      text_message("error_response_empty", T::error_response, ""),
      text_message("hello", T::hello, "default"),
      text_message("hello_response", T::hello_response, "tenant-a"),
      keys_message<Number>("release_u64", T::release, {5, 6}),
      count_message("release_response", T::release_response, 2),
      keys_message<Number>("withdraw_u64", T::withdraw, {5, 6}),
  };
}

}  // namespace registry::test
