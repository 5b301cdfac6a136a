// SPDX-License-Identifier: Apache-2.0
#include <registry/key.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace key_cases {

struct Digest {
  std::array<std::uint8_t, 20> bytes{};
  friend bool operator==(const Digest&, const Digest&) = default;
};

struct Name {
  std::string text;
  friend bool operator==(const Name&, const Name&) = default;
};
struct WithoutEquality {
  std::uint64_t number = 0;
};
struct WithoutDefault {
  explicit WithoutDefault(std::uint64_t n) : number(n) {}
  std::uint64_t number;
  friend bool operator==(const WithoutDefault&, const WithoutDefault&) = default;
};
struct MoveOnly {
  MoveOnly() = default;
  MoveOnly(MoveOnly&&) = default;
  MoveOnly& operator=(MoveOnly&&) = default;
  std::uint64_t number = 0;
  friend bool operator==(const MoveOnly&, const MoveOnly&) = default;
};
struct Nothing {
  friend bool operator==(const Nothing&, const Nothing&) = default;
};
struct WithoutWire {
  friend bool operator==(const WithoutWire&, const WithoutWire&) = default;
};

}  // namespace key_cases

namespace registry {

using namespace key_cases;

template <>
struct wire<Digest> : wire_fields<&Digest::bytes> {};

template <>
struct wire<Name> {
  static std::size_t encoded_size(const Name&);
  static void encode(const Name&, std::span<std::byte>);
  static std::optional<Name> decode(std::span<const std::byte>);
};
template <>
struct wire<WithoutEquality> : wire_fields<&WithoutEquality::number> {};
template <>
struct wire<WithoutDefault> {
  static constexpr std::size_t size = 8;
  static void encode(const WithoutDefault&, std::span<std::byte, 8>);
  static std::optional<WithoutDefault> decode(std::span<const std::byte, 8>);
};
template <>
struct wire<MoveOnly> : wire_fields<&MoveOnly::number> {};
template <>
struct wire<Nothing> {
  static constexpr std::size_t size = 0;
  static void encode(const Nothing&, std::span<std::byte, 0>);
  static std::optional<Nothing> decode(std::span<const std::byte, 0>);
};

static_assert(Key<std::uint64_t> && Key<std::uint32_t>);
static_assert(Key<Key128> && wire<Key128>::size == 16);
static_assert(Key<CompositeKey> && wire<CompositeKey>::size == 16);
static_assert(Key<PositionalKey> && wire<PositionalKey>::size == 20);
static_assert(Key<Digest> && wire<Digest>::size == 20);
static_assert(Key<std::array<std::byte, 65'535>>);

static_assert(!Key<Name>, "of variable size");
static_assert(!Key<WithoutEquality>);
static_assert(!Key<WithoutDefault>);
static_assert(!Key<MoveOnly>);
static_assert(!Key<Nothing>, "all keys would be one");
static_assert(!Key<WithoutWire>);
static_assert(!Key<std::array<std::byte, 65'536>>, "its length field has 16 bits");
static_assert(!Key<std::string> && !Key<int>);

}  // namespace registry
