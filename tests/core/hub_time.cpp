// SPDX-License-Identifier: Apache-2.0
// What time does to leases and entries, and when the hub wants to be woken.
#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "core/test_hub.hpp"
#include "support/catch.hpp"

using namespace registry;
using namespace registry::test;
using namespace std::chrono_literals;

namespace {

HubOptions leases_of(std::chrono::nanoseconds ttl, std::chrono::nanoseconds cleanup = 1s) {
  HubOptions options;
  options.lease_ttl = ttl;
  options.lease_cleanup_interval = cleanup;
  return options;
}

}  // namespace

TEST_CASE("leases that are over are collected at the cleanup interval") {
  TestHub<> hub(leases_of(500ms, 1s));
  Asker alice = client(1);
  hub.tick();
  hub.can_offload(alice, {1, 2});
  hub.pass(1s - 1ns);
  hub.tick();
  CHECK(hub.stats().leases.active == 2);
  hub.pass(1ns);
  hub.tick();
  CHECK(hub.stats().leases.active == 0);
  CHECK(hub.stats().leases.expired == 2);
}

TEST_CASE("leases are collected in slices of 256, one behind the other") {
  TestHub<> hub(leases_of(1s, 1s));
  Asker alice = client(1);
  hub.tick();
  Numbers keys;
  for (Number key = 0; key < 600; ++key) keys.push_back(key);
  hub.can_offload(alice, keys);
  hub.pass(1s);
  for (const std::uint64_t left : {344U, 88U, 0U}) {
    hub.tick();
    CHECK(hub.stats().leases.active == left);
    if (left > 0) CHECK(hub.core.next_deadline() == hub.now.lease);
  }
  hub.can_offload(alice, {1});
  CHECK(hub.core.next_deadline() == hub.now.lease + 1s);
}

TEST_CASE("a slice that is just filled means that there may be more") {
  TestHub<> hub(leases_of(1s, 1s));
  Asker alice = client(1);
  Numbers keys;
  for (Number key = 0; key < 256; ++key) keys.push_back(key);
  hub.can_offload(alice, keys);
  hub.pass(1s);
  hub.tick();
  CHECK(hub.stats().leases.active == 0);
  hub.can_offload(alice, {1});
  CHECK(hub.core.next_deadline() == hub.now.lease);
  hub.tick();
  CHECK(hub.core.next_deadline() == hub.now.lease + 1s);
}

TEST_CASE("entries that are over are collected at the cleanup interval, in slices") {
  TestHub<Timed> hub(leases_of(30s, 1s));
  Asker alice = client(1);
  hub.tick();
  std::vector<TimedEntry> entries;
  for (Number key = 0; key < 300; ++key) entries.push_back(timed(key, 1));
  entries.push_back(timed(1000, 60));
  entries.push_back(timed(1001, std::nullopt));
  hub.put(alice, entries);
  hub.pass(1s - 1us);
  hub.tick();
  CHECK(hub.stats().stored == 302);
  hub.pass(1us);
  hub.tick();
  CHECK(hub.stats().stored == 46);
  CHECK(hub.core.next_deadline() == hub.now.lease);
  hub.tick();
  CHECK(hub.stats().stored == 2);
  CHECK(hub.stats().expired == 300);
  CHECK(hub.gone.size() == 300);
  CHECK(hub.gone.front() == TestHub<Timed>::Gone{timed(0, 1), EvictionReason::expired});
  CHECK(hub.core.next_deadline() == hub.now.lease + 1s);
}

