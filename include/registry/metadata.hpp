// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>

#include <registry/key.hpp>
#include <registry/wire.hpp>

namespace registry {

/// What the hub keeps beside a value and returns with every match. Its wire form is at most 65,535 bytes.
template <class T>
concept Metadata = std::semiregular<T> && WireEncodable<T> &&
                   (wire_min_size<T>() <= std::numeric_limits<std::uint16_t>::max());

/// Metadata whose entries end: `expires_at(arrival)` is the moment from which the entry is as good as absent, or
/// nothing if it stays. `arrival` is the hub's system clock when the entry came.
template <class T>
concept ExpiringMetadata = Metadata<T> && requires(const T& metadata, std::chrono::sys_seconds arrival) {
  { metadata.expires_at(arrival) } -> std::same_as<std::optional<std::chrono::sys_seconds>>;
};

/// Nothing; takes no byte in memory beside a value, and none on the wire.
struct NoMetadata {
  friend bool operator==(const NoMetadata&, const NoMetadata&) = default;
};

template <>
struct wire<NoMetadata> {
  static constexpr std::size_t size = 0;
  static constexpr void encode(const NoMetadata&, std::span<std::byte, 0>) noexcept {}
  static constexpr std::optional<NoMetadata> decode(std::span<const std::byte, 0>) noexcept { return NoMetadata{}; }
};

/// When the block was made, in seconds since the epoch, and how many seconds it lives.
struct TimestampMetadata {
  std::uint64_t created_at = 0;
  std::optional<std::uint32_t> ttl_secs;
  friend bool operator==(const TimestampMetadata&, const TimestampMetadata&) = default;

  /// min(created_at, arrival) + ttl_secs: a clock that runs ahead of the hub's does not lengthen a life.
  std::optional<std::chrono::sys_seconds> expires_at(std::chrono::sys_seconds arrival) const noexcept {
    if (!ttl_secs) return std::nullopt;
    const auto now = static_cast<std::uint64_t>(std::max<std::int64_t>(arrival.time_since_epoch().count(), 0));
    const auto start = static_cast<std::int64_t>(std::min(created_at, now));
    return std::chrono::sys_seconds{std::chrono::seconds{start + *ttl_secs}};
  }
};

/// A block's place in a chain: its depth, the hash of its parent, the length of the whole sequence.
struct PositionMetadata {
  std::uint32_t position = 0;
  std::optional<std::uint64_t> parent_hash;
  std::optional<std::uint32_t> sequence_length;
  std::uint64_t created_at = 0;
  friend bool operator==(const PositionMetadata&, const PositionMetadata&) = default;
};

namespace detail {

/// The wire writes "none" as 0, so a present 0 has no representation.
template <std::unsigned_integral T>
bool put_optional(const std::optional<T>& value, std::byte* out) noexcept {
  store_le(value.value_or(T{0}), out);
  return value != std::optional<T>{0};
}

template <std::unsigned_integral T>
std::optional<T> take_optional(const std::byte* in) noexcept {
  const T value = load_le<T>(in);
  return value == 0 ? std::nullopt : std::optional<T>{value};
}

}  // namespace detail

template <>
struct wire<TimestampMetadata> {
  static constexpr std::size_t size = 12;
  static bool encode(const TimestampMetadata& value, std::span<std::byte, size> out) noexcept {
    store_le(value.created_at, out.data());
    return detail::put_optional(value.ttl_secs, out.data() + 8);
  }
  static std::optional<TimestampMetadata> decode(std::span<const std::byte, size> in) noexcept {
    return TimestampMetadata{load_le<std::uint64_t>(in.data()), detail::take_optional<std::uint32_t>(in.data() + 8)};
  }
};

template <>
struct wire<PositionMetadata> {
  static constexpr std::size_t size = 24;
  static bool encode(const PositionMetadata& value, std::span<std::byte, size> out) noexcept {
    store_le(value.position, out.data());
    store_le(value.created_at, out.data() + 16);
    return detail::put_optional(value.parent_hash, out.data() + 4) &&
           detail::put_optional(value.sequence_length, out.data() + 12);
  }
  static std::optional<PositionMetadata> decode(std::span<const std::byte, size> in) noexcept {
    return PositionMetadata{load_le<std::uint32_t>(in.data()), detail::take_optional<std::uint64_t>(in.data() + 4),
                            detail::take_optional<std::uint32_t>(in.data() + 12),
                            load_le<std::uint64_t>(in.data() + 16)};
  }
};

/// The key of the block before this one in its chain, or nothing for the head of a chain. A customization point:
/// overload it for a key or metadata type of yours, in that type's namespace.
template <Key K, Metadata M>
constexpr std::optional<K> parent_key(const K&, const M&) noexcept {
  return std::nullopt;
}

inline std::optional<std::uint64_t> parent_key(std::uint64_t, const PositionMetadata& metadata) noexcept {
  return metadata.parent_hash;
}

inline std::optional<CompositeKey> parent_key(const CompositeKey& key, const PositionMetadata& metadata) noexcept {
  if (!metadata.parent_hash) return std::nullopt;
  return CompositeKey{key.worker_id, *metadata.parent_hash};
}

/// A parent stands one position before its child; the head of a chain (position 0) has none.
inline std::optional<PositionalKey> parent_key(const PositionalKey& key, const PositionMetadata& metadata) noexcept {
  if (!metadata.parent_hash || key.position == 0) return std::nullopt;
  return PositionalKey{key.worker_id, *metadata.parent_hash, key.position - 1};
}

/// How deep in its chain the metadata says a block lies, or nothing where it does not say. A customization point.
template <Metadata M>
constexpr std::optional<std::uint32_t> chain_position(const M&) noexcept {
  return std::nullopt;
}

inline std::optional<std::uint32_t> chain_position(const PositionMetadata& metadata) noexcept {
  return metadata.position;
}

}  // namespace registry
