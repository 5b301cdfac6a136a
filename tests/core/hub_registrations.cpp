// SPDX-License-Identifier: Apache-2.0
// What registrations do to the catalogue and to leases.
#include <chrono>
#include <string>
#include <vector>

#include <registry/eviction/tail.hpp>

#include "core/test_hub.hpp"
#include "support/catch.hpp"

using namespace registry;
using namespace registry::test;
using namespace std::chrono_literals;

TEST_CASE("whoever registers makes the block stored, and ends the lease") {
  TestHub<> hub;
  Asker alice = client(1);
  Asker bob = client(2);
  Asker rust = anonymous("rust1");
  hub.can_offload(alice, {1, 2, 3, 4});
  hub.put(alice, {{1, 10, {}}});
  hub.put(bob, {{2, 20, {}}});
  hub.put(rust, {{3, 30, {}}, {9, 90, {}}});
  CHECK(hub.match(bob, {1, 2, 3, 9}).size() == 4);
  CHECK(hub.stats().entries_registered == 4);
  CHECK(hub.stats().registrations == 3);
  CHECK(hub.stats().leases.converted == 3);
  CHECK(hub.stats().leases.active == 1);
  // Removed, its lease is not back.
  hub.remove(bob, {1});
  CHECK(hub.can_offload(bob, {1}) == Statuses{granted});
}

TEST_CASE("no answer goes to a registration") {
  TestHub<> hub;
  Asker alice = client(1);
  hub.put(alice, {{1, 10, {}}});
  CHECK(hub.replies.empty());
  CHECK(hub.log.empty());
}

TEST_CASE("registering again replaces, and another value is superseded") {
  TestHub<> hub;
  Asker alice = client(1);
  hub.put(alice, {{1, 10, {}}});
  hub.put(alice, {{1, 10, {}}});
  CHECK(hub.gone.empty());
  CHECK(hub.stats().superseded == 0);
  hub.put(alice, {{1, 11, {}}});
  CHECK(hub.gone == std::vector<TestHub<>::Gone>{{{1, 10, {}}, EvictionReason::superseded}});
  CHECK(hub.stats().superseded == 1);
  CHECK(hub.stats().stored == 1);
  CHECK(hub.stats().entries_registered == 3);
  CHECK(hub.match(alice, {1}) == std::vector<PlainEntry>{{1, 11, {}}});
}

TEST_CASE("a key twice in one registration has the last of its values") {
  TestHub<> hub;
  Asker alice = client(1);
  hub.put(alice, {{1, 10, {}}, {1, 11, {}}});
  CHECK(hub.match(alice, {1}) == std::vector<PlainEntry>{{1, 11, {}}});
  CHECK(hub.stats().superseded == 1);
}

TEST_CASE("a hub that insists on the holder refuses everybody else") {
  HubOptions options;
  options.insist_on_holder = true;
  options.lease_ttl = 30s;
  TestHub<> hub(options);
  Asker alice = client(1);
  Asker bob = client(2);
  hub.can_offload(alice, {1, 2, 3});

  SECTION("another client") {
    hub.put(bob, {{1, 10, {}}});
    CHECK(hub.log == std::vector<std::string>{
                         "1 of 1 entries from peer2 were refused: key 0100000000000000 is leased by another holder"});
  }
  SECTION("nobody in particular") {
    Asker rust = anonymous("rust1");
    hub.put(rust, {{1, 10, {}}});
    CHECK(hub.log.size() == 1);
  }
  SECTION("the holder too late") {
    hub.pass(30s);
    hub.put(alice, {{1, 10, {}}});
    CHECK(hub.log.size() == 1);
  }
  SECTION("a key that nobody has leased") {
    hub.put(alice, {{9, 10, {}}});
    CHECK(hub.log.size() == 1);
  }
  CHECK(hub.stats().entries_refused == 1);
  CHECK(hub.stats().entries_registered == 0);
  CHECK(hub.stats().stored == 0);
  CHECK(hub.stats().leases.active == 3);
}

TEST_CASE("a hub that insists on the holder takes its entries, also if some of the others are refused") {
  HubOptions options;
  options.insist_on_holder = true;
  TestHub<> hub(options);
  Asker alice = client(1);
  hub.can_offload(alice, {1, 2});
  hub.put(alice, {{1, 10, {}}, {8, 80, {}}, {2, 20, {}}, {9, 90, {}}});
  CHECK(hub.stats().entries_registered == 2);
  CHECK(hub.stats().entries_refused == 2);
  CHECK(hub.log == std::vector<std::string>{
                       "2 of 4 entries from peer1 were refused: key 0900000000000000 is leased by another holder"});
  CHECK(hub.match(alice, {1, 2}).size() == 2);
  CHECK(hub.stats().leases.converted == 2);
}

