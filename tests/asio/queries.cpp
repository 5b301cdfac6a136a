// SPDX-License-Identifier: Apache-2.0
// What becomes of queries in flight, against a hub that says what the test wants.
#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "asio/common.hpp"
#include "support/catch.hpp"

using namespace asio_test;

TEST_CASE("any number of queries is in flight on one connection, and each gets its own answer") {
  ScriptedHub hub;
  asio::io_context io;
  Client client = builder(io, hub.address()).build();
  REQUIRE(introduce(hub, io, client));

  constexpr std::size_t count = 300;
  std::vector<Completed<std::uint64_t>> outcomes(count);
  for (std::size_t i = 0; i < count; ++i) client.async_touch({i}, outcomes[i].token());
  REQUIRE(hub.run(io, [&] { return hub.seen.queries.size() == 1 + count; }));
  for (std::size_t query = count; query > 0; --query) {
    hub.answer(query, count_answer(MessageType::touch_response, hub.keys(query).front()));
  }
  REQUIRE(hub.run(io, [&] { return std::ranges::all_of(outcomes, [](const auto& o) { return o.calls > 0; }); }));
  std::set<std::string> connections;
  for (const auto& query : hub.seen.queries) connections.insert(query.sender);
  REQUIRE(connections.size() == 1);
  for (std::size_t i = 0; i < count; ++i) {
    REQUIRE(outcomes[i].succeeded());
    REQUIRE(outcomes[i].result == i);
  }
}

TEST_CASE("one query goes ahead until the hub is known to return envelopes") {
  ScriptedHub hub;
  asio::io_context io;
  Client client = builder(io, hub.address()).build();
  std::vector<Completed<std::uint64_t>> outcomes(3);
  for (std::size_t i = 0; i < outcomes.size(); ++i) client.async_touch({i}, outcomes[i].token());
  REQUIRE(hub.run(io, [&] { return hub.seen.queries.size() == 1; }));
  for (int turn = 0; turn < 20; ++turn) {
    int left = 1;
    hub.run(io, [&] { return left-- == 0; });
  }
  REQUIRE(hub.seen.queries.size() == 1);
  hub.answer(0, count_answer(MessageType::touch_response, 0));
  REQUIRE(hub.run(io, [&] { return hub.seen.queries.size() == 3; }));
}

TEST_CASE("a hub that returns no envelopes is asked one thing at a time") {
  ScriptedHub hub;
  asio::io_context io;
  Client client = builder(io, hub.address()).build();
  std::vector<Completed<std::uint64_t>> outcomes(4);
  for (std::size_t i = 0; i < outcomes.size(); ++i) client.async_touch({i}, outcomes[i].token());
  for (std::size_t i = 0; i < outcomes.size(); ++i) {
    REQUIRE(hub.run(io, [&] { return hub.seen.queries.size() == i + 1; }));
    hub.answer_bare(i, count_answer(MessageType::touch_response, 100 + i));
    REQUIRE(hub.run(io, [&] { return outcomes[i].calls == 1; }));
    REQUIRE(hub.seen.queries.size() <= i + 2);
  }
  for (std::size_t i = 0; i < outcomes.size(); ++i) REQUIRE(outcomes[i].result == 100 + i);
}

TEST_CASE("a late answer of a hub that returns no envelopes is taken for nobody else's") {
  ScriptedHub hub;
  asio::io_context io;
  Client client = builder(io, hub.address()).request_timeout(200ms).build();
  Completed<std::uint64_t> first;
  client.async_touch({1}, first.token());
  REQUIRE(hub.run(io, [&] { return first.calls > 0; }));
  REQUIRE(first.failed_with(errc::timeout));

  Completed<std::uint64_t> second;
  client.async_touch({2}, second.token());
  REQUIRE(hub.run(io, [&] { return hub.seen.queries.size() == 2; }));
  REQUIRE(hub.seen.queries[0].sender != hub.seen.queries[1].sender);
  hub.answer_bare(1, count_answer(MessageType::touch_response, 22));
  REQUIRE(hub.run(io, [&] { return second.calls > 0; }));
  REQUIRE(second.succeeded());
  REQUIRE(second.result == 22);
}

