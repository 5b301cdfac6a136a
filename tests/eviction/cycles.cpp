// SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <vector>

#include <registry/eviction/recency.hpp>
#include <registry/eviction/tail.hpp>

#include "eviction/common.hpp"
#include "support/catch.hpp"

using namespace registry;
using namespace registry::test;

TEMPLATE_TEST_CASE("a parent that would close a cycle is ignored and counted", "", TailEviction<FailingStorage>,
                   RecencyEviction<FailingStorage>, TailEviction<SharingStorage>, RecencyEviction<SharingStorage>) {
  TestType policy{StorageOf<TestType>{}, 4};

  SECTION("a block that names itself") {
    insert(policy, entry(1, 1));
    CHECK(policy.cycles_ignored() == 1);
    CHECK(drain(policy) == Ids{1});
  }
  SECTION("a head that names its child, when it comes late") {
    insert(policy, entry(2, 1));
    insert(policy, entry(1, 2));
    CHECK(policy.cycles_ignored() == 1);
    CHECK(drain(policy) == Ids{2, 1});
  }
  SECTION("a head that names the tail, when it is registered again") {
    for (const auto& one : {entry(1), entry(2, 1), entry(3, 2)}) insert(policy, one);
    insert(policy, entry(1, 3));
    CHECK(policy.cycles_ignored() == 1);
    CHECK(drain(policy) == Ids{3, 2, 1});
  }
  SECTION("every time") {
    for (int i = 0; i < 3; ++i) insert(policy, entry(1, 1));
    CHECK(policy.cycles_ignored() == 3);
  }
  SECTION("one that the caller says") {
    std::vector<LinkEntry> evicted;
    insert(policy, entry(2, 1));
    CHECK(policy.insert_with_parent(entry(1), 2, evicted).stored);
    CHECK(policy.insert_with_parent(entry(3), 3, evicted).stored);
    CHECK(policy.cycles_ignored() == 2);
  }
}

TEMPLATE_TEST_CASE("an ignored parent is no parent", "", TailEviction<FailingStorage>, RecencyEviction<FailingStorage>,
                   TailEviction<SharingStorage>, RecencyEviction<SharingStorage>) {
  TestType policy{StorageOf<TestType>{}, 2};
  insert(policy, entry(2, 1));
  insert(policy, entry(3, 2));
  SECTION("it may leave to make room") {
    CHECK(insert(policy, entry(1, 3)) == Ids{3});
    CHECK(policy.cycles_ignored() == 1);
  }
  SECTION("who is under the ignored one finds room at the cost of it") {
    CHECK(insert(policy, entry(1, 1)) == Ids{3});
    CHECK(policy.cycles_ignored() == 1);
  }
  SECTION("the old link is gone, too, when the new one is ignored") {
    insert(policy, entry(2, 3));
    CHECK(policy.cycles_ignored() == 1);
    CHECK(drain(policy) == Ids{3, 2});
  }
}

TEST_CASE("siblings, uncles and a change of branch are no cycles") {
  TailEviction policy{FailingStorage{}, 10};
  for (const auto& one : {entry(1), entry(2, 1), entry(3, 1), entry(4, 2), entry(5, 3)}) insert(policy, one);
  insert(policy, entry(2, 5));  // from under 1 to under 5; 4 comes along
  insert(policy, entry(3, 1));  // stays
  CHECK(policy.cycles_ignored() == 0);
  insert(policy, entry(3, 4));  // 4 is under 3 by now
  CHECK(policy.cycles_ignored() == 1);
}

TEST_CASE("a removed block breaks the way up, and a cycle through the gap is seen when it returns") {
  TailEviction policy{FailingStorage{}, 10};
  for (const auto& one : {entry(1), entry(2, 1), entry(3, 2)}) insert(policy, one);
  policy.erase(2);
  insert(policy, entry(1, 3));
  CHECK(policy.cycles_ignored() == 0);
  insert(policy, entry(2, 1));
  CHECK(policy.cycles_ignored() == 1);
  CHECK(drain(policy) == Ids{1, 3, 2});
}

TEST_CASE("the way up is followed for so long and no longer") {
  using Policy = TailEviction<FailingStorage>;
  // A block that somebody waits for, under a chain of that length.
  const auto ignored_under = [](Id length) {
    Policy policy{FailingStorage{}, 100'000};
    for (Id key = 1; key <= length; ++key) insert(policy, entry(key, key - 1));
    insert(policy, entry(200'001, 200'000));
    insert(policy, entry(200'000, length));
    return policy.cycles_ignored();
  };
  // The first block names a parent, 0, that never comes: an ancestor by name.
  CHECK(ignored_under(Policy::max_ancestors - 1) == 0);
  CHECK(ignored_under(Policy::max_ancestors) == 1);
}

TEST_CASE("many blocks with children, sent below a deep chain, do not cost a walk up all of it each") {
  using Policy = TailEviction<FailingStorage>;
  constexpr Id length = 4'000;
  constexpr Id blocks = 1'000;
  Policy policy{FailingStorage{}, 100'000};
  for (Id key = 1; key <= length; ++key) insert(policy, entry(key, key - 1));
  for (Id n = 0; n < blocks; ++n) insert(policy, entry(20'000 + n, 10'000 + n));
  for (Id n = 0; n < blocks; ++n) insert(policy, entry(10'000 + n, length));
  const std::size_t linked = blocks - policy.cycles_ignored();
  CHECK(linked >= Policy::max_ancestors / length);
  CHECK(linked * length <= Policy::max_ancestors + blocks * Policy::ancestors_per_entry);
  // Whoever sends no such blocks earns that walks are made again.
  for (Id n = 0; n < length; ++n) insert(policy, entry(30'000 + n, length));
  insert(policy, entry(50'001, 50'000));
  insert(policy, entry(50'000, length));
  CHECK(blocks - policy.cycles_ignored() == linked);
  CHECK(policy.evict(100'000).size() == length + 2 * blocks + length + 2);
}

TEST_CASE("a block without children is linked at any depth") {
  TailEviction policy{FailingStorage{}, 100'000};
  for (Id key = 1; key <= 70'000; ++key) insert(policy, entry(key, key - 1));
  CHECK(policy.cycles_ignored() == 0);
  // Registering all of them again asks no more: the links stand.
  for (Id key = 1; key <= 70'000; ++key) insert(policy, entry(key, key - 1));
  CHECK(policy.cycles_ignored() == 0);
  CHECK(keys_of(policy.evict(3)) == Ids{70'000, 69'999, 69'998});
}
