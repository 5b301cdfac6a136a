// SPDX-License-Identifier: Apache-2.0
#include <registry/eviction/tail.hpp>

#include <cstdint>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include <registry/error.hpp>

#include "eviction/common.hpp"
#include "support/catch.hpp"

using namespace registry;
using namespace registry::test;

namespace {

TailEviction<FailingStorage> tail_of(std::size_t capacity) { return {FailingStorage{}, capacity}; }

constexpr auto none = std::nullopt;

}  // namespace

TEST_CASE("a tail leaves before its head, and a chain from its end") {
  auto policy = tail_of(10);
  insert(policy, entry(1));
  insert(policy, entry(2, 1));
  insert(policy, entry(3, 2));
  CHECK(drain(policy) == Ids{3, 2, 1});
  CHECK(policy.size() == 0);
}

TEST_CASE("of several chains the longest loses its tail first") {
  auto policy = tail_of(10);
  for (const auto& one : {entry(1), entry(2, 1), entry(11), entry(12, 11), entry(13, 12), entry(21)})
    insert(policy, one);
  CHECK(drain(policy) == Ids{13, 2, 12, 1, 11, 21});
}

TEST_CASE("among equally deep leaves the one that came first leaves first") {
  auto policy = tail_of(10);
  for (const Id key : Ids{5, 3, 9, 1}) insert(policy, entry(key));
  CHECK(drain(policy) == Ids{5, 3, 9, 1});
}

TEST_CASE("a block that is a leaf again has kept its age") {
  auto policy = tail_of(10);
  for (const auto& one : {entry(1), entry(2), entry(3), entry(4, 2)}) insert(policy, one);
  CHECK(drain(policy) == Ids{4, 1, 2, 3});
}

TEST_CASE("children of one parent leave one by one, then the parent") {
  auto policy = tail_of(10);
  for (const auto& one : {entry(1), entry(2, 1), entry(3, 1), entry(9)}) insert(policy, one);
  CHECK(keys_of(policy.evict(1)) == Ids{2});
  insert(policy, entry(4, 1));
  CHECK(drain(policy) == Ids{3, 4, 1, 9});
}

TEST_CASE("the position in the metadata is the depth where there is one") {
  auto policy = tail_of(10);
  insert(policy, entry(1, none, 5));
  insert(policy, entry(2, none, 7));
  insert(policy, entry(3));
  insert(policy, entry(4, 3, 6));
  insert(policy, entry(5, 1));  // one deeper than its parent: 6
  CHECK(drain(policy) == Ids{2, 4, 5, 1, 3});
}

TEST_CASE("what lies below the deepest possible position is as deep") {
  auto policy = tail_of(10);
  insert(policy, entry(1, none, std::numeric_limits<std::uint32_t>::max()));
  insert(policy, entry(2, 1));
  insert(policy, entry(3, none, 5));
  CHECK(drain(policy) == Ids{2, 1, 3});
}

TEST_CASE("at capacity an insert costs a leaf, which is handed out with all that was stored") {
  auto policy = tail_of(3);
  CHECK(policy.capacity() == std::optional<std::size_t>{3});
  for (const auto& one : {entry(1), entry(2, 1), entry(3)}) CHECK(insert(policy, one).empty());
  std::vector<LinkEntry> evicted{entry(77)};
  const auto result = policy.insert(entry(4), evicted);
  CHECK(result.stored);
  CHECK_FALSE(result.replaced);
  CHECK(evicted == std::vector{entry(77), entry(2, 1)});
  CHECK(policy.size() == 3);
  CHECK(policy.find(2) == nullptr);
  CHECK(insert(policy, entry(5)) == Ids{1});
}

TEST_CASE("room is never made at the cost of the parent") {
  auto policy = tail_of(2);
  insert(policy, entry(1));
  insert(policy, entry(2));
  CHECK(insert(policy, entry(3, 1)) == Ids{2});
  CHECK(drain(policy) == Ids{3, 1});
}

TEST_CASE("a chain as long as the catalogue refuses its next block, and nothing has changed") {
  auto policy = tail_of(3);
  for (const auto& one : {entry(1), entry(2, 1), entry(3, 2)}) insert(policy, one);
  CHECK(refuses(policy, entry(4, 3)));
  CHECK(refuses(policy, entry(4, 3)));
  CHECK(policy.find(4) == nullptr);
  CHECK(policy.size() == 3);
  SECTION("the order is as it was") { CHECK(drain(policy) == Ids{3, 2, 1}); }
  SECTION("another block is still welcome, at the cost of the tail") { CHECK(insert(policy, entry(5)) == Ids{3}); }
  SECTION("a sibling of the tail takes its place") { CHECK(insert(policy, entry(5, 2)) == Ids{3}); }
}

TEST_CASE("with room for one block its child is refused, and a stranger takes its place") {
  auto policy = tail_of(1);
  insert(policy, entry(1));
  CHECK(refuses(policy, entry(2, 1)));
  CHECK(insert(policy, entry(3)) == Ids{1});
}

