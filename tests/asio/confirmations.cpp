// SPDX-License-Identifier: Apache-2.0
// What becomes of an asynchronous client's registrations and claims when messages are lost and hubs restart, and for
// how long its io_context runs because of that.
#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/error.hpp>
#include <asio/executor_work_guard.hpp>
#include <asio/steady_timer.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "asio/common.hpp"
#include "asio/joint.hpp"
#include "support/catch.hpp"

using namespace asio_test;

namespace {

using BlockClaim = Client::ClaimType;

/// What is reported as not registered.
struct Losses {
  std::shared_ptr<std::vector<std::pair<Blocks, Error>>> all =
      std::make_shared<std::vector<std::pair<Blocks, Error>>>();

  void operator()(std::span<const Block> entries, const Error& why) const {
    all->push_back({{entries.begin(), entries.end()}, why});
  }
};

/// For an answer to a question that may have been given up: whoever asked may have left its connection, or be closed.
template <class Answer>
void unless_gone(Answer answer) {
  try {
    answer();
  } catch (const std::runtime_error& error) {
    if (error.what() != std::string{"unreachable"}) throw;
  }
}

/// A client and a hub that confirms what the test says.
struct Doubtful {
  ScriptedHub hub;
  asio::io_context io;

  Doubtful() { hub.confirms = false; }

  auto build() { return builder(io, hub.address()).batch_size(1).resend_interval(20ms).log(nullptr); }

  bool asked(std::size_t queries) {
    return hub.run(io, [&] { return hub.seen.queries.size() >= queries; });
  }
  bool sent(std::size_t registrations) {
    return hub.run(io, [&] { return hub.seen.registrations.size() >= registrations; });
  }

  void add(Client& client, Block block) {
    Completed<Blocks> outcome;
    client.async_register_blocks(Blocks{block}, outcome.token());
    REQUIRE(hub.run(io, [&] { return outcome.calls > 0; }));
    REQUIRE(outcome.succeeded());
  }

  /// Answers so whenever it is asked for confirmations, until `done`: on a machine that stands still an answer may come
  /// too late, and the question again.
  template <class Done>
  void say(SyncAnswer answer, Done done) {
    REQUIRE(hub.run(io, [&] {
      for (; answered < hub.seen.queries.size(); ++answered) {
        if (hub.type(answered) == MessageType::sync) {
          unless_gone([&] { hub.answer(answered, sync_answer(answer)); });
        }
        if (hub.type(answered) == MessageType::renew) {
          const ClaimTerms terms{.ttl = std::chrono::hours{1}, .incarnation = answer.incarnation};
          hub.answer(answered, renew_answer({renewal}, terms));
        }
      }
      return done();
    }));
  }

  /// The first query of this type, once there is one.
  std::optional<std::size_t> first(MessageType type) const {
    for (std::size_t i = 0; i < hub.seen.queries.size(); ++i) {
      if (hub.type(i) == type) return i;
    }
    return std::nullopt;
  }

  bool is_idle() {
    io.restart();
    io.poll();
    return io.stopped();
  }

  /// Nothing is left to do, and nothing is asked.
  void be_quiet() {
    REQUIRE(hub.run(io, [&] { return is_idle(); }));
    const std::size_t before = hub.seen.queries.size();
    bool has_waited = false;
    asio::steady_timer timer(io, 100ms);
    timer.async_wait([&](std::error_code) { has_waited = true; });
    REQUIRE(hub.run(io, [&] { return has_waited; }));
    REQUIRE(hub.seen.queries.size() == before);
  }

  bool was_resent(std::size_t registration) const {
    return Envelope::decode(as_bytes(hub.seen.registrations.at(registration).second.value()))
        .value()
        .resent.has_value();
  }

  std::size_t answered = 0;
  RenewStatus renewal = RenewStatus::held;
};

}  // namespace

