// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>

#include <registry/wire.hpp>

namespace registry {

/// Where a block is. Copyable, and comparable: registering the value that is already there is a retry, another value
/// supersedes it. Its wire form may vary in size, up to 65,535 bytes.
template <class T>
concept Value = std::semiregular<T> && std::equality_comparable<T> && WireEncodable<T> &&
                (wire_min_size<T>() <= std::numeric_limits<std::uint16_t>::max());

/// What kind of store an object lies in; the numbers are the wire's.
enum class StorageBackend : std::uint8_t { object = 0, disk = 1 };

/// An object in a bucket or a file on a disk. `path` is UTF-8, at most 65,535 bytes less the 11 around it.
struct StorageLocation {
  StorageBackend backend = StorageBackend::object;
  std::string path;
  std::uint64_t size_bytes = 0;
  friend bool operator==(const StorageLocation&, const StorageLocation&) = default;
};

/// Layout: backend u8, path_len u16, path, size_bytes u64.
template <>
struct wire<StorageLocation> {
  static std::size_t encoded_size(const StorageLocation& value) noexcept { return overhead + value.path.size(); }

  static bool encode(const StorageLocation& value, std::span<std::byte> out) noexcept {
    if (value.path.size() > std::numeric_limits<std::uint16_t>::max()) return false;
    if (value.backend != StorageBackend::object && value.backend != StorageBackend::disk) return false;
    out[0] = static_cast<std::byte>(value.backend);
    store_le(static_cast<std::uint16_t>(value.path.size()), out.data() + 1);
    copy_bytes(as_bytes(value.path), out.data() + 3);
    store_le(value.size_bytes, out.data() + 3 + value.path.size());
    return true;
  }

  static std::optional<StorageLocation> decode(std::span<const std::byte> in) {
    if (in.size() < overhead) return std::nullopt;
    const auto backend = std::to_integer<std::uint8_t>(in[0]);
    const std::size_t path_size = load_le<std::uint16_t>(in.data() + 1);
    if (backend > 1 || in.size() != overhead + path_size) return std::nullopt;
    return StorageLocation{static_cast<StorageBackend>(backend), std::string{as_text(in.subspan(3, path_size))},
                           load_le<std::uint64_t>(in.data() + 3 + path_size)};
  }

 private:
  static constexpr std::size_t overhead = 11;
};

}  // namespace registry
