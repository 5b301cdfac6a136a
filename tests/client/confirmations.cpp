// SPDX-License-Identifier: Apache-2.0
// What becomes of registrations and claims when messages are lost and hubs restart.
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "client/fake_transport.hpp"
#include "client/lossy_hub.hpp"
#include "support/catch.hpp"

using namespace registry;
using namespace client_test;
using namespace std::chrono_literals;

namespace {

/// What is reported as not registered.
struct Losses {
  std::shared_ptr<std::vector<std::pair<std::vector<BlockEntry>, Error>>> all =
      std::make_shared<std::vector<std::pair<std::vector<BlockEntry>, Error>>>();

  void operator()(std::span<const BlockEntry> entries, const Error& why) const {
    all->push_back({{entries.begin(), entries.end()}, why});
  }
};

auto worker_of(LossyHub& hub) { return client<Block, Block>(LossyTransport(hub)).log(nullptr); }

std::size_t syncs(const LossyHub& hub) {
  return static_cast<std::size_t>(std::ranges::count(hub.queries, MessageType::sync));
}

/// Throws where it is to read what became of a registration.
struct ThrowingCodec : BinaryCodec<Block, Block, NoMetadata> {
  static std::optional<Error> decode_statuses(ByteView, std::vector<RegisterStatus>&) {
    throw std::runtime_error("not today");
  }
  template <class Status>
  static std::optional<Error> decode_statuses(ByteView message, std::vector<Status>& statuses) {
    return BinaryCodec<Block, Block, NoMetadata>::decode_statuses(message, statuses);
  }
};

}  // namespace

TEST_CASE("a registration that was lost is sent again until the hub has it, and then no more") {
  LossyHub hub;
  auto alice = worker_of(hub).build();
  auto bob = worker_of(hub).build();
  hub.loses_registrations = true;
  alice.register_blocks({{1, 10, {}}, {2, 20, {}}});
  alice.flush();
  CHECK(bob.match({1, 2}).empty());
  hub.advance(1s);  // again, and lost again
  CHECK(hub.registrations == 2);
  hub.loses_registrations = false;
  hub.advance(1s);
  CHECK(bob.match({1, 2}).size() == 2);
  CHECK(alice.stats().batches_resent == 2);
  hub.advance(1s);
  const std::size_t asked = syncs(hub);
  hub.advance(10s);
  CHECK(hub.registrations == 3);
  CHECK(syncs(hub) == asked);  // nothing is open any more
}

TEST_CASE("a registration that came is confirmed and not sent again") {
  LossyHub hub;
  auto alice = worker_of(hub).build();
  alice.register_blocks({{1, 10, {}}});
  alice.flush();
  hub.queries.clear();
  for (int i = 0; i < 5; ++i) hub.advance(1s);
  CHECK(hub.registrations == 1);
  CHECK(syncs(hub) == 1);
  CHECK(hub.hub->stats().repeated == 0);
}

TEST_CASE("what is sent again overwrites nothing that came later, and a removal before it has come removes nothing") {
  LossyHub hub;
  auto alice = worker_of(hub).build();
  auto bob = worker_of(hub).build();
  hub.loses_registrations = true;
  alice.register_blocks({{1, 10, {}}, {2, 20, {}}});
  alice.flush();
  hub.loses_registrations = false;
  bob.register_blocks({{1, 11, {}}});
  bob.flush();
  CHECK(bob.remove({2}) == 0);
  hub.advance(1s);
  CHECK(bob.match({1, 2}) == std::vector<BlockEntry>{{1, 11, {}}, {2, 20, {}}});
}

TEST_CASE("a removal is not undone by a copy of what it has removed") {
  LossyHub hub;
  auto alice = worker_of(hub).build();
  auto bob = worker_of(hub).build();
  std::size_t sent = 0;
  hub.answers = [&](MessageType type) {
    if (type != MessageType::register_entries) return true;
    if (++sent == 2) CHECK(bob.remove({1}) == 1);
    return sent > 1;
  };
  CHECK(alice.register_acknowledged({{1, 10, {}}}).all_stored());
  CHECK(sent == 2);
  CHECK(bob.match({1}).empty());
  CHECK(hub.hub->stats().repeated == 1);
}

TEST_CASE("a new value that was lost, and comes late, does not take the place of the one that is stored") {
  LossyHub hub;
  const Losses losses;
  auto alice = worker_of(hub).on_undelivered(losses).build();
  alice.register_blocks({{1, 10, {}}});
  alice.flush();
  hub.advance(1s);
  hub.loses_registrations = true;
  alice.register_blocks({{1, 11, {}}});
  alice.flush();
  hub.loses_registrations = false;
  hub.advance(1s);
  hub.advance(1s);
  CHECK(alice.match({1}) == std::vector<BlockEntry>{{1, 10, {}}});
  REQUIRE(losses.all->size() == 1);
  CHECK(losses.all->front().first == std::vector<BlockEntry>{{1, 11, {}}});
  CHECK(std::get<HubError>(losses.all->front().second).text == "another value is stored, which may be a later one");
}