TEST_CASE("an asynchronous registration that was lost is sent again until the hub has it, and then no more") {
  Doubtful world;
  Client client = world.build().build();
  world.add(client, {1, 10});
  const auto& sent = world.hub.seen.registrations;
  world.say({.applied = 0, .incarnation = 7}, [&] { return sent.size() >= 3; });
  world.say({.applied = 1, .incarnation = 7}, [&] { return world.is_idle(); });
  world.be_quiet();
  for (std::size_t i = 1; i < sent.size(); ++i) {
    REQUIRE(world.hub.number(i) == 1);
    REQUIRE(world.was_resent(i));
    REQUIRE(sent[i].message == sent[0].message);
  }
  REQUIRE_FALSE(world.was_resent(0));
  REQUIRE(client.stats().batches_resent == sent.size() - 1);
  REQUIRE(client.stats().hubs_met == 1);
}

TEST_CASE("an asynchronous client sends to a new hub at once what the one before it had not confirmed") {
  Doubtful world;
  Client client = world.build().resend_interval(300ms).local_cache(10).build();
  world.add(client, {1, 10});
  world.say({.applied = 1, .incarnation = 7}, [&] { return world.is_idle(); });
  Completed<OffloadResult<K>> known;
  client.async_can_offload({5}, known.token());
  REQUIRE(world.hub.run(world.io, [&] { return world.first(MessageType::can_offload).has_value(); }));
  world.hub.answer(*world.first(MessageType::can_offload), statuses_answer({stored}));
  REQUIRE(world.hub.run(world.io, [&] { return known.calls > 0; }));

  world.add(client, {2, 20});
  world.add(client, {3, 30});
  REQUIRE(world.sent(3));
  world.say({.applied = 0, .incarnation = 8}, [&] { return world.hub.seen.registrations.size() >= 5; });
  REQUIRE(world.hub.number(3) == 2);
  REQUIRE(world.hub.number(4) == 3);
  REQUIRE(client.stats().hubs_met == 2);
  // What it knew of the first hub it does not believe of this one.
  const std::size_t before = world.hub.seen.queries.size();
  Completed<OffloadResult<K>> again;
  client.async_can_offload({1, 5}, again.token());
  const auto is_offload = [&](std::size_t query) { return world.hub.type(query) == MessageType::can_offload; };
  REQUIRE(world.hub.run(world.io, [&] {
    return world.hub.seen.queries.size() > before && is_offload(world.hub.seen.queries.size() - 1);
  }));
  REQUIRE(world.hub.keys(world.hub.seen.queries.size() - 1) == Keys{1, 5});
}

TEST_CASE("a hub that is started anew gets what asynchronous clients had registered, and takes claims back") {
  ZmqHubConfig config = zmq_test::local_hub();
  std::optional<ServedHub> hub;
  hub.emplace(config);
  const ZmqTransportConfig address = hub->address();
  config.query_addr = address.query_addr;
  config.register_addr = address.register_addr;
  asio::io_context io;
  Client client = builder(io, address).batch_size(1).resend_interval(100ms).log(nullptr).build();
  Completed<BlockClaim> outcome;
  client.async_claim({100}, 0s, outcome.token());
  REQUIRE(run_until(io, [&] { return outcome.calls > 0; }));
  BlockClaim claim = std::move(outcome.result);
  hub.reset();
  std::vector<Completed<Blocks>> registered(50);
  for (K key = 0; key < 50; ++key) client.async_register_blocks({{key, key}}, registered[key].token());
  REQUIRE(run_until(io, [&] { return registered.back().calls > 0; }));
  hub.emplace(config);
  // Nobody calls the client meanwhile.
  REQUIRE(run_until(io, [&] { return hub->stats().stored == 50 && hub->stats().leases.active == 1; }));
  for (const auto& one : registered) REQUIRE(one.succeeded());
  REQUIRE(claim.held() == Keys{100});
  Completed<Blocks> closed;
  client.async_close(10s, closed.token());
  REQUIRE(run_until(io, [&] { return closed.calls > 0; }));
  REQUIRE(closed.result.empty());
}

