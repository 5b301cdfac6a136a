// SPDX-License-Identifier: Apache-2.0
#include <registry/core/lease_manager.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>

#include <registry/metadata.hpp>

#include "core/times.hpp"
#include "support/allocation_counter.hpp"
#include "support/catch.hpp"

using namespace registry;
using namespace registry::test;
using namespace std::chrono_literals;

namespace {

/// A table with the order of its leases, asked by key.
class Leases {
 public:
  using Key = std::uint64_t;

  Leases(std::chrono::nanoseconds ttl, std::size_t max_leases, std::size_t max_per_client = 1'000'000)
      : leases_(table_, ttl, max_leases, max_per_client) {}

  LeaseAnswer acquire(Key key, const Holder& holder, std::uint64_t request, SteadyTime now) {
    leases_.ask_for(holder, holder.id, request, now);
    return leases_.acquire(find(key), key, table_.hash(key));
  }
  bool renew(Key key, const Holder& holder, std::uint64_t request, SteadyTime now) {
    leases_.ask_for(holder, holder.id, request, now);
    return leases_.renew(find(key).number);
  }
  bool release(Key key, const Holder& holder, SteadyTime now) {
    return leases_.release(key, table_.hash(key), holder, now);
  }
  bool withdraw(Key key, const Holder& holder, std::uint64_t request, SteadyTime now) {
    return leases_.withdraw(key, table_.hash(key), holder, request, now);
  }
  /// As a registration does: the entry comes first.
  void convert(Key key, SteadyTime now) {
    table_.store(key, table_.hash(key), {}, find(key));
    leases_.convert(table_.superseded(key), table_.hash(key), now);
  }
  const Holder* holder(Key key, SteadyTime now) const {
    const auto found = find(key);
    return found.kind == Table::Kind::leased ? leases_.holder(found.number, now) : nullptr;
  }
  std::size_t expire(SteadyTime now, std::size_t most) { return leases_.expire(now, most); }
  std::optional<SteadyTime> next_deadline() const { return leases_.next_deadline(); }
  std::size_t max_leases() const { return leases_.max_leases(); }
  LeaseStats stats() const { return leases_.stats(); }
  bool stores(Key key) const { return find(key).kind == Table::Kind::stored; }

 private:
  using Table = detail::BlockTable<Key, NoMetadata, detail::Lease>;

  Table::Found find(Key key) const { return table_.find(key, table_.hash(key)); }

  Table table_;
  LeaseManager<Table> leases_;
};

const Holder one_holder = Holder::client({1, 1});
const Holder other_holder = Holder::client({1, 2});

bool same(const LeaseStats& a, const LeaseStats& b) {
  return a.active == b.active && a.granted == b.granted && a.renewed == b.renewed && a.expired == b.expired &&
         a.released == b.released && a.converted == b.converted && a.conflicts == b.conflicts;
}

}  // namespace

TEST_CASE("a lease excludes everybody else until its deadline, and not a moment longer") {
  Leases leases(30s, 10);
  CHECK(leases.acquire(5, one_holder, 1, start) == LeaseAnswer::granted);
  CHECK(leases.next_deadline() == start + 30s);
  REQUIRE(leases.holder(5, start) != nullptr);
  CHECK(*leases.holder(5, start) == one_holder);

  const SteadyTime last = start + 30s - 1ns;
  CHECK(leases.acquire(5, other_holder, 1, last) == LeaseAnswer::leased);
  CHECK(leases.holder(5, last) != nullptr);

  CHECK(leases.holder(5, start + 30s) == nullptr);
  CHECK(leases.acquire(5, other_holder, 2, start + 30s) == LeaseAnswer::granted);
  CHECK(*leases.holder(5, start + 30s) == other_holder);
  CHECK(leases.next_deadline() == start + 60s);
  CHECK(same(leases.stats(), {1, 2, 0, 1, 0, 0, 1}));
}

