// SPDX-License-Identifier: Apache-2.0
#include "support/catch.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include <registry/wire.hpp>

// A struct of one's own needs one line to have a wire form.
struct ChunkId {
  std::uint16_t volume = 0;
  std::uint64_t offset = 0;
  friend bool operator==(const ChunkId&, const ChunkId&) = default;
};
template <>
struct registry::wire<ChunkId> : registry::wire_fields<&ChunkId::volume, &ChunkId::offset> {};

// A type that some bytes are not, and one value of which has no bytes.
struct Odd {
  std::uint8_t number = 1;
};
template <>
struct registry::wire<Odd> {
  static constexpr std::size_t size = 1;
  static bool encode(const Odd& value, std::span<std::byte, 1> out) {
    out[0] = std::byte{value.number};
    return value.number % 2 == 1;
  }
  static std::optional<Odd> decode(std::span<const std::byte, 1> in) {
    const auto number = std::to_integer<std::uint8_t>(in[0]);
    return number % 2 == 1 ? std::optional{Odd{number}} : std::nullopt;
  }
};

struct Pair {
  Odd first;
  std::uint8_t between = 0;
  Odd second;
};
template <>
struct registry::wire<Pair> : registry::wire_fields<&Pair::first, &Pair::between, &Pair::second> {};

struct Name {
  std::string text;
};
template <>
struct registry::wire<Name> {
  static std::size_t encoded_size(const Name& name) { return name.text.size(); }
  static void encode(const Name& name, std::span<std::byte> out) { copy_bytes(as_bytes(name.text), out.data()); }
  static std::optional<Name> decode(std::span<const std::byte> in) { return Name{std::string{as_text(in)}}; }
};

using namespace registry;

namespace {

template <class T>
Bytes bytes_of(const T& value) {
  Bytes bytes(wire_size(value));
  REQUIRE(wire_encode(value, bytes.data(), bytes.size()));
  return bytes;
}

Bytes bytes(std::initializer_list<unsigned> numbers) {
  Bytes out;
  for (const unsigned number : numbers) out.push_back(static_cast<std::byte>(number));
  return out;
}

}  // namespace

TEST_CASE("unsigned integers take their size, little-endian") {
  CHECK(bytes_of(std::uint8_t{0x12}) == bytes({0x12}));
  CHECK(bytes_of(std::uint16_t{0x1234}) == bytes({0x34, 0x12}));
  CHECK(bytes_of(std::uint32_t{0x12345678}) == bytes({0x78, 0x56, 0x34, 0x12}));
  CHECK(bytes_of(std::uint64_t{1}) == bytes({1, 0, 0, 0, 0, 0, 0, 0}));
  CHECK(wire_decode<std::uint16_t>(bytes({0x34, 0x12})) == std::optional<std::uint16_t>{0x1234});
}

TEST_CASE("a fixed size is met exactly or the bytes are no such value") {
  CHECK(wire_decode<std::uint32_t>(bytes({1, 2, 3, 4})));
  CHECK_FALSE(wire_decode<std::uint32_t>(bytes({1, 2, 3})));
  CHECK_FALSE(wire_decode<std::uint32_t>(bytes({1, 2, 3, 4, 5})));
  CHECK_FALSE(wire_decode<std::uint32_t>(ByteView{}));
}

TEST_CASE("arrays of bytes are written as they are") {
  const std::array<std::uint8_t, 3> numbers{1, 2, 255};
  CHECK(bytes_of(numbers) == bytes({1, 2, 255}));
  CHECK(wire_decode<std::array<std::uint8_t, 3>>(bytes({1, 2, 255})) == std::optional{numbers});
  CHECK_FALSE(wire_decode<std::array<std::uint8_t, 3>>(bytes({1, 2})));

  const std::array<std::byte, 2> raw{std::byte{9}, std::byte{0}};
  CHECK(bytes_of(raw) == bytes({9, 0}));
  CHECK(wire_decode<std::array<std::byte, 2>>(bytes({9, 0})) == std::optional{raw});
}

TEST_CASE("wire_fields writes the fields one behind the other, without padding, in the order named") {
  const ChunkId id{0x0102, 0x030405060708090a};
  STATIC_REQUIRE(wire<ChunkId>::size == 10);
  STATIC_REQUIRE(sizeof(ChunkId) > 10);
  CHECK(bytes_of(id) == bytes({2, 1, 10, 9, 8, 7, 6, 5, 4, 3}));
  CHECK(wire_decode<ChunkId>(bytes_of(id)) == std::optional{id});
  CHECK_FALSE(wire_decode<ChunkId>(bytes({2, 1, 10, 9, 8, 7, 6, 5, 4})));
}

TEST_CASE("wire_fields has a form where all its fields have one") {
  CHECK(bytes_of(Pair{{3}, 4, {5}}) == bytes({3, 4, 5}));
  Bytes out(3);
  CHECK_FALSE(wire_encode(Pair{{2}, 4, {5}}, out.data(), out.size()));
  CHECK_FALSE(wire_encode(Pair{{3}, 4, {6}}, out.data(), out.size()));

  const std::optional<Pair> pair = wire_decode<Pair>(bytes({3, 4, 5}));
  REQUIRE(pair);
  CHECK(pair->first.number == 3);
  CHECK(pair->between == 4);
  CHECK(pair->second.number == 5);
  CHECK_FALSE(wire_decode<Pair>(bytes({2, 4, 5})));
  CHECK_FALSE(wire_decode<Pair>(bytes({3, 4, 6})));
}

TEST_CASE("a type without a fixed size says its own") {
  CHECK(wire_size(Name{"abc"}) == 3);
  CHECK(wire_size(Name{}) == 0);
  CHECK(wire_min_size<Name>() == 0);
  CHECK(wire_min_size<ChunkId>() == 10);
  CHECK(bytes_of(Name{"abc"}) == bytes({'a', 'b', 'c'}));
  CHECK(wire_decode<Name>(bytes({'x'}))->text == "x");
  CHECK(wire_decode<Name>(ByteView{})->text.empty());
}

TEST_CASE("fixed forms work at compile time") {
  constexpr auto round_trip = [] {
    std::array<std::byte, 10> out{};
    wire_encode(ChunkId{7, 8}, out.data(), out.size());
    return wire_decode<ChunkId>(out);
  };
  STATIC_REQUIRE(round_trip() == ChunkId{7, 8});
}
