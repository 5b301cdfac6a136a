// SPDX-License-Identifier: Apache-2.0
#include <registry/core/instant.hpp>

#include <chrono>
#include <optional>

#include "core/times.hpp"
#include "support/catch.hpp"

using namespace registry;
using namespace std::chrono_literals;
using registry::test::start;

TEST_CASE("the lease clock follows the steady clock as long as turns are as short as they were meant to be") {
  LeaseClock clock(start, 100ms);
  CHECK(clock.now() == start);
  CHECK(clock.advance(start + 1s, 1s) == start + 1s);
  CHECK(clock.advance(start + 2s, 5s) == start + 2s);
  CHECK(clock.advance(start + 3s + 100ms, 1s) == start + 3s + 100ms);
  CHECK(clock.now() == start + 3s + 100ms);
}

TEST_CASE("time in which the hub could not run does not count") {
  LeaseClock clock(start, 100ms);
  CHECK(clock.advance(start + 1h, 1s) == start + 1s + 100ms);
  CHECK(clock.advance(start + 1h + 1s, 1s) == start + 2s + 100ms);
  CHECK(clock.advance(start + 1h + 2s, 0s) == start + 2s + 200ms);
}

TEST_CASE("a turn that waited for a message counts whole") {
  LeaseClock clock(start, 100ms);
  CHECK(clock.advance(start + 1h, std::nullopt) == start + 1h);
}

TEST_CASE("the lease clock never goes back") {
  LeaseClock clock(start, 100ms);
  clock.advance(start + 10s, 10s);
  CHECK(clock.advance(start + 5s, 10s) == start + 10s);
  CHECK(clock.advance(start + 5s, std::nullopt) == start + 10s);
  // And what it had seen is not counted a second time.
  CHECK(clock.advance(start + 11s, 10s) == start + 11s);
}
