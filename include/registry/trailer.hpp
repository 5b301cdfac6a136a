// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

#include <registry/bytes.hpp>

namespace registry {

/// Appends the numbers that an extension puts behind what a codec has written, 8 bytes each, little-endian. Behind it,
/// so that the codec's part neither moves nor changes.
template <std::size_t N, ByteBuffer B>
void append_trailer(const std::array<std::uint64_t, N>& numbers, B& out) {
  const std::size_t size = out.size();
  out.resize(size + 8 * N);
  for (std::size_t i = 0; i < N; ++i) store_le(numbers[i], out.data() + size + 8 * i);
}

/// The codec's part and the N numbers behind it; nothing where there are fewer bytes than those.
template <std::size_t N>
std::optional<std::pair<ByteView, std::array<std::uint64_t, N>>> split_trailer(ByteView in) noexcept {
  if (in.size() < 8 * N) return std::nullopt;
  const ByteView body = in.first(in.size() - 8 * N);
  std::array<std::uint64_t, N> numbers{};
  for (std::size_t i = 0; i < N; ++i) numbers[i] = load_le<std::uint64_t>(in.data() + body.size() + 8 * i);
  return std::pair{body, numbers};
}

}  // namespace registry
