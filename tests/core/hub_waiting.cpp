// SPDX-License-Identifier: Apache-2.0
// A remove that must not overtake the registrations of its client.
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/test_hub.hpp"
#include "support/catch.hpp"

using namespace registry;
using namespace registry::test;
using namespace std::chrono_literals;

namespace {

HubOptions waiting_for(std::chrono::nanoseconds time) {
  HubOptions options;
  options.registration_wait = time;
  return options;
}

/// Sends a remove that follows the registration `after`.
void remove_after(TestHub<>& hub, Asker& asker, std::uint64_t after, const Numbers& keys) {
  hub.query(asker.sender, asker.envelope(after), TestHub<>::keys(MessageType::remove, keys));
}

/// Sends a registration of this number that is to be answered.
void register_acknowledged(TestHub<>& hub, Asker& asker, std::uint64_t sequence, const PlainEntry& entry) {
  Envelope ours{++asker.request, *asker.id, std::nullopt, asker.name_space};
  ours.sequence = sequence;
  Bytes envelope;
  ours.encode(envelope);
  hub.query(asker.sender, {envelope}, TestHub<>::registration({entry}));
}

/// Asks which registrations from `first` on have come.
void synchronise(TestHub<>& hub, Asker& asker, std::uint64_t first) {
  Bytes sync;
  PlainCodec::encode_count(MessageType::sync, first, sync);
  hub.query(asker.sender, asker.envelope(), sync);
}

std::uint64_t removed(const Reply& reply) { return TestHub<>::read_count(reply.message, MessageType::remove_response); }

}  // namespace

TEST_CASE("a remove waits for the registration that it follows") {
  TestHub<> hub;
  Asker alice = client(1);
  remove_after(hub, alice, 2, {1, 2});
  CHECK(hub.replies.empty());
  hub.put(alice, {{1, 10, {}}});
  CHECK(hub.replies.empty());
  CHECK(hub.stats().stored == 1);
  hub.put(alice, {{2, 20, {}}});
  REQUIRE(hub.replies.size() == 1);
  CHECK(hub.replies[0].recipient == "peer1");
  Asker again = client(1);
  CHECK(hub.replies[0].envelope == again.envelope(2));
  CHECK(removed(hub.replies[0]) == 2);
  CHECK(hub.stats().stored == 0);
  CHECK(hub.stats().queries == 1);
}

TEST_CASE("a remove whose registration has been applied does not wait") {
  TestHub<> hub;
  Asker alice = client(1);
  hub.put(alice, {{1, 10, {}}});
  remove_after(hub, alice, 1, {1});
  REQUIRE(hub.replies.size() == 1);
  CHECK(removed(hub.replies[0]) == 1);
}

TEST_CASE("only a remove waits") {
  TestHub<> hub;
  Asker alice = client(1);
  for (const MessageType type :
       {MessageType::can_offload, MessageType::match, MessageType::touch, MessageType::release}) {
    hub.query(alice.sender, alice.envelope(1), TestHub<>::keys(type, {1}));
  }
  CHECK(hub.replies.size() == 4);
  hub.query(alice.sender, alice.envelope(1), bytes("\x02\x06"));  // another version
  CHECK(hub.replies.size() == 5);
  hub.query(alice.sender, alice.envelope(1), {});
  CHECK(hub.replies.size() == 6);
}

TEST_CASE("the registration of another client releases nothing") {
  TestHub<> hub;
  Asker alice = client(1);
  Asker bob = client(2);
  remove_after(hub, alice, 1, {1});
  hub.put(bob, {{1, 10, {}}});
  Asker rust = anonymous("rust1");
  hub.put(rust, {{1, 10, {}}});
  CHECK(hub.replies.empty());
}

TEST_CASE("each waiting query has its own registration, and those released keep their order") {
  TestHub<> hub;
  Asker alice = client(1);
  Asker bob = client(2);
  remove_after(hub, alice, 2, {1});
  remove_after(hub, bob, 1, {1});
  remove_after(hub, alice, 1, {2});
  remove_after(hub, alice, 1, {3});
  hub.put(alice, {{1, 10, {}}, {2, 20, {}}, {3, 30, {}}});
  REQUIRE(hub.replies.size() == 2);
  CHECK(Envelope::decode(hub.replies[0].envelope[0])->number == 2);
  CHECK(Envelope::decode(hub.replies[1].envelope[0])->number == 3);
  hub.put(bob, {});
  REQUIRE(hub.replies.size() == 3);
  CHECK(hub.replies[2].recipient == "peer2");
  CHECK(removed(hub.replies[2]) == 1);
  hub.put(alice, {});
  CHECK(hub.replies.size() == 4);
}

