// SPDX-License-Identifier: Apache-2.0
#include <registry/wire.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace wire_cases {

struct Fixed {};
struct Variable {};
struct Fields {
  std::uint8_t a = 0;
  std::uint64_t b = 0;
};

struct BothForms {};

struct Unknown {};
struct SizeAtRunTime {};
struct DecodesToPlainValue {};
struct EncodeAnswersNumber {};
struct EncodeWantsOtherSize {};
struct EncodeWantsMutable {};
struct WithoutDecode {};
struct VariableWithoutSize {};
struct SizeIsNoNumber {};

}  // namespace wire_cases

namespace registry {

using namespace wire_cases;

template <>
struct wire<Fixed> {
  static constexpr std::size_t size = 4;
  static void encode(const Fixed&, std::span<std::byte, 4>);
  static std::optional<Fixed> decode(std::span<const std::byte, 4>);
};
template <>
struct wire<Variable> {
  static std::size_t encoded_size(const Variable&);
  static bool encode(const Variable&, std::span<std::byte>);
  static std::optional<Variable> decode(std::span<const std::byte>);
};
template <>
struct wire<Fields> : wire_fields<&Fields::a, &Fields::b> {};

template <>
struct wire<BothForms> {
  static constexpr std::size_t size = 4;
  static std::size_t encoded_size(const BothForms&);
  static void encode(const BothForms&, std::span<std::byte>);
  static std::optional<BothForms> decode(std::span<const std::byte>);
};

template <>
struct wire<SizeAtRunTime> {
  static std::size_t size;
  static void encode(const SizeAtRunTime&, std::span<std::byte>);
  static std::optional<SizeAtRunTime> decode(std::span<const std::byte>);
};
template <>
struct wire<DecodesToPlainValue> {
  static constexpr std::size_t size = 4;
  static void encode(const DecodesToPlainValue&, std::span<std::byte, 4>);
  static DecodesToPlainValue decode(std::span<const std::byte, 4>);
};
template <>
struct wire<EncodeAnswersNumber> {
  static constexpr std::size_t size = 4;
  static int encode(const EncodeAnswersNumber&, std::span<std::byte, 4>);
  static std::optional<EncodeAnswersNumber> decode(std::span<const std::byte, 4>);
};
template <>
struct wire<EncodeWantsOtherSize> {
  static constexpr std::size_t size = 4;
  static void encode(const EncodeWantsOtherSize&, std::span<std::byte, 8>);
  static std::optional<EncodeWantsOtherSize> decode(std::span<const std::byte, 4>);
};
template <>
struct wire<EncodeWantsMutable> {
  static constexpr std::size_t size = 4;
  static void encode(EncodeWantsMutable&, std::span<std::byte, 4>);
  static std::optional<EncodeWantsMutable> decode(std::span<const std::byte, 4>);
};
template <>
struct wire<WithoutDecode> {
  static constexpr std::size_t size = 4;
  static void encode(const WithoutDecode&, std::span<std::byte, 4>);
};
template <>
struct wire<VariableWithoutSize> {
  static void encode(const VariableWithoutSize&, std::span<std::byte>);
  static std::optional<VariableWithoutSize> decode(std::span<const std::byte>);
};
template <>
struct wire<SizeIsNoNumber> {
  static constexpr const char* size = "4";
  static void encode(const SizeIsNoNumber&, std::span<std::byte, 4>);
  static std::optional<SizeIsNoNumber> decode(std::span<const std::byte, 4>);
};

static_assert(FixedWire<std::uint8_t> && FixedWire<std::uint16_t> && FixedWire<std::uint32_t>);
static_assert(FixedWire<std::uint64_t> && FixedWire<unsigned long> && FixedWire<unsigned long long>);
static_assert(FixedWire<std::array<std::byte, 32>> && FixedWire<std::array<std::uint8_t, 20>>);
static_assert(FixedWire<Fixed>);
static_assert(FixedWire<Fields> && wire<Fields>::size == 9);
static_assert(VariableWire<Variable>);
static_assert(WireEncodable<Fixed> && WireEncodable<Variable>);

// A type has one form.
static_assert(!VariableWire<Fixed> && !VariableWire<std::uint64_t>);
static_assert(FixedWire<BothForms> && !VariableWire<BothForms>);
static_assert(!FixedWire<Variable>);

// A sign has no representation that all agree on; bool and wider numbers would lose values.
static_assert(!WireEncodable<int> && !WireEncodable<std::int64_t> && !WireEncodable<double>);
static_assert(!WireEncodable<bool>);
__extension__ using Wide = unsigned __int128;
static_assert(!WireEncodable<Wide>);
static_assert(!WireEncodable<std::array<std::uint32_t, 4>>);
static_assert(!WireEncodable<std::string> && !WireEncodable<std::vector<std::byte>>);

static_assert(!WireEncodable<Unknown>);
static_assert(!WireEncodable<SizeAtRunTime>);
static_assert(!WireEncodable<DecodesToPlainValue>);
static_assert(!WireEncodable<EncodeAnswersNumber>);
static_assert(!WireEncodable<EncodeWantsOtherSize>);
static_assert(!WireEncodable<EncodeWantsMutable>);
static_assert(!WireEncodable<WithoutDecode>);
static_assert(!WireEncodable<VariableWithoutSize>);
static_assert(!WireEncodable<SizeIsNoNumber>);

// A reference or a const type is not the type.
static_assert(!WireEncodable<std::uint64_t&> && !WireEncodable<const Fixed>);

static_assert(ByteBuffer<Bytes>);
struct OwnBuffer {
  void resize(std::size_t);
  std::byte* data();
  std::size_t size() const;
};
static_assert(ByteBuffer<OwnBuffer>);
static_assert(!ByteBuffer<std::string> && !ByteBuffer<std::vector<int>>);
static_assert(!ByteBuffer<std::span<std::byte>> && !ByteBuffer<std::array<std::byte, 8>>);

}  // namespace registry
