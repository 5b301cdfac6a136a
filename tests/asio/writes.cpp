// SPDX-License-Identifier: Apache-2.0
// Registrations: batches, order, high-water marks, and the client's end.
#include <asio/awaitable.hpp>
#include <asio/co_spawn.hpp>
#include <asio/use_awaitable.hpp>

#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "asio/common.hpp"
#include "support/catch.hpp"

using namespace asio_test;

namespace {

/// A client whose registrations go nowhere: its socket takes one message.
auto stuck(asio::io_context& io) {
  ZmqTransportConfig config = zmq_test::to_hub(zmq_test::nowhere());
  config.push_hwm = 1;
  return builder(io, config).batch_size(1).register_timeout(100ms);
}

/// Registers until a batch finds no room; what is registered after that has to wait.
void fill(asio::io_context& io, Client& client) {
  std::vector<Completed<Blocks>> outcomes(2);
  for (K key = 0; key < outcomes.size(); ++key) client.async_register_blocks({{key, 0}}, outcomes[key].token());
  io.restart();
  for (int turn = 0; turn < 10; ++turn) io.poll();
  io.restart();
  for (const auto& outcome : outcomes) REQUIRE(outcome.succeeded());
}

}  // namespace

TEST_CASE("a batch leaves when it is full") {
  ScriptedHub hub;
  asio::io_context io;
  Client client = builder(io, hub.address()).batch_size(2).batch_timeout(std::chrono::hours{1}).build();
  Completed<Blocks> first;
  client.async_register_blocks({{1, 10}, {2, 20}, {3, 30}}, first.token());
  REQUIRE(hub.run(io, [&] { return hub.seen.registrations.size() == 1; }));
  REQUIRE(first.succeeded());
  REQUIRE(hub.entries_registered() == 2);
  Completed<Blocks> second;
  client.async_register_blocks({{4, 40}}, second.token());
  REQUIRE(hub.run(io, [&] { return hub.seen.registrations.size() == 2; }));
  REQUIRE(hub.entries_registered() == 4);
}

TEST_CASE("a batch that does not fill leaves in its time, with nobody waiting for it") {
  ScriptedHub hub;
  asio::io_context io;
  Client client = builder(io, hub.address()).batch_timeout(20ms).max_unconfirmed_bytes(0).build();
  Completed<Blocks> outcome;
  client.async_register_blocks({{1, 10}}, outcome.token());
  // It runs until there is nothing left to do, and the batch is part of that.
  io.run();
  REQUIRE(outcome.succeeded());
  REQUIRE(hub.run(io, [&] { return hub.entries_registered() == 1; }));
}

TEST_CASE("flush sends what waits for its batch to fill") {
  ScriptedHub hub;
  asio::io_context io;
  Client client = builder(io, hub.address()).batch_timeout(std::chrono::hours{1}).build();
  Completed<Blocks> outcome;
  client.async_register_blocks({{1, 10}}, outcome.token());
  std::optional<std::error_code> flushed;
  client.async_flush([&](std::error_code code) { flushed = code; });
  REQUIRE(hub.run(io, [&] { return hub.seen.registrations.size() == 1 && flushed; }));
  REQUIRE_FALSE(*flushed);
}

TEST_CASE("a registration of nothing succeeds and sends nothing") {
  ScriptedHub hub;
  asio::io_context io;
  Client client = builder(io, hub.address()).build();
  Completed<Blocks> outcome;
  client.async_register_blocks({}, outcome.token());
  io.run();
  REQUIRE(outcome.succeeded());
  REQUIRE(hub.seen.registrations.empty());
}

TEST_CASE("at the mark registrations wait for their deadline and come back with the error") {
  asio::io_context io;
  Client client = stuck(io).build();
  fill(io, client);
  Completed<Blocks> outcome;
  Diagnostics diagnostics;
  const Blocks entries{{7, 70}, {8, 80}};
  client.async_register_blocks(entries, diagnostics, outcome.token());
  std::optional<std::error_code> flushed;
  client.async_flush([&](std::error_code code) { flushed = code; });
  while (outcome.calls == 0 || !flushed) io.run_one();
  REQUIRE(outcome.failed_with(errc::timeout));
  REQUIRE(std::get<Timeout>(*diagnostics.error()).duration == 100ms);
  REQUIRE(outcome.result == entries);
  REQUIRE(*flushed == errc::timeout);

  Completed<Blocks> closed;
  client.async_close(0ms, closed.token());
  while (closed.calls == 0) io.run_one();
  REQUIRE(closed.result == Blocks{{0, 0}, {1, 0}});  // the first was handed over, and not confirmed
}