TEST_CASE("a registration that is dropped as malformed or for another namespace has come all the same") {
  TestHub<> hub;
  Asker alice = client(1);
  remove_after(hub, alice, 1, {1});
  remove_after(hub, alice, 2, {1});
  Bytes envelope;
  Envelope{1, *alice.id, std::nullopt, default_namespace}.encode(envelope);
  hub.put_raw("peer1", envelope, bytes("junk"));
  CHECK(hub.replies.size() == 1);
  Envelope{2, *alice.id, std::nullopt, "tenant-a"}.encode(envelope);
  hub.put_raw("peer1", envelope, TestHub<>::registration({{1, 10, {}}}));
  CHECK(hub.replies.size() == 2);
}

TEST_CASE("a remove that has waited long enough is refused, and changes nothing") {
  TestHub<> hub(waiting_for(1s));
  Asker alice = client(1);
  hub.put(alice, {{1, 10, {}}});
  remove_after(hub, alice, 3, {1});
  hub.pass(1s - 1ns);
  hub.tick();
  CHECK(hub.replies.empty());
  CHECK(hub.core.next_deadline() == hub.now.lease + 1ns);
  hub.pass(1ns);
  hub.tick();
  REQUIRE(hub.replies.size() == 1);
  CHECK(hub.replies[0].recipient == "peer1");
  CHECK(Envelope::decode(hub.replies[0].envelope.at(0))->number == 1);
  CHECK(TestHub<>::error_text(hub.replies[0].message) ==
        "the registration that this must follow has not arrived within 1000 ms");
  CHECK(hub.core.next_deadline() == std::nullopt);
  CHECK(hub.stats().stored == 1);
  CHECK(hub.stats().malformed == 0);

  // Who has been told does not wait for the same again, and what was waited for is applied should it come.
  remove_after(hub, alice, 3, {1});
  REQUIRE(hub.replies.size() == 2);
  CHECK(removed(hub.replies[1]) == 1);
  remove_after(hub, alice, 4, {2});
  CHECK(hub.replies.size() == 2);
  hub.put(alice, {{2, 20, {}}});
  hub.put(alice, {{3, 30, {}}});
  CHECK(hub.replies.size() == 2);
  CHECK(hub.stats().entries_registered == 3);
  CHECK(hub.stats().stored == 2);
}

TEST_CASE("what comes after the wait for it takes the place of what came before it, and of nothing behind it") {
  TestHub<> hub(waiting_for(1s));
  Asker alice = client(1);
  hub.put(alice, {{1, 10, {}}});
  remove_after(hub, alice, 3, {1});
  hub.pass(1s);
  hub.tick();
  REQUIRE(hub.replies.size() == 1);
  SECTION("in its order") {
    hub.put(alice, {{1, 11, {}}});
    hub.put(alice, {{1, 12, {}}});
    CHECK(hub.core.policy().find(1)->value == 12);
    CHECK(hub.stats().entries_refused == 0);
  }
  SECTION("when a later one has come") {
    alice.sequence = 2;
    hub.put(alice, {{1, 12, {}}});
    alice.sequence = 1;
    hub.put(alice, {{1, 11, {}}, {2, 21, {}}});
    CHECK(hub.core.policy().find(1)->value == 12);
    CHECK(hub.core.policy().find(2)->value == 21);
    CHECK(hub.stats().entries_refused == 1);
  }
}

TEST_CASE("how long a remove has waited is told in whole milliseconds, rounded up") {
  TestHub<> hub(waiting_for(1500us));
  Asker alice = client(1);
  remove_after(hub, alice, 1, {1});
  hub.pass(1500us);
  hub.tick();
  REQUIRE(hub.replies.size() == 1);
  CHECK(TestHub<>::error_text(hub.replies[0].message) ==
        "the registration that this must follow has not arrived within 2 ms");
}

