// SPDX-License-Identifier: Apache-2.0
#include <registry/value.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace value_cases {

struct Slot {
  std::uint32_t disk = 0;
  std::uint64_t offset = 0;
  friend bool operator==(const Slot&, const Slot&) = default;
};

struct WithoutEquality {
  std::uint64_t number = 0;
};
struct MoveOnly {
  MoveOnly() = default;
  MoveOnly(MoveOnly&&) = default;
  MoveOnly& operator=(MoveOnly&&) = default;
  std::uint64_t number = 0;
  friend bool operator==(const MoveOnly&, const MoveOnly&) = default;
};
struct WithoutWire {
  friend bool operator==(const WithoutWire&, const WithoutWire&) = default;
};

}  // namespace value_cases

namespace registry {

using namespace value_cases;

template <>
struct wire<Slot> : wire_fields<&Slot::disk, &Slot::offset> {};
template <>
struct wire<WithoutEquality> : wire_fields<&WithoutEquality::number> {};
template <>
struct wire<MoveOnly> : wire_fields<&MoveOnly::number> {};

static_assert(Value<std::uint64_t>);
static_assert(Value<StorageLocation> && VariableWire<StorageLocation>);
static_assert(Value<Slot>);
static_assert(Value<std::array<std::byte, 65'535>>);

static_assert(!Value<WithoutEquality>, "a retry could not be told from another value");
static_assert(!Value<MoveOnly>);
static_assert(!Value<WithoutWire>);
static_assert(!Value<std::array<std::byte, 65'536>>, "its length field has 16 bits");
static_assert(!Value<std::string> && !Value<double> && !Value<void*>);

}  // namespace registry