TEST_CASE("what was refused is reported by close, too, and what was stored is not") {
  LossyHub hub({}, 1);
  const Losses losses;
  {
    auto alice = worker_of(hub).batch_size(1).on_undelivered(losses).build();
    alice.register_blocks({{1, 10, {}}});
    alice.register_blocks({{2, 20, {}}});
    alice.register_blocks({{3, 30, {}}});
  }
  REQUIRE(losses.all->size() == 2);
  CHECK((*losses.all)[0].first == std::vector<BlockEntry>{{2, 20, {}}});
  CHECK((*losses.all)[1].first == std::vector<BlockEntry>{{3, 30, {}}});
  CHECK(std::holds_alternative<HubError>((*losses.all)[1].second));
}

TEST_CASE("a batch that the hub refuses as a whole is reported, and holds up nothing") {
  HubOptions options;
  options.max_keys_per_query = 1;
  LossyHub hub(options);
  const Losses losses;
  auto alice = worker_of(hub).batch_size(2).on_undelivered(losses).build();
  alice.register_blocks({{1, 10, {}}, {2, 20, {}}});
  alice.register_blocks({{3, 30, {}}});
  alice.flush();
  hub.advance(1s);
  REQUIRE(losses.all->size() == 1);
  CHECK(losses.all->front().first.size() == 2);
  CHECK(alice.close(1s).empty());
  CHECK(hub.hub->stats().stored == 1);
}

TEST_CASE("a refusal whose answer was lost is not settled by what came after it") {
  LossyHub hub(HubOptions{.insist_on_holder = true});
  auto alice = worker_of(hub).resend_interval(1s).build();
  auto claim = alice.claim({1, 2});
  hub.advance(31s);
  std::size_t asked = 0;
  hub.answers = [&](MessageType type) {
    if (type != MessageType::register_entries || ++asked > 1) return true;
    hub.advance(1s);  // the client asks what has become of its registrations before it sends this one again
    return false;
  };
  const auto result = claim.register_blocks({{1, 10, {}}});
  CHECK(asked == 2);
  CHECK(syncs(hub) > 0);
  CHECK(result.statuses == std::vector{RegisterStatus::lease_conflict});
}

TEST_CASE("what one hub has answered is not waited for by the next") {
  LossyHub hub;
  auto alice = worker_of(hub).batch_size(1).build();
  hub.loses_registrations = true;
  for (Block key = 1; key <= 100; ++key) {
    alice.register_blocks({{key, 10, {}}});
    CHECK(alice.register_acknowledged({{1000 + key, 10, {}}}).all_stored());
  }
  hub.loses_registrations = false;
  hub.restart();
  hub.advance(1s);
  hub.advance(1s);
  CHECK(hub.hub->stats().stored == 100);
  const std::size_t sent = hub.registrations;
  hub.advance(1s);
  hub.advance(1s);
  CHECK(hub.registrations == sent);
  CHECK(alice.remove({50}) == 1);
  CHECK(alice.close(1s).empty());
}

TEST_CASE("a removal follows a registration for as long as it is not confirmed") {
  LossyHub hub;
  auto alice = worker_of(hub).build();
  hub.is_away = true;
  alice.register_blocks({{1, 10, {}}});
  alice.flush();
  hub.now += 30s;
  hub.is_away = false;
  CHECK(is<HubError>(error_of([&] { alice.remove({1}); })));  // it has not arrived
  hub.advance(1s);
  CHECK(alice.remove({1}) == 1);
}

TEST_CASE("what the hub had not confirmed is sent to the one that takes its place") {
  LossyHub hub;
  auto alice = worker_of(hub).build();
  auto bob = worker_of(hub).build();
  alice.register_blocks({{1, 10, {}}});
  alice.flush();
  hub.advance(1s);  // confirmed: an in-memory catalogue forgets it
  alice.register_blocks({{2, 20, {}}});
  alice.flush();
  hub.restart();
  hub.advance(1s);
  CHECK(bob.match({1, 2}) == std::vector<BlockEntry>{{2, 20, {}}});
  hub.advance(1s);
  hub.advance(10s);
  CHECK(hub.registrations == 3);
  CHECK(alice.stats().hubs_met == 2);
}

TEST_CASE("a client that meets another hub believes nothing of what it knew of the first") {
  LossyHub hub;
  auto alice = worker_of(hub).local_cache(100).build();
  auto bob = worker_of(hub).build();
  bob.register_blocks({{7, 70, {}}});
  bob.flush();
  CHECK(alice.can_offload({7}).already_stored.size() == 1);
  alice.register_blocks({{1, 10, {}}});
  alice.flush();
  hub.advance(1s);
  hub.restart();
  auto claim = alice.claim({3});  // somebody to ask for: without anything open nobody asks
  hub.advance(1s);
  CHECK(alice.can_offload({1, 7}).can_offload == std::vector<Block>{1, 7});
}

