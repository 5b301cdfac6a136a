// SPDX-License-Identifier: Apache-2.0
#include <registry/metadata.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace metadata_cases {

using std::chrono::sys_seconds;

struct Tag {
  std::uint8_t number = 0;
};
struct Ends {
  std::uint64_t end = 0;
  std::optional<sys_seconds> expires_at(sys_seconds arrival) const;
};

struct AlwaysEnds {
  std::uint64_t end = 0;
  sys_seconds expires_at(sys_seconds arrival) const;
};
struct EndsAfterChange {
  std::uint64_t end = 0;
  std::optional<sys_seconds> expires_at(sys_seconds arrival);
};
struct EndsWithoutWire {
  std::optional<sys_seconds> expires_at(sys_seconds arrival) const;
};
struct WithoutDefault {
  explicit WithoutDefault(int);
};
struct WithoutWire {};

}  // namespace metadata_cases

namespace registry {

using namespace metadata_cases;

template <>
struct wire<Tag> : wire_fields<&Tag::number> {};
template <>
struct wire<Ends> : wire_fields<&Ends::end> {};
template <>
struct wire<AlwaysEnds> : wire_fields<&AlwaysEnds::end> {};
template <>
struct wire<EndsAfterChange> : wire_fields<&EndsAfterChange::end> {};
template <>
struct wire<WithoutDefault> {
  static constexpr std::size_t size = 1;
  static void encode(const WithoutDefault&, std::span<std::byte, 1>);
  static std::optional<WithoutDefault> decode(std::span<const std::byte, 1>);
};

static_assert(Metadata<NoMetadata> && wire<NoMetadata>::size == 0);
static_assert(Metadata<TimestampMetadata> && wire<TimestampMetadata>::size == 12);
static_assert(Metadata<PositionMetadata> && wire<PositionMetadata>::size == 24);
static_assert(Metadata<Tag>, "nothing asks whether two of them are equal");
static_assert(Metadata<Ends>);

static_assert(!Metadata<WithoutDefault>);
static_assert(!Metadata<WithoutWire>);
static_assert(!Metadata<std::array<std::byte, 65'536>>, "its length field has 16 bits");
static_assert(!Metadata<int> && !Metadata<void>);
static_assert(!Metadata<const NoMetadata>);

static_assert(ExpiringMetadata<TimestampMetadata>);
static_assert(ExpiringMetadata<Ends>);
static_assert(!ExpiringMetadata<NoMetadata> && !ExpiringMetadata<PositionMetadata>);
static_assert(!ExpiringMetadata<AlwaysEnds>, "none means that it stays");
static_assert(!ExpiringMetadata<EndsAfterChange>);
static_assert(!ExpiringMetadata<EndsWithoutWire>);

}  // namespace registry
