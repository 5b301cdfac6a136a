// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

namespace registry {

using Bytes = std::vector<std::byte>;
using ByteView = std::span<const std::byte>;

/// The frames of one message, without what a transport itself adds.
using Frames = std::span<const ByteView>;

/// What an encoder writes into: a container that can be sized once and then filled in place.
/// `Bytes` is one; a transport may adapt its own message type to save a copy.
template <class B>
concept ByteBuffer = requires(B& buffer, const B& filled, std::size_t size) {
  buffer.resize(size);
  { buffer.data() } -> std::convertible_to<std::byte*>;
  { filled.size() } -> std::convertible_to<std::size_t>;
};

inline ByteView as_bytes(std::string_view text) noexcept { return std::as_bytes(std::span{text.data(), text.size()}); }

inline std::string_view as_text(ByteView bytes) noexcept {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Writes `value` little-endian at `out`, which has room for it. The wire is little-endian on every machine.
template <std::unsigned_integral T>
  requires(sizeof(T) <= 8)
constexpr void store_le(T value, std::byte* out) noexcept {
  if (std::endian::native == std::endian::little && !std::is_constant_evaluated()) {
    // Of the loop below, where it stands in a loop over numbers, GCC 12 makes vector code that takes ten times as long.
    std::memcpy(out, &value, sizeof value);
    return;
  }
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    out[i] = static_cast<std::byte>(static_cast<std::uint64_t>(value) >> (8 * i));
  }
}

/// Reads a little-endian `T` from `in`, which holds at least `sizeof(T)` bytes.
template <std::unsigned_integral T>
  requires(sizeof(T) <= 8)
constexpr T load_le(const std::byte* in) noexcept {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i) value |= std::to_integer<std::uint64_t>(in[i]) << (8 * i);
  return static_cast<T>(value);
}

/// memcpy that allows an empty source whose pointer is null.
inline void copy_bytes(ByteView from, std::byte* to) noexcept {
  if (!from.empty()) std::memcpy(to, from.data(), from.size());
}

}  // namespace registry
