// SPDX-License-Identifier: Apache-2.0
#include <registry/core/known_keys.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>

#include "core/times.hpp"
#include "support/catch.hpp"

using namespace registry;
using namespace std::chrono_literals;
using registry::test::start;

namespace {

using Known = KnownKeys<std::uint64_t>;

}  // namespace

TEST_CASE("what was added is known until forgotten") {
  Known known(10, 10s);
  CHECK(known.empty());
  CHECK_FALSE(known.contains(1, start));
  known.add(1, start);
  CHECK_FALSE(known.empty());
  CHECK(known.contains(1, start));
  CHECK_FALSE(known.contains(2, start));
  known.forget(1);
  CHECK_FALSE(known.contains(1, start));
  CHECK(known.empty());
}

TEST_CASE("a key is forgotten also after it has turned old") {
  Known known(10, 10s);
  known.add(1, start);
  CHECK(known.contains(1, start + 6s));
  known.forget(1);
  CHECK_FALSE(known.contains(1, start + 6s));
  CHECK(known.empty());
}

TEST_CASE("no key is known for longer than the ttl, however it is asked about") {
  for (std::chrono::milliseconds step = 500ms; step <= 12s; step += 500ms) {
    for (std::chrono::milliseconds begin = 0ms; begin <= 5s; begin += 500ms) {
      CAPTURE(step.count(), begin.count());
      Known known(10, 10s);
      known.add(7, start);
      const SteadyTime added = start + begin;
      known.add(1, added);
      SteadyTime now = added;
      while (known.contains(1, now)) {
        now += step;
        if (now > added + 30s) break;
      }
      // The last time that it was known was one step ago.
      CHECK(now - step - added < 10s);
      if (step <= 5s) CHECK(now - added >= 5s);
    }
  }
}

TEST_CASE("a key is known for at least half the ttl") {
  Known known(10, 10s);
  known.add(1, start);
  CHECK(known.contains(1, start + 5s - 1ns));
  CHECK(known.contains(1, start + 5s));
  CHECK(known.contains(1, start + 10s - 1ns));
  CHECK_FALSE(known.contains(1, start + 10s));
}

TEST_CASE("a long silence ends both generations") {
  Known known(10, 10s);
  known.add(1, start);
  known.add(2, start + 5s);
  CHECK(known.contains(1, start + 6s));
  CHECK_FALSE(known.contains(1, start + 16s));
  CHECK_FALSE(known.contains(2, start + 16s));
  known.add(3, start + 16s);
  CHECK(known.contains(3, start + 20s));
}

TEST_CASE("a key added again is young again") {
  Known known(10, 10s);
  known.add(1, start);
  known.add(1, start + 6s);
  CHECK(known.contains(1, start + 12s));
}

TEST_CASE("the number of keys is bounded, and the older half goes first") {
  Known known(4, 10s);
  for (std::uint64_t key = 1; key <= 4; ++key) known.add(key, start);
  for (std::uint64_t key = 1; key <= 4; ++key) CHECK(known.contains(key, start));
  known.add(4, start);  // known already: nothing turns
  CHECK(known.contains(1, start));
  known.add(5, start);
  CHECK_FALSE(known.contains(1, start));
  CHECK_FALSE(known.contains(2, start));
  for (std::uint64_t key = 3; key <= 5; ++key) CHECK(known.contains(key, start));
}

TEST_CASE("turning for want of room starts a new half of the ttl") {
  Known known(2, 10s);
  known.add(1, start);
  known.add(2, start + 4s);
  CHECK(known.contains(1, start + 9s - 1ns));
  CHECK_FALSE(known.contains(1, start + 9s));
  CHECK(known.contains(2, start + 9s));
}

TEST_CASE("an odd capacity is rounded up, and none at all means none") {
  Known one(1, 10s);
  one.add(1, start);
  CHECK(one.contains(1, start));

  Known three(3, 10s);
  three.add(1, start);
  three.add(2, start);
  three.add(3, start);
  CHECK(three.contains(1, start));

  Known none(0, 10s);
  none.add(1, start);
  CHECK(none.empty());
  CHECK_FALSE(none.contains(1, start));
}

TEST_CASE("with next to no ttl a key is known for no time") {
  Known known(4, 1ns);
  known.add(1, start);
  CHECK_FALSE(known.contains(1, start));
}
