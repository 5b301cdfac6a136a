// SPDX-License-Identifier: Apache-2.0
#include "support/catch.hpp"

#include <chrono>
#include <cstdint>
#include <limits>
#include <optional>

#include <registry/message.hpp>
#include <registry/metadata.hpp>

using namespace registry;
using std::chrono::seconds;
using std::chrono::sys_seconds;

TEST_CASE("an entry with a ttl ends that long after it was made") {
  const TimestampMetadata metadata{1000, 60};
  CHECK(metadata.expires_at(sys_seconds{seconds{5000}}) == sys_seconds{seconds{1060}});
}

TEST_CASE("a clock that runs ahead of the hub's does not lengthen a life") {
  CHECK(TimestampMetadata{9000, 60}.expires_at(sys_seconds{seconds{5000}}) == sys_seconds{seconds{5060}});
  CHECK(TimestampMetadata{std::numeric_limits<std::uint64_t>::max(), std::numeric_limits<std::uint32_t>::max()}
            .expires_at(sys_seconds{seconds{5000}}) == sys_seconds{seconds{5000 + 4'294'967'295}});
}

TEST_CASE("a hub whose clock stands before the epoch counts from the epoch") {
  CHECK(TimestampMetadata{1000, 60}.expires_at(sys_seconds{seconds{-5}}) == sys_seconds{seconds{60}});
}

TEST_CASE("without a ttl an entry stays") {
  CHECK_FALSE(TimestampMetadata{1000, std::nullopt}.expires_at(sys_seconds{seconds{5000}}));
}

TEST_CASE("no metadata takes no room") {
  STATIC_REQUIRE(sizeof(Stored<std::uint64_t, NoMetadata>) == sizeof(std::uint64_t));
  STATIC_REQUIRE(sizeof(Entry<std::uint64_t, std::uint64_t, NoMetadata>) == 2 * sizeof(std::uint64_t));
  STATIC_REQUIRE(wire<NoMetadata>::size == 0);
}

TEST_CASE("the parent of a block is of the kind of its key") {
  PositionMetadata metadata;
  metadata.position = 5;
  metadata.parent_hash = 0x77;
  CHECK(parent_key(std::uint64_t{1}, metadata) == std::optional<std::uint64_t>{0x77});
  CHECK(parent_key(CompositeKey{3, 1}, metadata) == CompositeKey{3, 0x77});
  CHECK(parent_key(PositionalKey{3, 1, 5}, metadata) == PositionalKey{3, 0x77, 4});
}

TEST_CASE("the head of a chain has no parent") {
  const PositionMetadata head;
  CHECK_FALSE(parent_key(std::uint64_t{1}, head));
  CHECK_FALSE(parent_key(CompositeKey{3, 1}, head));
  CHECK_FALSE(parent_key(PositionalKey{3, 1, 5}, head));
  PositionMetadata wrong;
  wrong.parent_hash = 0x77;
  CHECK_FALSE(parent_key(PositionalKey{3, 1, 0}, wrong));
}

TEST_CASE("metadata that knows no chain names no parent and no depth") {
  CHECK_FALSE(parent_key(std::uint64_t{1}, NoMetadata{}));
  CHECK_FALSE(parent_key(Key128{1, 2}, TimestampMetadata{}));
  CHECK_FALSE(parent_key(Key128{1, 2}, PositionMetadata{}));
  CHECK_FALSE(chain_position(NoMetadata{}));
  CHECK_FALSE(chain_position(TimestampMetadata{}));
  CHECK(chain_position(PositionMetadata{}) == std::optional<std::uint32_t>{0});
}
