// SPDX-License-Identifier: Apache-2.0
// Types as a user would bring them.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <registry/bytes.hpp>
#include <registry/codec.hpp>
#include <registry/key.hpp>
#include <registry/storage.hpp>
#include <registry/wire.hpp>

// A key, in less than ten lines.
struct TenantKey {
  std::uint32_t tenant = 0;
  std::uint64_t hash = 0;
  friend auto operator<=>(const TenantKey&, const TenantKey&) = default;
};
template <>
struct registry::wire<TenantKey> : registry::wire_fields<&TenantKey::tenant, &TenantKey::hash> {};

/// A value whose size varies.
struct Replicas {
  std::vector<std::string> urls;
  friend bool operator==(const Replicas&, const Replicas&) = default;
};
template <>
struct registry::wire<Replicas> {
  static std::size_t encoded_size(const Replicas& value) {
    std::size_t size = 0;
    for (const std::string& url : value.urls) size += url.size() + 1;
    return size;
  }
  static void encode(const Replicas& value, std::span<std::byte> out) {
    std::size_t at = 0;
    for (const std::string& url : value.urls) {
      copy_bytes(as_bytes(url), out.data() + at);
      at += url.size();
      out[at++] = std::byte{0};
    }
  }
  static std::optional<Replicas> decode(std::span<const std::byte> in) {
    Replicas value;
    std::string url;
    for (const std::byte byte : in) {
      if (byte != std::byte{0}) {
        url += static_cast<char>(byte);
      } else {
        value.urls.push_back(std::exchange(url, {}));
      }
    }
    if (!url.empty()) return std::nullopt;
    return value;
  }
};

/// Metadata with a tag of its own.
struct Tag {
  std::uint8_t number = 0;
  friend bool operator==(const Tag&, const Tag&) = default;
};
template <>
struct registry::wire<Tag> : registry::wire_fields<&Tag::number> {};

/// A storage over a std::map, which counts what is asked of it.
template <class K, class V, class M = registry::NoMetadata>
class TreeStorage {
 public:
  using key_type = K;
  using value_type = V;
  using metadata_type = M;

  const registry::Stored<V, M>* find(const K& key) const {
    const auto it = entries_.find(key);
    return it == entries_.end() ? nullptr : &it->second;
  }
  std::optional<registry::Stored<V, M>> insert(registry::Entry<K, V, M> entry) {
    auto before = erase(entry.key);
    entries_.emplace(std::move(entry.key), registry::Stored<V, M>{std::move(entry.value), std::move(entry.metadata)});
    return before;
  }
  std::optional<registry::Stored<V, M>> erase(const K& key) {
    const auto it = entries_.find(key);
    if (it == entries_.end()) return std::nullopt;
    std::optional<registry::Stored<V, M>> before{std::move(it->second)};
    entries_.erase(it);
    return before;
  }
  std::size_t size() const { return entries_.size(); }

 private:
  std::map<K, registry::Stored<V, M>> entries_;
};

/// A codec of the user's: ours with every byte of a message turned over, so that neither understands the other.
template <class K, class V, class M = registry::NoMetadata>
class InvertedCodec {
  using Plain = registry::BinaryCodec<K, V, M>;
  using Bytes = registry::Bytes;
  using ByteView = registry::ByteView;
  using MessageType = registry::MessageType;
  using Result = std::optional<registry::Error>;

 public:
  static constexpr unsigned protocol_version = 1;

  static void encode_keys(MessageType type, std::span<const K> keys, Bytes& out) {
    Plain::encode_keys(type, keys, out);
    invert(out);
  }
  static void begin_entries(MessageType type, Bytes& out) {
    Plain::begin_entries(type, out);
    invert(out);
  }
  static Result append_entry(const K& key, const V& value, const M& metadata, Bytes& out) {
    invert(out);
    Result result = Plain::append_entry(key, value, metadata, out);
    invert(out);
    return result;
  }
  template <registry::StatusByte S>
  static void encode_statuses(MessageType type, std::span<const S> statuses, Bytes& out) {
    Plain::encode_statuses(type, statuses, out);
    invert(out);
  }
  static void encode_count(MessageType type, std::uint64_t count, Bytes& out) {
    Plain::encode_count(type, count, out);
    invert(out);
  }
  static void encode_text(MessageType type, std::string_view text, Bytes& out) {
    Plain::encode_text(type, text, out);
    invert(out);
  }
  static Result decode_type(ByteView in, MessageType& out) { return Plain::decode_type(inverted(in), out); }
  static Result decode_keys(ByteView in, std::vector<K>& out) { return Plain::decode_keys(inverted(in), out); }
  static Result decode_entries(ByteView in, std::vector<registry::Entry<K, V, M>>& out) {
    return Plain::decode_entries(inverted(in), out);
  }
  template <registry::StatusByte S>
  static Result decode_statuses(ByteView in, std::vector<S>& out) {
    return Plain::decode_statuses(inverted(in), out);
  }
  static Result decode_count(ByteView in, std::uint64_t& out) { return Plain::decode_count(inverted(in), out); }
  static Result decode_text(ByteView in, std::string& out) { return Plain::decode_text(inverted(in), out); }

 private:
  static void invert(Bytes& bytes) {
    for (std::byte& byte : bytes) byte = ~byte;
  }
  static Bytes inverted(ByteView in) {
    Bytes bytes(in.begin(), in.end());
    invert(bytes);
    return bytes;
  }
};