TEST_CASE("the holder that asks again has the lease for longer") {
  Leases leases(30s, 10);
  leases.acquire(5, one_holder, 1, start);
  CHECK(leases.acquire(5, one_holder, 2, start + 10s) == LeaseAnswer::granted);
  CHECK(leases.next_deadline() == start + 40s);
  CHECK(leases.acquire(5, other_holder, 1, start + 39s) == LeaseAnswer::leased);
  CHECK(same(leases.stats(), {1, 1, 1, 0, 0, 0, 1}));
}

TEST_CASE("within one request a key is granted once, whether new or renewed") {
  Leases leases(30s, 10);
  CHECK(leases.acquire(5, one_holder, 1, start) == LeaseAnswer::granted);
  CHECK(leases.acquire(5, one_holder, 1, start) == LeaseAnswer::leased);
  CHECK(leases.acquire(5, one_holder, 2, start) == LeaseAnswer::granted);
  CHECK(leases.acquire(5, one_holder, 2, start) == LeaseAnswer::leased);
  CHECK(leases.stats().conflicts == 2);
}

TEST_CASE("a lease that is over but not collected belongs to whoever asks next, as a new one") {
  Leases leases(30s, 10);
  leases.acquire(5, one_holder, 1, start);
  leases.acquire(5, one_holder, 2, start);
  CHECK(leases.acquire(5, one_holder, 3, start + 30s) == LeaseAnswer::granted);
  CHECK(same(leases.stats(), {1, 2, 1, 1, 0, 0, 0}));
  // New: request 3 alone was granted it, so it can be taken back.
  CHECK(leases.withdraw(5, one_holder, 3, start + 31s));
}

TEST_CASE("only the holder releases, and only until the deadline") {
  Leases leases(30s, 10);
  leases.acquire(5, one_holder, 1, start);
  CHECK_FALSE(leases.release(6, one_holder, start));
  CHECK_FALSE(leases.release(5, other_holder, start));
  CHECK_FALSE(leases.release(5, one_holder, start + 30s));
  CHECK(leases.stats().active == 1);
  CHECK(leases.release(5, one_holder, start + 30s - 1ns));
  CHECK_FALSE(leases.release(5, one_holder, start));
  CHECK(same(leases.stats(), {0, 1, 0, 0, 1, 0, 0}));
  CHECK(leases.next_deadline() == std::nullopt);
}

TEST_CASE("a withdrawal takes back only what its request alone was granted") {
  Leases leases(30s, 10);
  leases.acquire(5, one_holder, 1, start);
  CHECK_FALSE(leases.withdraw(5, other_holder, 1, start));
  CHECK_FALSE(leases.withdraw(5, one_holder, 2, start));
  CHECK_FALSE(leases.withdraw(5, one_holder, 1, start + 30s));
  CHECK_FALSE(leases.withdraw(6, one_holder, 1, start));

  SECTION("the request that was granted it") { CHECK(leases.withdraw(5, one_holder, 1, start)); }
  SECTION("not if the holder was granted it again since") {
    leases.acquire(5, one_holder, 2, start);
    CHECK_FALSE(leases.withdraw(5, one_holder, 1, start));
    CHECK_FALSE(leases.withdraw(5, one_holder, 2, start));
    CHECK(leases.release(5, one_holder, start));
  }
}

TEST_CASE("what was renewed was still granted by its request, which may not take it back any more") {
  Leases leases(30s, 10);
  leases.acquire(5, one_holder, 1, start);
  CHECK(leases.renew(5, one_holder, 2, start + 1s));
  CHECK(leases.acquire(5, one_holder, 1, start + 2s) == LeaseAnswer::leased);
  CHECK_FALSE(leases.withdraw(5, one_holder, 1, start + 2s));
  CHECK(leases.acquire(5, one_holder, 2, start + 2s) == LeaseAnswer::granted);
  CHECK_FALSE(leases.renew(5, other_holder, 1, start + 2s));
}

