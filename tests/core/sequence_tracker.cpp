// SPDX-License-Identifier: Apache-2.0
#include <registry/core/sequence_tracker.hpp>

#include <cstddef>
#include <cstdint>
#include <limits>

#include "support/allocation_counter.hpp"
#include "support/catch.hpp"

using namespace registry;

namespace {

constexpr ClientId alice{1, 1};
constexpr ClientId bob{1, 2};
constexpr ClientId carol{1, 3};

}  // namespace

TEST_CASE("what has come is told up to the first number that has not") {
  SequenceTracker sequences(10);
  CHECK_FALSE(sequences.has_applied(alice, 0));
  sequences.note(alice, 1);
  CHECK(sequences.has_applied(alice, 0));
  CHECK(sequences.has_applied(alice, 1));
  CHECK_FALSE(sequences.has_applied(alice, 2));
  sequences.note(alice, 3);
  sequences.note(alice, 5);
  sequences.note(alice, 4);
  for (const std::uint64_t n : {2U, 3U, 4U, 5U}) CHECK_FALSE(sequences.has_applied(alice, n));
  sequences.note(alice, 2);
  CHECK(sequences.has_applied(alice, 5));
  CHECK_FALSE(sequences.has_applied(alice, 6));
}

TEST_CASE("a number that came before changes nothing") {
  SequenceTracker sequences(10);
  sequences.note(alice, 1);
  sequences.note(alice, 2);
  SECTION("one that was passed") {
    for (const std::uint64_t n : {2U, 1U, 0U}) sequences.note(alice, n);
    CHECK(sequences.has_applied(alice, 2));
    CHECK_FALSE(sequences.has_applied(alice, 3));
  }
  SECTION("one behind a gap, which counts once against the bound") {
    for (std::size_t i = 0; i <= SequenceTracker::max_ahead; ++i) sequences.note(alice, 4);
    CHECK_FALSE(sequences.has_applied(alice, 3));
    sequences.note(alice, 3);
    CHECK(sequences.has_applied(alice, 4));
    CHECK_FALSE(sequences.has_applied(alice, 5));
  }
}

TEST_CASE("two runs that come in turns are one in the end") {
  SequenceTracker sequences(10);
  for (std::uint64_t n = 1; n <= 20; ++n) {
    sequences.note(alice, n);
    CHECK(sequences.has_applied(alice, n));
    CHECK_FALSE(sequences.has_applied(alice, n == 20 ? 40 : n + 1));
    if (n < 20) sequences.note(alice, 20 + n);
  }
  CHECK(sequences.has_applied(alice, 39));
  sequences.note(alice, 40);
  CHECK(sequences.has_applied(alice, 40));
}

TEST_CASE("what is missing is given up when too many have come behind it") {
  SequenceTracker sequences(10);
  sequences.note(alice, 1);
  // Without 2 and 5, and the highest first.
  for (std::uint64_t n = 2 + SequenceTracker::max_ahead + 1; n > 2; --n) {
    if (n != 5) sequences.note(alice, n);
  }
  CHECK_FALSE(sequences.has_applied(alice, 2));
  sequences.note(alice, 1000);
  CHECK(sequences.has_applied(alice, 4));
  CHECK_FALSE(sequences.has_applied(alice, 5));
  sequences.note(alice, 2);
  CHECK(sequences.has_applied(alice, 4));
  CHECK_FALSE(sequences.has_applied(alice, 5));
  sequences.note(alice, 5);
  CHECK(sequences.has_applied(alice, 2 + SequenceTracker::max_ahead + 1));
  CHECK_FALSE(sequences.has_applied(alice, 1000));
}