TEST_CASE("an asynchronous claim is had back of a new hub, or says what it has lost") {
  Doubtful world;
  world.renewal = GENERATE(RenewStatus::held, RenewStatus::lost);
  Client client = world.build().build();
  Completed<BlockClaim> claimed;
  client.async_claim({1}, 0s, claimed.token());
  REQUIRE(world.asked(1));
  REQUIRE(world.hub.type(0) == MessageType::claim);
  world.hub.answer(0, claim_answer({granted}, {.ttl = std::chrono::hours{1}, .incarnation = 7}));
  REQUIRE(world.hub.run(world.io, [&] { return claimed.calls > 0; }));
  const BlockClaim claim = std::move(claimed.result);
  const SteadyTime deadline = claim.deadline();
  world.say({.incarnation = 7}, [&] { return client.stats().hubs_met == 1; });
  REQUIRE_FALSE(world.first(MessageType::renew));
  world.say({.incarnation = 8}, [&] { return world.first(MessageType::renew).has_value(); });
  const std::size_t renewal = *world.first(MessageType::renew);
  REQUIRE(world.hub.envelope(renewal).claim == world.hub.envelope(0).claim);
  REQUIRE(split_trailer<1>(as_bytes(world.hub.seen.queries[renewal].message)).value().second[0] == 7);
  REQUIRE(client.stats().hubs_met == 2);
  if (world.renewal == RenewStatus::held) {
    world.say({.incarnation = 8}, [&] { return claim.deadline() > deadline; });
    REQUIRE(claim.held() == Keys{1});
    REQUIRE(claim.lost().empty());
  } else {
    world.say({.incarnation = 8}, [&] { return !claim.lost().empty(); });
    REQUIRE(claim.lost() == Keys{1});
    // Nobody asks for one that holds nothing any more.
    bool has_waited = false;
    asio::steady_timer timer(world.io, 200ms);
    timer.async_wait([&](std::error_code) { has_waited = true; });
    world.say({.incarnation = 8}, [&] { return has_waited; });
    world.be_quiet();
  }
}

TEST_CASE("what another hub grants to a second asynchronous claim its first one has lost at once") {
  Doubtful world;
  Client client = world.build().build();
  Completed<BlockClaim> first;
  Completed<BlockClaim> second;
  client.async_claim({1, 2}, 0s, first.token());
  REQUIRE(world.asked(1));
  world.hub.answer(0, claim_answer({granted, granted}, {.incarnation = 7, .token = 1}));
  REQUIRE(world.hub.run(world.io, [&] { return first.calls > 0; }));
  client.async_claim({2}, 0s, second.token());
  REQUIRE(world.asked(2));
  REQUIRE(world.hub.type(1) == MessageType::claim);
  world.hub.answer(1, claim_answer({granted}, {.incarnation = 8, .token = 2}));
  REQUIRE(world.hub.run(world.io, [&] { return second.calls > 0; }));
  REQUIRE(second.result.held() == Keys{2});
  REQUIRE(first.result.held() == Keys{1});
  REQUIRE(first.result.lost() == Keys{2});
}

TEST_CASE("what was not confirmed comes back from async_close") {
  Doubtful world;
  Client client = world.build().build();
  const Blocks entries{{1, 10}, {2, 20}};
  for (const Block& block : entries) world.add(client, block);
  Completed<Blocks> closed;
  SECTION("from a hub that says nothing") {
    client.async_close(50ms, closed.token());
    REQUIRE(world.hub.run(world.io, [&] { return closed.calls > 0; }));
    REQUIRE(closed.succeeded());
    REQUIRE(closed.result == entries);
  }
  SECTION("from one that has only some of it") {
    client.async_close(300ms, closed.token());
    world.say({.applied = 1, .incarnation = 7}, [&] { return closed.calls > 0; });
    REQUIRE(closed.result == Blocks{{2, 20}});
  }
  SECTION("nothing from one that confirms it all, as soon as it does") {
    world.hub.confirms = true;
    client.async_close(std::chrono::hours{1}, closed.token());
    REQUIRE(world.hub.run(world.io, [&] { return closed.calls > 0; }));
    REQUIRE(closed.result.empty());
  }
}

