// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <stdexcept>

#include <registry/wire.hpp>

namespace registry::test {

/// A value whose wire throws for 13.
struct Superstitious {
  std::uint64_t number = 0;
  friend bool operator==(const Superstitious&, const Superstitious&) = default;
};

}  // namespace registry::test

template <>
struct registry::wire<registry::test::Superstitious> {
  static std::size_t encoded_size(const registry::test::Superstitious&) { return 8; }
  static bool encode(const registry::test::Superstitious& value, std::span<std::byte> out) {
    if (value.number == 13) throw std::runtime_error("not that number");
    store_le(value.number, out.data());
    return true;
  }
  static std::optional<registry::test::Superstitious> decode(std::span<const std::byte> in) {
    if (in.size() != 8) return std::nullopt;
    return registry::test::Superstitious{load_le<std::uint64_t>(in.data())};
  }
};
