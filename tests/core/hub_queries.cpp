// SPDX-License-Identifier: Apache-2.0
// What the hub answers: the three states of a key, and who holds a lease.
#include <chrono>
#include <string>
#include <vector>

#include "core/test_hub.hpp"
#include "support/catch.hpp"

using namespace registry;
using namespace registry::test;
using namespace std::chrono_literals;

TEST_CASE("a key is absent, then leased, then stored, then absent again") {
  TestHub<> hub;
  Asker alice = client(1);
  Asker bob = client(2);
  CHECK(hub.can_offload(alice, {5}) == Statuses{granted});
  CHECK(hub.can_offload(bob, {5}) == Statuses{leased});
  CHECK(hub.match(bob, {5}).empty());
  hub.put(alice, {{5, 50, {}}});
  CHECK(hub.can_offload(alice, {5}) == Statuses{already_stored});
  CHECK(hub.can_offload(bob, {5}) == Statuses{already_stored});
  CHECK(hub.match(bob, {5}) == std::vector<PlainEntry>{{5, 50, {}}});
  CHECK(hub.remove(bob, {5}) == 1);
  CHECK(hub.match(bob, {5}).empty());
  CHECK(hub.can_offload(bob, {5}) == Statuses{granted});
}

TEST_CASE("answers come in the order asked") {
  TestHub<> hub;
  Asker alice = client(1);
  Asker bob = client(2);
  hub.put(alice, {{1, 10, {}}, {2, 20, {}}, {3, 30, {}}});
  hub.can_offload(bob, {7});
  CHECK(hub.can_offload(alice, {7, 3, 8, 1}) == Statuses{leased, already_stored, granted, already_stored});
  CHECK(hub.match(alice, {3, 9, 1, 3}) == std::vector<PlainEntry>{{3, 30, {}}, {1, 10, {}}, {3, 30, {}}});
}

TEST_CASE("no keys, no answers") {
  TestHub<> hub;
  Asker alice = client(1);
  CHECK(hub.can_offload(alice, {}).empty());
  CHECK(hub.match(alice, {}).empty());
  CHECK(hub.remove(alice, {}) == 0);
}

TEST_CASE("a key named twice in one query is granted once") {
  TestHub<> hub;
  for (Asker asker : {client(1), anonymous("rust1")}) {
    CHECK(hub.can_offload(asker, {5, 5, 6, 5}) == Statuses{granted, leased, granted, leased});
    // As a renewal, too.
    CHECK(hub.can_offload(asker, {5, 5}) == Statuses{granted, leased});
    hub.release(asker, {5, 6});
  }
}

TEST_CASE("the holder asks again and holds for longer, on any connection") {
  HubOptions options;
  options.lease_ttl = 30s;
  TestHub<> hub(options);
  Asker alice = client(1);
  Asker bob = client(2);
  hub.can_offload(alice, {5});
  hub.pass(20s);
  alice.sender = "reconnected";
  CHECK(hub.can_offload(alice, {5}) == Statuses{granted});
  hub.pass(29s);
  CHECK(hub.can_offload(bob, {5}) == Statuses{leased});
  hub.pass(1s);
  CHECK(hub.can_offload(bob, {5}) == Statuses{granted});
  CHECK(hub.stats().leases.renewed == 1);
}

TEST_CASE("a lease ends exactly at its deadline, collected or not") {
  HubOptions options;
  options.lease_ttl = 30s;
  TestHub<> hub(options);
  Asker alice = client(1);
  Asker bob = client(2);
  hub.can_offload(alice, {5});
  hub.pass(30s - 1ns);
  CHECK(hub.can_offload(bob, {5}) == Statuses{leased});
  CHECK(hub.release(alice, {5}) == 1);
  hub.can_offload(alice, {5});
  hub.pass(30s);
  CHECK(hub.release(alice, {5}) == 0);
  CHECK(hub.can_offload(bob, {5}) == Statuses{granted});
}

