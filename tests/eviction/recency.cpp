// SPDX-License-Identifier: Apache-2.0
#include <registry/eviction/recency.hpp>

#include <optional>
#include <utility>
#include <vector>

#include <registry/error.hpp>

#include "eviction/common.hpp"
#include "support/catch.hpp"

using namespace registry;
using namespace registry::test;

namespace {

RecencyEviction<FailingStorage> recency_of(std::size_t capacity) { return {FailingStorage{}, capacity}; }

}  // namespace

TEST_CASE("what was inserted first and not used since leaves first") {
  auto policy = recency_of(3);
  CHECK(policy.capacity() == std::optional<std::size_t>{3});
  for (const Id key : Ids{5, 3, 9}) insert(policy, entry(key));
  CHECK(insert(policy, entry(1)) == Ids{5});
  CHECK(insert(policy, entry(2)) == Ids{3});
  CHECK(drain(policy) == Ids{9, 1, 2});
}

TEST_CASE("a touch is a use") {
  auto policy = recency_of(3);
  for (const Id key : Ids{1, 2, 3}) insert(policy, entry(key));
  CHECK(policy.touch(1));
  CHECK_FALSE(policy.touch(4));
  CHECK(insert(policy, entry(4)) == Ids{2});
  CHECK(drain(policy) == Ids{3, 1, 4});
}

TEST_CASE("a registration of a stored key is a use") {
  auto policy = recency_of(3);
  for (const Id key : Ids{1, 2, 3}) insert(policy, entry(key));
  std::vector<LinkEntry> evicted;
  CHECK(policy.insert({1, 100, {}}, evicted).replaced == LinkStored{1, {}});
  CHECK(evicted.empty());
  CHECK(drain(policy) == Ids{2, 3, 1});
}

TEST_CASE("a look is no use") {
  auto policy = recency_of(3);
  for (const Id key : Ids{1, 2}) insert(policy, entry(key));
  CHECK(policy.find(1) != nullptr);
  CHECK(drain(policy) == Ids{1, 2});
}

TEST_CASE("depth does not matter") {
  auto policy = recency_of(9);
  insert(policy, entry(1, std::nullopt, 3));
  insert(policy, entry(2, std::nullopt, 900));
  insert(policy, entry(3));
  CHECK(drain(policy) == Ids{1, 2, 3});
}

TEST_CASE("a block whose child is stored stays, however long ago it was used") {
  auto policy = recency_of(3);
  for (const auto& one : {entry(1), entry(2, 1), entry(3)}) insert(policy, one);
  policy.touch(2);
  CHECK(insert(policy, entry(4)) == Ids{3});
  CHECK(drain(policy) == Ids{4 - 2, 1, 4});
}

TEST_CASE("a block that is a leaf again stands where its own last use puts it") {
  auto policy = recency_of(9);
  for (const auto& one : {entry(1), entry(2, 1), entry(3), entry(4)}) insert(policy, one);
  SECTION("before those that were used since") { CHECK(drain(policy) == Ids{2, 1, 3, 4}); }
  SECTION("behind those that were used before it was") {
    policy.touch(1);
    CHECK(drain(policy) == Ids{2, 3, 4, 1});
  }
  SECTION("between them") {
    policy.touch(1);
    policy.touch(4);
    CHECK(drain(policy) == Ids{2, 3, 1, 4});
  }
}

TEST_CASE("room is never made at the cost of the parent, here too") {
  auto policy = recency_of(2);
  insert(policy, entry(1));
  insert(policy, entry(2));
  CHECK(insert(policy, entry(3, 1)) == Ids{2});
  CHECK(refuses(policy, entry(4, 3)));
  CHECK(drain(policy) == Ids{3, 1});
}

TEST_CASE("a name that stored blocks wait for is not stored") {
  auto policy = recency_of(2);
  insert(policy, entry(2, 1));
  CHECK_FALSE(policy.touch(1));
  CHECK(policy.find(1) == nullptr);
  CHECK_FALSE(policy.erase(1));
  CHECK(policy.size() == 1);
}

TEST_CASE("an erased entry is out of the order") {
  auto policy = recency_of(5);
  for (const Id key : Ids{1, 2, 3}) insert(policy, entry(key));
  CHECK(policy.erase(1));
  CHECK_FALSE(policy.touch(1));
  CHECK(drain(policy) == Ids{2, 3});
}

TEST_CASE("the order of use moves with the policy") {
  auto policy = recency_of(3);
  for (const Id key : Ids{1, 2, 3}) insert(policy, entry(key));
  policy.touch(1);
  auto moved = std::move(policy);
  moved.touch(2);
  CHECK(drain(moved) == Ids{3, 1, 2});
}

TEST_CASE("a capacity of 0 is refused, here too") { CHECK_THROWS_AS(recency_of(0), RegistryError); }
