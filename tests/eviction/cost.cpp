// SPDX-License-Identifier: Apache-2.0
// No operation scans the catalogue, and no touch allocates.
#include "support/count_allocations.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <utility>
#include <vector>

#include <registry/detail/chained_eviction.hpp>
#include <registry/eviction.hpp>
#include <registry/eviction/recency.hpp>
#include <registry/eviction/tail.hpp>
#include <registry/storage.hpp>

#include "eviction/common.hpp"
#include "support/catch.hpp"

using namespace registry;
using namespace registry::test;

namespace {

std::size_t comparisons = 0;

template <class Order>
struct Counting {
  static constexpr bool use_renews = Order::use_renews;
  static bool before(const detail::Leaf& a, const detail::Leaf& b) noexcept {
    ++comparisons;
    return Order::before(a, b);
  }
};

}  // namespace

TEMPLATE_TEST_CASE("the cost of an operation grows as the logarithm of the leaves", "", detail::DeepestThenOldest,
                   detail::LeastRecentlyUsed) {
  constexpr Id capacity = 20'000;
  detail::ChainedEviction<FailingStorage, Counting<TestType>> policy{FailingStorage{}, capacity};
  std::mt19937_64 random{3};
  std::vector<LinkEntry> evicted;
  std::size_t worst = 0;
  for (Id i = 0; i < 3 * capacity; ++i) {
    const Id key = 1 + random() % (2 * capacity);
    LinkEntry one = entry(key);
    if (random() % 4 == 0) one.metadata.parent = 1 + random() % (2 * capacity);
    comparisons = 0;
    switch (random() % 4) {
      case 0: policy.touch(key); break;
      case 1: policy.erase(1 + random() % (20 * capacity)); break;
      default: policy.insert(one, evicted);
    }
    worst = std::max(worst, comparisons);
  }
  CHECK(policy.size() > capacity / 2);
  // log4(20,000) is 7: on each of 7 levels up to 5 comparisons, for up to four changes of the heap.
  CHECK(worst > 10);
  CHECK(worst < 150);
}

TEMPLATE_TEST_CASE("a touch allocates nothing", "", TailEviction<FailingStorage>, RecencyEviction<FailingStorage>,
                   TailEviction<SharingStorage>, RecencyEviction<SharingStorage>, NoEviction<FailingStorage>) {
  TestType policy{StorageOf<TestType>{}, 1000};
  for (Id key = 1; key <= 1000; ++key) insert(policy, entry(key, key % 10 == 0 ? key - 1 : 0));
  std::size_t stored = 0;
  CHECK(allocated_by([&] {
          for (Id key = 0; key <= 2000; ++key) stored += policy.touch(key) ? 1U : 0U;
        }) == 0);
  CHECK(stored == 1000);
}

TEMPLATE_TEST_CASE("what has left or was refused leaves no memory behind", "", TailEviction<FailingStorage>,
                   RecencyEviction<FailingStorage>, TailEviction<SharingStorage>, RecencyEviction<SharingStorage>) {
  TestType policy{StorageOf<TestType>{}, 100};
  std::vector<LinkEntry> evicted;
  Id next = 1;
  const auto churn = [&] {
    for (int i = 0; i < 20'000; ++i) {
      evicted.clear();
      const Id key = next;
      next += 10;
      policy.insert(entry(key, key + 1), evicted);              // under a name that never comes
      policy.insert_with_parent(entry(key), key + 2, evicted);  // and then under another
      if (i % 2 == 0) policy.erase(key);
    }
    insert(policy, entry(next, next + 1));
  };
  churn();
  // 60,000 names come and go. A table that is as large as before is rebuilt now and then, but not made for all of them.
  CHECK(allocations_of(churn).largest < 50'000);
  CHECK(policy.size() > 50);

  TestType small{StorageOf<TestType>{}, 1};
  insert(small, entry(1));
  const auto refuse = [&] {
    for (Id key = 2; key < 20'000; ++key) small.insert(entry(key, 1), evicted);
  };
  CHECK(allocations_of(refuse).largest < 10'000);
  CHECK(small.size() == 1);
}

TEMPLATE_TEST_CASE("a policy grows without asking for much at once", "", TailEviction<FailingStorage>,
                   RecencyEviction<SharingStorage>) {
  constexpr Id count = 270'000;
  // Leaves alone; chains; and children of parents that never come, each with a name of its own to be kept.
  for (const Id step : {Id{0}, Id{1}, count}) {
    CAPTURE(step);
    TestType policy{StorageOf<TestType>{}, count};
    std::vector<LinkEntry> evicted;
    const Allocations asked = allocations_of([&] {
      for (Id key = 1; key <= count; ++key) {
        const std::optional<Id> parent = step == 0 ? std::nullopt : std::optional{key == 1 ? 0 : key - step};
        policy.insert_with_parent(entry(key), parent, evicted);
      }
    });
    CHECK(policy.size() == count);
    // A chunk of records of forty bytes that is whole huge pages; only address space, until they are touched.
    CHECK(asked.largest <= 10U << 20U);
  }
}

TEMPLATE_TEST_CASE("a policy that has been reserved needs no more for its entries", "", detail::DeepestThenOldest,
                   detail::LeastRecentlyUsed) {
  using Policy = detail::ChainedEviction<HashMapStorage<std::uint64_t, std::uint64_t>, TestType>;
  constexpr std::uint64_t capacity = 300'000;
  const auto largest_allocation_while_filled = [](Policy policy) {
    std::vector<typename Policy::EntryType> evicted;
    const auto fill = [&](std::uint64_t from, std::uint64_t to) {
      for (std::uint64_t key = from; key < to; ++key) {
        evicted.clear();
        policy.insert({key, key, {}}, evicted);
      }
    };
    constexpr std::uint64_t small = capacity / 10;  // whose index is not reserved
    fill(0, small);
    return allocations_of([&] { fill(small, capacity + 1'000); }).largest;
  };
  // Entries, nodes and leaves come in chunks of this size; what an index needs for a moment to grow is less.
  constexpr std::size_t chunk = std::size_t{2} << 20U;
  Policy policy({}, capacity);
  CHECK(largest_allocation_while_filled(std::move(policy)) >= chunk);
  Policy reserved({}, capacity);
  reserved.reserve(capacity, 0);
  CHECK(largest_allocation_while_filled(std::move(reserved)) < chunk / 2);
}
