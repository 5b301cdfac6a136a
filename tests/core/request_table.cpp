// SPDX-License-Identifier: Apache-2.0
#include <registry/core/request_table.hpp>

#include <chrono>
#include <memory>
#include <set>
#include <vector>

#include "core/times.hpp"
#include "support/catch.hpp"

using namespace std::chrono_literals;
using registry::RequestId;
using registry::RequestTable;
using registry::SteadyTime;
using registry::test::start;

TEST_CASE("a request is found by its id until it is taken") {
  RequestTable<int> table;
  const RequestId first = table.add(1, start);
  const RequestId second = table.add(2, start);
  REQUIRE(first != second);
  REQUIRE(table.size() == 2);
  REQUIRE(*table.find(first) == 1);
  REQUIRE(*table.find(second) == 2);
  REQUIRE(table.take(first) == 1);
  REQUIRE(table.find(first) == nullptr);
  REQUIRE_FALSE(table.take(first));
  REQUIRE(table.size() == 1);
}

TEST_CASE("an id that was never given finds nothing") {
  RequestTable<int> table;
  REQUIRE(table.find(0) == nullptr);
  REQUIRE(table.find(~RequestId{0}) == nullptr);
  const RequestId only = table.add(1, start);
  REQUIRE(table.find(0) == nullptr);
  REQUIRE(table.find(only + 1) == nullptr);
  REQUIRE(table.find(only + (RequestId{1} << 32U)) == nullptr);
}

TEST_CASE("the id of a request that is gone does not find the one that took its slot") {
  RequestTable<int> table;
  std::set<RequestId> seen;
  for (int i = 0; i < 100; ++i) {
    const RequestId id = table.add(i, start);
    REQUIRE(seen.insert(id).second);
    REQUIRE(table.take(id) == i);
  }
  const RequestId last = table.add(100, start);
  for (const RequestId id : seen) REQUIRE(table.find(id) == nullptr);
  REQUIRE(*table.find(last) == 100);
}

TEST_CASE("requests run out in the order in which they came, without those that were taken") {
  RequestTable<int> table;
  REQUIRE_FALSE(table.first());
  REQUIRE_FALSE(table.next_deadline());
  std::vector<RequestId> ids;
  for (int i = 0; i < 4; ++i) ids.push_back(table.add(i, start + i * 1ms));
  table.take(ids[0]);
  table.take(ids[2]);
  REQUIRE(table.first() == ids[1]);
  REQUIRE(table.next_deadline() == start + 1ms);
  REQUIRE(table.take(*table.first()) == 1);
  REQUIRE(table.first() == ids[3]);
  REQUIRE(table.next_deadline() == start + 3ms);
  table.take(ids[3]);
  REQUIRE_FALSE(table.first());
}

TEST_CASE("a request that was taken is let go of at once") {
  RequestTable<std::shared_ptr<int>> table;
  const auto request = std::make_shared<int>(1);
  table.take(table.add(request, start));
  REQUIRE(request.use_count() == 1);
}

TEST_CASE("a request kept apart runs out at its own time, before or after the others") {
  RequestTable<int> table;
  const RequestId late = table.add_apart(1, start + 5ms);
  const RequestId common = table.add(2, start + 3ms);
  const RequestId early = table.add_apart(3, start + 1ms);
  REQUIRE(table.size() == 3);
  REQUIRE(table.next_deadline() == start + 1ms);
  REQUIRE(table.first() == early);
  REQUIRE(table.take(early) == 3);
  REQUIRE(table.first() == common);
  REQUIRE(table.take(common) == 2);
  REQUIRE(table.first() == late);
  REQUIRE(table.next_deadline() == start + 5ms);
  REQUIRE(table.take(late) == 1);
  REQUIRE(table.find(late) == nullptr);
  REQUIRE_FALSE(table.first());
}

TEST_CASE("a request kept apart can be given another deadline") {
  RequestTable<int> table;
  const RequestId moved = table.add_apart(1, start + 1ms);
  const RequestId other = table.add_apart(2, start + 2ms);
  table.postpone(moved, start + 3ms);
  REQUIRE(table.first() == other);
  REQUIRE(table.take(other) == 2);
  REQUIRE(table.first() == moved);
  REQUIRE(table.next_deadline() == start + 3ms);
  REQUIRE(*table.find(moved) == 1);
  table.postpone(moved, start);
  REQUIRE(table.next_deadline() == start);
}

TEST_CASE("requests kept apart may have the same deadline") {
  RequestTable<int> table;
  const RequestId first = table.add_apart(1, start);
  const RequestId second = table.add_apart(2, start);
  REQUIRE(table.take(first) == 1);
  REQUIRE(table.first() == second);
}
