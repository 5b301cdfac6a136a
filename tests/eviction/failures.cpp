// SPDX-License-Identifier: Apache-2.0
// A storage that throws has changed nothing, and then neither has the policy; nor has it where memory is short.
#include <memory>
#include <stdexcept>
#include <vector>

#include <registry/eviction/recency.hpp>
#include <registry/eviction/tail.hpp>

#include "eviction/common.hpp"
#include "support/allocation_counter.hpp"
#include "support/catch.hpp"

using namespace registry;
using namespace registry::test;

TEMPLATE_TEST_CASE("what the storage throws passes through, and the policy is as the storage is", "",
                   TailEviction<FailingStorage>, RecencyEviction<FailingStorage>, TailEviction<SharingStorage>,
                   RecencyEviction<SharingStorage>) {
  const auto plan = std::make_shared<FailurePlan>();
  TestType policy{StorageOf<TestType>{plan}, 4};
  for (const auto& one : {entry(1), entry(2, 1), entry(3, 2)}) insert(policy, one);
  std::vector<LinkEntry> evicted;

  SECTION("an insert with room") {
    plan->inserts = 0;
    CHECK_THROWS_AS(policy.insert(entry(4, 3), evicted), std::runtime_error);
    CHECK(policy.size() == 3);
    CHECK_FALSE(policy.touch(4));
    CHECK(drain(policy) == Ids{3, 2, 1});
  }
  SECTION("an insert under a parent that is not there") {
    plan->inserts = 0;
    CHECK_THROWS_AS(policy.insert(entry(4, 9), evicted), std::runtime_error);
    insert(policy, entry(9));
    CHECK(drain(policy) == Ids{3, 2, 1, 9});
  }
  SECTION("an insert of a block that others wait for") {
    insert(policy, entry(5, 4));
    policy.erase(1);
    plan->inserts = 0;
    CHECK_THROWS_AS(policy.insert(entry(4), evicted), std::runtime_error);
    insert(policy, entry(4));
    CHECK(refuses(policy, entry(7, 5)) == false);
    CHECK(policy.cycles_ignored() == 0);
  }
  SECTION("an insert after it made room: what left has left") {
    insert(policy, entry(4));
    plan->inserts = 0;
    CHECK_THROWS_AS(policy.insert(entry(5, 1), evicted), std::runtime_error);
    CHECK(keys_of(evicted) == Ids{3});
    CHECK(policy.size() == 3);
    CHECK(policy.find(5) == nullptr);
    CHECK(drain(policy) == Ids{2, 1, 4});
  }
  SECTION("making room") {
    insert(policy, entry(4));
    plan->erases = 0;
    CHECK_THROWS_AS(policy.insert(entry(5, 3), evicted), std::runtime_error);
    CHECK(evicted.empty());
    CHECK(policy.size() == 4);
    CHECK(drain(policy) == Ids{3, 2, 1, 4});
  }
  SECTION("a registration of a stored key under another parent: the old one is kept") {
    insert(policy, entry(4));
    plan->inserts = 0;
    CHECK_THROWS_AS(policy.insert(entry(3, 4), evicted), std::runtime_error);
    CHECK(policy.find(3)->metadata == Link{2, {}});
    CHECK(drain(policy) == Ids{3, 2, 1, 4});
  }
  SECTION("a parent that would close a cycle: not counted") {
    plan->inserts = 0;
    CHECK_THROWS_AS(policy.insert(entry(1, 3), evicted), std::runtime_error);
    CHECK(policy.cycles_ignored() == 0);
  }
  SECTION("an erase") {
    plan->erases = 0;
    CHECK_THROWS_AS(policy.erase(2), std::runtime_error);
    CHECK(policy.find(2) != nullptr);
    CHECK(drain(policy) == Ids{3, 2, 1});
  }
  SECTION("evict, before anything left") {
    plan->erases = 0;
    CHECK_THROWS_AS(policy.evict(3), std::runtime_error);
    CHECK(drain(policy) == Ids{3, 2, 1});
  }
  SECTION("evict, when something has left: that is handed out") {
    plan->erases = 2;
    CHECK(keys_of(policy.evict(3)) == Ids{3, 2});
    CHECK(policy.size() == 1);
    CHECK(drain(policy) == Ids{1});
  }
}

TEMPLATE_TEST_CASE("whichever allocation fails, an insert changes nothing, or what left is handed out", "",
                   TailEviction<FailingStorage>, RecencyEviction<FailingStorage>, TailEviction<SharingStorage>,
                   RecencyEviction<SharingStorage>) {
  // A chain whose head never comes, and a leaf beside its tail.
  const auto filled = [](Id blocks, std::size_t capacity) {
    TestType policy{StorageOf<TestType>{}, capacity};
    for (Id key = 2; key <= blocks; ++key) insert(policy, entry(key, key - 1));
    insert(policy, entry(1000, 2));
    return policy;
  };
  std::size_t failures = 0;
  std::size_t failures_with_room = 0;
  // Of every size, so that every table and array is once about to grow.
  for (Id blocks = 2; blocks <= 130; ++blocks) {
    for (const std::size_t capacity : {blocks, blocks + 1}) {
      auto undisturbed = filled(blocks, capacity);
      const Ids expected = drain(undisturbed);
      for (std::size_t granted = 0;; ++granted) {
        CAPTURE(blocks, capacity, granted);
        auto policy = filled(blocks, capacity);
        std::vector<LinkEntry> evicted;
        const LinkEntry another = entry(2000, 3000);
        if (!fails_with_allocations(granted, [&] { policy.insert(another, evicted); })) {
          CHECK(policy.find(2000) != nullptr);
          break;
        }
        ++failures;
        failures_with_room += capacity > blocks ? 1U : 0U;
        Ids all = keys_of(evicted);
        CHECK(policy.find(2000) == nullptr);
        CHECK(policy.size() + all.size() == blocks);
        for (const Id key : drain(policy)) all.push_back(key);
        CHECK(all == expected);
        // With memory again it is welcome, and so is the parent that it waits for.
        insert(policy, another);
        insert(policy, entry(3000));
        CHECK(drain(policy) == Ids{2000, 3000});
      }
    }
  }
  CHECK(failures_with_room >= 10);
  CHECK(failures >= 140);
}