TEST_CASE("who sends no envelope is held by its connection") {
  TestHub<> hub;
  Asker one = anonymous("rust1");
  Asker two = anonymous("rust2");
  CHECK(hub.can_offload(one, {5}) == Statuses{granted});
  CHECK(hub.can_offload(two, {5}) == Statuses{leased});
  CHECK(hub.can_offload(one, {5}) == Statuses{granted});
  CHECK(hub.release(two, {5}) == 0);
  CHECK(hub.release(one, {5}) == 1);
  CHECK(hub.stats().leases.renewed == 1);
}

TEST_CASE("a client is somebody else than a connection of the same bytes") {
  TestHub<> hub;
  Asker one = anonymous("rust1");
  const Holder connection = Holder::connection(as_bytes("rust1"));
  Asker other = {"rust1", connection.id};
  hub.can_offload(one, {5});
  CHECK(hub.can_offload(other, {5}) == Statuses{leased});
}

TEST_CASE("an envelope that is not ours is sent back unchanged and means nothing else") {
  TestHub<> hub;
  Bytes ours;
  Envelope{1, {7, 1}, std::nullopt, default_namespace}.encode(ours);
  const std::vector<std::vector<Bytes>> envelopes = {
      {},
      {Bytes{}},
      {bytes("whatever")},
      {bytes("one"), Bytes{}},
      {ours, Bytes{}},  // ours, but not alone: somebody else's
      {ours, ours},
  };
  for (const std::vector<Bytes>& envelope : envelopes) {
    CAPTURE(envelope.size());
    hub.query("rust1", envelope, TestHub<>::keys(MessageType::can_offload, {5}));
    REQUIRE_FALSE(hub.replies.empty());
    CHECK(hub.replies.back().recipient == "rust1");
    CHECK(hub.replies.back().envelope == envelope);
  }
  // All of them were the same anonymous holder.
  CHECK(hub.stats().granted == envelopes.size());
  CHECK(hub.stats().leases.renewed == envelopes.size() - 1);
  Asker alice = client(1);
  CHECK(hub.can_offload(alice, {5}) == Statuses{leased});
}

TEST_CASE("remove forgets what is stored and leaves leases alone") {
  TestHub<> hub;
  Asker alice = client(1);
  Asker bob = client(2);
  hub.put(alice, {{1, 10, {}}, {2, 20, {}}});
  hub.can_offload(alice, {3});
  CHECK(hub.remove(bob, {1, 2, 3, 4, 1}) == 2);
  CHECK(hub.stats().removed == 2);
  CHECK(hub.stats().stored == 0);
  CHECK(hub.can_offload(bob, {3}) == Statuses{leased});
  REQUIRE(hub.gone.size() == 2);
  CHECK(hub.gone[0] == TestHub<>::Gone{{1, 10, {}}, EvictionReason::removed});
}

TEST_CASE("touch counts what is stored") {
  TestHub<> hub;
  Asker alice = client(1);
  hub.put(alice, {{1, 10, {}}, {2, 20, {}}});
  hub.can_offload(alice, {3});
  CHECK(hub.touch(alice, {1, 2, 3, 1}) == 3);
}

TEST_CASE("release gives back what the asker holds, at once and to anyone") {
  TestHub<> hub;
  Asker alice = client(1);
  Asker bob = client(2);
  hub.can_offload(alice, {1, 2});
  CHECK(hub.release(bob, {1, 2}) == 0);
  CHECK(hub.release(alice, {1, 3, 1}) == 1);
  CHECK(hub.can_offload(bob, {1, 2}) == Statuses{granted, leased});
  CHECK(hub.stats().leases.released == 1);
}

TEST_CASE("a withdrawal takes back what that request alone was granted") {
  TestHub<> hub;
  Asker alice = client(1);
  Asker bob = client(2);
  hub.can_offload(alice, {1, 2});
  const std::uint64_t first = alice.request;
  hub.can_offload(alice, {2, 3});
  const std::uint64_t second = alice.request;
  CHECK(hub.withdraw(bob, second, {1, 2, 3}) == 0);
  CHECK(hub.withdraw(alice, second, {1, 2, 3}) == 1);
  CHECK(hub.can_offload(bob, {1, 2, 3}) == Statuses{leased, leased, granted});
  CHECK(hub.withdraw(alice, first, {1, 2, 3}) == 1);
  CHECK(hub.can_offload(bob, {1, 2}) == Statuses{granted, leased});
}

