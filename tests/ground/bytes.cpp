// SPDX-License-Identifier: Apache-2.0
#include "support/catch.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string_view>

#include <registry/bytes.hpp>

using namespace registry;

TEST_CASE("numbers are little-endian and take exactly their size") {
  std::array<std::byte, 10> out{};
  out.fill(std::byte{0xee});
  store_le(std::uint32_t{0x01020304}, out.data() + 1);
  CHECK(out[0] == std::byte{0xee});
  CHECK(out[1] == std::byte{0x04});
  CHECK(out[2] == std::byte{0x03});
  CHECK(out[3] == std::byte{0x02});
  CHECK(out[4] == std::byte{0x01});
  CHECK(out[5] == std::byte{0xee});
  CHECK(load_le<std::uint32_t>(out.data() + 1) == 0x01020304);
  CHECK(load_le<std::uint16_t>(out.data() + 1) == 0x0304);
}

TEMPLATE_TEST_CASE("every number comes back as it was stored", "", std::uint8_t, std::uint16_t, std::uint32_t,
                   std::uint64_t) {
  const TestType high_bit = static_cast<TestType>(TestType{1} << (8 * sizeof(TestType) - 1));
  for (const TestType value : {TestType{0}, TestType{1}, TestType{0x7f}, TestType{0x80}, high_bit,
                               static_cast<TestType>(high_bit + 1), std::numeric_limits<TestType>::max()}) {
    std::array<std::byte, sizeof(TestType)> bytes{};
    store_le(value, bytes.data());
    CHECK(load_le<TestType>(bytes.data()) == value);
  }
}

TEST_CASE("numbers can be stored and read at compile time") {
  constexpr auto round_trip = [] {
    std::array<std::byte, 8> bytes{};
    store_le(std::uint64_t{0x1122334455667788}, bytes.data());
    return load_le<std::uint64_t>(bytes.data());
  };
  STATIC_REQUIRE(round_trip() == 0x1122334455667788);
}

TEST_CASE("text and bytes are views of each other") {
  const std::string_view text = "block";
  const ByteView bytes = as_bytes(text);
  CHECK(bytes.size() == 5);
  CHECK(bytes[0] == std::byte{'b'});
  CHECK(as_text(bytes) == text);
  CHECK(as_text(bytes).data() == text.data());
}

TEST_CASE("copying nothing from nowhere touches nothing") {
  std::array<std::byte, 2> out{std::byte{1}, std::byte{2}};
  copy_bytes(ByteView{}, out.data());
  CHECK(out[0] == std::byte{1});
  copy_bytes(as_bytes("z"), out.data());
  CHECK(out[0] == std::byte{'z'});
  CHECK(out[1] == std::byte{2});
}