TEST_CASE("at the mark registrations wait until there is room, in their order") {
  const zmq_test::SocketDirectory directory;
  asio::io_context io;
  ZmqTransportConfig config;
  config.query_addr = directory.hub().query_addr;
  config.register_addr = directory.hub().register_addr;
  config.push_hwm = 1;
  Client client = builder(io, config).batch_size(1).register_timeout(20s).build();
  constexpr K count = 50;
  std::vector<Completed<Blocks>> outcomes(count);
  for (K key = 0; key < count; ++key) client.async_register_blocks({{key, key}}, outcomes[key].token());
  for (int turn = 0; turn < 10; ++turn) io.poll();
  REQUIRE(outcomes.back().calls == 0);

  ScriptedHub hub(directory.hub());
  REQUIRE(hub.run(io, [&] { return hub.entries_registered() == count; }));
  for (K key = 0; key < count; ++key) {
    REQUIRE(outcomes[key].succeeded());
    Blocks entries;
    REQUIRE_FALSE(Messages::decode_entries(as_bytes(hub.seen.registrations[key].message), entries));
    REQUIRE(entries == Blocks{{key, key}});
  }
}

TEST_CASE("a remove travels behind the registration of its key") {
  ScriptedHub hub;
  asio::io_context io;
  Client client = builder(io, hub.address()).batch_timeout(std::chrono::hours{1}).build();
  Completed<Blocks> registered;
  Completed<std::uint64_t> removed;
  Completed<std::uint64_t> other;
  client.async_register_blocks({{1, 10}}, registered.token());
  client.async_remove({2}, other.token());
  client.async_remove({1}, removed.token());
  REQUIRE(hub.run(io, [&] { return hub.seen.queries.size() == 1; }));
  REQUIRE_FALSE(hub.envelope(0).after);
  hub.answer(0, count_answer(MessageType::remove_response, 0));
  REQUIRE(hub.run(io, [&] { return hub.seen.queries.size() == 2; }));
  REQUIRE(hub.run(io, [&] { return hub.seen.registrations.size() == 1; }));
  REQUIRE(hub.envelope(1).after == 1);
}

TEST_CASE("what waits for room is stored to its own client, and removed only behind its registration") {
  ScriptedHub hub;
  asio::io_context io;
  ZmqTransportConfig config = hub.address();
  config.register_addr = zmq_test::nowhere().register_addr;
  config.push_hwm = 1;
  Client client = builder(io, config).batch_size(1).register_timeout(200ms).close_timeout(0ms).log({}).build();
  REQUIRE(introduce(hub, io, client));
  std::vector<Completed<Blocks>> filling(2);
  for (K key = 0; key < filling.size(); ++key) client.async_register_blocks({{key, 0}}, filling[key].token());
  REQUIRE(hub.run(io, [&] { return filling[0].succeeded() && filling[1].succeeded(); }));
  Completed<Blocks> registered;
  Completed<OffloadResult<K>> known;
  Completed<std::uint64_t> removed;
  Completed<OffloadResult<K>> other;
  client.async_register_blocks({{7, 70}}, registered.token());
  client.async_can_offload({7}, known.token());
  client.async_remove({7}, removed.token());
  client.async_can_offload({8}, other.token());
  REQUIRE(hub.run(io, [&] { return hub.seen.queries.size() == 2 && known.calls > 0; }));
  REQUIRE(known.result.already_stored == Keys{7});
  REQUIRE(hub.type(1) == MessageType::can_offload);
  REQUIRE(hub.keys(1) == Keys{8});

  REQUIRE(hub.run(io, [&] { return registered.calls > 0; }));
  REQUIRE(registered.failed_with(errc::timeout));
  // The registration is over: nobody waits for it any more, and its key is the hub's to judge.
  REQUIRE(hub.run(io, [&] { return hub.seen.queries.size() == 3; }));
  REQUIRE(hub.type(2) == MessageType::remove);
  Completed<OffloadResult<K>> again;
  client.async_can_offload({7}, again.token());
  REQUIRE(hub.run(io, [&] { return hub.seen.queries.size() == 4; }));
  REQUIRE(hub.keys(3) == Keys{7});
}

TEST_CASE("a registered key is AlreadyStored to the client itself") {
  ServedHub hub;
  asio::io_context io;
  Client client = builder(io, hub.address()).batch_timeout(std::chrono::hours{1}).build();
  Completed<Blocks> registered;
  Completed<OffloadResult<K>> asked;
  client.async_register_blocks({{1, 10}}, registered.token());
  client.async_can_offload({1, 2}, asked.token());
  while (asked.calls == 0) io.run_one();
  REQUIRE(asked.result.already_stored == Keys{1});
  REQUIRE(asked.result.can_offload == Keys{2});
}

