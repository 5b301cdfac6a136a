// SPDX-License-Identifier: Apache-2.0
#include <optional>
#include <utility>
#include <vector>

#include <registry/eviction.hpp>

#include "eviction/common.hpp"
#include "support/catch.hpp"

using namespace registry;
using namespace registry::test;

TEST_CASE("without a capacity everything is stored") {
  NoEviction policy{FailingStorage{}};
  CHECK_FALSE(policy.capacity());
  for (Id key = 1; key <= 100; ++key) CHECK(insert(policy, entry(key)).empty());
  CHECK(policy.size() == 100);
}

TEST_CASE("beyond its capacity it refuses, and forgets nothing") {
  NoEviction policy{FailingStorage{}, 2};
  CHECK(policy.capacity() == std::optional<std::size_t>{2});
  insert(policy, entry(1));
  insert(policy, entry(2));
  CHECK(refuses(policy, entry(3)));
  CHECK(policy.find(3) == nullptr);
  CHECK(policy.find(1) != nullptr);
  CHECK(policy.size() == 2);

  SECTION("a stored key is replaced all the same") {
    std::vector<LinkEntry> evicted;
    const auto result = policy.insert({1, 11, {}}, evicted);
    CHECK(result.stored);
    CHECK(result.replaced == LinkStored{1, {}});
    CHECK(policy.find(1)->value == 11);
    CHECK(evicted.empty());
  }
  SECTION("an erased entry makes room") {
    CHECK(policy.erase(1) == LinkStored{1, {}});
    CHECK_FALSE(policy.erase(1));
    CHECK(insert(policy, entry(3)).empty());
  }
}

TEST_CASE("a capacity of 0 refuses everything") {
  NoEviction policy{FailingStorage{}, 0};
  CHECK(refuses(policy, entry(1)));
}

TEST_CASE("it lets nothing go on demand either, and touch says what is stored") {
  NoEviction policy{FailingStorage{}, 2};
  insert(policy, entry(1));
  CHECK(policy.evict(5).empty());
  CHECK(policy.touch(1));
  CHECK_FALSE(policy.touch(2));
  CHECK(policy.size() == 1);
}
