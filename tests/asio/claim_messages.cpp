// SPDX-License-Identifier: Apache-2.0
// What claims of asynchronous clients say to the hub, and when, against a hub that says what the test wants.
#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/error.hpp>

#include <cstddef>
#include <cstdint>
#include <numeric>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

#include "asio/common.hpp"
#include "asio/fragile.hpp"
#include "asio/joint.hpp"
#include "support/catch.hpp"

using namespace asio_test;

namespace {

using BlockClaim = Client::ClaimType;

/// Asks for one key and is granted it on these terms; the last query is that.
BlockClaim granted_claim(Introduced& world, ClaimTerms terms = {}) {
  Completed<BlockClaim> outcome;
  const std::size_t query = world.hub.seen.queries.size();
  world.client.async_claim({1}, 0s, outcome.token());
  REQUIRE(world.hub.run(world.io, [&] { return world.hub.seen.queries.size() == query + 1; }));
  world.hub.answer(query, claim_answer({granted}, terms));
  REQUIRE(world.hub.run(world.io, [&] { return outcome.calls > 0; }));
  REQUIRE(outcome.succeeded());
  return std::move(outcome.result);
}

/// The keys of a message that has a number behind them, and the number.
std::pair<Keys, std::uint64_t> keys_and_number(const ScriptedHub& hub, std::size_t query) {
  const auto [message, numbers] = split_trailer<1>(as_bytes(hub.seen.queries.at(query).message)).value();
  Keys keys;
  if (Messages::decode_keys(message, keys)) throw std::runtime_error("no keys");
  return {keys, numbers[0]};
}

}  // namespace