TEST_CASE("an entry whose time is over is as good as absent to every query, before it is collected") {
  TestHub<Timed> hub(leases_of(30s, 1h));
  Asker alice = client(1);
  hub.put(alice, {timed(1, 5), timed(2, 9)});
  hub.pass(5s - 1us);
  CHECK(hub.can_offload(alice, {1}) == Statuses{already_stored});
  CHECK(hub.match(alice, {1, 2}).size() == 2);
  hub.pass(1us);
  SECTION("can_offload") { CHECK(hub.can_offload(alice, {1, 2, 1}) == Statuses{granted, already_stored, leased}); }
  SECTION("match") { CHECK(hub.match(alice, {1, 2, 1}) == std::vector<TimedEntry>{timed(2, 9)}); }
  SECTION("remove") { CHECK(hub.remove(alice, {1}) == 0); }
  SECTION("touch") { CHECK(hub.touch(alice, {1, 2}) == 1); }
  SECTION("register") {
    hub.put(alice, {timed(1, 60)});
    CHECK(hub.stats().superseded == 0);
    CHECK(hub.match(alice, {1}).size() == 1);
  }
  CHECK(hub.gone == std::vector<TestHub<Timed>::Gone>{{timed(1, 5), EvictionReason::expired}});
  CHECK(hub.stats().expired == 1);
}

TEST_CASE("a key that equals what an empty record holds is absent when its time is over") {
  TestHub<Timed> hub;
  Asker alice = client(1);
  hub.put(alice, {timed(0, 10), timed(1, 10)});
  hub.pass(10s);
  CHECK(hub.can_offload(alice, {0, 1, 0}) == Statuses{granted, granted, leased});
}

TEST_CASE("entries end by the wall clock and leases by the lease clock") {
  TestHub<Timed> hub(leases_of(30s));
  Asker alice = client(1);
  Asker bob = client(2);
  hub.put(alice, {timed(1, 5)});
  hub.can_offload(alice, {2});
  hub.now.wall += 1h;
  CHECK(hub.can_offload(bob, {1, 2}) == Statuses{granted, leased});
  hub.now.lease += 1h;
  hub.now.wall -= 2h;
  CHECK(hub.can_offload(alice, {1, 2}) == Statuses{granted, granted});
}

TEST_CASE("a hub that waits for nothing has no deadline") {
  TestHub<Timed> hub(leases_of(30s));
  Asker alice = client(1);
  CHECK(hub.core.next_deadline() == std::nullopt);
  hub.tick();
  CHECK(hub.core.next_deadline() == std::nullopt);
  hub.put(alice, {timed(1, std::nullopt)});
  CHECK(hub.core.next_deadline() == std::nullopt);
  hub.match(alice, {1});
  CHECK(hub.core.next_deadline() == std::nullopt);
}

TEST_CASE("leases, and entries with a ttl, want a cleanup: at once if there was none yet") {
  TestHub<Timed> hub(leases_of(30s, 2s));
  Asker alice = client(1);
  SECTION("a lease") {
    hub.can_offload(alice, {1});
    CHECK(hub.core.next_deadline() <= hub.now.lease);
    hub.tick();
    CHECK(hub.core.next_deadline() == hub.now.lease + 2s);
    hub.release(alice, {1});
  }
  SECTION("an entry with a ttl") {
    hub.put(alice, {timed(1, 5)});
    CHECK(hub.core.next_deadline() <= hub.now.lease);
    hub.tick();
    CHECK(hub.core.next_deadline() == hub.now.lease + 2s);
    hub.remove(alice, {1});
  }
  CHECK(hub.core.next_deadline() == std::nullopt);
}

TEST_CASE("a query that waits wants to be refused at its time, if that is sooner than the cleanup") {
  for (const auto cleanup : {500ms, 5000ms}) {
    HubOptions options = leases_of(30s, cleanup);
    options.registration_wait = 1s;
    TestHub<> hub(options);
    Asker alice = client(1);
    hub.can_offload(alice, {1});
    hub.tick();
    hub.query(alice.sender, alice.envelope(1), TestHub<>::keys(MessageType::remove, {1}));
    CHECK(hub.replies.size() == 1);
    CHECK(hub.core.next_deadline() == hub.now.lease + std::min<std::chrono::nanoseconds>(cleanup, 1s));
  }
}
