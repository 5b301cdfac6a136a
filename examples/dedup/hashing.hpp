// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <sodium.h>
#include <registry/key.hpp>

#include "dedup/text.hpp"

namespace dedup {

using registry::Key128;

/// The BLAKE2b digest of a block, 128 bits: its name everywhere. Two different blocks of the same name would be taken
/// for one. By accident that takes about 2^64 blocks; someone who means it needs as many attempts, so whoever stores
/// the blocks of enemies should use a key of 32 bytes.
inline Key128 hash(std::span<const std::byte> data) {
  std::array<unsigned char, 16> digest;
  static_assert(digest.size() >= crypto_generichash_BYTES_MIN);
  crypto_generichash(
      digest.data(), digest.size(), reinterpret_cast<const unsigned char*>(data.data()), data.size(), nullptr, 0);
  const auto number = [&](std::size_t from) {
    std::uint64_t value = 0;
    for (std::size_t i = from; i < from + 8; ++i) value = value << 8U | digest[i];
    return value;
  };
  return {number(0), number(8)};
}

/// The digest as `b2sum -l 128` prints it.
inline std::string to_hex(const Key128& key) {
  std::string text;
  for (const std::uint64_t half : {key.high, key.low}) {
    for (unsigned shift = 64; shift > 0; shift -= 4) text += hex_digits[half >> (shift - 4) & 15U];
  }
  return text;
}

inline std::optional<Key128> from_hex(std::string_view text) {
  if (text.size() != 32) return std::nullopt;
  Key128 key;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto digit = hex_value(text[i]);
    if (!digit) return std::nullopt;
    std::uint64_t& half = i < 16 ? key.high : key.low;
    half = half << 4U | *digit;
  }
  return key;
}

}  // namespace dedup