TEST_CASE("claims travel alone, each in the name of a holder of its own") {
  Introduced world;
  std::vector<Completed<BlockClaim>> claims(3);
  Completed<OffloadResult<K>> offload;
  for (auto& claim : claims) world.client.async_claim({1}, 5s, claim.token());
  world.client.async_can_offload({1}, offload.token());
  REQUIRE(world.received(4));
  for (std::size_t i = 1; i <= 3; ++i) {
    REQUIRE(world.hub.type(i) == MessageType::claim);
    REQUIRE(world.hub.envelope(i).claim == i);
    REQUIRE(keys_and_number(world.hub, i).second == 5'000'000'000U);
  }
  REQUIRE(world.hub.type(4) == MessageType::can_offload);
  REQUIRE_FALSE(world.hub.envelope(4).claim);
}

TEST_CASE("a wait that is not one is none, and one of centuries is a year") {
  Introduced world;
  Completed<BlockClaim> negative;
  Completed<BlockClaim> endless;
  world.client.async_claim({1}, -5s, negative.token());
  world.client.async_claim({1}, std::chrono::nanoseconds::max(), endless.token());
  REQUIRE(world.received(2));
  REQUIRE(keys_and_number(world.hub, 1).second == 0);
  REQUIRE(keys_and_number(world.hub, 2).second == 31'556'952'000'000'000U);
  world.hub.answer(2, claim_answer({granted}));
  REQUIRE(world.hub.run(world.io, [&] { return endless.calls > 0; }));
  REQUIRE(endless.succeeded());
}

TEST_CASE("a claim that is given up is withdrawn in its own name") {
  const bool is_cancelled = GENERATE(true, false);
  Introduced world(200ms);
  asio::cancellation_signal signal;
  Completed<BlockClaim> outcome;
  Diagnostics diagnostics;
  world.client.async_claim({1, 2}, 100ms, diagnostics, asio::bind_cancellation_slot(signal.slot(), outcome.token()));
  REQUIRE(world.received(1));
  if (is_cancelled) signal.emit(asio::cancellation_type::terminal);
  REQUIRE(world.received(2));
  REQUIRE(world.hub.run(world.io, [&] { return outcome.calls > 0; }));
  if (is_cancelled) {
    REQUIRE(outcome.code == asio::error::operation_aborted);
    REQUIRE_FALSE(diagnostics.error());
  } else {
    REQUIRE(outcome.failed_with(errc::timeout));
    // The wait does not count against the time of the request.
    REQUIRE(std::get<Timeout>(*diagnostics.error()).duration == 300ms);
  }
  REQUIRE(world.hub.type(2) == MessageType::withdraw);
  REQUIRE(world.hub.keys(2) == Keys{1, 2});
  REQUIRE(world.hub.envelope(2).number == world.hub.envelope(1).number);
  REQUIRE(world.hub.envelope(2).claim == world.hub.envelope(1).claim);

  // The late answer is nobody's, and the connection goes on.
  world.hub.answer(1, claim_answer({granted, granted}));
  REQUIRE(introduce(world.hub, world.io, world.client));
  REQUIRE(outcome.calls == 1);
}

TEST_CASE("a claim that waits is not in the way of the request timeout of others") {
  Introduced world(200ms);
  Completed<BlockClaim> waiting;
  world.client.async_claim({1}, 20s, waiting.token());
  REQUIRE(world.received(1));
  Completed<std::uint64_t> touched;
  world.client.async_touch({1}, touched.token());
  REQUIRE(world.hub.run(world.io, [&] { return touched.calls > 0; }));
  REQUIRE(touched.failed_with(errc::timeout));
  REQUIRE(waiting.calls == 0);
  world.hub.answer(1, claim_answer({stored}));
  REQUIRE(world.hub.run(world.io, [&] { return waiting.calls > 0; }));
  REQUIRE(waiting.succeeded());
  REQUIRE(waiting.result.already_stored() == Keys{1});
}

TEST_CASE("a client whose first call waits gets to know its hub before") {
  ScriptedHub hub;
  asio::io_context io;
  Client client = builder(io, hub.address()).build();
  Completed<BlockClaim> waiting;
  Completed<std::uint64_t> touched;
  client.async_claim({1}, 20s, waiting.token());
  client.async_touch({2}, touched.token());
  REQUIRE(hub.run(io, [&] { return hub.seen.queries.size() == 1; }));
  REQUIRE(hub.type(0) == MessageType::hello);
  hub.answer(0, text_answer(MessageType::hello_response, "default"));
  // Otherwise it would be kept behind the claim.
  REQUIRE(hub.run(io, [&] { return hub.seen.queries.size() == 3; }));
  REQUIRE(hub.type(1) == MessageType::claim);
  hub.answer(2, count_answer(MessageType::touch_response, 5));
  REQUIRE(hub.run(io, [&] { return touched.calls > 0; }));
  REQUIRE(touched.result == 5);
  REQUIRE(waiting.calls == 0);
}

TEST_CASE("a hub that is not there when a first call waits is asked again") {
  ScriptedHub hub;
  asio::io_context io;
  Client client = builder(io, hub.address()).request_timeout(300ms).build();
  Completed<BlockClaim> waiting;
  client.async_claim({1}, 20s, waiting.token());
  REQUIRE(hub.run(io, [&] { return hub.seen.queries.size() == 2; }));
  REQUIRE(hub.type(1) == MessageType::hello);
  REQUIRE(waiting.calls == 0);
  hub.answer(1, text_answer(MessageType::hello_response, "default"));
  REQUIRE(hub.run(io, [&] { return hub.seen.queries.size() == 3; }));
  REQUIRE(hub.type(2) == MessageType::claim);
  hub.answer(2, claim_answer({granted}));
  REQUIRE(hub.run(io, [&] { return waiting.calls > 0; }));
  REQUIRE(waiting.succeeded());
}

TEST_CASE("a hub that knows neither envelopes nor claims leaves asynchronous claims unsupported") {
  const std::chrono::seconds wait = GENERATE(0s, 20s);
  ScriptedHub hub;
  asio::io_context io;
  Client client = builder(io, hub.address()).build();
  Completed<BlockClaim> outcome;
  Diagnostics diagnostics;
  client.async_claim({1}, wait, diagnostics, outcome.token());
  std::size_t answered = 0;
  REQUIRE(hub.run(io, [&] {
    if (hub.seen.queries.size() > answered) {
      hub.answer_bare(answered++, text_answer(MessageType::error_response, "unknown type"));
    }
    return outcome.calls > 0;
  }));
  REQUIRE(outcome.failed_with(errc::unsupported));
  REQUIRE(std::get<Unsupported>(*diagnostics.error()).operation == "claim (the hub says: unknown type)");
  REQUIRE(outcome.result.granted().empty());
}

TEST_CASE("a claim that cannot be made of its answer fails alone") {
  ScriptedHub hub;
  asio::io_context io;
  auto client =
      registry::client<Fragile, std::uint64_t>(AsioZmqTransport::connect(io.get_executor(), hub.address())).build();
  Completed<decltype(client)::ClaimType> broken;
  client.async_claim({Fragile{13}}, 0s, broken.token());
  REQUIRE(hub.run(io, [&] { return hub.seen.queries.size() == 1; }));
  hub.answer(0, claim_answer({granted}));
  Fragile::breaks = true;
  const bool has_ended = hub.run(io, [&] { return broken.calls > 0; });
  Fragile::breaks = false;
  REQUIRE(has_ended);
  REQUIRE(broken.failed_with(errc::transport_error));
  REQUIRE(broken.result.granted().empty());
  REQUIRE(introduce(hub, io, client));
}

TEST_CASE("progress is told to the hub only when a third of the lease time is over") {
  Introduced world;
  BlockClaim claim = granted_claim(world, {.ttl = std::chrono::hours{1}});
  const std::size_t before = world.hub.seen.queries.size();
  Completed<Keys> early;
  claim.async_progress(early.token());
  REQUIRE(early.calls == 0);
  REQUIRE(world.hub.run(world.io, [&] { return early.calls > 0; }));
  REQUIRE(early.succeeded());
  // Whatever it had sent would have come before the answer to this.
  REQUIRE(introduce(world.hub, world.io, world.client));
  REQUIRE(world.hub.seen.queries.size() == before + 1);

  BlockClaim short_one = granted_claim(world, {.ttl = 1ns});
  Completed<Keys> due;
  Diagnostics diagnostics;
  diagnostics.set(Timeout{});
  short_one.async_progress(diagnostics, due.token());
  REQUIRE(world.hub.run(world.io, [&] { return world.hub.seen.queries.size() == before + 3; }));
  REQUIRE(world.hub.type(before + 2) == MessageType::renew);
  world.hub.answer(before + 2, renew_answer({RenewStatus::lost}));
  REQUIRE(world.hub.run(world.io, [&] { return due.calls > 0; }));
  REQUIRE(due.succeeded());
  REQUIRE(due.result == Keys{1});
  REQUIRE_FALSE(diagnostics.error());
}

TEST_CASE("a renewal names who granted the lease, unless it is over") {
  Introduced world;
  BlockClaim claim = granted_claim(world, {.ttl = std::chrono::hours{1}, .incarnation = 7});
  const std::size_t first = world.hub.seen.queries.size();
  const SteadyTime deadline = claim.deadline();
  Completed<Keys> renewed;
  claim.async_renew(renewed.token());
  REQUIRE(world.hub.run(world.io, [&] { return world.hub.seen.queries.size() == first + 1; }));
  REQUIRE(world.hub.envelope(first).claim == world.hub.envelope(first - 1).claim);
  REQUIRE(keys_and_number(world.hub, first) == std::pair{Keys{1}, std::uint64_t{7}});
  REQUIRE(claim.deadline() == deadline);
  world.hub.answer(first, renew_answer({RenewStatus::held}, {.ttl = 1ns, .incarnation = 8}));
  REQUIRE(world.hub.run(world.io, [&] { return renewed.calls > 0; }));
  REQUIRE(renewed.succeeded());
  REQUIRE(claim.deadline() < deadline);

  // That time is over by now: another hub, which does not know that, must not let it have the key back.
  Completed<Keys> late;
  claim.async_renew(late.token());
  REQUIRE(world.hub.run(world.io, [&] { return world.hub.seen.queries.size() == first + 2; }));
  REQUIRE(keys_and_number(world.hub, first + 1).second == 0);
}

TEST_CASE("a claim that holds nothing has nothing to renew") {
  Introduced world;
  BlockClaim claim = granted_claim(world, {.ttl = 1ns});
  const std::size_t before = world.hub.seen.queries.size();
  claim.release();
  REQUIRE(world.hub.run(world.io, [&] { return world.hub.seen.queries.size() == before + 1; }));
  REQUIRE(world.hub.type(before) == MessageType::release);
  Completed<Keys> renewed;
  Completed<Keys> progressed;
  claim.async_renew(renewed.token());
  claim.async_progress(progressed.token());
  REQUIRE(world.hub.run(world.io, [&] { return renewed.calls > 0 && progressed.calls > 0; }));
  REQUIRE(renewed.succeeded());
  REQUIRE(progressed.succeeded());
  REQUIRE(introduce(world.hub, world.io, world.client));
  REQUIRE(world.hub.seen.queries.size() == before + 2);
}

TEST_CASE("what a renewal has kept and its asynchronous claim has given up meanwhile is given back") {
  Introduced world;
  BlockClaim claim = granted_claim(world);
  const std::size_t renewal = world.hub.seen.queries.size();
  Completed<Keys> renewed;
  claim.async_renew(renewed.token());
  REQUIRE(world.hub.run(world.io, [&] { return world.hub.seen.queries.size() == renewal + 1; }));
  claim.release();
  REQUIRE(world.hub.run(world.io, [&] { return world.hub.seen.queries.size() == renewal + 2; }));
  // By a hub that has come after the one that took back what was given up.
  world.hub.answer(renewal, renew_answer({RenewStatus::held}, {.incarnation = 8}));
  REQUIRE(world.hub.run(world.io, [&] { return world.hub.seen.queries.size() == renewal + 3; }));
  REQUIRE(world.hub.type(renewal + 2) == MessageType::release);
  REQUIRE(world.hub.envelope(renewal + 2).claim == 1);
  REQUIRE(world.hub.keys(renewal + 2) == Keys{1});
  REQUIRE(world.hub.run(world.io, [&] { return renewed.calls > 0; }));
  REQUIRE(renewed.succeeded());
}

TEST_CASE("an asynchronous claim can be moved, and only the last owner gives back") {
  Introduced world;
  std::optional<BlockClaim> first = granted_claim(world);
  const std::size_t before = world.hub.seen.queries.size();
  std::optional<BlockClaim> second = std::move(*first);
  first.reset();
  REQUIRE(introduce(world.hub, world.io, world.client));
  REQUIRE(world.hub.seen.queries.size() == before + 1);
  second = granted_claim(world);  // gives back what it held
  REQUIRE(world.hub.run(world.io, [&] { return world.hub.seen.queries.size() == before + 3; }));
  REQUIRE(world.hub.type(before + 2) == MessageType::release);
  REQUIRE(world.hub.envelope(before + 2).claim == 1);
  REQUIRE(world.hub.keys(before + 2) == Keys{1});
}

TEST_CASE("a claim gives back, keeps and registers in its own name") {
  Introduced world;
  std::optional<BlockClaim> claim = granted_claim(world);
  const std::size_t next = world.hub.seen.queries.size();
  Completed<RegisterResult<Block>> registered;
  claim->async_register_blocks({{1, 10}}, registered.token());
  REQUIRE(world.hub.run(world.io, [&] { return world.hub.seen.queries.size() == next + 1; }));
  REQUIRE(world.hub.type(next) == MessageType::register_entries);
  REQUIRE(world.hub.envelope(next).claim == 1);
  REQUIRE(world.hub.envelope(next).sequence == 1);
  world.hub.answer(next, register_answer({RegisterStatus::limit_exceeded}));
  REQUIRE(world.hub.run(world.io, [&] { return registered.calls > 0; }));
  REQUIRE(registered.result.refused == Blocks{{1, 10}});
  REQUIRE(claim->held() == Keys{1});
  claim.reset();
  REQUIRE(world.hub.run(world.io, [&] { return world.hub.seen.queries.size() == next + 2; }));
  REQUIRE(world.hub.type(next + 1) == MessageType::release);
  REQUIRE(world.hub.envelope(next + 1).claim == 1);
}

TEST_CASE("what a claim gives back does not overtake the calls that it has made before") {
  Introduced world;
  BlockClaim claim = granted_claim(world);
  const std::size_t next = world.hub.seen.queries.size();
  Completed<RegisterResult<Block>> registered;
  claim.async_register_blocks({{1, 10}}, registered.token());
  claim.release();
  REQUIRE(world.hub.run(world.io, [&] { return world.hub.seen.queries.size() == next + 2; }));
  REQUIRE(world.hub.type(next) == MessageType::register_entries);
  REQUIRE(world.hub.type(next + 1) == MessageType::release);
}

TEST_CASE("what a claim gives back does not overtake its registration that follows others either") {
  Introduced world;
  BlockClaim claim = granted_claim(world);
  const std::size_t next = world.hub.seen.queries.size();
  Completed<Blocks> pending;
  Completed<RegisterResult<Block>> registered;
  world.client.async_register_blocks({{2, 20}}, pending.token());
  claim.async_register_blocks({{1, 10}, {2, 21}}, registered.token());
  claim.release();
  REQUIRE(world.hub.run(world.io, [&] { return world.hub.seen.queries.size() == next + 2; }));
  REQUIRE(world.hub.type(next) == MessageType::register_entries);
  REQUIRE(world.hub.type(next + 1) == MessageType::release);
}

TEST_CASE("nobody takes the answer to what was given back for his own, and the io_context does not run for it") {
  Introduced world;
  granted_claim(world);
  const std::size_t release = world.hub.seen.queries.size();
  REQUIRE(world.hub.run(world.io, [&] { return world.hub.seen.queries.size() == release + 1; }));
  world.io.restart();
  world.io.run();
  world.hub.answer(release, count_answer(MessageType::release_response, 1));
  Completed<std::uint64_t> touched;
  world.client.async_touch({1}, touched.token());
  REQUIRE(world.hub.run(world.io, [&] { return world.hub.seen.queries.size() == release + 2; }));
  world.hub.answer(release + 1, count_answer(MessageType::touch_response, 5));
  REQUIRE(world.hub.run(world.io, [&] { return touched.calls > 0; }));
  REQUIRE(touched.result == 5);
}

TEST_CASE("a late answer that comes before something is given back is counted") {
  Introduced world;
  Keys keys(100);
  std::iota(keys.begin(), keys.end(), K{1});
  Completed<BlockClaim> claimed;
  world.client.async_claim(keys, 0s, claimed.token());
  REQUIRE(world.received(1));
  world.hub.answer(1, claim_answer(std::vector(keys.size(), granted)));
  REQUIRE(world.hub.run(world.io, [&] { return claimed.calls > 0; }));
  asio::cancellation_signal signal;
  Completed<std::uint64_t> touched;
  world.client.async_touch({1}, asio::bind_cancellation_slot(signal.slot(), touched.token()));
  REQUIRE(world.received(2));
  signal.emit(asio::cancellation_type::terminal);
  REQUIRE(world.hub.run(world.io, [&] { return touched.calls > 0; }));
  world.hub.answer(2, count_answer(MessageType::touch_response, 1));
  for (std::size_t i = 0; i < keys.size() && world.client.stats().late_answers == 0; ++i) {
    claimed.result.release({keys[i]});
    REQUIRE(world.received(3 + i));
  }
  REQUIRE(world.client.stats().late_answers == 1);
}

TEST_CASE("what is given back bit by bit leaves no answers behind that would fill the connection") {
  zmq_test::InProcess place;
  place.config.hwm = 10;
  ScriptedHub hub(place.config);
  asio::io_context io;
  ZmqTransportConfig config = hub.address();
  config.context = place.context;
  config.hwm = 10;
  Client client = builder(io, config).build();
  Keys keys(100);
  std::iota(keys.begin(), keys.end(), K{1});
  Completed<BlockClaim> outcome;
  client.async_claim(keys, 0s, outcome.token());
  REQUIRE(hub.run(io, [&] { return hub.seen.queries.size() == 1; }));
  hub.answer(0, claim_answer(std::vector(keys.size(), granted)));
  REQUIRE(hub.run(io, [&] { return outcome.calls > 0; }));
  for (const K key : keys) {
    outcome.result.release({key});
    REQUIRE(hub.run(io, [&] { return hub.seen.queries.size() == 1 + key; }));
    REQUIRE_NOTHROW(hub.answer(key, count_answer(MessageType::release_response, 1)));
  }
}