TEST_CASE("a query that is not answered times out and takes back what it may have been granted") {
  ScriptedHub hub;
  asio::io_context io;
  Client client = builder(io, hub.address()).request_timeout(200ms).build();
  REQUIRE(introduce(hub, io, client));

  Completed<OffloadResult<K>> outcome;
  Diagnostics diagnostics;
  client.async_can_offload({1, 2}, diagnostics, outcome.token());
  REQUIRE(hub.run(io, [&] { return hub.seen.queries.size() == 3; }));
  REQUIRE(hub.run(io, [&] { return outcome.calls > 0; }));
  REQUIRE(outcome.failed_with(errc::timeout));
  REQUIRE(outcome.code == std::errc::timed_out);
  REQUIRE(diagnostics.error());
  REQUIRE(std::get<Timeout>(*diagnostics.error()).duration == 200ms);
  REQUIRE(hub.type(2) == MessageType::withdraw);
  REQUIRE(hub.keys(2) == Keys{1, 2});
  REQUIRE(hub.envelope(2).number == hub.envelope(1).number);

  // Its late answer is nobody's.
  hub.answer(1, statuses_answer({OffloadStatus::granted, OffloadStatus::granted}));
  REQUIRE(introduce(hub, io, client));
  REQUIRE(outcome.calls == 1);
}

TEST_CASE("what the hub says of a refusal is in the diagnostics") {
  ScriptedHub hub;
  asio::io_context io;
  Client client = builder(io, hub.address()).build();
  Completed<Blocks> outcome;
  Diagnostics diagnostics;
  client.async_match({1}, diagnostics, outcome.token());
  REQUIRE(hub.run(io, [&] { return hub.seen.queries.size() == 1; }));
  hub.answer(0, text_answer(MessageType::error_response, "not on Mondays"));
  REQUIRE(hub.run(io, [&] { return outcome.calls > 0; }));
  REQUIRE(outcome.failed_with(errc::hub_error));
  REQUIRE(std::get<HubError>(*diagnostics.error()).text == "not on Mondays");
}

TEST_CASE("diagnostics of a call that succeeds hold no error") {
  ServedHub hub;
  asio::io_context io;
  Client client = builder(io, hub.address()).build();
  Completed<OffloadResult<K>> offload;
  Completed<Blocks> match;
  Completed<Blocks> prefix;
  Completed<std::uint64_t> removed;
  Completed<std::uint64_t> touched;
  Completed<std::uint64_t> released;
  Completed<Blocks> registered;
  std::error_code flushed = errc::timeout;
  Diagnostics diagnostics;
  diagnostics.set(Timeout{});
  client.async_can_offload({1}, diagnostics, offload.token());
  client.async_match({1}, diagnostics, match.token());
  client.async_match_prefix({1}, diagnostics, prefix.token());
  client.async_remove({1}, diagnostics, removed.token());
  client.async_touch({1}, diagnostics, touched.token());
  client.async_release({1}, diagnostics, released.token());
  client.async_register_blocks({{1, 2}}, diagnostics, registered.token());
  client.async_flush(diagnostics, [&](std::error_code code) { flushed = code; });
  io.run();
  REQUIRE(offload.succeeded());
  REQUIRE(match.succeeded());
  REQUIRE(prefix.succeeded());
  REQUIRE(removed.succeeded());
  REQUIRE(touched.succeeded());
  REQUIRE(released.succeeded());
  REQUIRE(registered.succeeded());
  REQUIRE_FALSE(flushed);
  REQUIRE_FALSE(diagnostics.error());
}

