// SPDX-License-Identifier: Apache-2.0
// Registrations that are answered, repeated and applied once; removals that depend on the value.
#include <chrono>
#include <cstdint>
#include <optional>
#include <vector>

#include <registry/trailer.hpp>

#include "core/test_hub.hpp"
#include "support/catch.hpp"

using namespace registry;
using namespace registry::test;
using namespace std::chrono_literals;

namespace {

constexpr auto storage_error = RegisterStatus::storage_error;
constexpr auto superseded = RegisterStatus::superseded;

struct How {
  std::optional<std::uint64_t> sequence = std::nullopt;
  std::optional<std::uint64_t> resent = std::nullopt;
  std::optional<std::uint64_t> claim = std::nullopt;
  std::optional<std::uint64_t> after = std::nullopt;
};

template <class Hub>
void send(Hub& hub, Asker& asker, const std::vector<PlainEntry>& entries, How how) {
  std::vector<Bytes> frames(1);
  Envelope{++asker.request, *asker.id, how.after, asker.name_space, how.claim, how.sequence, how.resent}.encode(
      frames[0]);
  hub.query(asker.sender, frames, TestHub<>::registration(entries));
}

RegisterStatuses outcomes(const Bytes& answer) {
  MessageType type{};
  RegisterStatuses all;
  if (PlainCodec::decode_type(answer, type) || type != MessageType::register_response ||
      PlainCodec::decode_statuses(answer, all)) {
    throw std::runtime_error{"no answer to a registration: " + std::string{as_text(answer)}};
  }
  return all;
}

template <class Hub>
RegisterStatuses put(Hub& hub, Asker& asker, const std::vector<PlainEntry>& entries, How how) {
  const std::size_t before = hub.replies.size();
  send(hub, asker, entries, how);
  return outcomes(hub.replies.at(before).message);
}

struct Synced {
  std::uint64_t applied = 0;
  std::uint64_t incarnation = 0;
  std::uint64_t flags = 0;
  std::uint64_t first_refusal = 0;
};

template <class Hub>
Synced sync(Hub& hub, Asker& asker, std::uint64_t first) {
  Bytes message;
  PlainCodec::encode_count(MessageType::sync, first, message);
  const Bytes answer = hub.ask(asker, message);
  const auto parts = split_trailer<3>(answer);
  Synced synced;
  if (!parts || PlainCodec::decode_count(parts->first, synced.applied)) throw std::runtime_error{"no answer to a sync"};
  synced.incarnation = parts->second[0];
  synced.flags = parts->second[1];
  synced.first_refusal = parts->second[2];
  return synced;
}

HubOptions insisting() {
  HubOptions options;
  options.insist_on_holder = true;
  return options;
}

}  // namespace

TEST_CASE("a registration that asks for it is answered for each entry") {
  TestHub<> hub({}, Plain(PlainStorage{}, 2));
  Asker alice = client(1);
  CHECK(put(hub, alice, {{1, 10, {}}, {2, 20, {}}, {3, 30, {}}, {1, 11, {}}}, {.sequence = 1}) ==
        RegisterStatuses{stored, stored, limit_exceeded, stored});
  CHECK(hub.match(alice, {1, 2, 3}) == std::vector<PlainEntry>{{1, 11, {}}, {2, 20, {}}});
  CHECK(put(hub, alice, {}, {.sequence = 2}).empty());
  CHECK(hub.stats().entries_registered == 3);
  CHECK(hub.stats().entries_refused == 1);
}

TEST_CASE("also one without a number is answered, and without an envelope") {
  TestHub<> hub;
  Asker alice = client(1);
  CHECK(put(hub, alice, {{1, 10, {}}}, {}) == RegisterStatuses{stored});
  Asker rust = anonymous("rust1");
  CHECK(outcomes(hub.ask(rust, TestHub<>::registration({{2, 20, {}}}))) == RegisterStatuses{stored});
  CHECK(hub.stats().stored == 2);
}

