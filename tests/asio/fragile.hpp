// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <stdexcept>

#include <registry/wire.hpp>

namespace asio_test {

/// A key that cannot be copied at times, if it is 13.
struct Fragile {
  inline static bool breaks = false;
  inline static bool throws_number = false;  // no std::exception
  inline static int copies_left = 0;         // before one breaks
  std::uint64_t number = 0;

  Fragile() = default;
  Fragile(std::uint64_t n) : number(n) {}
  Fragile(const Fragile& other) : number(other.number) {
    if (!breaks || number != 13 || copies_left-- > 0) return;
    if (throws_number) throw number;
    throw std::runtime_error("broken");
  }
  Fragile& operator=(const Fragile&) = default;
  friend bool operator==(const Fragile&, const Fragile&) = default;
};

/// A value that cannot be read back, and says so with something that is no std::exception.
struct Unreadable {
  std::uint64_t number = 0;
  friend bool operator==(const Unreadable&, const Unreadable&) = default;
};

}  // namespace asio_test

template <>
struct registry::wire<asio_test::Fragile> : registry::wire_fields<&asio_test::Fragile::number> {};

template <>
struct registry::wire<asio_test::Unreadable> {
  static std::size_t encoded_size(const asio_test::Unreadable&) { return 8; }
  static bool encode(const asio_test::Unreadable& value, std::span<std::byte> out) {
    store_le(value.number, out.data());
    return true;
  }
  static std::optional<asio_test::Unreadable> decode(std::span<const std::byte> in) {
    throw load_le<std::uint64_t>(in.data());
  }
};