TEST_CASE("closing ends calls in progress, gives back what they may have been granted, and ends later ones") {
  ScriptedHub hub;
  asio::io_context io;
  Client client = builder(io, hub.address()).build();
  REQUIRE(introduce(hub, io, client));
  Completed<OffloadResult<K>> asked;
  client.async_can_offload({5}, asked.token());
  REQUIRE(hub.run(io, [&] { return hub.seen.queries.size() == 2; }));
  Completed<Blocks> closed;
  Completed<Blocks> again;
  client.async_close(10s, closed.token());
  client.async_close(10s, again.token());
  Completed<std::uint64_t> touched;
  client.async_touch({1}, touched.token());
  Completed<Blocks> registered;
  client.async_register_blocks({{1, 1}}, registered.token());
  REQUIRE(hub.run(io, [&] { return closed.calls && again.calls && touched.calls && registered.calls && asked.calls; }));
  REQUIRE(closed.succeeded());
  REQUIRE(again.succeeded());
  REQUIRE(asked.failed_with(errc::disconnected));
  REQUIRE(touched.failed_with(errc::disconnected));
  REQUIRE(registered.failed_with(errc::disconnected));
  REQUIRE(registered.result == Blocks{{1, 1}});
  REQUIRE(hub.run(io, [&] { return hub.seen.queries.size() == 3; }));
  REQUIRE(hub.type(2) == MessageType::withdraw);
  REQUIRE(hub.keys(2) == Keys{5});
}

TEST_CASE("closing hands over what waits for its batch to fill") {
  ScriptedHub hub;
  asio::io_context io;
  Client client = builder(io, hub.address()).batch_timeout(std::chrono::hours{1}).build();
  Completed<Blocks> registered;
  Completed<Blocks> closed;
  client.async_register_blocks({{1, 10}}, registered.token());
  client.async_close(10s, closed.token());
  REQUIRE(hub.run(io, [&] { return hub.entries_registered() == 1 && closed.calls == 1; }));
  REQUIRE(closed.succeeded());
  REQUIRE(closed.result.empty());
}

TEST_CASE("closing waits for room until its limit and returns what is left, in order") {
  asio::io_context io;
  Client client = stuck(io).register_timeout(20s).build();
  fill(io, client);
  Completed<Blocks> waiting;
  client.async_register_blocks({{7, 70}}, waiting.token());
  Completed<Blocks> closed;
  client.async_close(50ms, closed.token());
  while (closed.calls == 0) io.run_one();
  REQUIRE(closed.succeeded());
  REQUIRE(closed.result == Blocks{{0, 0}, {1, 0}});  // the first was handed over, and not confirmed
  while (waiting.calls == 0) io.run_one();
  REQUIRE(waiting.failed_with(errc::disconnected));
  REQUIRE(waiting.result == Blocks{{7, 70}});
}

TEST_CASE("destroying the client hands over what is pending in the background") {
  ScriptedHub hub;
  asio::io_context io;
  {
    Client client = builder(io, hub.address()).batch_timeout(std::chrono::hours{1}).build();
    Completed<Blocks> registered;
    client.async_register_blocks({{1, 10}}, registered.token());
    while (registered.calls == 0) io.run_one();
  }
  REQUIRE(hub.run(io, [&] { return hub.entries_registered() == 1; }));
}

TEST_CASE("destroying the client reports what it could not hand over") {
  Log log;
  asio::io_context io;
  {
    Client client = stuck(io).close_timeout(20ms).log(log.hook()).build();
    fill(io, client);
  }
  io.run();
  REQUIRE(log.lines.size() == 1);
  REQUIRE(log.lines[0].starts_with("2 entries were not registered: "));
}

TEST_CASE("nothing is lost silently when the io_context ends with the client") {
  Log log;
  ScriptedHub hub;
  {
    asio::io_context io;
    Client client = builder(io, hub.address()).batch_timeout(std::chrono::hours{1}).log(log.hook()).build();
    Completed<Blocks> registered;
    client.async_register_blocks({{1, 10}}, registered.token());
    while (registered.calls == 0) io.run_one();
  }
  asio::io_context other;
  REQUIRE(hub.run(other, [&] { return hub.entries_registered() == 1; }));
  // It came, but nobody was left to hear of that.
  REQUIRE(log.lines.size() == 1);
  REQUIRE(log.lines[0].starts_with("1 entries were not registered: "));
}

TEST_CASE("what the client cannot hand over when the io_context ends is reported") {
  Log log;
  {
    asio::io_context io;
    Client client = stuck(io).close_timeout(0ms).log(log.hook()).build();
    fill(io, client);
  }
  REQUIRE(log.lines.size() == 1);
}

TEST_CASE("a coroutine that owns its client ends with the io_context") {
  ScriptedHub hub;
  const auto witness = std::make_shared<int>(0);
  {
    asio::io_context io;
    const auto work =
        [](asio::io_context& context, ZmqTransportConfig address, std::shared_ptr<int>) -> asio::awaitable<void> {
      Client client = builder(context, std::move(address)).build();
      const Keys keys{1};
      co_await client.async_touch(keys, asio::use_awaitable);
    };
    asio::co_spawn(io, work(io, hub.address(), witness), [](std::exception_ptr) {});
    REQUIRE(hub.run(io, [&] { return hub.seen.queries.size() == 1; }));
    REQUIRE(witness.use_count() > 1);
  }
  REQUIRE(witness.use_count() == 1);
}