TEST_CASE("an answer that is none of ours is dropped") {
  ScriptedHub hub;
  asio::io_context io;
  Client client = builder(io, hub.address()).build();
  REQUIRE(introduce(hub, io, client));
  Completed<std::uint64_t> outcome;
  client.async_touch({1}, outcome.token());
  REQUIRE(hub.run(io, [&] { return hub.seen.queries.size() == 2; }));

  const auto original = hub.seen.queries[1].envelope;
  Envelope envelope = hub.envelope(1);
  const auto answer_behind = [&](const Envelope& with, std::uint64_t count) {
    Bytes frame;
    with.encode(frame);
    hub.seen.queries[1].envelope = {zmq_test::text(frame)};
    hub.answer(1, count_answer(MessageType::touch_response, count));
  };
  Envelope unknown_number = envelope;
  unknown_number.number += 1;
  answer_behind(unknown_number, 91);
  Envelope another_generation = envelope;
  another_generation.number += std::uint64_t{1} << 32U;
  answer_behind(another_generation, 92);
  Envelope another_client = envelope;
  another_client.client.low += 1;
  answer_behind(another_client, 93);
  hub.seen.queries[1].envelope = zmq_test::Parts(12, "frame");
  hub.answer(1, count_answer(MessageType::touch_response, 94));
  hub.answer_bare(1, count_answer(MessageType::touch_response, 95));

  hub.seen.queries[1].envelope = original;
  hub.answer(1, count_answer(MessageType::touch_response, 1));
  REQUIRE(hub.run(io, [&] { return outcome.calls > 0; }));
  REQUIRE(outcome.succeeded());
  REQUIRE(outcome.result == 1);
}

TEST_CASE("a connection that stays silent is made anew") {
  ScriptedHub hub;
  asio::io_context io;
  Client client = builder(io, hub.address()).request_timeout(100ms).build();
  REQUIRE(introduce(hub, io, client));
  for (int i = 0; i < 2; ++i) {
    Completed<std::uint64_t> outcome;
    client.async_touch({1}, outcome.token());
    REQUIRE(hub.run(io, [&] { return outcome.calls > 0; }));
    REQUIRE(outcome.failed_with(errc::timeout));
  }
  REQUIRE(hub.seen.queries.size() == 3);
  REQUIRE(introduce(hub, io, client));
  REQUIRE(hub.seen.queries.at(2).sender == hub.seen.queries.at(0).sender);
  REQUIRE(hub.seen.queries.at(3).sender != hub.seen.queries.at(0).sender);
}

TEST_CASE("a connection that was silent once is kept") {
  ScriptedHub hub;
  asio::io_context io;
  Client client = builder(io, hub.address()).request_timeout(100ms).build();
  REQUIRE(introduce(hub, io, client));
  for (int i = 0; i < 3; ++i) {
    Completed<std::uint64_t> outcome;
    client.async_touch({1}, outcome.token());
    REQUIRE(hub.run(io, [&] { return outcome.calls > 0; }));
    REQUIRE(outcome.failed_with(errc::timeout));
    REQUIRE(introduce(hub, io, client));
  }
  for (const auto& query : hub.seen.queries) REQUIRE(query.sender == hub.seen.queries.front().sender);
}

TEST_CASE("queries beyond the mark wait for room, or for their timeout") {
  asio::io_context io;
  ZmqTransportConfig config = zmq_test::to_hub(zmq_test::nowhere());
  config.dealer_hwm = 1;
  Client client = builder(io, config).request_timeout(100ms).build();
  std::vector<Completed<std::uint64_t>> outcomes(5);
  for (auto& outcome : outcomes) client.async_touch({1}, outcome.token());
  io.run();
  for (const auto& outcome : outcomes) REQUIRE(outcome.failed_with(errc::timeout));
}

TEST_CASE("a namespace is asked for before anything else") {
  ScriptedHub hub;
  asio::io_context io;
  Client client = builder(io, hub.address()).name_space("tenant").build();
  Completed<std::uint64_t> outcome;
  Completed<Blocks> registered;
  client.async_touch({1}, outcome.token());
  client.async_register_blocks({{1, 2}}, registered.token());
  REQUIRE(hub.run(io, [&] { return hub.seen.queries.size() == 1; }));
  REQUIRE(hub.type(0) == MessageType::hello);
  REQUIRE(hub.envelope(0).name_space == "tenant");
  REQUIRE(registered.calls == 0);
  hub.answer(0, text_answer(MessageType::hello_response, "tenant"));
  REQUIRE(hub.run(io, [&] { return hub.seen.queries.size() == 2 && hub.seen.registrations.size() == 1; }));
  hub.answer(1, count_answer(MessageType::touch_response, 1));
  REQUIRE(hub.run(io, [&] { return outcome.calls > 0; }));
  REQUIRE(outcome.succeeded());
  REQUIRE(registered.succeeded());
}

