// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <stdexcept>

#include <registry/wire.hpp>

namespace asio_test {

/// A key that cannot be copied at times, if it is 13.
struct Fragile {
  inline static bool breaks = false;
  std::uint64_t number = 0;

  Fragile() = default;
  Fragile(std::uint64_t n) : number(n) {}
  Fragile(const Fragile& other) : number(other.number) {
    if (breaks && number == 13) throw std::runtime_error("broken");
  }
  Fragile& operator=(const Fragile&) = default;
  friend bool operator==(const Fragile&, const Fragile&) = default;
};

}  // namespace asio_test

template <>
struct registry::wire<asio_test::Fragile> : registry::wire_fields<&asio_test::Fragile::number> {};
