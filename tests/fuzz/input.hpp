// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include <registry/bytes.hpp>

namespace registry::test {

/// What a fuzzer gives, read as numbers. Behind its end all are 0.
class Input {
 public:
  explicit Input(ByteView bytes) : bytes_(bytes) {}

  bool empty() const { return bytes_.empty(); }

  std::uint8_t byte() {
    if (bytes_.empty()) return 0;
    const auto value = std::to_integer<std::uint8_t>(bytes_.front());
    bytes_ = bytes_.subspan(1);
    return value;
  }

  Bytes take(std::size_t size) {
    const ByteView some = bytes_.first(std::min(size, bytes_.size()));
    bytes_ = bytes_.subspan(some.size());
    return {some.begin(), some.end()};
  }

  bool flag() { return byte() % 2 != 0; }

  template <class T, std::size_t N>
  T one_of(const std::array<T, N>& values) {
    return values[byte() % N];
  }

 private:
  ByteView bytes_;
};

}  // namespace registry::test