TEST_CASE("a head that comes late may cost its own tail: the head is worth more") {
  auto policy = tail_of(2);
  insert(policy, entry(2, 1));
  insert(policy, entry(3, 2));
  CHECK(insert(policy, entry(1)) == Ids{3});
  CHECK(drain(policy) == Ids{2, 1});
}

TEST_CASE("the last child that waits for a parent may be what leaves for it") {
  auto policy = tail_of(1);
  insert(policy, entry(2, 1));
  CHECK(insert(policy, entry(1)) == Ids{2});
  CHECK(drain(policy) == Ids{1});
}

TEST_CASE("what leaves for a block may be the last that waited for the same parent") {
  auto policy = tail_of(1);
  insert(policy, entry(2, 1));
  CHECK(insert(policy, entry(3, 1)) == Ids{2});
  insert(policy, entry(3, 1));
  CHECK(drain(policy) == Ids{3});
}

TEST_CASE("a parent that comes after its children finds them") {
  auto policy = tail_of(10);
  insert(policy, entry(2, 1));
  insert(policy, entry(3, 1));
  insert(policy, entry(9));
  insert(policy, entry(1));
  SECTION("it stays until they have left") { CHECK(drain(policy) == Ids{2, 3, 9, 1}); }
  SECTION("their depth is what it was when they came: 0") {
    insert(policy, entry(4, 1));
    CHECK(drain(policy) == Ids{4, 2, 3, 9, 1});
  }
}

TEST_CASE("a parent that never comes costs nothing but its children's depth") {
  auto policy = tail_of(10);
  insert(policy, entry(2, 1));
  insert(policy, entry(3, 2));
  CHECK(drain(policy) == Ids{3, 2});
}

TEST_CASE("a whole chain that comes backwards is a chain") {
  auto policy = tail_of(10);
  for (const auto& one : {entry(4, 3), entry(3, 2), entry(2, 1), entry(1), entry(9)}) insert(policy, one);
  CHECK(drain(policy) == Ids{4, 3, 2, 1, 9});
}

TEST_CASE("a block removed from the middle leaves a gap that its return closes") {
  auto policy = tail_of(10);
  for (const auto& one : {entry(1), entry(2, 1), entry(3, 2)}) insert(policy, one);
  CHECK(policy.erase(2) == LinkStored{2, {1, none}});
  CHECK_FALSE(policy.erase(2));
  CHECK(policy.size() == 2);

  SECTION("without it both sides are leaves, and keep the depth that they had") { CHECK(drain(policy) == Ids{3, 1}); }
  SECTION("what was above it can leave, for nobody is orphaned by that who was not") {
    insert(policy, entry(8, none, 2));
    insert(policy, entry(9, none, 1));
    CHECK(keys_of(policy.evict(4)) == Ids{3, 8, 9, 1});
  }
  SECTION("when it is back they are a chain again") {
    insert(policy, entry(2, 1));
    CHECK(drain(policy) == Ids{3, 2, 1});
  }
  SECTION("it may come back under another parent") {
    insert(policy, entry(7));
    insert(policy, entry(2, 7));
    CHECK(drain(policy) == Ids{3, 2, 1, 7});
  }
}

TEST_CASE("a removed leaf makes a leaf of its parent") {
  auto policy = tail_of(10);
  for (const auto& one : {entry(1), entry(2, 1), entry(9)}) insert(policy, one);
  policy.erase(2);
  CHECK(drain(policy) == Ids{1, 9});
}

TEST_CASE("a stored key that is registered again needs no room and keeps its age") {
  auto policy = tail_of(3);
  for (const Id key : Ids{1, 2, 3}) insert(policy, entry(key));
  std::vector<LinkEntry> evicted;
  const auto result = policy.insert({1, 100, {}}, evicted);
  CHECK(result.stored);
  CHECK(result.replaced == LinkStored{1, {}});
  CHECK(evicted.empty());
  CHECK(policy.find(1)->value == 100);
  CHECK(drain(policy) == Ids{1, 2, 3});
}

TEST_CASE("a stored key that is registered again is where it now says to be") {
  auto policy = tail_of(5);
  for (const auto& one : {entry(1), entry(2), entry(3, 1), entry(4, 3)}) insert(policy, one);

  SECTION("under another parent") {
    insert(policy, entry(3, 2));
    CHECK(drain(policy) == Ids{4, 3, 1, 2});
  }
  SECTION("under none: it is a head now") {
    insert(policy, entry(3));
    CHECK(keys_of(policy.evict(4)) == Ids{4, 1, 2, 3});
  }
  SECTION("under one that is not there yet") {
    insert(policy, entry(3, 5));
    insert(policy, entry(5));
    CHECK(keys_of(policy.evict(5)) == Ids{4, 1, 2, 3, 5});
  }
  SECTION("under the same: nothing changes") {
    insert(policy, entry(3, 1));
    CHECK(drain(policy) == Ids{4, 3, 1, 2});
  }
  SECTION("at another position") {
    insert(policy, entry(2, none, 9));
    CHECK(drain(policy) == Ids{2, 4, 3, 1});
  }
  SECTION("its depth is that below its parent now, its children's what it was") {
    insert(policy, entry(2, 4));  // depth 3
    insert(policy, entry(1, none, 50));
    CHECK(drain(policy) == Ids{2, 4, 3, 1});
  }
}