TEST_CASE("beyond capacity entries are refused, and their leases stay") {
  TestHub<> hub({}, Plain(PlainStorage{}, 2));
  Asker alice = client(1);
  hub.can_offload(alice, {1, 2, 3});
  hub.put(alice, {{1, 10, {}}, {2, 20, {}}, {3, 30, {}}});
  CHECK(hub.log ==
        std::vector<std::string>{"1 of 3 entries from peer1 were refused: limit exceeded: capacity allows 2, got 3"});
  CHECK(hub.stats().stored == 2);
  CHECK(hub.stats().entries_registered == 2);
  CHECK(hub.stats().entries_refused == 1);
  CHECK(hub.stats().leases.active == 1);
  CHECK(hub.stats().leases.converted == 2);
}

TEST_CASE("what is evicted to make room is handed on") {
  TestHub<TailEviction<PlainStorage>> hub({}, TailEviction(PlainStorage{}, 2));
  Asker alice = client(1);
  hub.put(alice, {{1, 10, {}}, {2, 20, {}}, {3, 30, {}}});
  CHECK(hub.gone == std::vector<TestHub<>::Gone>{{{1, 10, {}}, EvictionReason::evicted}});
  CHECK(hub.stats().evicted == 1);
  CHECK(hub.stats().stored == 2);
  CHECK(hub.can_offload(alice, {1, 2, 3}) == Statuses{granted, already_stored, already_stored});
}

TEST_CASE("registrations of a client are applied in whatever order they come") {
  TestHub<> hub;
  Asker alice = client(1);
  for (const std::uint64_t before : {4U, 3U, 0U, 8U, 6U, 5U}) {
    alice.sequence = before;
    hub.put(alice, {{hub.stats().stored, 10, {}}});
  }
  CHECK(hub.stats().registrations == 6);
  CHECK(hub.stats().entries_registered == 6);
  CHECK(hub.stats().stored == 6);
  CHECK(hub.log.empty());
}

TEST_CASE("after a reconnect the registrations of two connections are read in turns, and all are applied") {
  TestHub<> hub;
  Asker before = client(1);
  Asker after = client(1);
  after.sequence = 20;
  hub.query("peer1", after.envelope(40), TestHub<>::keys(MessageType::remove, {1, 20, 21, 40}));
  for (Number i = 1; i < 20; ++i) {
    hub.put(before, {{i, 1, {}}});
    hub.put(after, {{20 + i, 1, {}}});
  }
  hub.put(after, {{40, 1, {}}});
  // All but 20 have come, and the one that is waited for among them.
  CHECK(hub.stats().entries_registered == 39);
  CHECK(hub.replies.empty());
  hub.put(before, {{20, 1, {}}});
  CHECK(hub.stats().entries_registered == 40);
  REQUIRE(hub.replies.size() == 1);
  CHECK(TestHub<>::read_count(hub.replies[0].message, MessageType::remove_response) == 4);
  CHECK(hub.stats().stored == 36);
}

TEST_CASE("the order of anonymous registrations is as they come") {
  TestHub<> hub;
  Asker rust = anonymous("rust1");
  hub.put(rust, {{1, 10, {}}});
  hub.put(rust, {{1, 10, {}}});
  CHECK(hub.stats().entries_registered == 2);
}

TEST_CASE("the numbers of only so many clients are kept, and the most silent is forgotten") {
  HubOptions options;
  options.max_clients = 2;
  TestHub<> hub(options);
  Asker alice = client(1);
  Asker bob = client(2);
  Asker carol = client(3);
  hub.put(alice, {{1, 10, {}}});
  hub.put(bob, {{2, 20, {}}});
  hub.put(alice, {{3, 10, {}}});
  hub.put(carol, {{4, 10, {}}});
  const auto is_known = [&](Asker& asker) {
    const std::size_t before = hub.replies.size();
    hub.query(asker.sender, asker.envelope(1), TestHub<>::keys(MessageType::remove, {9}));
    return hub.replies.size() == before + 1;
  };
  CHECK(is_known(alice));
  CHECK(is_known(carol));
  CHECK_FALSE(is_known(bob));
}

