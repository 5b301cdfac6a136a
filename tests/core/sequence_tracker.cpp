// SPDX-License-Identifier: Apache-2.0
#include <registry/core/sequence_tracker.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "core/times.hpp"
#include "support/allocation_counter.hpp"
#include "support/catch.hpp"

using namespace registry;
using namespace std::chrono_literals;
using registry::test::start;

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
  SECTION("one behind a gap, which is one run however often it comes") {
    for (std::size_t i = 0; i <= SequenceTracker::max_runs; ++i) sequences.note(alice, 4);
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

TEST_CASE("what is missing is given up when too much else is missing behind it") {
  SequenceTracker sequences(10);
  sequences.note(alice, 1);
  // Every second number: 3, 5, 7 ...
  std::uint64_t n = 1;
  for (std::size_t runs = 1; runs < SequenceTracker::max_runs; ++runs) sequences.note(alice, n += 2);
  CHECK_FALSE(sequences.has_applied(alice, 2));
  sequences.note(alice, n += 2);
  CHECK(sequences.has_applied(alice, 3));
  CHECK_FALSE(sequences.has_applied(alice, 4));
  for (const std::uint64_t missing : {2U, 4U}) CHECK(sequences.arrival(alice, missing, true) == Arrival::unknown);
  // What was given up comes too late; for 4 whatever follows it still waits.
  for (const std::uint64_t given_up : {1U, 2U}) CHECK(sequences.arrival(alice, given_up, false) == Arrival::unknown);
  CHECK(sequences.arrival(alice, 4, false) == Arrival::first);
  CHECK(sequences.arrival(alice, 3, true) == Arrival::repeated);
  sequences.note(alice, 4);
  CHECK(sequences.has_applied(alice, 5));
  CHECK_FALSE(sequences.has_applied(alice, 6));
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

TEST_CASE("who repeats himself speaks, and is not the one who is forgotten") {
  SequenceTracker sequences(2);
  sequences.note(alice, 1);
  sequences.note(bob, 1);
  CHECK(sequences.arrival(alice, 1, true) == Arrival::repeated);
  sequences.note(carol, 1);
  CHECK(sequences.has_applied(alice, 1));
  CHECK_FALSE(sequences.has_applied(bob, 1));
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

TEST_CASE("numbers in their order cost no memory") {
  SequenceTracker sequences(10);
  sequences.note(alice, 1);
  CHECK(registry::test::allocated_by([&] {
          for (std::uint64_t n = 2; n < 1000; ++n) sequences.note(alice, n);
        }) == 0);
}

TEST_CASE("what is passed over is waited for no more") {
  SequenceTracker sequences(10);
  sequences.note(alice, 1);
  sequences.note(alice, 5);
  sequences.pass_over(alice, 3, start, start + 10s);
  CHECK(sequences.has_applied(alice, 3));
  CHECK_FALSE(sequences.has_applied(alice, 4));
  sequences.pass_over(alice, 2, start, start + 10s);
  CHECK(sequences.has_applied(alice, 3));
  sequences.pass_over(alice, 4, start, start + 10s);
  CHECK(sequences.has_applied(alice, 5));
  sequences.pass_over(bob, 7, start, start + 10s);
  CHECK(sequences.has_applied(bob, 7));
  CHECK_FALSE(sequences.has_applied(bob, 8));
}

TEST_CASE("what is passed over has not come, and is missing until it has or the client knows that it was") {
  SequenceTracker sequences(10);
  CHECK_FALSE(sequences.has_come(alice, 1, 0, start));
  sequences.note(alice, 5);  // those before it went to another hub
  CHECK(sequences.has_come(alice, 5, 0, start));
  sequences.note(alice, 7);
  sequences.pass_over(alice, 6, start, start + 10s);
  CHECK_FALSE(sequences.has_come(alice, 6, 0, start));
  CHECK_FALSE(sequences.has_come(alice, 7, 0, start));
  CHECK(sequences.has_come(alice, 7, 6, start));
  CHECK_FALSE(sequences.has_come(alice, 8, 6, start));
  sequences.note(alice, 6);
  CHECK(sequences.has_come(alice, 7, 0, start));
  SECTION("of a client that was passed over before anything came of it, too") {
    sequences.pass_over(bob, 3, start, start + 10s);
    CHECK_FALSE(sequences.has_come(bob, 3, 0, start));
    sequences.note(bob, 5);
    CHECK_FALSE(sequences.has_come(bob, 5, 0, start));
    CHECK_FALSE(sequences.has_come(bob, 3, 0, start + 10s - 1ns));
    CHECK(sequences.has_come(bob, 3, 0, start + 10s));
    // Number 4 is missing as well; nobody has waited for that.
    CHECK_FALSE(sequences.has_come(bob, 5, 0, start + 10s));
    sequences.pass_over(bob, 5, start + 10s, start + 20s);
    CHECK(sequences.has_come(bob, 5, 0, start + 20s));
  }
  SECTION("of one whose first registration was acknowledged, and so came by another way") {
    constexpr bool keeps_order = false;
    sequences.note(bob, 2, keeps_order);
    CHECK_FALSE(sequences.has_come(bob, 2, 0, start));
    sequences.note(bob, 1);
    CHECK(sequences.has_come(bob, 2, 0, start));
  }
  SECTION("but not what the client no longer asks about") {
    sequences.note(alice, 9);
    CHECK_FALSE(sequences.has_come(alice, 9, 0, start));
    sequences.settle(alice, 9);
    CHECK(sequences.has_come(alice, 9, 0, start));
  }
}

TEST_CASE("which questions a client was told of that something was missing is kept, for the last of them") {
  SequenceTracker sequences(10);
  sequences.tell_missing(alice, 1, 7);  // nobody knows her
  CHECK(sequences.told_missing(alice, 1) == 0);
  sequences.note(alice, 1);
  sequences.tell_missing(alice, 1, 7);
  sequences.tell_missing(alice, 1, 8);
  CHECK(sequences.told_missing(alice, 1) == 8);
  CHECK(sequences.told_missing(alice, 2) == 0);
  CHECK(sequences.told_missing(bob, 1) == 0);
  for (std::size_t question = 2; question <= SequenceTracker::max_told; ++question) {
    sequences.tell_missing(alice, question, 9);
  }
  CHECK(sequences.told_missing(alice, 1) == 8);
  sequences.tell_missing(alice, 0, 9);
  CHECK(sequences.told_missing(alice, 1) == 0);
  CHECK(sequences.told_missing(alice, 2) == 9);
}

TEST_CASE("what comes when it is waited for no more, and a later one has come, may be older than that") {
  SequenceTracker sequences(10);
  sequences.note(alice, 1);
  sequences.note(alice, 3);
  sequences.pass_over(alice, 5, start, start + 10s);
  // Late, but still in its place: nothing has come behind it.
  for (const std::uint64_t n : {4U, 5U, 6U}) CHECK(sequences.arrival(alice, n, false) == Arrival::first);
  CHECK(sequences.arrival(alice, 2, false) == Arrival::unknown);
  sequences.note(alice, 7);
  for (const std::uint64_t n : {2U, 4U, 5U}) CHECK(sequences.arrival(alice, n, false) == Arrival::unknown);
  CHECK(sequences.arrival(alice, 3, false) == Arrival::repeated);
  // Who follows this one waits for it.
  CHECK(sequences.arrival(alice, 6, false) == Arrival::first);
  sequences.pass_over(alice, 2, start, start + 10s);
  CHECK(sequences.arrival(alice, 5, false) == Arrival::unknown);
  sequences.note(alice, 5);
  CHECK(sequences.arrival(alice, 5, false) == Arrival::repeated);
  SECTION("also of a client of which nothing else is known") {
    sequences.pass_over(bob, 2, start, start + 10s);
    CHECK(sequences.arrival(bob, 2, false) == Arrival::first);
    sequences.note(bob, 3);
    for (const std::uint64_t n : {1U, 2U}) CHECK(sequences.arrival(bob, n, false) == Arrival::unknown);
  }
  SECTION("each client for itself") {
    sequences.note(bob, 7);
    CHECK(sequences.arrival(bob, 5, false) == Arrival::first);
  }
}

TEST_CASE("what has come before is told from what has not") {
  SequenceTracker sequences(10);
  sequences.note(alice, 1);
  sequences.note(alice, 2);
  sequences.note(alice, 4);
  for (const std::uint64_t n : {1U, 2U, 4U}) {
    CHECK(sequences.arrival(alice, n, true) == Arrival::repeated);
    CHECK(sequences.arrival(alice, n, false) == Arrival::repeated);
  }
  for (const std::uint64_t n : {3U, 5U}) {
    CHECK(sequences.arrival(alice, n, true) == Arrival::unknown);
    CHECK(sequences.arrival(alice, n, false) == Arrival::first);
  }
  CHECK(sequences.arrival(bob, 1, false) == Arrival::first);
}

TEST_CASE("what a client sent before it was known may have come to another hub") {
  SequenceTracker sequences(10);
  CHECK(sequences.arrival(alice, 5, true) == Arrival::unknown);
  SECTION("known by a resend, all that it had sent by then") {
    sequences.note(alice, 5);
    CHECK(sequences.arrival(alice, 5, true) == Arrival::repeated);
    for (const std::uint64_t n : {1U, 4U, 6U, 9U}) CHECK(sequences.arrival(alice, n, true) == Arrival::unknown);
    CHECK(sequences.arrival(alice, 10, false) == Arrival::first);
    // It waits for those, which are on their way again.
    CHECK(sequences.has_applied(alice, 5));
    CHECK_FALSE(sequences.has_applied(alice, 6));
  }
  SECTION("known by a new one, all before that") {
    sequences.note(alice, 10);
    CHECK(sequences.arrival(alice, 9, true) == Arrival::unknown);
    // That comes for the first time, by the other connection.
    CHECK(sequences.arrival(alice, 9, false) == Arrival::first);
    sequences.note(alice, 9);
    CHECK(sequences.arrival(alice, 9, true) == Arrival::repeated);
  }
  SECTION("known by what is passed over") {
    sequences.pass_over(alice, 7, start, start + 10s);
    CHECK(sequences.arrival(alice, 7, true) == Arrival::unknown);
    CHECK(sequences.arrival(alice, 8, false) == Arrival::first);
  }
}

TEST_CASE("how far a client's registrations have come is told from the first that it asks about") {
  SequenceTracker sequences(10);
  CHECK(sequences.applied_from(alice, 3) == 2);
  sequences.note(alice, 5);
  sequences.note(alice, 6);
  sequences.note(alice, 8);
  CHECK(sequences.applied_from(alice, 4) == 3);
  CHECK(sequences.applied_from(alice, 5) == 6);
  CHECK(sequences.applied_from(alice, 6) == 6);
  CHECK(sequences.applied_from(alice, 7) == 6);
  CHECK(sequences.applied_from(alice, 8) == 8);
  // Passed over is not applied.
  sequences.pass_over(alice, 7, start, start + 10s);
  CHECK(sequences.applied_from(alice, 5) == 6);
}

TEST_CASE("what was refused is kept until the client has heard of it") {
  using Outcomes = SequenceTracker::Outcomes;
  const Outcomes refused{RegisterStatus::stored, RegisterStatus::lease_conflict};
  const Outcomes full{RegisterStatus::limit_exceeded};
  SequenceTracker sequences(10);
  CHECK(sequences.first_refusal(alice, 1) == 0);
  sequences.keep_refusal(alice, 1, refused);  // of nobody
  CHECK(sequences.refusal(alice, 1) == nullptr);
  sequences.note(alice, 1);
  sequences.note(alice, 2);
  sequences.keep_refusal(alice, 2, full);
  sequences.keep_refusal(alice, 1, refused);
  REQUIRE(sequences.refusal(alice, 1) != nullptr);
  CHECK(*sequences.refusal(alice, 1) == refused);
  CHECK(*sequences.refusal(alice, 2) == full);
  CHECK(sequences.refusal(alice, 3) == nullptr);
  CHECK(sequences.refusal(bob, 1) == nullptr);
  CHECK(sequences.first_refusal(alice, 1) == 1);
  sequences.settle(alice, 2);
  CHECK(sequences.refusal(alice, 1) == nullptr);
  CHECK(sequences.first_refusal(alice, 2) == 2);
  sequences.settle(bob, 9);
  sequences.settle(alice, 3);
  CHECK(sequences.first_refusal(alice, 3) == 0);
}

TEST_CASE("only so many refusals are kept, and the oldest go first") {
  SequenceTracker sequences(10);
  sequences.note(alice, 1);
  const std::vector<RegisterStatus> outcomes{RegisterStatus::storage_error};
  for (std::uint64_t n = 1; n <= SequenceTracker::max_refusals; ++n) sequences.keep_refusal(alice, n, outcomes);
  CHECK(sequences.first_refusal(alice, 1) == 1);
  CHECK_FALSE(sequences.is_outcome_forgotten(alice, 1));
  sequences.keep_refusal(alice, SequenceTracker::max_refusals + 1, outcomes);
  CHECK(sequences.first_refusal(alice, 2) == 2);
  CHECK(sequences.is_outcome_forgotten(alice, 1));
  CHECK_FALSE(sequences.is_outcome_forgotten(alice, 2));
}

TEST_CASE("what is forgotten of refusals is told as one that may have been") {
  SequenceTracker sequences(10);
  const SequenceTracker::Outcomes refused{RegisterStatus::limit_exceeded};
  for (std::uint64_t n = 1; n <= SequenceTracker::max_refusals + 1; ++n) {
    sequences.note(alice, n);
    sequences.keep_refusal(alice, n, refused);
  }
  CHECK(sequences.first_refusal(alice, 1) == 1);  // forgotten
  CHECK(sequences.refusal(alice, 1) == nullptr);
  CHECK(sequences.first_refusal(alice, 2) == 2);
  CHECK(sequences.first_refusal(alice, 40) == 40);
  CHECK(sequences.first_refusal(alice, 1000) == 0);
}

TEST_CASE("outcomes are kept of so many entries only, all clients together") {
  SequenceTracker sequences(10);
  const SequenceTracker::Outcomes most(SequenceTracker::max_outcomes - 10, RegisterStatus::limit_exceeded);
  const SequenceTracker::Outcomes some(11, RegisterStatus::limit_exceeded);
  sequences.note(alice, 1);
  sequences.keep_refusal(alice, 1, most);
  sequences.note(bob, 1);
  sequences.keep_refusal(bob, 1, some);
  CHECK(sequences.refusal(bob, 1) == nullptr);
  CHECK(sequences.is_outcome_forgotten(bob, 1));
  CHECK(sequences.refusal(alice, 1) != nullptr);
  SECTION("a client's own oldest make room") {
    sequences.note(alice, 2);
    sequences.keep_refusal(alice, 2, some);
    CHECK(sequences.refusal(alice, 1) == nullptr);
    CHECK(sequences.is_outcome_forgotten(alice, 1));
    CHECK(sequences.refusal(alice, 2) != nullptr);
  }
  SECTION("what the client has heard of makes room") {
    sequences.settle(alice, 2);
    CHECK(sequences.refusal(alice, 1) == nullptr);
    CHECK(sequences.is_outcome_forgotten(alice, 1));
  }
  sequences.note(bob, 2);
  sequences.keep_refusal(bob, 2, some);
  CHECK(sequences.refusal(bob, 2) != nullptr);
}

TEST_CASE("a client that is forgotten takes its outcomes with it") {
  SequenceTracker sequences(1);
  const SequenceTracker::Outcomes most(SequenceTracker::max_outcomes, RegisterStatus::limit_exceeded);
  for (const ClientId& client : {alice, bob, carol}) {
    sequences.note(client, 1);
    sequences.keep_refusal(client, 1, most);
    CHECK(sequences.refusal(client, 1) != nullptr);
  }
}