TEST_CASE("registered again at capacity, even a block that could not be refused costs nobody") {
  auto policy = tail_of(2);
  insert(policy, entry(1));
  insert(policy, entry(2));
  CHECK(insert(policy, entry(2, 1)).empty());
  CHECK(drain(policy) == Ids{2, 1});
}

TEST_CASE("the caller can say the parent instead of the metadata") {
  auto policy = tail_of(10);
  std::vector<LinkEntry> evicted;
  insert(policy, entry(1));
  insert(policy, entry(2));
  CHECK(policy.insert_with_parent(entry(3), 1, evicted).stored);
  CHECK(policy.insert_with_parent(entry(4, 2), none, evicted).stored);
  CHECK(evicted.empty());
  CHECK(drain(policy) == Ids{3, 1, 2, 4});
}

TEST_CASE("the parent that the caller says is as safe as any") {
  auto policy = tail_of(1);
  std::vector<LinkEntry> evicted;
  insert(policy, entry(1));
  CHECK_FALSE(policy.insert_with_parent(entry(2), 1, evicted).stored);
  CHECK(evicted.empty());
}

TEST_CASE("touch says what is stored and changes nothing") {
  auto policy = tail_of(10);
  insert(policy, entry(1, 7));
  insert(policy, entry(2));
  CHECK(policy.touch(1));
  CHECK_FALSE(policy.touch(3));
  CHECK_FALSE(policy.touch(7));
  CHECK(drain(policy) == Ids{1, 2});
}

TEST_CASE("evict lets as many leave as asked for and there are") {
  auto policy = tail_of(10);
  for (const auto& one : {entry(1), entry(2, 1), entry(3, 2)}) insert(policy, one);
  CHECK(policy.evict(0).empty());
  CHECK(policy.evict(2) == std::vector{entry(3, 2), entry(2, 1)});
  CHECK(keys_of(policy.evict(1'000'000)) == Ids{1});
  CHECK(policy.evict(1).empty());
}

TEST_CASE("a policy takes everything along when it moves") {
  auto policy = tail_of(3);
  for (const auto& one : {entry(2, 1), entry(3, 2), entry(1)}) insert(policy, one);
  auto moved = std::move(policy);
  CHECK(refuses(moved, entry(4, 3)));
  CHECK(insert(moved, entry(5)) == Ids{3});
  CHECK(drain(moved) == Ids{2, 1, 5});
}

TEST_CASE("a capacity of 0 and a storage that is not empty are refused") {
  const auto config_error = [](auto make) -> std::optional<ConfigError> {
    try {
      make();
    } catch (const RegistryError& error) {
      if (const auto* config = error.as<ConfigError>()) return *config;
    }
    return std::nullopt;
  };
  const auto zero = config_error([] { tail_of(0); });
  REQUIRE(zero);
  CHECK(zero->variable == "capacity");
  CHECK(zero->value == "0");

  FailingStorage filled;
  filled.insert(entry(1));
  const auto not_empty = config_error([&] { TailEviction{std::move(filled), 10}; });
  REQUIRE(not_empty);
  CHECK(not_empty->variable == "storage");
}

TEST_CASE("the built-in keys and metadata form chains") {
  SECTION("numbers") {
    TailEviction policy{HashMapStorage<std::uint64_t, std::uint64_t, PositionMetadata>{}, 2};
    std::vector<Entry<std::uint64_t, std::uint64_t, PositionMetadata>> evicted;
    policy.insert({1, 1, {0, none, none, 0}}, evicted);
    policy.insert({2, 2, {1, 1, none, 0}}, evicted);
    CHECK_FALSE(policy.insert({3, 3, {2, 2, none, 0}}, evicted).stored);
  }
  SECTION("keys with a worker, within the worker") {
    TailEviction policy{HashMapStorage<CompositeKey, std::uint64_t, PositionMetadata>{}, 2};
    std::vector<Entry<CompositeKey, std::uint64_t, PositionMetadata>> evicted;
    policy.insert({{1, 1}, 1, {0, none, none, 0}}, evicted);
    policy.insert({{2, 1}, 1, {0, none, none, 0}}, evicted);
    CHECK(policy.insert({{1, 2}, 2, {1, 1, none, 0}}, evicted).stored);
    CHECK(keys_of(evicted) == std::vector{CompositeKey{2, 1}});
  }
  SECTION("keys with a position, one position before") {
    TailEviction policy{HashMapStorage<PositionalKey, std::uint64_t, PositionMetadata>{}, 2};
    std::vector<Entry<PositionalKey, std::uint64_t, PositionMetadata>> evicted;
    policy.insert({{1, 1, 6}, 1, {6, none, none, 0}}, evicted);
    policy.insert({{1, 1, 7}, 1, {7, none, none, 0}}, evicted);
    CHECK(policy.insert({{1, 2, 8}, 2, {8, 1, none, 0}}, evicted).stored);
    CHECK(keys_of(evicted) == std::vector{PositionalKey{1, 1, 6}});
  }
}