TEST_CASE("registrations for a namespace that the hub does not serve are dropped, counted and logged") {
  TestHub<> hub;
  Asker tenant = client(1);
  tenant.name_space = "tenant-a";
  hub.put(tenant, {{1, 10, {}}, {2, 20, {}}});
  CHECK(hub.stats().stored == 0);
  CHECK(hub.stats().entries_refused == 2);
  CHECK(hub.stats().entries_registered == 0);
  CHECK(hub.stats().malformed == 0);
  CHECK(hub.log == std::vector<std::string>{
                       "a registration from peer1 was dropped, with 2 entries: not supported by the peer: namespace "
                       "\"tenant-a\"; this hub serves \"default\""});
}

TEST_CASE("registrations of more entries than the hub takes at a time are dropped, counted and logged") {
  HubOptions options;
  options.max_keys_per_query = 2;
  TestHub<> hub(options);
  Asker alice = client(1);
  hub.put(alice, {{1, 10, {}}, {2, 20, {}}});
  hub.put(alice, {{3, 10, {}}, {4, 20, {}}, {5, 20, {}}});
  CHECK(hub.stats().stored == 2);
  CHECK(hub.stats().entries_refused == 3);
  CHECK(hub.log == std::vector<std::string>{
                       "a registration from peer1 was dropped, with 3 entries: limit exceeded: max_keys_per_query "
                       "allows 2, got 3"});
}

TEST_CASE("an empty registration changes nothing") {
  TestHub<> hub;
  Asker alice = client(1);
  hub.put(alice, {});
  CHECK(hub.stats().registrations == 1);
  CHECK(hub.stats().malformed == 0);
  CHECK(hub.stats().entries_registered == 0);
}

TEST_CASE("a storage that extends the library's own is given every entry, new ones and those that replace others") {
  struct Counting : PlainStorage {
    int* inserts;
    explicit Counting(int& count) : inserts(&count) {}
    std::optional<Stored<Number, NoMetadata>> insert(PlainEntry entry) {
      ++*inserts;
      return PlainStorage::insert(std::move(entry));
    }
  };
  int inserts = 0;
  TestHub<NoEviction<Counting>> hub({}, NoEviction(Counting{inserts}));
  Asker alice = client(1);
  hub.put(alice, {{1, 10, {}}, {2, 20, {}}});
  hub.put(alice, {{2, 21, {}}, {3, 30, {}}});
  CHECK(inserts == 4);
}

TEST_CASE("a policy that extends the library's own is given every entry") {
  struct Counting : NoEviction<PlainStorage> {
    int* inserts;
    explicit Counting(int& count) : NoEviction(PlainStorage{}), inserts(&count) {}
    InsertResult<Number, NoMetadata> insert(PlainEntry entry, std::vector<PlainEntry>& evicted) {
      ++*inserts;
      return NoEviction::insert(std::move(entry), evicted);
    }
  };
  int inserts = 0;
  HubCore<Counting> core(Counting{inserts}, HubOptions{});
  Bytes message;
  PlainCodec::begin_entries(MessageType::register_entries, message);
  REQUIRE(!PlainCodec::append_entry({1, 10, {}}, message));
  core.registration("peer1", std::nullopt, message, {}, [](ByteView, Frames, ByteView) { return true; });
  CHECK(inserts == 1);
}

TEST_CASE("what the server itself stores makes no other lease end") {
  TestHub<> hub;
  std::vector<PlainEntry> evicted;
  Asker alice = client(1);
  Asker bob = client(2);
  Asker carol = client(3);
  hub.core.policy().insert({1000, 1, {}}, evicted);
  CHECK(hub.can_offload(alice, {5}) == Statuses{granted});
  hub.core.policy().insert({5, 50, {}}, evicted);
  CHECK(hub.can_offload(alice, {5}) == Statuses{already_stored});
  CHECK(hub.remove(bob, {5}) == 1);
  CHECK(hub.can_offload(bob, {5}) == Statuses{granted});
  hub.core.policy().insert({5, 50, {}}, evicted);
  // What is left of the leases is collected with the others.
  CHECK(hub.stats().leases.active == 2);
  hub.pass(30s);
  hub.tick();
  CHECK(hub.stats().leases.active == 0);
  CHECK(hub.can_offload(bob, {6}) == Statuses{granted});
  hub.put(alice, {{1000, 1, {}}});
  CHECK(hub.can_offload(carol, {6}) == Statuses{leased});
  CHECK(hub.stats().leases.converted == 0);
}

TEST_CASE("of a registration without entries that is refused the hook hears nothing") {
  TestHub<> hub;
  Asker alice = client(1);
  alice.name_space = "elsewhere";
  hub.put(alice, {});
  CHECK(hub.log.size() == 1);
  CHECK(hub.refused.empty());
  hub.put(alice, {{1, 10, {}}});
  CHECK(hub.refused.size() == 1);
}