TEST_CASE("a namespace that the hub does not serve fails what waits for it, and is asked for again") {
  ServedHub hub;
  asio::io_context io;
  Client client = builder(io, hub.address()).name_space("tenant").build();
  for (int i = 0; i < 2; ++i) {
    Completed<std::uint64_t> touched;
    Completed<Blocks> registered;
    Diagnostics diagnostics;
    client.async_touch({1}, diagnostics, touched.token());
    client.async_register_blocks({{1, 2}}, registered.token());
    io.restart();
    io.run();
    REQUIRE(touched.failed_with(errc::unsupported));
    REQUIRE(to_string(*diagnostics.error()).find("tenant") != std::string::npos);
    REQUIRE(registered.failed_with(errc::unsupported));
    REQUIRE(registered.result == Blocks{{1, 2}});
  }
  REQUIRE(hub.stats().registrations == 0);
}

TEST_CASE("a hub that knows no namespaces is not taken for one that serves ours") {
  ScriptedHub hub;
  asio::io_context io;
  Client client = builder(io, hub.address()).name_space("tenant").build();
  Completed<std::uint64_t> outcome;
  client.async_touch({1}, outcome.token());
  REQUIRE(hub.run(io, [&] { return hub.seen.queries.size() == 1; }));
  hub.answer_bare(0, text_answer(MessageType::error_response, "what is 32?"));
  REQUIRE(hub.run(io, [&] { return outcome.calls > 0; }));
  REQUIRE(outcome.failed_with(errc::unsupported));
}

TEST_CASE("an unanswered question for a namespace fails what waits for it") {
  asio::io_context io;
  Client client =
      builder(io, zmq_test::to_hub(zmq_test::nowhere())).name_space("tenant").request_timeout(100ms).build();
  Completed<std::uint64_t> outcome;
  Completed<Blocks> registered;
  client.async_touch({1}, outcome.token());
  client.async_register_blocks({{1, 2}}, registered.token());
  io.run();
  REQUIRE(outcome.failed_with(errc::timeout));
  REQUIRE(registered.failed_with(errc::timeout));
  REQUIRE(registered.result == Blocks{{1, 2}});
}

TEST_CASE("the end of the ZeroMQ context ends calls with an error, and later ones too") {
  auto context = std::make_shared<zmq::context_t>();
  ScriptedHub hub;
  asio::io_context io;
  ZmqTransportConfig config = hub.address();
  config.context = context;
  Client client = builder(io, config).build();
  Completed<std::uint64_t> outcome;
  client.async_touch({1}, outcome.token());
  REQUIRE(hub.run(io, [&] { return hub.seen.queries.size() == 1; }));
  context->shutdown();
  REQUIRE(hub.run(io, [&] { return outcome.calls > 0; }));
  REQUIRE(outcome.failed_with(errc::disconnected));
  Completed<std::uint64_t> later;
  client.async_touch({1}, later.token());
  REQUIRE(hub.run(io, [&] { return later.calls > 0; }));
  REQUIRE(later.failed_with(errc::disconnected));
}

TEST_CASE("every call completes when no new connection can be made") {
  // Two sockets, and two for watching each.
  auto context = std::make_shared<zmq::context_t>(1, 6);
  Log log;
  asio::io_context io;
  ZmqTransportConfig config = zmq_test::to_hub(zmq_test::nowhere());
  config.context = context;
  Client client = builder(io, config).request_timeout(50ms).log(log.hook()).build();
  for (int round = 0; round < 2; ++round) {
    std::vector<Completed<std::uint64_t>> outcomes(3);
    for (auto& outcome : outcomes) client.async_touch({1}, outcome.token());
    io.restart();
    io.run();
    for (const auto& outcome : outcomes) REQUIRE(outcome.failed_with(errc::timeout));
  }
  REQUIRE(log.lines.size() == 1);
}