TEST_CASE("what was not confirmed comes back from close, and is reported by a client that is destroyed") {
  LossyHub hub;
  const Losses losses;
  std::optional alice = worker_of(hub).on_undelivered(losses).build();
  const std::vector<BlockEntry> entries{{1, 10, {}}, {2, 20, {}}};
  alice->register_blocks(entries);
  SECTION("a hub that is there confirms it") {
    CHECK(alice->close(1s).empty());
    CHECK(losses.all->empty());
    CHECK(hub.hub->stats().stored == 2);
  }
  SECTION("one that is away does not: close") {
    hub.is_away = true;
    CHECK(alice->close(1s) == entries);
    alice.reset();
    CHECK(losses.all->empty());
  }
  SECTION("one that is away does not: destruction") {
    hub.is_away = true;
    alice.reset();
    REQUIRE(losses.all->size() == 1);
    CHECK(losses.all->front().first == entries);
    CHECK(std::get<Timeout>(losses.all->front().second).duration == 1s);
  }
  SECTION("one that is away does not: another client in its place") {
    hub.is_away = true;
    *alice = worker_of(hub).build();
    REQUIRE(losses.all->size() == 1);
    CHECK(losses.all->front().first == entries);
  }
  SECTION("one that loses what it is sent: close") {
    alice->flush();
    CHECK(alice->close(1s).empty());
    hub.loses_registrations = true;
    auto bob = worker_of(hub).build();
    bob.register_blocks({{3, 30, {}}});
    CHECK(bob.close(0s) == std::vector<BlockEntry>{{3, 30, {}}});
  }
}

TEST_CASE("what is not confirmed is bounded, and beyond it registering waits") {
  LossyHub hub;
  auto alice = worker_of(hub).batch_size(1).max_unconfirmed_bytes(2000).register_timeout(2s).build();
  hub.is_away = true;
  Block next = 1;
  std::optional<BlockUndelivered> full;
  while (!full) {
    REQUIRE(next < 100);
    full = undelivered([&] { alice.register_blocks({{next, 10, {}}}); });
    ++next;
  }
  CHECK(full->as<Timeout>()->duration == 2s);
  CHECK(full->entries() == std::vector<BlockEntry>{{next - 1, 10, {}}});
  CHECK(next > 3);
  // There is room as soon as the hub confirms.
  hub.is_away = false;
  hub.advance(1s);
  alice.register_blocks({{next, 10, {}}});
  CHECK(alice.close(1s).empty());
  CHECK(hub.hub->stats().stored == next - 1);
}

TEST_CASE("half of the bound makes a client ask before its time") {
  LossyHub hub;
  auto alice = worker_of(hub).batch_size(1).max_unconfirmed_bytes(2000).build();
  alice.register_blocks({{1, 10, {}}});
  hub.queries.clear();
  hub.advance(1ms);
  CHECK(syncs(hub) == 0);
  for (Block key = 2; key < 10; ++key) alice.register_blocks({{key, 10, {}}});
  hub.advance(1ms);
  CHECK(syncs(hub) == 1);
}

TEST_CASE("a client that is told not to keep anything asks what hub it is, and no more") {
  LossyHub hub;
  auto alice = worker_of(hub).max_unconfirmed_bytes(0).build();
  alice.register_blocks({{1, 10, {}}});
  CHECK(syncs(hub) == 1);
  hub.advance(2s);
  CHECK(alice.close(1s).empty());
  CHECK(syncs(hub) == 1);
}

TEST_CASE("a hub that confirms nothing is not asked again, and nothing is kept for it") {
  const auto script = std::make_shared<Script>();
  auto alice = client<Block, Block>(FakeTransport(script)).log(nullptr).build();
  const std::string why = GENERATE("it knows no envelopes", "it is one of ours, before its time");
  CAPTURE(why);
  if (why == "it knows no envelopes") {
    script->answer = always_bare(words(MessageType::error_response, "unknown type"));
  } else {
    script->answer = always(words(MessageType::error_response, to_string(InvalidMessageType{43})));
  }
  alice.register_blocks({{1, 10, {}}});
  script->advance(10ms);
  script->advance(1s);
  REQUIRE(script->asked.size() == 1);
  CHECK(type_of(script->asked[0].message) == MessageType::sync);
  alice.register_blocks({{2, 10, {}}});
  script->advance(10ms);
  script->advance(5s);
  CHECK(alice.close(1s).empty());
  CHECK(script->asked.size() == 1);
}

TEST_CASE("a hub that cannot confirm for now is asked again") {
  const auto script = std::make_shared<Script>();
  auto alice = client<Block, Block>(FakeTransport(script)).log(nullptr).build();
  script->answer = always(words(MessageType::error_response, "limit exceeded: max_waiting allows 1, got 2"));
  alice.register_blocks({{1, 10, {}}});
  alice.flush();
  CHECK(script->asked.size() == 1);
  script->advance(1s);
  script->advance(1s);
  CHECK(script->asked.size() == 3);
  CHECK(alice.close(0s) == std::vector<BlockEntry>{{1, 10, {}}});
}