TEST_CASE("an answer that reaches nobody leaves no lease behind") {
  TestHub<> hub;
  Asker alice = client(1);
  Asker bob = client(2);
  hub.can_offload(alice, {1});
  hub.reachable = false;
  CHECK(hub.can_offload(alice, {1, 2, 3}) == Statuses{granted, granted, granted});
  hub.reachable = true;
  CHECK(hub.stats().undeliverable == 1);
  // What an earlier answer had granted stays.
  CHECK(hub.can_offload(bob, {1, 2, 3}) == Statuses{leased, granted, granted});

  hub.reachable = false;
  Asker rust = anonymous("rust1");
  hub.can_offload(rust, {9});
  hub.match(rust, {9});
  hub.reachable = true;
  CHECK(hub.stats().undeliverable == 3);
  CHECK(hub.can_offload(bob, {9}) == Statuses{granted});
}

TEST_CASE("what one answer granted is not taken back by a later one that reaches nobody") {
  TestHub<> hub;
  Asker alice = client(1);
  Asker bob = client(2);
  hub.can_offload(alice, {1});
  hub.reachable = false;
  hub.match(alice, {1});
  hub.refusal(alice, bytes("junk"));
  hub.reachable = true;
  CHECK(hub.can_offload(bob, {1}) == Statuses{leased});
}

TEST_CASE("a query for more leases than there may be is refused whole") {
  HubOptions options;
  options.max_leases = 3;
  TestHub<> hub(options);
  Asker alice = client(1);
  Asker bob = client(2);
  hub.can_offload(alice, {1});
  const std::string text = hub.refusal(alice, TestHub<>::keys(MessageType::can_offload, {1, 2, 3, 4}));
  CHECK(text == "limit exceeded: max_leases allows 3, got 4");
  CHECK(hub.stats().leases.active == 1);
  CHECK(hub.stats().granted == 1);
  CHECK(hub.stats().leased == 0);
  CHECK(hub.stats().malformed == 0);
  CHECK(hub.can_offload(bob, {2, 3, 1}) == Statuses{granted, granted, leased});
  // An undeliverable refusal has nothing to take back.
  hub.reachable = false;
  hub.refusal(alice, TestHub<>::keys(MessageType::can_offload, {1, 4}));
  hub.reachable = true;
  CHECK(hub.can_offload(alice, {1, 2}) == Statuses{granted, leased});
}

TEST_CASE("a query of too many keys is refused, and nothing is done") {
  HubOptions options;
  options.max_keys_per_query = 2;
  TestHub<> hub(options);
  Asker alice = client(1);
  hub.put(alice, {{1, 10, {}}});
  for (const MessageType type : {MessageType::can_offload, MessageType::match, MessageType::remove, MessageType::touch,
                                 MessageType::release, MessageType::withdraw}) {
    CHECK(hub.refusal(alice, TestHub<>::keys(type, {1, 2, 3})) == "limit exceeded: max_keys_per_query allows 2, got 3");
  }
  CHECK(hub.stats().malformed == 0);
  CHECK(hub.stats().stored == 1);
  CHECK(hub.stats().leases.granted == 0);
  CHECK(hub.can_offload(alice, {1, 2}) == Statuses{already_stored, granted});
}

TEST_CASE("an answer that would be too large is refused, however often the query names a key") {
  HubOptions options;
  options.max_answer_bytes = 6 + 3 * 22;
  TestHub<> hub(options);
  Asker alice = client(1);
  hub.put(alice, {{1, 10, {}}});
  const auto ask_for = [](std::size_t times) { return TestHub<>::keys(MessageType::match, Numbers(times, 1)); };
  CHECK(hub.match(alice, Numbers(3, 1)).size() == 3);
  CHECK(hub.refusal(alice, ask_for(4)) == "limit exceeded: max_answer_bytes allows 72, got 94");
  // It is as far as the answer goes.
  CHECK(hub.refusal(alice, ask_for(1000)) == "limit exceeded: max_answer_bytes allows 72, got 94");
  CHECK(hub.match(alice, {2, 1, 2, 2}).size() == 1);
  CHECK(hub.stats().malformed == 0);
}

