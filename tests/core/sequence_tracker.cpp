// SPDX-License-Identifier: Apache-2.0
#include <registry/core/sequence_tracker.hpp>

#include "support/catch.hpp"

using namespace registry;

namespace {

constexpr ClientId alice{1, 1};
constexpr ClientId bob{1, 2};
constexpr ClientId carol{1, 3};

}  // namespace

TEST_CASE("numbers only go up") {
  SequenceTracker sequences(10);
  CHECK_FALSE(sequences.has_applied(alice, 0));
  CHECK(sequences.advance(alice, 1));
  CHECK_FALSE(sequences.advance(alice, 1));
  CHECK(sequences.advance(alice, 5));
  CHECK_FALSE(sequences.advance(alice, 4));
  CHECK(sequences.has_applied(alice, 0));
  CHECK(sequences.has_applied(alice, 5));
  CHECK_FALSE(sequences.has_applied(alice, 6));
}

TEST_CASE("each client has numbers of its own, and may begin anywhere") {
  SequenceTracker sequences(10);
  CHECK(sequences.advance(alice, 7));
  CHECK_FALSE(sequences.has_applied(bob, 1));
  CHECK(sequences.advance(bob, 1));
  CHECK(sequences.has_applied(bob, 1));
  CHECK_FALSE(sequences.has_applied(bob, 7));
}

TEST_CASE("the client silent for longest is forgotten") {
  SequenceTracker sequences(2);
  sequences.advance(alice, 1);
  sequences.advance(bob, 1);
  SECTION("by the order of coming") {
    sequences.advance(carol, 1);
    CHECK_FALSE(sequences.has_applied(alice, 1));
    CHECK(sequences.has_applied(bob, 1));
    CHECK(sequences.has_applied(carol, 1));
  }
  SECTION("speaking again counts") {
    sequences.advance(alice, 2);
    sequences.advance(carol, 1);
    CHECK(sequences.has_applied(alice, 2));
    CHECK_FALSE(sequences.has_applied(bob, 1));
  }
  SECTION("also with a number that is late") {
    CHECK_FALSE(sequences.advance(alice, 1));
    sequences.advance(carol, 1);
    CHECK(sequences.has_applied(alice, 1));
    CHECK_FALSE(sequences.has_applied(bob, 1));
  }
  SECTION("and being asked about does not") {
    CHECK(sequences.has_applied(alice, 1));
    sequences.advance(carol, 1);
    CHECK_FALSE(sequences.has_applied(alice, 1));
  }
}

TEST_CASE("at least one client is remembered") {
  SequenceTracker sequences(0);
  CHECK(sequences.advance(alice, 1));
  CHECK_FALSE(sequences.advance(alice, 1));
  CHECK(sequences.advance(bob, 1));
  CHECK_FALSE(sequences.has_applied(alice, 1));
}