TEST_CASE("to a hub that insists every registration is acknowledged: who is late hears it at once") {
  LossyHub hub(HubOptions{.insist_on_holder = true});
  auto alice = worker_of(hub).build();
  CHECK(alice.can_offload({1, 2}).can_offload.size() == 2);
  alice.register_blocks({{1, 10, {}}});
  CHECK(hub.registrations == 0);
  CHECK(alice.match({1}).size() == 1);
  hub.advance(31s);
  const auto late = undelivered([&] { alice.register_blocks({{1, 11, {}}, {2, 20, {}}}); });
  REQUIRE(late);
  CHECK(late->as<LeaseConflict>() != nullptr);
  CHECK(late->entries() == std::vector<BlockEntry>{{1, 11, {}}, {2, 20, {}}});
}

TEST_CASE("to a hub that insists a registration is acknowledged although nothing was ever asked before") {
  LossyHub hub(HubOptions{.insist_on_holder = true});
  auto alice = worker_of(hub).build();
  const auto late = undelivered([&] { alice.register_blocks({{1, 10, {}}}); });
  REQUIRE(late);
  CHECK(late->as<LeaseConflict>() != nullptr);
  CHECK(hub.registrations == 0);
}

TEST_CASE("what the hub has refused is not stored to its client either") {
  LossyHub hub({}, 1);
  auto alice = worker_of(hub).local_cache(10).build();
  alice.register_blocks({{1, 10, {}}, {2, 20, {}}});
  alice.flush();
  CHECK(alice.can_offload({1, 2}).already_stored.size() == 2);
  hub.advance(1s);
  CHECK(alice.can_offload({1, 2}).can_offload == std::vector<Block>{2});
}

TEST_CASE("what a hub has refused of what was pushed is reported with the entries and the reason") {
  const Losses losses;
  SECTION("by one that insists, and was not there when it was asked") {
    LossyHub hub(HubOptions{.insist_on_holder = true});
    auto alice = worker_of(hub).on_undelivered(losses).build();
    hub.is_away = true;
    alice.register_blocks({{1, 10, {}}, {2, 20, {}}});
    alice.flush();
    hub.is_away = false;
    hub.advance(1s);
    hub.advance(1s);
    REQUIRE(losses.all->size() == 1);
    CHECK(losses.all->front().first == std::vector<BlockEntry>{{1, 10, {}}, {2, 20, {}}});
    CHECK(std::holds_alternative<LeaseConflict>(losses.all->front().second));
    // Now it knows.
    CHECK(undelivered([&] { alice.register_blocks({{3, 30, {}}}); }));
    hub.advance(5s);
    CHECK(losses.all->size() == 1);
  }
  SECTION("by one that is full") {
    LossyHub hub({}, 2);
    auto alice = worker_of(hub).batch_size(2).on_undelivered(losses).build();
    for (Block key = 1; key < 7; key += 2) alice.register_blocks({{key, 10, {}}, {key + 1, 10, {}}});
    for (int i = 0; i < 4; ++i) hub.advance(1s);
    REQUIRE(losses.all->size() == 2);
    CHECK((*losses.all)[0].first == std::vector<BlockEntry>{{3, 10, {}}, {4, 10, {}}});
    CHECK((*losses.all)[1].first == std::vector<BlockEntry>{{5, 10, {}}, {6, 10, {}}});
    CHECK(std::get<HubError>((*losses.all)[0].second).text == "there is no room");
    CHECK(hub.registrations == 3);
    CHECK(alice.close(1s).empty());
  }
}

TEST_CASE("a hook that throws harms nothing") {
  LossyHub hub({}, 1);
  const Log log;
  auto alice = worker_of(hub)
                   .log(log)
                   .on_undelivered([](std::span<const BlockEntry>, const Error&) { throw std::runtime_error{"oops"}; })
                   .build();
  alice.register_blocks({{1, 10, {}}, {2, 20, {}}});
  alice.flush();
  hub.advance(1s);
  REQUIRE(log.lines->size() == 1);
  CHECK(log.lines->front().second == "on_undelivered failed: oops");
}

TEST_CASE("a client may have every registration acknowledged") {
  LossyHub hub({}, 1);
  auto alice = worker_of(hub).acknowledged(true).build();
  alice.register_blocks({{1, 10, {}}});
  CHECK(hub.registrations == 0);
  CHECK(hub.hub->stats().stored == 1);
  const auto refused = undelivered([&] { alice.register_blocks({{1, 11, {}}, {2, 20, {}}}); });
  REQUIRE(refused);
  CHECK(refused->entries() == std::vector<BlockEntry>{{2, 20, {}}});
  CHECK(refused->as<HubError>()->text == "there is no room");
}