TEST_CASE("the highest number there is does no harm") {
  SequenceTracker sequences(10);
  constexpr auto highest = std::numeric_limits<std::uint64_t>::max();
  SECTION("as the first") {
    sequences.note(alice, highest);
    CHECK(sequences.has_applied(alice, highest - 1));
  }
  SECTION("behind the one before it") {
    sequences.note(alice, highest - 2);
    sequences.note(alice, highest);
    CHECK_FALSE(sequences.has_applied(alice, highest));
    sequences.note(alice, highest - 1);
  }
  CHECK(sequences.has_applied(alice, highest));
  sequences.note(alice, 1);
  CHECK(sequences.has_applied(alice, highest));
}

TEST_CASE("each client has numbers of its own, and may begin anywhere") {
  SequenceTracker sequences(10);
  sequences.note(alice, 7);
  CHECK(sequences.has_applied(alice, 7));
  CHECK_FALSE(sequences.has_applied(alice, 8));
  CHECK_FALSE(sequences.has_applied(bob, 1));
  sequences.note(bob, 1);
  CHECK(sequences.has_applied(bob, 1));
  CHECK_FALSE(sequences.has_applied(bob, 7));
}

TEST_CASE("the client silent for longest is forgotten") {
  SequenceTracker sequences(2);
  sequences.note(alice, 1);
  sequences.note(bob, 1);
  SECTION("by the order of coming") {
    sequences.note(carol, 1);
    CHECK_FALSE(sequences.has_applied(alice, 1));
    CHECK(sequences.has_applied(bob, 1));
    CHECK(sequences.has_applied(carol, 1));
  }
  SECTION("speaking again counts") {
    sequences.note(alice, 2);
    sequences.note(carol, 1);
    CHECK(sequences.has_applied(alice, 2));
    CHECK_FALSE(sequences.has_applied(bob, 1));
  }
  SECTION("also with a number that came before") {
    sequences.note(alice, 1);
    sequences.note(carol, 1);
    CHECK(sequences.has_applied(alice, 1));
    CHECK_FALSE(sequences.has_applied(bob, 1));
  }
  SECTION("and being asked about does not") {
    CHECK(sequences.has_applied(alice, 1));
    sequences.note(carol, 1);
    CHECK_FALSE(sequences.has_applied(alice, 1));
  }
  SECTION("with all that was known of it") {
    sequences.note(alice, 3);
    sequences.note(bob, 2);
    sequences.note(carol, 1);
    sequences.note(alice, 2);
    CHECK(sequences.has_applied(alice, 2));
    CHECK_FALSE(sequences.has_applied(alice, 3));
  }
}

TEST_CASE("at least one client is remembered") {
  SequenceTracker sequences(0);
  sequences.note(alice, 1);
  CHECK(sequences.has_applied(alice, 1));
  sequences.note(bob, 1);
  CHECK_FALSE(sequences.has_applied(alice, 1));
}

TEST_CASE("only numbers behind a gap cost memory, and only for as long as there is one") {
  SequenceTracker sequences(10);
  sequences.note(alice, 1);
  CHECK(registry::test::allocated_by([&] { sequences.note(alice, 2); }) == 0);
  CHECK(registry::test::allocated_by([&] { sequences.note(alice, 4); }) > 0);
  CHECK(registry::test::allocated_by([&] { sequences.note(alice, 3); }) == 0);
  CHECK(registry::test::allocated_by([&] { sequences.note(alice, 5); }) == 0);
  // The memory of the first gap is not kept for the next one.
  CHECK(registry::test::allocated_by([&] { sequences.note(alice, 7); }) > 0);
}

TEST_CASE("what is passed over is waited for no more") {
  SequenceTracker sequences(10);
  sequences.note(alice, 1);
  sequences.note(alice, 5);
  sequences.pass_over(alice, 3);
  CHECK(sequences.has_applied(alice, 3));
  CHECK_FALSE(sequences.has_applied(alice, 4));
  sequences.pass_over(alice, 2);
  CHECK(sequences.has_applied(alice, 3));
  sequences.pass_over(alice, 4);
  CHECK(sequences.has_applied(alice, 5));
  sequences.pass_over(bob, 7);
  CHECK(sequences.has_applied(bob, 7));
  CHECK_FALSE(sequences.has_applied(bob, 8));
}
