// SPDX-License-Identifier: Apache-2.0
#include <registry/core/key_holds.hpp>

#include <cstddef>
#include <cstdint>
#include <thread>
#include <utility>
#include <vector>

#include "support/allocation_counter.hpp"
#include "support/catch.hpp"

using namespace registry;
using namespace registry::test;

using Holds = KeyHolds<std::uint64_t>;

TEST_CASE("a key is held as long as its handle lives") {
  Holds holds;
  CHECK_FALSE(holds.is_held(1));
  CHECK(holds.size() == 0);
  EvictionHandle handle = holds.hold(1);
  CHECK(holds.is_held(1));
  CHECK_FALSE(holds.is_held(2));
  CHECK(holds.size() == 1);
  handle.reset();
  CHECK_FALSE(holds.is_held(1));
  CHECK(holds.size() == 0);
}

TEST_CASE("a copy of a handle is as good as the handle") {
  Holds holds;
  EvictionHandle handle = holds.hold(1);
  EvictionHandle copy = handle;
  handle.reset();
  CHECK(holds.is_held(1));
  const EvictionHandle moved = std::move(copy);
  CHECK(holds.is_held(1));
}

TEST_CASE("a key held twice is held until both are gone") {
  Holds holds;
  EvictionHandle first = holds.hold(1);
  EvictionHandle second = holds.hold(1);
  CHECK(holds.size() == 1);
  first.reset();
  CHECK(holds.is_held(1));
  second.reset();
  CHECK_FALSE(holds.is_held(1));
}

TEST_CASE("ending one key leaves the others held") {
  Holds holds;
  EvictionHandle first = holds.hold(1);
  const EvictionHandle second = holds.hold(2);
  first.reset();
  CHECK_FALSE(holds.is_held(1));
  CHECK(holds.is_held(2));
  CHECK(holds.size() == 1);
}

TEST_CASE("a handle may end on another thread") {
  Holds holds;
  EvictionHandle handle = holds.hold(1);
  std::thread other([moved = std::move(handle)]() mutable { moved.reset(); });
  other.join();
  CHECK_FALSE(holds.is_held(1));
}

TEST_CASE("handles end on other threads while keys are held and asked about") {
  Holds holds;
  std::vector<std::thread> others;
  std::size_t asked = 0;
  for (std::uint64_t round = 0; round < 20; ++round) {
    std::vector<EvictionHandle> handles;
    for (std::uint64_t key = 0; key < 50; ++key) handles.push_back(holds.hold(key));
    others.emplace_back([moved = std::move(handles)]() mutable { moved.clear(); });
    for (std::uint64_t key = 0; key < 50; ++key) asked += holds.is_held(key) ? 1U : 0U;
  }
  for (std::thread& other : others) other.join();
  CHECK(asked <= 1000);
  CHECK(holds.size() == 0);
}

TEST_CASE("a handle may outlive the hub") {
  EvictionHandle handle;
  {
    Holds holds;
    handle = holds.hold(1);
    CHECK(holds.is_held(1));
  }
  CHECK(handle.use_count() == 1);
  handle.reset();
}

TEST_CASE("ending a handle allocates nothing") {
  Holds holds;
  std::vector<EvictionHandle> handles;
  for (std::uint64_t key = 0; key < 1000; ++key) handles.push_back(holds.hold(key));
  CHECK(allocated_by([&] { handles.clear(); }) == 0);
  CHECK(holds.size() == 0);
}

TEST_CASE("the room for handles grows by doubling") {
  Holds holds;
  std::vector<EvictionHandle> handles;
  handles.reserve(4000);
  const std::size_t bytes = allocated_by([&] {
    for (std::uint64_t key = 0; key < 4000; ++key) handles.push_back(holds.hold(key));
  });
  // One at a time it would be 4000 * 2000 keys.
  CHECK(bytes < 4000 * 500);
}

TEST_CASE("handles that come and go need no more room than those that live at a time") {
  Holds holds;
  bool held = false;
  const Allocations used = allocations_of([&] {
    for (std::uint64_t key = 0; key < 2000; ++key) {
      holds.hold(key).reset();
      held = holds.is_held(key) || held;
    }
  });
  CHECK_FALSE(held);
  CHECK(used.largest < 1000);
}

TEST_CASE("a key that could not be held for want of memory is not") {
  bool failed = true;
  std::size_t failures = 0;
  for (std::size_t left = 0; failed; ++left) {
    Holds holds;
    EvictionHandle handle;
    failed = fails_with_allocations(left, [&] { handle = holds.hold(1); });
    failures += failed ? 1U : 0U;
    CHECK(holds.is_held(1) == !failed);
    CHECK(holds.size() == (failed ? 0 : 1));
    handle.reset();
    CHECK_FALSE(holds.is_held(1));
  }
  CHECK(failures == 3);
}
