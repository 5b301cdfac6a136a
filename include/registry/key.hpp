// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <compare>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <random>
#include <string>

#include <registry/wire.hpp>

namespace registry {

/// What names a block. A key is a regular value with a wire form of one fixed size, so that a query is decoded and
/// looked up without an allocation per key and a wrong length is seen on the wire. Every value has a wire form:
/// `encode` never answers false, as neither a query nor a hash could leave a key out. Two keys are equal if and only if
/// their wire forms are: the catalogue hashes and the hub compares nothing else.
template <class T>
concept Key = std::regular<T> && FixedWire<T> && (wire<T>::size > 0) &&
              (wire<T>::size <= std::numeric_limits<std::uint16_t>::max());

/// A 128-bit number, for instance the hash of a block's content.
struct Key128 {
  std::uint64_t high = 0;
  std::uint64_t low = 0;
  friend auto operator<=>(const Key128&, const Key128&) = default;
};

template <>
struct wire<Key128> : wire_fields<&Key128::low, &Key128::high> {};

/// A sequence hash that is unique within one worker.
struct CompositeKey {
  std::uint64_t worker_id = 0;
  std::uint64_t sequence_hash = 0;
  friend auto operator<=>(const CompositeKey&, const CompositeKey&) = default;
};

template <>
struct wire<CompositeKey> : wire_fields<&CompositeKey::worker_id, &CompositeKey::sequence_hash> {};

/// A sequence hash with its place in the chain of blocks.
struct PositionalKey {
  std::uint64_t worker_id = 0;
  std::uint64_t sequence_hash = 0;
  std::uint32_t position = 0;
  friend auto operator<=>(const PositionalKey&, const PositionalKey&) = default;
};

template <>
struct wire<PositionalKey>
    : wire_fields<&PositionalKey::worker_id, &PositionalKey::sequence_hash, &PositionalKey::position> {};

/// The wire form of a key.
template <Key K>
std::array<std::byte, wire<K>::size> key_bytes(const K& key) {
  std::array<std::byte, wire<K>::size> bytes;
  wire_encode(key, bytes.data(), bytes.size());
  return bytes;
}

/// The wire form of a key in hexadecimal: how errors and logs name it.
template <Key K>
std::string key_hex(const K& key) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string text;
  for (const std::byte b : key_bytes(key)) {
    text += digits[std::to_integer<unsigned>(b) >> 4U];
    text += digits[std::to_integer<unsigned>(b) & 15U];
  }
  return text;
}

/// Hashes the wire form of a key with a secret seed, drawn once per process unless given: keys may be chosen by
/// strangers, who must not be able to choose colliding ones. Multiply-and-fold as in wyhash; the result is avalanching.
template <Key K>
class KeyHash {
 public:
  using is_avalanching = void;

  KeyHash() noexcept : KeyHash(process_seed()) {}
  explicit KeyHash(std::uint64_t seed) noexcept : seed_(scattered(seed)) {}

  std::size_t operator()(const K& key) const noexcept {
    const auto bytes = key_bytes(key);
    constexpr std::size_t size = wire<K>::size;
    std::uint64_t hash = seed_;
    std::size_t at = 0;
    for (; at + 8 <= size; at += 8) hash = fold(hash ^ load_le<std::uint64_t>(bytes.data() + at), multiplier);
    if constexpr (size % 8 != 0) {
      std::uint64_t tail = 0;
      for (std::size_t i = 0; at + i < size; ++i) tail |= std::to_integer<std::uint64_t>(bytes[at + i]) << (8 * i);
      hash = fold(hash ^ tail, multiplier);
    }
    return static_cast<std::size_t>(fold(hash ^ size, seed_ | 1U));
  }

 private:
  static constexpr std::uint64_t multiplier = 0x9e3779b97f4a7c15;

  static std::uint64_t fold(std::uint64_t a, std::uint64_t b) noexcept {
    __extension__ using Product = unsigned __int128;
    const Product product = static_cast<Product>(a) * b;
    return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64U);
  }

  /// The seed is a multiplier, too: a small one given by hand would leave most bits of a hash 0.
  static std::uint64_t scattered(std::uint64_t seed) noexcept {
    return fold(seed ^ 0xa076'1d64'78bd'642f, 0xe703'7ed1'a0b4'28db);
  }

  static std::uint64_t process_seed() {
    static const std::uint64_t seed = [] {
      std::random_device device;
      return static_cast<std::uint64_t>(device()) << 32U | device();
    }();
    return seed;
  }

  std::uint64_t seed_;
};

}  // namespace registry