TEST_CASE("a repeat is answered as at first, and changes nothing that came later") {
  TestHub<> hub({}, Plain(PlainStorage{}, 1));
  Asker alice = client(1);
  Asker bob = client(2);
  const std::vector<PlainEntry> entries{{1, 10, {}}, {2, 20, {}}};
  CHECK(put(hub, alice, entries, {.sequence = 1}) == RegisterStatuses{stored, limit_exceeded});
  SECTION("a registration of another") {
    hub.put(bob, {{1, 11, {}}});
    CHECK(put(hub, alice, entries, {.sequence = 1, .resent = 1}) == RegisterStatuses{stored, limit_exceeded});
    CHECK(hub.match(alice, {1}) == std::vector<PlainEntry>{{1, 11, {}}});
  }
  SECTION("a removal") {
    hub.remove(bob, {1});
    CHECK(put(hub, alice, entries, {.sequence = 1, .resent = 1}) == RegisterStatuses{stored, limit_exceeded});
    CHECK(hub.match(alice, {1, 2}).empty());
  }
  SECTION("over the other socket") {
    hub.put(alice, {{1, 12, {}}});  // under number 1
    CHECK(hub.match(alice, {1}) == std::vector<PlainEntry>{{1, 10, {}}});
  }
  CHECK(hub.stats().repeated == 1);
}

TEST_CASE("a resend that had not come stores absent keys only, and says where another value stands") {
  TestHub<> hub;
  Asker alice = client(1);
  Asker bob = client(2);
  hub.put(bob, {{1, 11, {}}, {3, 30, {}}});
  CHECK(put(hub, alice, {{1, 10, {}}, {2, 20, {}}, {3, 30, {}}}, {.sequence = 5, .resent = 7}) ==
        RegisterStatuses{superseded, stored, stored});
  CHECK(hub.match(alice, {1, 2}) == std::vector<PlainEntry>{{1, 11, {}}, {2, 20, {}}});
  CHECK(hub.stats().entries_refused == 1);
  // Again it is a repeat, ...
  hub.remove(bob, {2});
  CHECK(put(hub, alice, {{1, 10, {}}, {2, 20, {}}, {3, 30, {}}}, {.sequence = 5, .resent = 7}) ==
        RegisterStatuses{superseded, stored, stored});
  CHECK(hub.match(alice, {2}).empty());
  // ... what was sent after it may have been applied as well, ...
  CHECK(put(hub, alice, {{1, 12, {}}}, {.sequence = 6, .resent = 7}) == RegisterStatuses{superseded});
  CHECK(hub.match(alice, {1}) == std::vector<PlainEntry>{{1, 11, {}}});
  // ... and what comes for the first time certainly not.
  put(hub, alice, {{1, 13, {}}}, {.sequence = 8});
  CHECK(hub.match(alice, {1}) == std::vector<PlainEntry>{{1, 13, {}}});
}

TEST_CASE("a resend stores absent keys only, also behind what came first: the hub before may have applied it") {
  TestHub<> hub;
  Asker alice = client(1);
  Asker bob = client(2);
  alice.sequence = 3;
  hub.put(alice, {{9, 90, {}}});  // from before the restart, and only now here
  hub.put(bob, {{1, 777, {}}});
  put(hub, alice, {{1, 10, {}}, {2, 20, {}}}, {.sequence = 5, .resent = 5});
  CHECK(hub.match(alice, {1, 2}) == std::vector<PlainEntry>{{1, 777, {}}, {2, 20, {}}});
}