TEST_CASE("all that have waited long enough are refused, the others wait on") {
  TestHub<> hub(waiting_for(1s));
  Asker alice = client(1);
  Asker bob = client(2);
  Asker carol = client(3);
  remove_after(hub, alice, 1, {1});
  remove_after(hub, alice, 2, {1});
  remove_after(hub, bob, 1, {1});
  hub.pass(500ms);
  remove_after(hub, carol, 1, {1});
  // It waits for less than one that is refused before it.
  remove_after(hub, alice, 1, {1});
  hub.pass(500ms);
  hub.tick();
  CHECK(hub.replies.size() == 3);
  CHECK(hub.core.next_deadline() == hub.now.lease + 500ms);
  hub.pass(500ms);
  hub.tick();
  REQUIRE(hub.replies.size() == 5);
  for (const Reply& reply : hub.replies) CHECK_FALSE(TestHub<>::error_text(reply.message).empty());
}

TEST_CASE("when a registration is waited for no more, those are answered who wait for what has come behind it") {
  TestHub<> hub(waiting_for(1s));
  Asker alice = client(1);
  hub.put(alice, {{1, 10, {}}});
  remove_after(hub, alice, 2, {1});
  hub.pass(500ms);
  alice.sequence = 2;  // which is lost
  hub.put(alice, {{3, 30, {}}});
  hub.query(alice.sender, alice.envelope(3), TestHub<>::registration({{3, 31, {}}}));
  CHECK(hub.replies.empty());
  hub.pass(500ms);
  hub.tick();
  REQUIRE(hub.replies.size() == 2);
  CHECK_FALSE(TestHub<>::error_text(hub.replies[0].message).empty());
  CHECK(hub.core.policy().find(3)->value == 31);
}

TEST_CASE("a remove overtakes no registration that another call of its client has waited for in vain") {
  TestHub<> hub(waiting_for(1s));
  Asker alice = client(1);
  hub.put(alice, {{1, 10, {}}});
  alice.sequence = 2;  // it has {7} and comes late
  hub.put(alice, {{3, 30, {}}});
  remove_after(hub, alice, 2, {1});
  enum class Asked { before_that_is_refused, before_somebody_elses_registration, afterwards };
  const auto asked =
      GENERATE(Asked::before_that_is_refused, Asked::before_somebody_elses_registration, Asked::afterwards);
  const std::uint64_t follows = asked == Asked::before_somebody_elses_registration ? 2 : 3;
  hub.pass(500ms);
  if (asked != Asked::afterwards) remove_after(hub, alice, follows, {7});
  hub.pass(500ms);
  hub.tick();
  Asker bob = client(2);
  if (asked == Asked::before_somebody_elses_registration) hub.put(bob, {{5, 50, {}}});
  if (asked == Asked::afterwards) remove_after(hub, alice, follows, {7});
  REQUIRE(hub.replies.size() == 1);
  SECTION("which comes then") {
    alice.sequence = 1;
    hub.put(alice, {{7, 70, {}}});
    REQUIRE(hub.replies.size() == 2);
    CHECK(removed(hub.replies[1]) == 1);
    CHECK(hub.core.policy().find(7) == nullptr);
  }
  SECTION("which does not come: it is refused, and asked for again carried out") {
    hub.pass(1s);
    hub.tick();
    REQUIRE(hub.replies.size() == 2);
    CHECK_FALSE(TestHub<>::error_text(hub.replies[1].message).empty());
    remove_after(hub, alice, follows, {7});
    REQUIRE(hub.replies.size() == 3);
    CHECK(removed(hub.replies[2]) == 0);
    SECTION("but waits for what is missing since") {
      remove_after(hub, alice, 4, {7});
      CHECK(hub.replies.size() == 3);
      alice.sequence = 3;
      hub.put(alice, {{7, 71, {}}});
      REQUIRE(hub.replies.size() == 4);
      CHECK(removed(hub.replies[3]) == 1);
    }
  }
}

