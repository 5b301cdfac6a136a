// expect: constraints not satisfied
// expect: K = ObjectName
// expect: HasWireSize
// SPDX-License-Identifier: Apache-2.0
// Keys have one length, so that a query is decoded without an allocation per key.
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include <registry/codec.hpp>

struct ObjectName {
  std::string text;
  friend bool operator==(const ObjectName&, const ObjectName&) = default;
};

template <>
struct registry::wire<ObjectName> {
  static std::size_t encoded_size(const ObjectName& name) { return name.text.size(); }
  static void encode(const ObjectName& name, std::span<std::byte> out) { copy_bytes(as_bytes(name.text), out.data()); }
  static std::optional<ObjectName> decode(std::span<const std::byte> in) {
    return ObjectName{std::string{as_text(in)}};
  }
};

#ifdef REGISTRY_COMPILE_FAIL_CONTROL
using BlockKey = std::array<std::byte, 32>;
#else
using BlockKey = ObjectName;
#endif

registry::BinaryCodec<BlockKey, ObjectName, registry::NoMetadata> codec;