TEST_CASE("claims are had back of a hub that takes another's place") {
  HubOptions options;
  options.recovery_time = 30s;
  LossyHub hub(options);
  hub.now += 1min;  // the first start is over
  hub.hub->core().tick(hub.instant(), LossyHub::nobody);
  hub.advance(30s);
  auto alice = worker_of(hub).build();
  auto bob = worker_of(hub).build();
  auto claim = alice.claim({1, 2});
  REQUIRE(claim.granted().size() == 2);
  hub.restart();
  hub.hub->core().tick(hub.instant(), LossyHub::nobody);
  hub.advance(1s);
  CHECK(hub.hub->stats().leases.active == 2);
  hub.advance(29s);  // the recovery time is over
  CHECK(bob.can_offload({1, 3}).can_offload == std::vector<Block>{3});
  CHECK(claim.held().size() == 2);
  CHECK(claim.register_blocks({{1, 10, {}}, {2, 20, {}}}).all_stored());
}

TEST_CASE("a claim says what somebody else was granted meanwhile by another hub") {
  LossyHub hub;
  auto alice = worker_of(hub).build();
  auto bob = worker_of(hub).build();
  auto claim = alice.claim({1, 2});
  hub.restart();
  CHECK(bob.can_offload({1}).can_offload.size() == 1);
  hub.advance(1s);
  CHECK(claim.lost() == std::vector<Block>{1});
  CHECK(claim.held() == std::vector<Block>{2});
}

TEST_CASE("what another hub grants to a second claim of a client its first one has lost at once") {
  LossyHub hub;
  auto alice = worker_of(hub).build();
  auto first = alice.claim({1, 2});
  hub.restart();
  hub.now += 1ms;
  auto second = alice.claim({2, 3});
  CHECK(second.granted() == std::vector<Block>{2, 3});
  CHECK(first.held() == std::vector<Block>{1});
  CHECK(first.lost() == std::vector<Block>{2});
  hub.advance(1s);
  CHECK(first.held() == std::vector<Block>{1});
  CHECK(second.held().size() == 2);
  CHECK(second.register_blocks({{2, 20, {}}, {3, 30, {}}}).all_stored());
  CHECK(first.register_blocks({{1, 10, {}}}).all_stored());
}

TEST_CASE("a claim is not granted what a later claim of its client has meanwhile been granted by another hub") {
  LossyHub hub;
  auto alice = worker_of(hub).build();
  auto bob = worker_of(hub).build();
  const auto of_bob = bob.claim({4});
  std::optional<decltype(alice)::ClaimType> second;
  bool has_restarted = false;
  hub.has_answered = [&](MessageType) {
    if (std::exchange(has_restarted, true)) return;
    hub.restart();
    hub.now += 1ms;
    second = alice.claim({2, 5});
  };
  const auto first = alice.claim({1, 2, 4, 3});
  REQUIRE(second);
  CHECK(second->granted() == std::vector<Block>{2, 5});
  CHECK(first.granted() == std::vector<Block>{1, 3});
  CHECK(first.leased() == std::vector<Block>{2, 4});
  CHECK(first.lost().empty());
  CHECK(first.held().size() == 2);
}

TEST_CASE("what a claim holds may be registered at a hub that insists, and has just taken another's place") {
  LossyHub hub(HubOptions{.insist_on_holder = true});
  auto alice = worker_of(hub).build();
  auto bob = worker_of(hub).build();
  auto claim = alice.claim({1, 2, 3});
  const std::vector<BlockEntry> entries{{1, 10, {}}, {2, 20, {}}, {4, 40, {}}};
  SECTION("before") {
    hub.restart();
    REQUIRE(bob.can_offload({2}).can_offload.size() == 1);
  }
  SECTION("while its answer was on its way") {
    hub.answers = [&, has_asked = false](MessageType type) mutable {
      if (type != MessageType::register_entries || std::exchange(has_asked, true)) return true;
      hub.restart();
      bob.can_offload({2});
      return false;
    };
    REQUIRE(claim.held().size() == 3);
  }
  const auto result = claim.register_blocks(entries);
  REQUIRE(result.statuses ==
          std::vector{RegisterStatus::stored, RegisterStatus::lease_conflict, RegisterStatus::lease_conflict});
  CHECK(claim.held() == std::vector<Block>{3});
  CHECK(claim.lost() == std::vector<Block>{2});
  CHECK(claim.register_blocks({{3, 30, {}}}).all_stored());
  CHECK(bob.match({1, 2, 3}).size() == 2);
}