TEST_CASE("holders that look alike at first sight are still told apart") {
  // The marks that are made of their identities are the same.
  const Holder one = Holder::client({1, 0});
  const Holder other = Holder::client({0x9e37'79b9'7f4a'7c14, 1});
  Leases leases(30s, 10);
  CHECK(leases.acquire(5, one, 1, start) == LeaseAnswer::granted);
  CHECK(leases.acquire(5, other, 2, start + 1s) == LeaseAnswer::leased);
  CHECK_FALSE(leases.renew(5, other, 3, start + 1s));
  CHECK(leases.renew(5, one, 3, start + 1s));
}

TEST_CASE("a registration ends the lease, whoever held it") {
  Leases leases(30s, 10);
  leases.acquire(5, one_holder, 1, start);
  leases.acquire(6, one_holder, 1, start);
  leases.convert(5, start + 29s);
  CHECK(same(leases.stats(), {1, 2, 0, 0, 0, 1, 0}));
  CHECK(leases.stores(5));
  // What was over was not ended by the registration.
  leases.convert(6, start + 30s);
  CHECK(same(leases.stats(), {0, 2, 0, 1, 0, 1, 0}));
  CHECK(leases.stores(6));
  CHECK(leases.expire(start + 60s, 10) == 0);
}

TEST_CASE("leases are collected in the order of their deadlines, no more than asked for, and none too early") {
  Leases leases(30s, 10);
  for (std::uint64_t key = 1; key <= 4; ++key) leases.acquire(key, one_holder, 1, start + std::chrono::seconds{key});
  leases.acquire(1, one_holder, 2, start + 5s);  // renewed: last now
  CHECK(leases.next_deadline() == start + 32s);
  CHECK(leases.expire(start + 32s - 1ns, 10) == 0);
  CHECK(leases.expire(start + 33s, 0) == 0);
  CHECK(leases.expire(start + 34s, 2) == 2);
  CHECK(leases.holder(2, start) == nullptr);
  CHECK(leases.holder(3, start) == nullptr);
  CHECK(leases.holder(4, start) != nullptr);
  CHECK(leases.expire(start + 34s, 10) == 1);
  CHECK(leases.expire(start + 34s, 10) == 0);
  CHECK(leases.next_deadline() == start + 35s);
  CHECK(leases.expire(start + 35s, 10) == 1);
  CHECK(leases.next_deadline() == std::nullopt);
  CHECK(same(leases.stats(), {0, 4, 1, 4, 0, 0, 0}));
}

TEST_CASE("what one request was granted does not stay together") {
  Leases leases(30s, 100);
  for (std::uint64_t key = 1; key <= 5; ++key) leases.acquire(key, one_holder, 1, start);
  leases.acquire(2, one_holder, 2, start + 10s);
  leases.release(3, one_holder, start + 10s);
  leases.convert(4, start + 10s);
  CHECK(leases.renew(5, one_holder, 3, start + 20s));
  CHECK(leases.next_deadline() == start + 30s);
  CHECK(leases.expire(start + 30s, 10) == 1);
  CHECK(leases.holder(1, start) == nullptr);
  CHECK(leases.next_deadline() == start + 40s);
  CHECK(leases.expire(start + 40s, 10) == 1);
  CHECK(leases.next_deadline() == start + 50s);
  CHECK(leases.expire(start + 50s, 10) == 1);
  CHECK(leases.next_deadline() == std::nullopt);
  CHECK(leases.stats().active == 0);
}

TEST_CASE("leases are collected across what many requests were granted, and part of it") {
  Leases leases(30s, 1'000);
  for (std::uint64_t key = 0; key < 300; ++key) leases.acquire(key, one_holder, key / 50, start + (key / 50) * 1s);
  CHECK(leases.expire(start + 34s, 20) == 20);
  CHECK(leases.expire(start + 34s, 100) == 100);
  CHECK(leases.expire(start + 34s, 1'000) == 130);
  CHECK(leases.next_deadline() == start + 35s);
  for (std::uint64_t key = 0; key < 300; ++key) CHECK((leases.holder(key, start) == nullptr) == (key < 250));
  CHECK(leases.expire(start + 35s, 1'000) == 50);
  CHECK(leases.next_deadline() == std::nullopt);
}

TEST_CASE("a lease that is over stays its holder's when there is no memory to pass it on") {
  Leases leases(30s, 1'000, 1);
  leases.acquire(5, one_holder, 1, start);
  leases.acquire(6, other_holder, 1, start + 1s);
  leases.release(6, other_holder, start + 1s);
  bool failed = true;
  for (std::size_t left = 0; failed; ++left) {
    failed = fails_with_allocations(left, [&] { leases.acquire(5, other_holder, 2, start + 30s); });
    if (failed) CHECK(leases.next_deadline() == start + 30s);
  }
  CHECK(leases.next_deadline() == start + 60s);
  CHECK(leases.stats().granted == 3);
  CHECK(leases.stats().expired == 1);
  CHECK(leases.acquire(7, other_holder, 3, start + 31s) == LeaseAnswer::client_full);
  CHECK(leases.acquire(7, one_holder, 3, start + 31s) == LeaseAnswer::granted);
}

TEST_CASE("a request may renew what it has just been granted, among other things") {
  using Table = detail::BlockTable<std::uint64_t, NoMetadata, detail::Lease>;
  Table table;
  LeaseManager<Table> leases(table, 30s, 100, 100);
  const auto acquire = [&](std::uint64_t key) {
    return leases.acquire(table.find(key, table.hash(key)), key, table.hash(key)) == LeaseAnswer::granted;
  };
  const auto renew = [&](std::uint64_t key) { return leases.renew(table.find(key, table.hash(key)).number); };
  leases.ask_for(one_holder, one_holder.id, 1, start);
  CHECK(acquire(1));
  leases.ask_for(one_holder, one_holder.id, 2, start + 10s);
  CHECK(acquire(2));
  CHECK(renew(1));
  CHECK(renew(2));
  CHECK(acquire(3));
  CHECK(renew(3));
  CHECK(leases.stats().active == 3);
  CHECK(leases.expire(start + 40s - 1ns, 10) == 0);
  CHECK(leases.expire(start + 40s, 10) == 3);
  CHECK(leases.next_deadline() == std::nullopt);
}

TEST_CASE("beyond the limit there is no new lease, but for the room of one that is over") {
  Leases leases(30s, 2);
  CHECK(leases.max_leases() == 2);
  leases.acquire(1, one_holder, 1, start);
  leases.acquire(2, one_holder, 1, start + 1s);
  CHECK(leases.acquire(3, one_holder, 1, start + 2s) == LeaseAnswer::full);
  CHECK(same(leases.stats(), {2, 2, 0, 0, 0, 0, 0}));
  // Those that exist can be renewed and asked for.
  CHECK(leases.acquire(2, one_holder, 2, start + 2s) == LeaseAnswer::granted);
  CHECK(leases.acquire(2, other_holder, 1, start + 2s) == LeaseAnswer::leased);

  CHECK(leases.acquire(3, other_holder, 2, start + 30s) == LeaseAnswer::granted);
  CHECK(leases.acquire(4, other_holder, 2, start + 30s) == LeaseAnswer::full);
  CHECK(leases.holder(1, start) == nullptr);
  CHECK(leases.stats().active == 2);
}

TEST_CASE("a lease of nobody is nobody's") {
  const Leases leases(30s, 2);
  CHECK(leases.holder(1, start) == nullptr);
  CHECK(leases.next_deadline() == std::nullopt);
}

TEST_CASE("more leases than the slab can count are never allowed") {
  CHECK(Leases(1s, ~std::size_t{0}).max_leases() == 0x7ffffffe);
  CHECK(Leases(1s, 0xffffffff).max_leases() == 0x7ffffffe);
  CHECK(Leases(1s, 0x7ffffffe).max_leases() == 0x7ffffffe);
}

TEST_CASE("a lease for which there is no memory leaves nothing behind") {
  Leases leases(30s, 1000);
  bool failed = true;
  for (std::size_t left = 0; failed; ++left) {
    failed = fails_with_allocations(left, [&] { leases.acquire(5, one_holder, 1, start); });
    if (failed) CHECK(leases.next_deadline() == std::nullopt);
  }
  CHECK(leases.stats().active == 1);
  CHECK(leases.expire(start + 30s, 10) == 1);
}

TEST_CASE("a renewal for which there is no memory changes nothing") {
  Leases leases(30s, 1000);
  leases.acquire(5, one_holder, 1, start);
  SECTION("by its name") {
    CHECK(fails_with_allocations(0, [&] { leases.renew(5, one_holder, 2, start + 10s); }));
  }
  SECTION("because its holder asks for it again") {
    CHECK(fails_with_allocations(0, [&] { leases.acquire(5, one_holder, 2, start + 10s); }));
  }
  CHECK(leases.next_deadline() == start + 30s);
  CHECK(leases.stats().renewed == 0);
  CHECK(leases.stats().granted == 1);
  CHECK(leases.withdraw(5, one_holder, 1, start + 10s));
}

TEST_CASE("leases that come and go allocate nothing once there was room for as many") {
  Leases leases(30s, 10'000);
  const auto cycle = [&](std::uint64_t keys, std::uint64_t request) {
    for (std::uint64_t key = 0; key < keys; ++key) leases.acquire(key, one_holder, request, start);
    for (std::uint64_t key = 0; key < keys; ++key) leases.release(key, one_holder, start);
  };
  // The table rebuilds itself now and then if it is nearly full; far below that it does not.
  cycle(5'000, 1);
  CHECK(allocated_by([&] { cycle(500, 2); }) == 0);
  CHECK(leases.stats().released == 5'500);
}

TEST_CASE("no client holds more leases than its share, however they end") {
  Leases leases(30s, 100, 2);
  CHECK(leases.acquire(1, one_holder, 1, start) == LeaseAnswer::granted);
  CHECK(leases.acquire(2, one_holder, 1, start) == LeaseAnswer::granted);
  CHECK(leases.acquire(3, one_holder, 1, start) == LeaseAnswer::client_full);
  // Others have theirs, and what it has it may have again.
  CHECK(leases.acquire(3, other_holder, 1, start) == LeaseAnswer::granted);
  CHECK(leases.acquire(1, one_holder, 2, start) == LeaseAnswer::granted);
  CHECK(leases.release(1, one_holder, start));
  CHECK(leases.acquire(4, one_holder, 3, start) == LeaseAnswer::granted);
  CHECK(leases.acquire(5, one_holder, 3, start) == LeaseAnswer::client_full);
  leases.convert(4, start);
  CHECK(leases.acquire(5, one_holder, 4, start) == LeaseAnswer::granted);
  CHECK(leases.withdraw(5, one_holder, 4, start));
  CHECK(leases.acquire(6, one_holder, 5, start + 1s) == LeaseAnswer::granted);
  // 2 is over: that is collected before anybody is refused.
  CHECK(leases.acquire(7, one_holder, 6, start + 30s) == LeaseAnswer::granted);
  CHECK(leases.acquire(2, other_holder, 7, start + 30s) == LeaseAnswer::granted);
  CHECK(leases.acquire(7, one_holder, 8, start + 30s) == LeaseAnswer::granted);
  CHECK(leases.expire(start + 31s, 100) == 1);
  CHECK(leases.acquire(8, one_holder, 9, start + 31s) == LeaseAnswer::granted);
  CHECK(leases.acquire(9, one_holder, 9, start + 31s) == LeaseAnswer::client_full);
}

TEST_CASE("a lease that is over passes to another only within his share") {
  Leases leases(30s, 100, 1);
  CHECK(leases.acquire(1, one_holder, 1, start) == LeaseAnswer::granted);
  CHECK(leases.acquire(2, other_holder, 1, start + 1s) == LeaseAnswer::granted);
  CHECK(leases.acquire(1, other_holder, 2, start + 30s) == LeaseAnswer::client_full);
  // To itself it does.
  CHECK(leases.acquire(1, one_holder, 2, start + 30s) == LeaseAnswer::granted);
  CHECK(leases.acquire(3, one_holder, 3, start + 30s) == LeaseAnswer::client_full);
}

TEST_CASE("a lease that is over passes to another whose own share is over as well") {
  Leases leases(30s, 100, 1);
  CHECK(leases.acquire(1, one_holder, 1, start) == LeaseAnswer::granted);
  CHECK(leases.acquire(2, other_holder, 1, start) == LeaseAnswer::granted);
  CHECK(leases.acquire(1, other_holder, 2, start + 30s) == LeaseAnswer::granted);
  CHECK(same(leases.stats(), {1, 3, 0, 2, 0, 0, 0}));
}