TEST_CASE("a registration that was lost for good holds up removals for a while, and then no more") {
  TestHub<> hub(waiting_for(1s));
  Asker alice = client(1);
  hub.put(alice, {{1, 10, {}}});
  alice.sequence = 2;  // the second is never sent again
  hub.put(alice, {{3, 30, {}}});
  remove_after(hub, alice, 3, {1});
  hub.pass(1s);
  hub.tick();
  REQUIRE(hub.replies.size() == 1);
  CHECK_FALSE(TestHub<>::error_text(hub.replies[0].message).empty());
  hub.pass(10s - 1ns);
  remove_after(hub, alice, 3, {2});
  CHECK(hub.replies.size() == 1);
  hub.pass(1ns);
  remove_after(hub, alice, 3, {3});
  REQUIRE(hub.replies.size() == 2);
  CHECK(removed(hub.replies[1]) == 1);
}

TEST_CASE("a remove that waits when a registration is taken for lost is answered at the end of its wait") {
  TestHub<> hub(waiting_for(1s));
  Asker alice = client(1);
  hub.put(alice, {{1, 10, {}}});
  remove_after(hub, alice, 2, {9});  // the second never comes
  hub.pass(1s);
  hub.tick();
  REQUIRE(hub.replies.size() == 1);
  hub.pass(10s - 100ms);
  remove_after(hub, alice, 2, {1});
  hub.pass(1s);
  hub.tick();
  REQUIRE(hub.replies.size() == 2);
  CHECK(removed(hub.replies[1]) == 1);
}

TEST_CASE("a remove that waits goes on when its client says that it asks no more about what is missing") {
  TestHub<> hub(waiting_for(1s));
  Asker alice = client(1);
  // Acknowledged, and the first that this hub hears of; what was pushed before it comes later.
  register_acknowledged(hub, alice, 6, {6, 60, {}});
  alice.sequence = 4;
  hub.put(alice, {{5, 50, {}}});
  remove_after(hub, alice, 5, {5});
  CHECK(hub.replies.size() == 1);
  synchronise(hub, alice, 5);
  REQUIRE(hub.replies.size() == 3);
  CHECK(removed(hub.replies[2]) == 1);
}

TEST_CASE("what its client has asked a hub about that did not know it is not missing there") {
  TestHub<> hub(waiting_for(1s));
  Asker alice = client(1);
  synchronise(hub, alice, 5);
  register_acknowledged(hub, alice, 6, {6, 60, {}});
  alice.sequence = 4;
  hub.put(alice, {{5, 50, {}}});
  remove_after(hub, alice, 5, {5});
  REQUIRE(hub.replies.size() == 3);
  CHECK(removed(hub.replies[2]) == 1);
}

TEST_CASE("a remove waits for what was pushed before an acknowledged registration that came sooner") {
  TestHub<> hub(waiting_for(1s));
  Asker alice = client(1);
  register_acknowledged(hub, alice, 2, {8, 80, {}});
  REQUIRE(hub.replies.size() == 1);
  remove_after(hub, alice, 1, {7});
  CHECK(hub.replies.size() == 1);
  hub.put(alice, {{7, 70, {}}});
  REQUIRE(hub.replies.size() == 2);
  CHECK(removed(hub.replies[1]) == 1);
  CHECK(hub.core.policy().find(7) == nullptr);
}

TEST_CASE("a refusal after a wait that reaches nobody takes back no lease") {
  TestHub<> hub(waiting_for(1s));
  Asker alice = client(1);
  Asker bob = client(2);
  remove_after(hub, alice, 1, {1});
  alice.request = 0;  // a client that uses a number twice: the lease is of the other request all the same
  hub.can_offload(alice, {1});
  hub.pass(1s);
  hub.reachable = false;
  hub.tick();
  hub.reachable = true;
  CHECK(hub.stats().undeliverable == 1);
  CHECK(hub.can_offload(bob, {1}) == Statuses{leased});
}

TEST_CASE("registrations that are lost are waited for until enough later ones have come") {
  TestHub<> hub;
  Asker alice = client(1);
  hub.put(alice, {{1, 10, {}}});
  alice.sequence = 2;  // the second one never comes
  remove_after(hub, alice, 3, {1});
  for (std::size_t i = 1; i < SequenceTracker::max_runs; ++i, ++alice.sequence) hub.put(alice, {{2, 20, {}}});
  CHECK(hub.replies.empty());
  hub.put(alice, {{2, 20, {}}});
  REQUIRE(hub.replies.size() == 1);
  CHECK(removed(hub.replies[0]) == 1);
}