TEST_CASE("what was registered once more and has no answer is not said to be refused") {
  LossyHub hub(HubOptions{.insist_on_holder = true});
  auto alice = worker_of(hub).build();
  auto claim = alice.claim({1});
  hub.restart();
  hub.answers = [registrations = 0](MessageType type) mutable {
    return type != MessageType::register_entries || ++registrations == 1;
  };
  const auto failure = undelivered([&] { (void)claim.register_blocks({{1, 10, {}}}); });
  REQUIRE(failure);
  CHECK(failure->as<Timeout>() != nullptr);
  CHECK(failure->entries() == std::vector<BlockEntry>{{1, 10, {}}});
  CHECK(std::ranges::count(hub.queries, MessageType::register_entries) > 2);
  CHECK(alice.match({1}).size() == 1);
}

TEST_CASE("what the hub does not take when it is registered once more stays as it was answered at first") {
  LossyHub hub(HubOptions{.insist_on_holder = true});
  auto alice = worker_of(hub).build();
  auto bob = worker_of(hub).build();
  auto claim = alice.claim({1, 2});
  hub.restart();
  REQUIRE(bob.can_offload({2}).can_offload.size() == 1);
  hub.refuses = [registrations = 0](MessageType type) mutable {
    return type == MessageType::register_entries && ++registrations == 2;
  };
  CHECK(claim.register_blocks({{1, 10, {}}, {2, 20, {}}}).statuses ==
        std::vector{RegisterStatus::lease_conflict, RegisterStatus::lease_conflict});
  CHECK(std::ranges::count(hub.queries, MessageType::register_entries) == 2);
  CHECK(bob.match({1}).empty());
}

TEST_CASE("what was registered once more without an answer, and is refused then, may have been stored") {
  LossyHub hub(HubOptions{.insist_on_holder = true});
  auto alice = worker_of(hub).build();
  auto claim = alice.claim({1});
  hub.restart();
  const auto comes = [&] { return std::ranges::count(hub.queries, MessageType::register_entries); };
  hub.answers = [&](MessageType type) { return type != MessageType::register_entries || comes() != 2; };
  hub.refuses = [&](MessageType type) { return type == MessageType::register_entries && comes() > 2; };
  const auto failure = undelivered([&] { (void)claim.register_blocks({{1, 10, {}}}); });
  REQUIRE(failure);
  CHECK(failure->as<HubError>() != nullptr);
  CHECK(alice.match({1}).size() == 1);
}

TEST_CASE("a refusal by the hub that has granted is the last word") {
  LossyHub hub(HubOptions{.insist_on_holder = true});
  auto alice = worker_of(hub).build();
  auto claim = alice.claim({1});
  hub.advance(31s);
  const std::size_t before = syncs(hub);
  CHECK(claim.register_blocks({{1, 10, {}}}).statuses == std::vector{RegisterStatus::lease_conflict});
  CHECK(syncs(hub) <= before + 1);
  CHECK(std::ranges::count(hub.queries, MessageType::register_entries) == 1);
}

TEST_CASE("an answer to a claim that names another hub is enough to forget what the first had said") {
  LossyHub hub;
  auto alice = worker_of(hub).local_cache(100).build();
  auto bob = worker_of(hub).build();
  bob.register_blocks({{7, 70, {}}});
  bob.flush();
  alice.register_blocks({{1, 10, {}}});
  alice.flush();
  hub.advance(1s);
  CHECK(alice.can_offload({1, 7}).already_stored.size() == 2);
  hub.restart();
  bob.can_offload({3});
  const auto claim = alice.claim({3});  // is granted nothing
  CHECK(alice.can_offload({1, 7}).can_offload == std::vector<Block>{1, 7});
  hub.advance(0s);
  CHECK(alice.stats().hubs_met == 2);
}

TEST_CASE("a registration behind one that was lost is sent again when the hub refuses to wait any longer") {
  LossyHub hub;
  auto alice = worker_of(hub).resend_interval(3s).register_timeout(10s).build();
  hub.loses_registrations = true;
  alice.register_blocks({{1, 10, {}}});
  alice.flush();
  hub.loses_registrations = false;
  CHECK(alice.register_acknowledged({{1, 11, {}}}).all_stored());
  CHECK(std::ranges::count(hub.queries, MessageType::register_entries) == 2);
  CHECK(alice.match({1}) == std::vector<BlockEntry>{{1, 11, {}}});
}

TEST_CASE("a registration that waits at a hub that stops is sent to the one that takes its place") {
  LossyHub hub;
  auto alice = worker_of(hub).resend_interval(3s).register_timeout(10s).build();
  hub.stalls = true;
  alice.register_blocks({{1, 10, {}}});
  alice.flush();
  hub.stops = true;
  CHECK(alice.register_acknowledged({{1, 11, {}}, {2, 20, {}}}).all_stored());
  CHECK(std::ranges::count(hub.queries, MessageType::register_entries) == 2);
  CHECK(alice.match({1, 2}) == std::vector<BlockEntry>{{1, 11, {}}, {2, 20, {}}});
}