TEST_CASE("an entry whose time is over is absent to a resend") {
  TestHub<Timed> hub;
  Asker alice = client(1);
  const TimedEntry dead{1, 10, {1'700'000'000, 1}};
  const TimedEntry fresh{1, 11, {1'700'000'100, 60}};
  hub.put(alice, {dead});
  hub.pass(5s);
  std::vector<Bytes> frames(1);
  Envelope{++alice.request, *alice.id, {}, "default", {}, 7, 7}.encode(frames[0]);
  hub.query(alice.sender, frames, TestHub<Timed>::registration({fresh}));
  CHECK(outcomes(hub.replies.back().message) == RegisterStatuses{stored});
  CHECK(hub.match(alice, {1}).size() == 1);
}

TEST_CASE("a refusal that is forgotten is no confirmation") {
  TestHub<> hub({}, Plain(PlainStorage{}, 1));
  Asker alice = client(1);
  put(hub, alice, {{1, 10, {}}}, {.sequence = 1});
  for (std::uint64_t n = 2; n <= SequenceTracker::max_refusals + 2; ++n) {
    REQUIRE(put(hub, alice, {{n, 10, {}}, {1, 10, {}}}, {.sequence = n}) == RegisterStatuses{limit_exceeded, stored});
  }
  CHECK(put(hub, alice, {{2, 10, {}}, {1, 10, {}}}, {.sequence = 2, .resent = 99}) ==
        RegisterStatuses{storage_error, stored});
}

TEST_CASE("on a hub that insists only the holder's registration counts: the client's or the claim's") {
  TestHub<> hub(insisting());
  Asker alice = client(1);
  Asker bob = client(2);
  hub.can_offload(alice, {1, 2});
  CHECK(put(hub, bob, {{1, 10, {}}}, {.sequence = 1}) == RegisterStatuses{lease_conflict});
  CHECK(put(hub, alice, {{1, 10, {}}}, {.sequence = 1, .claim = 4}) == RegisterStatuses{lease_conflict});
  CHECK(put(hub, alice, {{1, 10, {}}, {3, 30, {}}}, {.sequence = 2}) == RegisterStatuses{stored, lease_conflict});
  // Who comes after his lease is over hears that he is late.
  hub.pass(30s);
  CHECK(put(hub, alice, {{2, 20, {}}}, {.sequence = 3}) == RegisterStatuses{lease_conflict});
  CHECK(hub.stats().stored == 1);
}

TEST_CASE("a storage that fails is answered for") {
  struct Failing : PlainStorage {
    std::optional<Stored<Number, NoMetadata>> insert(PlainEntry entry) {
      if (entry.key == 2) throw std::runtime_error{"no room on the disk"};
      return PlainStorage::insert(entry);
    }
  };
  TestHub<NoEviction<Failing>> hub;
  Asker alice = client(1);
  CHECK(put(hub, alice, {{1, 10, {}}, {2, 20, {}}}, {.sequence = 1}) == RegisterStatuses{stored, storage_error});
}

TEST_CASE("an acknowledged registration does not overtake those that it follows, nor is it overtaken") {
  TestHub<> hub;
  Asker alice = client(1);
  send(hub, alice, {{1, 11, {}}}, {.sequence = 2, .after = 1});
  CHECK(hub.replies.empty());
  hub.put(alice, {{1, 10, {}}});
  REQUIRE(hub.replies.size() == 1);
  CHECK(outcomes(hub.replies[0].message) == RegisterStatuses{stored});
  CHECK(hub.match(alice, {1}) == std::vector<PlainEntry>{{1, 11, {}}});
  // It has a number like the others, and so can be followed.
  hub.query(alice.sender, alice.envelope(3), TestHub<>::keys(MessageType::remove, {1}));
  CHECK(hub.replies.size() == 2);
  put(hub, alice, {{2, 20, {}}}, {.sequence = 3});
  CHECK(TestHub<>::read_count(hub.replies.back().message, MessageType::remove_response) == 1);
}

TEST_CASE("an acknowledged registration that has waited lets those go that wait for it, also if they came before it") {
  TestHub<> hub;
  Asker alice = client(1);
  hub.query(alice.sender, alice.envelope(2), TestHub<>::keys(MessageType::remove, {1}));
  send(hub, alice, {{1, 11, {}}}, {.sequence = 2, .after = 1});
  CHECK(hub.replies.empty());
  hub.put(alice, {{1, 10, {}}});
  REQUIRE(hub.replies.size() == 2);
  CHECK(outcomes(hub.replies[0].message) == RegisterStatuses{stored});
  CHECK(TestHub<>::read_count(hub.replies[1].message, MessageType::remove_response) == 1);
  CHECK(hub.stats().stored == 0);
}

TEST_CASE("a registration that was given up because too much came behind it overwrites nothing when it comes") {
  TestHub<> hub;
  Asker alice = client(1);
  hub.put(alice, {{5, 1, {}}});
  send(hub, alice, {{1, 20, {}}}, {.sequence = 3, .after = 2});
  CHECK(hub.replies.empty());
  // Every second number, until nobody waits any longer for the first of those between.
  for (std::uint64_t number = 5; hub.replies.empty() && number < 1000; number += 2) {
    alice.sequence = number - 1;
    hub.put(alice, {{5, number, {}}});
  }
  REQUIRE(hub.replies.size() == 1);
  CHECK(outcomes(hub.replies[0].message) == RegisterStatuses{stored});
  alice.sequence = 1;
  hub.put(alice, {{1, 10, {}}, {2, 21, {}}});
  CHECK(hub.core.policy().find(1)->value == 20);
  CHECK(hub.core.policy().find(2)->value == 21);
  CHECK(hub.stats().entries_refused == 1);
}

TEST_CASE("a malformed or excessive registration is refused as a query, and changes nothing") {
  HubOptions options;
  options.max_keys_per_query = 1;
  TestHub<> hub(options);
  Asker alice = client(1);
  send(hub, alice, {{1, 10, {}}, {2, 20, {}}}, {.sequence = 1});
  CHECK(TestHub<>::error_text(hub.replies.back().message) == "limit exceeded: max_keys_per_query allows 1, got 2");
  CHECK(hub.stats().stored == 0);
  // Its number is free.
  CHECK(put(hub, alice, {{1, 10, {}}}, {.sequence = 1}) == RegisterStatuses{stored});
}

TEST_CASE("a client hears how far its registrations have come, and what was refused of them") {
  HubOptions options = insisting();
  options.incarnation = 7;
  TestHub<> hub(options);
  Asker alice = client(1);
  Synced synced = sync(hub, alice, 1);
  CHECK(synced.applied == 0);
  CHECK(synced.incarnation == 7);
  CHECK(synced.flags == hub_insists_on_holder);
  hub.can_offload(alice, {1, 2});
  hub.put(alice, {{1, 10, {}}});
  hub.put(alice, {{9, 90, {}}});
  alice.sequence = 3;
  hub.put(alice, {{2, 20, {}}});
  synced = sync(hub, alice, 1);
  CHECK(synced.applied == 2);  // the third is missing
  CHECK(synced.first_refusal == 2);
  // It asks for the outcome of that one, and is told once more if need be.
  CHECK(put(hub, alice, {{9, 90, {}}}, {.sequence = 2, .resent = 4}) == RegisterStatuses{lease_conflict});
  CHECK(put(hub, alice, {{9, 90, {}}}, {.sequence = 2, .resent = 4}) == RegisterStatuses{lease_conflict});
  synced = sync(hub, alice, 3);
  CHECK(synced.applied == 2);
  CHECK(synced.first_refusal == 0);
  CHECK(sync(hub, alice, 4).applied == 4);
  TestHub<> other;
  CHECK(sync(other, alice, 1).flags == 0);
}

TEST_CASE("a sync without an envelope is nobody's") {
  TestHub<> hub;
  Asker rust = anonymous("rust1");
  Bytes message;
  PlainCodec::encode_count(MessageType::sync, 1, message);
  CHECK(hub.refusal(rust, message) == "not supported by the peer: sync without an envelope");
}

TEST_CASE("an entry is removed only where it has the value that is named") {
  TestHub<> hub;
  Asker alice = client(1);
  Asker bob = client(2);
  hub.put(alice, {{1, 10, {}}, {2, 20, {}}, {3, 30, {}}});
  Bytes message = TestHub<>::registration({{1, 10, {}}, {2, 21, {}}, {4, 40, {}}});
  message[1] = static_cast<std::byte>(MessageType::remove_if);
  CHECK(TestHub<>::read_count(hub.ask(bob, message), MessageType::remove_response) == 1);
  CHECK(hub.match(bob, {1, 2, 3}) == std::vector<PlainEntry>{{2, 20, {}}, {3, 30, {}}});
  CHECK(hub.gone == std::vector<TestHub<>::Gone>{{{1, 10, {}}, EvictionReason::removed}});
}

TEST_CASE("what is refused of a registration that nobody waits for is handed to the hook") {
  TestHub<> hub(insisting(), Plain(PlainStorage{}, 1));
  Asker alice = client(1);
  Asker rust = anonymous("rust1");
  SECTION("anonymous, to a hub that insists") {
    hub.can_offload(alice, {1});
    hub.put(rust, {{1, 10, {}}, {2, 20, {}}});
    REQUIRE(hub.refused.size() == 1);
    CHECK(hub.refused[0].name_space == "default");
    CHECK(hub.refused[0].entries == std::vector<PlainEntry>{{1, 10, {}}, {2, 20, {}}});
    CHECK(std::holds_alternative<LeaseConflict>(hub.refused[0].why));
    CHECK(hub.stats().entries_refused == 2);
  }
  SECTION("in part, for want of room") {
    hub.can_offload(alice, {1, 2});
    hub.put(alice, {{1, 10, {}}, {2, 20, {}}});
    REQUIRE(hub.refused.size() == 1);
    CHECK(hub.refused[0].entries == std::vector<PlainEntry>{{2, 20, {}}});
    CHECK(std::holds_alternative<LimitExceeded>(hub.refused[0].why));
  }
  SECTION("for another namespace") {
    alice.name_space = "elsewhere";
    hub.put(alice, {{1, 10, {}}});
    REQUIRE(hub.refused.size() == 1);
    CHECK(hub.refused[0].name_space == "elsewhere");
    CHECK(std::holds_alternative<Unsupported>(hub.refused[0].why));
  }
  SECTION("not what is stored, nor what is answered") {
    hub.can_offload(alice, {1});
    hub.put(alice, {{1, 10, {}}});
    put(hub, alice, {{2, 20, {}}}, {.sequence = 5});
    CHECK(hub.refused.empty());
  }
  SECTION("also if that throws") {
    hub.on_refused = [] { throw std::runtime_error{"oops"}; };
    hub.put(rust, {{1, 10, {}}});
    CHECK(hub.stats().hook_failures == 1);
    CHECK(hub.log.back() == "on_refused threw: oops");
    hub.on_refused = [] { throw 7; };
    hub.put(rust, {{1, 10, {}}});
    CHECK(hub.stats().hook_failures == 2);
  }
}

TEST_CASE("nothing waits for itself") {
  TestHub<> hub;
  Asker alice = client(1);
  CHECK(put(hub, alice, {{1, 10, {}}}, {.sequence = 3, .after = 3}) == RegisterStatuses{stored});
  CHECK(put(hub, alice, {{1, 11, {}}}, {.sequence = 5, .after = 9}) == RegisterStatuses{stored});
}

TEST_CASE("a sync may wait until a registration has come, and is answered when it has waited long enough") {
  TestHub<> hub;
  Asker alice = client(1);
  Bytes message;
  PlainCodec::encode_count(MessageType::sync, 1, message);
  hub.put(alice, {{1, 10, {}}});
  hub.query(alice.sender, alice.envelope(2), message);
  CHECK(hub.replies.empty());
  const auto applied = [&] {
    std::uint64_t number = 0;
    const auto parts = split_trailer<3>(hub.replies.back().message);
    if (!parts || PlainCodec::decode_count(parts->first, number)) throw std::runtime_error{"no answer to a sync"};
    return number;
  };
  SECTION("it comes") {
    hub.put(alice, {{2, 20, {}}});
    REQUIRE(hub.replies.size() == 1);
    CHECK(applied() == 2);
  }
  SECTION("it does not, and is still waited for by others") {
    hub.pass(1s);
    hub.tick();
    REQUIRE(hub.replies.size() == 1);
    CHECK(applied() == 1);
    hub.query(alice.sender, alice.envelope(2), TestHub<>::keys(MessageType::remove, {1}));
    CHECK(hub.replies.size() == 1);
  }
}

TEST_CASE("a sync from the beginning of all numbers is one from the first") {
  TestHub<> hub;
  Asker alice = client(1);
  CHECK(sync(hub, alice, 0).applied == 0);
  hub.put(alice, {{1, 10, {}}});
  CHECK(sync(hub, alice, 0).applied == 1);
}

TEST_CASE("bytes that are no registration do not make one that came a refused one") {
  TestHub<> hub;
  Asker alice = client(1);
  hub.put(alice, {{1, 10, {}}});
  Bytes envelope;
  Envelope{1, *alice.id, std::nullopt, alice.name_space}.encode(envelope);
  hub.put_raw(alice.sender, envelope, {});
  CHECK(sync(hub, alice, 1).first_refusal == 0);
  CHECK(put(hub, alice, {{1, 10, {}}}, {.sequence = 1, .resent = 1}) == RegisterStatuses{stored});
}

TEST_CASE("a batch that names a key twice and comes late has its last value count, as it would have in time") {
  TestHub<> hub;
  Asker alice = client(1);
  Asker bob = client(2);
  CHECK(put(hub, alice, {{1, 10, {}}, {2, 20, {}}, {1, 11, {}}}, {.sequence = 1, .resent = 1}) ==
        RegisterStatuses{stored, stored, stored});
  CHECK(hub.match(bob, {1, 2}) == std::vector<PlainEntry>{{1, 11, {}}, {2, 20, {}}});
  REQUIRE(hub.gone.size() == 1);  // whoever deletes objects hears of the first one
  CHECK(hub.gone.front().first == PlainEntry{1, 10, {}});
  // What stood before stays, whatever comes twice.
  CHECK(put(hub, bob, {{2, 21, {}}, {2, 22, {}}}, {.sequence = 1, .resent = 1}) ==
        RegisterStatuses{superseded, superseded});
  CHECK(hub.match(bob, {2}) == std::vector<PlainEntry>{{2, 20, {}}});
}