TEST_CASE("an asynchronous client that ends reports what was not confirmed") {
  Doubtful world;
  const Losses losses;
  auto io = std::make_unique<asio::io_context>();
  std::optional<Client> client =
      builder(*io, world.hub.address())
          .batch_size(1)
          .resend_interval(20ms)
          .close_timeout(50ms)
          .on_undelivered(losses)
          .build();
  Completed<Blocks> registered;
  client->async_register_blocks({{1, 10}}, registered.token());
  REQUIRE(run_until(*io, [&] { return registered.calls > 0; }));
  SECTION("when it is destroyed") {
    client.reset();
    io->restart();
    io->run_for(10s);
    REQUIRE(io->stopped());
    REQUIRE(losses.all->size() == 1);
    REQUIRE(std::get<Timeout>(losses.all->front().second).duration == 50ms);
  }
  SECTION("when its io_context is") {
    client.reset();
    io.reset();
    REQUIRE(losses.all->size() == 1);
    REQUIRE(std::get<Disconnected>(losses.all->front().second).reason ==
            "the io_context ended before the hub had confirmed them");
  }
  REQUIRE(losses.all->front().first == Blocks{{1, 10}});
}

TEST_CASE("an asynchronous client that is destroyed has what it registered confirmed, and reports nothing") {
  ServedHub hub;
  const Losses losses;
  asio::io_context io;
  std::optional<Client> client =
      builder(io, hub.address())
          .resend_interval(std::chrono::hours{1})
          .close_timeout(20s)
          .on_undelivered(losses)
          .build();
  Completed<Blocks> registered;
  client->async_register_blocks({{1, 10}}, registered.token());
  client.reset();
  io.run_for(10s);
  REQUIRE(io.stopped());
  REQUIRE(losses.all->empty());
  REQUIRE(hub.stats().stored == 1);
}

TEST_CASE("what is not confirmed is bounded, and beyond it asynchronous registering waits") {
  Doubtful world;
  Client client = world.build().resend_interval(1s).max_unconfirmed_bytes(2000).register_timeout(200ms).build();
  K next = 1;
  Completed<Blocks> full;
  while (full.calls == 0) {
    REQUIRE(next < 100);
    Completed<Blocks> outcome;
    client.async_register_blocks({{next, 10}}, outcome.token());
    REQUIRE(world.hub.run(world.io, [&] { return outcome.calls > 0; }));
    if (outcome.code) full = outcome;
    ++next;
  }
  REQUIRE(full.failed_with(errc::timeout));
  REQUIRE(full.result == Blocks{{next - 1, 10}});
  REQUIRE(next > 3);
  // There is room as soon as the hub confirms, and it is asked at once.
  Completed<Blocks> waiting;
  Completed<std::uint64_t> removed;
  client.async_register_blocks({{next, 10}}, waiting.token());
  client.async_remove({next}, removed.token());
  world.hub.confirms = true;
  REQUIRE(world.hub.run(world.io, [&] { return waiting.calls > 0; }));
  REQUIRE(waiting.succeeded());
  // What follows it waits with it.
  REQUIRE(world.hub.run(world.io, [&] {
    return !world.hub.seen.queries.empty() && world.hub.type(world.hub.seen.queries.size() - 1) == MessageType::remove;
  }));
  REQUIRE(world.hub.envelope(world.hub.seen.queries.size() - 1).after == next - 1);
}

TEST_CASE("unconfirmed registrations keep the io_context running until they are confirmed") {
  ServedHub hub;
  asio::io_context io;
  Client client = builder(io, hub.address()).batch_size(1).resend_interval(20ms).build();
  Completed<Blocks> registered;
  client.async_register_blocks({{1, 10}}, registered.token());
  io.run_for(10s);
  REQUIRE(io.stopped());
  REQUIRE(hub.stats().stored == 1);
  REQUIRE(client.stats().hubs_met == 1);
}