TEST_CASE("a registration that is to be repeated keeps its number if another hub takes the first one's place before") {
  LossyHub hub;
  auto alice = worker_of(hub).resend_interval(3s).register_timeout(10s).build();
  hub.loses_registrations = true;
  alice.register_blocks({{1, 10, {}}});
  alice.flush();
  hub.loses_registrations = false;
  // On another thread, say: between the refusal and its repetition.
  bool has_been_restarted = false;
  hub.has_answered = [&](MessageType type) {
    if (type != MessageType::register_entries || std::exchange(has_been_restarted, true)) return;
    hub.restart();
    hub.advance(3s);
  };
  CHECK(alice.register_acknowledged({{1, 11, {}}, {2, 20, {}}}).all_stored());
  CHECK(alice.stats().hubs_met == 2);
  CHECK(alice.match({1, 2}) == std::vector<BlockEntry>{{1, 11, {}}, {2, 20, {}}});
}

TEST_CASE("a removal waits for the last batch with its key, and for none behind it") {
  LossyHub hub;
  auto alice = worker_of(hub).batch_size(1).build();
  alice.register_blocks({{1, 10, {}}});
  hub.stalls = true;
  alice.register_blocks({{2, 20, {}}});
  const SteadyTime before = hub.now;
  CHECK(alice.remove({1}) == 1);
  CHECK(hub.now == before);
  CHECK_THROWS_AS(alice.remove({2}), RegistryError);
  hub.end_stall();
  CHECK(alice.remove({2}) == 1);
}

TEST_CASE("a codec that throws at an answer leaves no number for which another hub would wait") {
  LossyHub hub;
  auto alice = client<Block, Block>(LossyTransport(hub)).log(nullptr).batch_size(1).codec<ThrowingCodec>().build();
  CHECK_THROWS_WITH(alice.register_acknowledged({{1, 10, {}}}), "transport error: not today");
  alice.register_blocks({{2, 20, {}}});
  hub.advance(1s);
  hub.restart();
  for (int i = 0; i < 3; ++i) hub.advance(1s);
  alice.register_blocks({{3, 30, {}}});
  CHECK(alice.close(1s).empty());
}

TEST_CASE("want of memory during an acknowledged registration gives the entries back and leaves no number open") {
  LossyHub hub;
  auto alice = worker_of(hub).build();
  bool has_failed = false;
  hub.answers = [&](MessageType type) {
    if (type == MessageType::register_entries && !std::exchange(has_failed, true)) throw std::bad_alloc();
    return true;
  };
  const auto given_back = undelivered([&] { std::ignore = alice.register_acknowledged({{1, 10, {}}}); });
  REQUIRE(given_back);
  CHECK(given_back->entries() == std::vector<BlockEntry>{{1, 10, {}}});
  CHECK(given_back->as<TransportError>() != nullptr);
  alice.register_blocks({{2, 20, {}}});
  alice.flush();
  for (int i = 0; i < 5; ++i) hub.advance(1s);
  CHECK(alice.close(1s).empty());
}

TEST_CASE("another hub waits for nothing that the first one answered, also behind what has not been sent yet") {
  LossyHub hub;
  auto alice = worker_of(hub).batch_size(1).build();
  const bool has_unconfirmed = GENERATE(true, false);
  if (has_unconfirmed) alice.register_blocks({{1, 10, {}}});
  hub.is_at_mark = true;
  alice.register_blocks({{2, 20, {}}});
  CHECK(alice.register_acknowledged({{3, 30, {}}}).all_stored());
  hub.restart();
  hub.advance(1s);
  hub.is_at_mark = false;
  for (int i = 0; i < 3; ++i) hub.advance(1s);
  alice.register_blocks({{4, 40, {}}});
  const SteadyTime asked = hub.now;
  CHECK(alice.remove({4}) == 1);
  CHECK(hub.now == asked);
}

TEST_CASE("a registration that comes when the hub waits for it no more takes the place of none behind it") {
  LossyHub hub;
  const Losses losses;
  auto alice = worker_of(hub).resend_interval(3s).register_timeout(10s).on_undelivered(losses).build();
  hub.stalls = true;
  alice.register_blocks({{1, 10, {}}, {2, 20, {}}});
  alice.flush();
  CHECK(alice.register_acknowledged({{1, 11, {}}}).all_stored());
  CHECK(std::ranges::count(hub.queries, MessageType::register_entries) == 2);
  hub.end_stall();
  CHECK(alice.match({1, 2}) == std::vector<BlockEntry>{{1, 11, {}}, {2, 20, {}}});
  hub.advance(3s);
  CHECK(alice.stats().batches_resent == 0);
  REQUIRE(losses.all->size() == 1);
  CHECK(losses.all->front().first == std::vector<BlockEntry>{{1, 10, {}}});
  CHECK(std::get<HubError>(losses.all->front().second).text == "another value is stored, which may be a later one");
}