TEST_CASE("a held key is leased to everyone until its handle is dropped") {
  TestHub<> hub;
  Asker alice = client(1);
  EvictionHandle handle;
  hub.on_gone = [&](const Departure<Number>& departure) { handle = departure.hold(); };
  hub.put(alice, {{1, 10, {}}});
  hub.remove(alice, {1});
  CHECK(hub.can_offload(alice, {1, 2}) == Statuses{leased, granted});
  CHECK(hub.stats().leases.conflicts == 0);
  CHECK(hub.stats().leased == 1);
  CHECK(hub.match(alice, {1}).empty());
  EvictionHandle copy = handle;
  handle.reset();
  CHECK(hub.can_offload(alice, {1}) == Statuses{leased});
  copy.reset();
  CHECK(hub.can_offload(alice, {1}) == Statuses{granted});
}

TEST_CASE("a key that was registered although it is held is stored") {
  TestHub<> hub;
  Asker alice = client(1);
  EvictionHandle handle;
  hub.on_gone = [&](const Departure<Number>& departure) { handle = departure.hold(); };
  hub.put(alice, {{1, 10, {}}});
  hub.put(alice, {{1, 11, {}}});
  CHECK(hub.can_offload(alice, {1}) == Statuses{already_stored});
}

TEST_CASE("hello names the namespace and brings it back") {
  TestHub<> hub;
  Asker alice = client(1);
  using C = BinaryCodec<Number, Number, NoMetadata>;
  Bytes hello;
  C::encode_text(MessageType::hello, "default", hello);
  Bytes expected;
  C::encode_text(MessageType::hello_response, "default", expected);
  CHECK(hub.ask(alice, hello) == expected);
  Asker rust = anonymous("rust1");
  CHECK(hub.ask(rust, hello) == expected);
}

TEST_CASE("hello for another namespace than its envelope's is refused") {
  TestHub<> hub;
  Asker alice = client(1);
  Bytes hello;
  BinaryCodec<Number, Number, NoMetadata>::encode_text(MessageType::hello, "tenant-a", hello);
  // As it looks if somebody between the two drops the envelope.
  Asker rust = anonymous("rust1");
  const std::string text = "not supported by the peer: hello for namespace \"tenant-a\" in an envelope for \"default\"";
  CHECK(hub.refusal(alice, hello) == text);
  CHECK(hub.refusal(rust, hello) == text);
  CHECK(hub.stats().malformed == 0);
}

TEST_CASE("a namespace that the hub does not serve is refused in every query") {
  TestHub<> hub;
  Asker alice = client(1);
  hub.put(alice, {{1, 10, {}}});
  Asker tenant = client(2);
  tenant.name_space = "tenant-a";
  Bytes hello;
  BinaryCodec<Number, Number, NoMetadata>::encode_text(MessageType::hello, "tenant-a", hello);
  const std::string text = "not supported by the peer: namespace \"tenant-a\"; this hub serves \"default\"";
  CHECK(hub.refusal(tenant, hello) == text);
  for (const MessageType type : {MessageType::can_offload, MessageType::match, MessageType::remove, MessageType::touch,
                                 MessageType::release, MessageType::withdraw}) {
    CHECK(hub.refusal(tenant, TestHub<>::keys(type, {1, 2})) == text);
  }
  CHECK(hub.stats().malformed == 0);
  CHECK(hub.stats().leases.granted == 0);
  CHECK(hub.stats().stored == 1);
}

TEST_CASE("a hub can be filled and read by itself") {
  TestHub<> hub;
  std::vector<PlainEntry> evicted;
  hub.core.policy().insert({1, 10, {}}, evicted);
  Asker alice = client(1);
  CHECK(hub.can_offload(alice, {1}) == Statuses{already_stored});
  CHECK(hub.core.options().max_waiting == HubOptions{}.max_waiting);
}