TEST_CASE("a hub that confirms nothing keeps no io_context running for ever, but is asked while it runs anyway") {
  Doubtful world;
  Client client = world.build().register_timeout(100ms).build();
  const SteadyTime start = zmq_test::steady_now();
  world.add(client, {1, 10});
  world.io.restart();
  world.io.run_for(10s);
  REQUIRE(world.io.stopped());
  REQUIRE(zmq_test::steady_now() - start >= 100ms);
  // Of those that have been sent meanwhile the last is answered.
  const auto work = asio::make_work_guard(world.io);
  REQUIRE(world.asked(1));
  const std::size_t before = world.hub.seen.queries.size();
  REQUIRE(world.asked(before + 2));
  world.hub.confirms = true;
  Completed<Blocks> closed;
  client.async_close(10s, closed.token());
  REQUIRE(world.hub.run(world.io, [&] { return closed.calls > 0; }));
  REQUIRE(closed.result.empty());
}

TEST_CASE("a claim keeps no io_context running, and its hub is asked after all the same while it runs anyway") {
  ServedHub hub;
  asio::io_context io;
  Client client = builder(io, hub.address()).resend_interval(50ms).build();
  Completed<BlockClaim> outcome;
  client.async_claim({1}, 0s, outcome.token());
  io.run_for(10s);
  REQUIRE(io.stopped());
  REQUIRE(outcome.result.granted() == Keys{1});
  REQUIRE(client.stats().hubs_met == 0);
  const auto work = asio::make_work_guard(io);
  REQUIRE(run_until(io, [&] { return client.stats().hubs_met == 1; }));
}

TEST_CASE("an io_context may end while its clients are waited for in the background") {
  ServedHub hub;
  // The wait for the hub is over before, while and after the io_context ends.
  for (int round = 0; round < 500; ++round) {
    asio::io_context io;
    Client client = builder(io, hub.address()).resend_interval((round % 100 + 1) * 10us).build();
    Completed<BlockClaim> outcome;
    client.async_claim({static_cast<K>(round)}, 0s, outcome.token());
    REQUIRE(run_until(io, [&] { return outcome.calls > 0; }));
  }
  SUCCEED("nothing hangs, and no sanitizer finds anything");
}

TEST_CASE("nothing is kept for a hub that does not know how to confirm") {
  const bool has_envelopes = GENERATE(true, false);
  Doubtful world;
  const Losses losses;
  Client client = world.build().on_undelivered(losses).build();
  world.add(client, {1, 10});
  std::size_t next = 0;
  REQUIRE(world.hub.run(world.io, [&] {
    for (; next < world.hub.seen.queries.size(); ++next) {
      unless_gone([&] {
        if (has_envelopes) {
          world.hub.answer(next, text_answer(MessageType::error_response, to_string(InvalidMessageType{43})));
        } else {
          world.hub.answer_bare(next, text_answer(MessageType::error_response, "unknown type"));
        }
      });
    }
    return next > 0 && world.is_idle();
  }));
  REQUIRE(world.hub.type(0) == MessageType::sync);
  world.be_quiet();
  world.add(client, {2, 20});
  world.be_quiet();
  Completed<Blocks> closed;
  client.async_close(10s, closed.token());
  REQUIRE(world.hub.run(world.io, [&] { return closed.calls > 0; }));
  REQUIRE(closed.result.empty());
  REQUIRE(losses.all->empty());
}

TEST_CASE("a client that has heard of its hub that it knows no envelopes keeps nothing that it has sent before") {
  Doubtful world;
  Client client = world.build().resend_interval(std::chrono::hours{1}).build();
  world.add(client, {1, 10});
  Completed<std::uint64_t> touched;
  client.async_touch({1}, touched.token());
  REQUIRE(world.asked(1));
  world.hub.answer_bare(0, count_answer(MessageType::touch_response, 1));
  REQUIRE(world.hub.run(world.io, [&] { return touched.calls > 0; }));
  Completed<Blocks> closed;
  client.async_close(10s, closed.token());
  REQUIRE(world.hub.run(world.io, [&] { return closed.calls > 0; }));
  REQUIRE(closed.result.empty());
  REQUIRE(world.hub.seen.queries.size() == 1);
}

TEST_CASE("an asynchronous client that is told not to keep anything does not ask") {
  Doubtful world;
  Client client = world.build().max_unconfirmed_bytes(0).build();
  world.add(client, {1, 10});
  world.be_quiet();
  REQUIRE(world.hub.seen.queries.empty());
}