TEST_CASE("nobody asks for claims that hold nothing any more") {
  LossyHub hub;
  auto alice = worker_of(hub).build();
  auto claim = alice.claim({1});
  hub.advance(1s);
  CHECK(syncs(hub) == 1);
  CHECK(claim.register_blocks({{1, 10, {}}}).all_stored());
  hub.advance(1s);
  const std::size_t before = syncs(hub);
  for (int i = 0; i < 5; ++i) hub.advance(1s);
  CHECK(syncs(hub) == before);
}

TEST_CASE("an acknowledged registration keeps its place when it is sent again") {
  const auto script = std::make_shared<Script>();
  auto alice = fake_client(script).resend_interval(1s).register_timeout(3s).build();
  alice.register_blocks({{1, 10, {}}});
  script->asked.clear();
  script->answer = [&](ByteView, ByteView) -> std::vector<std::vector<Bytes>> {
    script->now += 1s;
    return {};
  };
  CHECK(undelivered([&] { (void)alice.register_acknowledged({{1, 11, {}}}); }));
  REQUIRE(script->asked.size() == 3);
  for (const Message& message : script->asked) {
    const auto envelope = Envelope::decode(message.envelope).value();
    CHECK(envelope.after == 1);
    CHECK(envelope.sequence == 2);
  }
  CHECK(script->batch_sizes() == std::vector<std::size_t>{1});
  // What nobody will send any more is not to be waited for.
  script->advance(0s);
  CHECK(script->sequence() == std::vector<std::uint64_t>{1, 2});
  CHECK(script->batch_sizes() == std::vector<std::size_t>{1, 0});
}

TEST_CASE("a removal does not wait for a registration that was given up") {
  LossyHub hub;
  auto alice = worker_of(hub).register_timeout(2s).build();
  hub.is_away = true;
  CHECK(undelivered([&] { (void)alice.register_acknowledged({{1, 10, {}}}); }));
  hub.is_away = false;
  alice.register_blocks({{2, 20, {}}});
  CHECK(alice.remove({2}) == 1);
}

TEST_CASE("an answer to a request that was given up is dropped and counted") {
  const auto script = std::make_shared<Script>();
  auto alice = fake_client(script).build();
  CHECK_THROWS_AS(alice.match({1}), RegistryError);
  const Bytes first = script->asked[0].envelope;
  script->answer = [&](ByteView envelope, ByteView) -> std::vector<std::vector<Bytes>> {
    return {{first, matched({{1, 10, {}}})},
            {first, count(MessageType::release_response, 1)},  // to what was withdrawn
            {Bytes(envelope.begin(), envelope.end()), matched({{2, 20, {}}})}};
  };
  CHECK(alice.match({2}) == std::vector<BlockEntry>{{2, 20, {}}});
  CHECK(alice.stats().late_answers == 1);
}

TEST_CASE("a batch that names a key twice and was lost is stored as if it had come") {
  LossyHub hub;
  const Losses losses;
  auto alice = worker_of(hub).on_undelivered(losses).build();
  hub.loses_registrations = true;
  alice.register_blocks({{1, 10, {}}, {1, 11, {}}});
  alice.flush();
  hub.loses_registrations = false;
  hub.advance(1s);
  hub.advance(1s);
  CHECK(alice.match({1}) == std::vector<BlockEntry>{{1, 11, {}}});
  CHECK(losses.all->empty());
}

TEST_CASE("what is given back while it is had back of another hub is free at once") {
  LossyHub hub;
  auto alice = worker_of(hub).build();
  auto bob = worker_of(hub).build();
  std::optional claim(alice.claim({1}));
  REQUIRE(claim->granted().size() == 1);
  hub.restart();
  // The release overtakes the renewal.
  hub.answers = [&](MessageType type) {
    if (type == MessageType::renew) claim.reset();
    return true;
  };
  hub.advance(1s);
  CHECK_FALSE(claim);
  CHECK(hub.hub->stats().leases.granted == 1);
  CHECK(bob.claim({1}).granted().size() == 1);
}

TEST_CASE("a registration does not fail because its client cannot ask the hub what it is") {
  LossyHub hub;
  auto alice = worker_of(hub).build();
  alice.can_offload({1});
  hub.answers = [](MessageType type) -> bool {
    if (type == MessageType::sync) throw std::bad_alloc();
    return true;
  };
  alice.register_blocks({{1, 10, {}}});
  alice.flush();
  CHECK(alice.match({1}).size() == 1);
}

TEST_CASE("a registration that finds no room comes back with its entries, also if memory is short for asking") {
  LossyHub hub;
  auto alice = worker_of(hub).max_unconfirmed_bytes(1).batch_size(1).build();
  hub.loses_registrations = true;
  alice.register_blocks({{1, 10, {}}});
  hub.answers = [](MessageType) -> bool { throw std::bad_alloc(); };
  const auto full = undelivered([&] { alice.register_blocks({{2, 20, {}}}); });
  REQUIRE(full);
  CHECK(full->entries() == std::vector<BlockEntry>{{2, 20, {}}});
  CHECK(full->as<TransportError>() != nullptr);
  hub.answers = [](MessageType) { return true; };
}