TEST_CASE("a remove does not wait for what a hub before this one got") {
  TestHub<> hub;
  Asker alice = client(1);
  alice.sequence = 99;
  hub.put(alice, {{1, 10, {}}});  // 100
  remove_after(hub, alice, 100, {1});
  REQUIRE(hub.replies.size() == 1);
  CHECK(removed(hub.replies[0]) == 1);
  remove_after(hub, alice, 101, {1});
  CHECK(hub.replies.size() == 1);
}

TEST_CASE("a hub that stops refuses all that wait") {
  TestHub<> hub;
  Asker alice = client(1);
  Asker bob = client(2);
  hub.put(alice, {{1, 10, {}}});
  remove_after(hub, alice, 2, {1});
  remove_after(hub, bob, 1, {1});
  hub.core.end_waiting(hub.now, hub.reply());
  REQUIRE(hub.replies.size() == 2);
  CHECK(hub.replies[0].recipient == "peer1");
  CHECK(hub.replies[1].recipient == "peer2");
  for (const Reply& reply : hub.replies) CHECK(TestHub<>::error_text(reply.message) == hub_is_stopping);
  CHECK(hub.core.next_deadline() == std::nullopt);
  hub.put(alice, {{2, 20, {}}});
  CHECK(hub.replies.size() == 2);
  CHECK(hub.stats().stored == 2);
}

TEST_CASE("only so many queries wait, more are refused") {
  HubOptions options;
  options.max_waiting = 2;
  TestHub<> hub(options);
  Asker alice = client(1);
  remove_after(hub, alice, 1, {1});
  remove_after(hub, alice, 1, {1});
  CHECK(hub.replies.empty());
  remove_after(hub, alice, 1, {1});
  REQUIRE(hub.replies.size() == 1);
  CHECK(TestHub<>::error_text(hub.replies[0].message) == "limit exceeded: max_waiting allows 2, got 3");
  CHECK(Envelope::decode(hub.replies[0].envelope[0])->number == 3);
  CHECK(hub.stats().malformed == 0);
  hub.put(alice, {{1, 10, {}}});
  CHECK(hub.replies.size() == 3);
}

TEST_CASE("a refusal for want of room to wait that reaches nobody takes back no lease") {
  HubOptions options;
  options.max_waiting = 0;
  TestHub<> hub(options);
  Asker alice = client(1);
  Asker bob = client(2);
  hub.can_offload(alice, {1});
  hub.reachable = false;
  remove_after(hub, alice, 1, {1});
  hub.reachable = true;
  CHECK(hub.stats().undeliverable == 1);
  CHECK(hub.can_offload(bob, {1}) == Statuses{leased});
}

TEST_CASE("a waiting query that turns out malformed or misplaced is answered as such") {
  TestHub<> hub;
  Asker alice = client(1);
  alice.name_space = "tenant-a";
  remove_after(hub, alice, 1, {1});
  alice.name_space = default_namespace;
  Bytes cut = TestHub<>::keys(MessageType::remove, {1});
  cut.pop_back();
  hub.query(alice.sender, alice.envelope(1), cut);
  CHECK(hub.replies.empty());
  hub.put(alice, {{1, 10, {}}});
  REQUIRE(hub.replies.size() == 2);
  CHECK(TestHub<>::error_text(hub.replies[0].message) ==
        "not supported by the peer: namespace \"tenant-a\"; this hub serves \"default\"");
  CHECK(TestHub<>::error_text(hub.replies[1].message) == "malformed message: keys, in bytes: expected 10, got 9");
  CHECK(hub.stats().malformed == 1);
  CHECK(hub.stats().stored == 1);
}

TEST_CASE("a waiting query whose asker is gone when it is answered is counted") {
  TestHub<> hub;
  Asker alice = client(1);
  remove_after(hub, alice, 1, {1});
  hub.reachable = false;
  hub.put(alice, {{1, 10, {}}});
  CHECK(hub.stats().undeliverable == 1);
  CHECK(hub.stats().stored == 0);
}