TEST_CASE("what a hub has refused of what was pushed is reported by an asynchronous client, with the reason") {
  ServedHub hub(zmq_test::local_hub(), HubOptions{.insist_on_holder = true});
  const Losses losses;
  asio::io_context io;
  Client client = builder(io, hub.address()).batch_size(2).resend_interval(20ms).on_undelivered(losses).build();
  Completed<Blocks> pushed;
  client.async_register_blocks({{1, 10}, {2, 20}, {3, 30}, {4, 40}}, pushed.token());
  REQUIRE(run_until(io, [&] { return losses.all->size() >= 2; }));
  REQUIRE(pushed.succeeded());
  REQUIRE((*losses.all)[0].first == Blocks{{1, 10}, {2, 20}});
  REQUIRE((*losses.all)[1].first == Blocks{{3, 30}, {4, 40}});
  REQUIRE(std::holds_alternative<LeaseConflict>(losses.all->front().second));
  // Now it knows.
  const std::uint64_t before = hub.stats().registrations;
  Completed<Blocks> refused;
  client.async_register_blocks({{5, 50}}, refused.token());
  REQUIRE(run_until(io, [&] { return refused.calls > 0; }));
  REQUIRE(refused.failed_with(errc::lease_conflict));
  REQUIRE(refused.result == Blocks{{5, 50}});
  REQUIRE(hub.stats().registrations == before);
  REQUIRE(losses.all->size() == 2);
}

TEST_CASE("to a hub that insists an asynchronous client has every registration acknowledged") {
  ServedHub hub(zmq_test::local_hub(), HubOptions{.insist_on_holder = true});
  asio::io_context io;
  Client client = builder(io, hub.address()).resend_interval(std::chrono::hours{1}).build();
  Completed<OffloadResult<K>> asked;
  client.async_can_offload({1}, asked.token());
  REQUIRE(run_until(io, [&] { return asked.calls > 0; }));
  Completed<Blocks> mine;
  Completed<Blocks> late;
  Diagnostics diagnostics;
  client.async_register_blocks({{1, 10}}, mine.token());
  client.async_register_blocks({{2, 20}, {3, 30}}, diagnostics, late.token());
  REQUIRE(run_until(io, [&] { return mine.calls > 0 && late.calls > 0; }));
  REQUIRE(mine.succeeded());
  REQUIRE(hub.stats().stored == 1);
  REQUIRE(late.failed_with(errc::lease_conflict));
  REQUIRE(std::holds_alternative<LeaseConflict>(diagnostics.error().value()));
  REQUIRE(late.result == Blocks{{2, 20}, {3, 30}});
}

TEST_CASE("registering does not wait for long for a hub that does not say whether it insists") {
  Doubtful world;
  Client client = world.build().resend_interval(std::chrono::hours{1}).register_timeout(200ms).build();
  REQUIRE(introduce(world.hub, world.io, client));
  Completed<Blocks> registered;
  client.async_register_blocks({{1, 10}}, registered.token());
  REQUIRE(world.asked(2));
  REQUIRE(world.hub.type(1) == MessageType::sync);
  REQUIRE(registered.calls == 0);
  REQUIRE(world.sent(1));
  REQUIRE(world.hub.run(world.io, [&] { return registered.calls > 0; }));
  REQUIRE(registered.succeeded());
}

TEST_CASE("a registration that waits to hear whether it is to be acknowledged has no more time because of that") {
  Doubtful world;
  Client client = world.build().resend_interval(std::chrono::hours{1}).register_timeout(1s).build();
  REQUIRE(introduce(world.hub, world.io, client));
  Completed<Blocks> first;
  Completed<Blocks> second;
  client.async_register_blocks({{1, 10}}, first.token());
  REQUIRE(world.asked(2));
  REQUIRE(world.hub.type(1) == MessageType::sync);
  asio::steady_timer later(world.io, 300ms);
  later.async_wait([&](std::error_code) {
    client.async_register_blocks({{2, 20}}, second.token());
    world.hub.answer(1, sync_answer({.incarnation = 7, .flags = hub_insists_on_holder}));
  });
  REQUIRE(world.asked(4));
  REQUIRE(world.hub.type(2) == MessageType::register_entries);
  REQUIRE(world.hub.type(3) == MessageType::register_entries);
  REQUIRE(world.hub.run(world.io, [&] { return first.calls > 0; }));
  REQUIRE(first.failed_with(errc::timeout));
  REQUIRE(second.calls == 0);
}

