// SPDX-License-Identifier: Apache-2.0
#include <registry/codec.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace {

using namespace registry;

using Number = std::uint64_t;
using Numbers = BinaryCodec<Number, Number, NoMetadata>;

static_assert(Codec<Numbers, Number, Number, NoMetadata>);
static_assert(
    Codec<BinaryCodec<Key128, StorageLocation, TimestampMetadata>, Key128, StorageLocation, TimestampMetadata>);
static_assert(Codec<BinaryCodec<PositionalKey, Number, PositionMetadata>, PositionalKey, Number, PositionMetadata>);

// Of other types than those it is asked for.
static_assert(!Codec<Numbers, Key128, Number, NoMetadata>);
static_assert(!Codec<Numbers, Number, StorageLocation, NoMetadata>);
static_assert(!Codec<Numbers, Number, Number, TimestampMetadata>);
static_assert(!Codec<Numbers, std::string, Number, NoMetadata>);
static_assert(!Codec<int, Number, Number, NoMetadata>);

// A codec of one's own may take over what it does not do otherwise.
struct OtherVersion : Numbers {
  static constexpr unsigned protocol_version = 2;
};
static_assert(Codec<OtherVersion, Number, Number, NoMetadata>);

struct Unversioned : Numbers {
 private:
  using Numbers::protocol_version;
};
static_assert(!Codec<Unversioned, Number, Number, NoMetadata>);

struct DecodesToBool : Numbers {
  static bool decode_keys(ByteView, std::vector<Number>&);
};
static_assert(!Codec<DecodesToBool, Number, Number, NoMetadata>);

struct DecodesToError : Numbers {
  static Error decode_type(ByteView, MessageType&);
};
static_assert(!Codec<DecodesToError, Number, Number, NoMetadata>);

struct AppendCannotFail : Numbers {
  static void append_entry(const Number&, const Number&, const NoMetadata&, Bytes&);
};
static_assert(!Codec<AppendCannotFail, Number, Number, NoMetadata>);

struct CountsIn32Bits : Numbers {
  static std::optional<Error> decode_count(ByteView, std::uint32_t&);
};
static_assert(!Codec<CountsIn32Bits, Number, Number, NoMetadata>);

struct WithoutText : Numbers {
  static void encode_text() = delete;
};
static_assert(!Codec<WithoutText, Number, Number, NoMetadata>);

}  // namespace