TEST_CASE("an asynchronous client may have every registration acknowledged") {
  Doubtful world;
  Client client = world.build().acknowledged(true).register_timeout(20s).build();
  REQUIRE(introduce(world.hub, world.io, client));
  asio::cancellation_signal signal;
  Completed<Blocks> outcome;
  Completed<std::error_code> flushed;
  client.async_register_blocks({{1, 10}, {2, 20}}, asio::bind_cancellation_slot(signal.slot(), outcome.token()));
  REQUIRE(world.asked(3));
  REQUIRE(world.hub.type(1) == MessageType::register_entries);
  REQUIRE(world.hub.envelope(1).sequence == 1);
  REQUIRE(world.hub.envelope(2).resent == 1);
  REQUIRE(outcome.calls == 0);
  REQUIRE(world.hub.seen.registrations.empty());
  SECTION("and hears what was refused") {
    world.hub.answer(2, register_answer({RegisterStatus::stored, RegisterStatus::limit_exceeded}));
    REQUIRE(world.hub.run(world.io, [&] { return outcome.calls > 0; }));
    REQUIRE(outcome.failed_with(errc::hub_error));
    REQUIRE(outcome.result == Blocks{{2, 20}});
  }
  SECTION("and that all were stored") {
    world.hub.answer(2, register_answer({RegisterStatus::stored, RegisterStatus::stored}));
    REQUIRE(world.hub.run(world.io, [&] { return outcome.calls > 0; }));
    REQUIRE(outcome.succeeded());
    REQUIRE(outcome.result.empty());
  }
  SECTION("and cancel it") {
    signal.emit(asio::cancellation_type::terminal);
    REQUIRE(world.hub.run(world.io, [&] { return outcome.calls > 0; }));
    REQUIRE(outcome.code == asio::error::operation_aborted);
    REQUIRE(outcome.result == Blocks{{1, 10}, {2, 20}});
  }
  SECTION("and is told when it ends before") {
    Completed<Blocks> closed;
    client.async_close(std::chrono::hours{1}, closed.token());
    REQUIRE(world.hub.run(world.io, [&] { return outcome.calls > 0; }));
    REQUIRE(outcome.failed_with(errc::disconnected));
    REQUIRE(outcome.result == Blocks{{1, 10}, {2, 20}});
    // So that the hub waits for it no longer.
    REQUIRE(world.sent(1));
    REQUIRE(world.hub.number(0) == 1);
    REQUIRE(world.hub.entries_registered() == 0);
    world.hub.confirms = true;
    REQUIRE(world.hub.run(world.io, [&] { return closed.calls > 0; }));
    REQUIRE(closed.result.empty());
  }
}

TEST_CASE("a waiting claim keeps its connection while the hub is silent for some questions after its registrations") {
  Doubtful world;
  Client client = world.build().build();
  REQUIRE(introduce(world.hub, world.io, client));
  Completed<BlockClaim> waiting;
  client.async_claim({1}, 20s, waiting.token());
  REQUIRE(world.hub.run(world.io, [&] { return world.first(MessageType::claim).has_value(); }));
  world.add(client, {7, 70});
  REQUIRE(world.asked(world.hub.seen.queries.size() + 4));
  for (const auto& query : world.hub.seen.queries) REQUIRE(query.sender == world.hub.seen.queries[0].sender);
  world.hub.answer(*world.first(MessageType::claim), claim_answer({granted}));
  REQUIRE(world.hub.run(world.io, [&] { return waiting.calls > 0; }));
  REQUIRE(waiting.succeeded());
}
