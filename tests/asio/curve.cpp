// SPDX-License-Identifier: Apache-2.0
// Keys and namespaces over Asio, as tests/zmq/curve.cpp has them for blocking clients.
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "asio/common.hpp"
#include "support/catch.hpp"
#include "zmq/keys.hpp"

using namespace asio_test;
using zmq_test::KeyedHub;

namespace {

Client in(asio::io_context& io, ZmqTransportConfig config, std::string name, std::chrono::nanoseconds timeout = 20s) {
  return builder(io, std::move(config)).name_space(std::move(name)).request_timeout(timeout).close_timeout(0ns).build();
}

/// Asks for the lease of one key, and lets the client work until it has heard.
Completed<OffloadResult<K>> offload_one(asio::io_context& io, Client& client, Diagnostics diagnostics = {}) {
  Completed<OffloadResult<K>> outcome;
  client.async_can_offload(Keys{1}, diagnostics, outcome.token());
  io.restart();
  // Not until there is nothing to do: what is registered with a hub that refuses waits for as long as the client lives.
  while (outcome.calls == 0 && io.run_one_for(zmq_test::limit) > 0) {
  }
  return outcome;
}

}  // namespace

TEST_CASE("an Asio client with the right keys works as any other, on both sockets") {
  const auto key = CurveSecretKey::random();
  KeyedHub hub({zmq_test::allow(key, {"a"})});
  asio::io_context io;
  Client client = in(io, hub.to(key), "a");
  CHECK(offload_one(io, client).succeeded());
  Completed<Blocks> written;
  client.async_register_blocks({{1, 10}}, written.token());
  io.restart();
  io.run();
  CHECK(written.succeeded());
  CHECK(zmq_test::eventually([&] { return hub.stats().stored == 1; }));
  CHECK(hub.log.texts().empty());
}

TEST_CASE("an Asio client without keys, with another hub's or an unlisted one is not heard") {
  const auto key = CurveSecretKey::random();
  KeyedHub hub({zmq_test::allow(key)});
  ZmqTransportConfig config = hub.to(key);
  const int wrong = GENERATE(0, 1, 2);
  if (wrong == 0) config.curve.reset();
  if (wrong == 1) config.curve->server_key = key.public_key();
  if (wrong == 2) config.curve->secret_key = CurveSecretKey::random();
  asio::io_context io;
  Client client = in(io, config, "default", 200ms);
  Completed<Blocks> written;
  client.async_register_blocks({{2, 20}}, written.token());
  CHECK(offload_one(io, client).failed_with(errc::timeout));
  Client known = in(io, hub.to(key), "default");
  CHECK(offload_one(io, known).succeeded());
  CHECK(hub.stats().queries == 1);
  CHECK(hub.stats().registrations == 0);
}

TEST_CASE("an Asio client hears at its first call that its key may not use its namespace") {
  const auto key = CurveSecretKey::random();
  KeyedHub hub({zmq_test::allow(key, {"a"})});
  asio::io_context io;
  Client client = in(io, hub.to(key), "b");
  Diagnostics diagnostics;
  CHECK(offload_one(io, client, diagnostics).failed_with(errc::unsupported));
  REQUIRE(diagnostics.error());
  CHECK(to_string(*diagnostics.error()).find("key may not use namespace \"b\"") != std::string::npos);
  CHECK(hub.stats().denied == 1);
  CHECK(hub.namespaces() == std::vector<std::string>{"default"});
}

TEST_CASE("an Asio client that was refused goes on by itself when the hub comes back with its key") {
  const auto key = CurveSecretKey::random();
  zmq_test::RestartedHub place({});
  asio::io_context io;
  Client client = in(io, place.to(key), "default");
  Completed<OffloadResult<K>> refused;
  client.async_can_offload(Keys{1}, refused.token());
  Completed<Blocks> written;
  client.async_register_blocks({{2, 20}}, written.token());
  // It tries, and tries again.
  CHECK(run_until(io, [&] { return place.hub->log.texts().size() >= 4; }));
  CHECK(refused.calls == 0);
  place.restart(std::vector{zmq_test::allow(key)});
  CHECK(run_until(io, [&] { return refused.calls > 0; }));
  CHECK(refused.succeeded());
  CHECK(refused.result.can_offload == Keys{1});
  // What was handed over while it was refused is lost, and nothing after it.
  client.async_register_blocks({{3, 30}}, written.token());
  CHECK(run_until(io, [&] { return place.hub->stats().stored > 0; }));
}

TEST_CASE("an Asio client that a restarted hub refuses is let in by the next one that does not") {
  const auto key = CurveSecretKey::random();
  zmq_test::RestartedHub place(std::vector{zmq_test::allow(key)});
  asio::io_context io;
  Client client = in(io, place.to(key), "default");
  CHECK(offload_one(io, client).succeeded());
  place.restart(std::vector<zmq_test::CurveAllowedClient>{});
  // Both of its sockets, before anything is asked that could be lost with the old connection.
  CHECK(zmq_test::eventually([&] { return place.hub->log.texts().size() == 2; }));
  Completed<OffloadResult<K>> refused;
  client.async_can_offload(Keys{1}, refused.token());
  CHECK(run_until(io, [&] { return place.hub->log.texts().size() > 2; }));
  place.restart(std::vector{zmq_test::allow(key)});
  CHECK(run_until(io, [&] { return refused.calls > 0; }));
  CHECK(refused.succeeded());
}

TEST_CASE("what a hub has taken in an Asio client does not send once more where the next one has refused it") {
  const auto key = CurveSecretKey::random();
  zmq_test::MuteHub hub({zmq_test::allow(key)});
  asio::io_context io;
  Client client = in(io, hub.to(key), "default");
  const auto listen_until = [&](auto done) {
    return run_until(io, [&] {
      hub.listen();
      return done();
    });
  };
  Completed<std::uint64_t> taken_in;
  client.async_remove(Keys{1}, taken_in.token());
  CHECK(listen_until([&] { return hub.taken_in.queries.size() == 1; }));
  hub.restart({});
  CHECK(listen_until([&] { return hub.log.texts().size() >= 4; }));
  // Nobody can have taken in this one.
  Completed<std::uint64_t> lost;
  client.async_remove(Keys{2}, lost.token());
  CHECK(listen_until([&] { return hub.log.texts().size() >= 8; }));
  hub.restart({zmq_test::allow(key)});
  CHECK(listen_until([&] { return hub.taken_in.queries.size() >= 2; }));
  Completed<std::uint64_t> next;
  client.async_remove(Keys{3}, next.token());
  CHECK(listen_until([&] { return hub.taken_in.queries.size() >= 3; }));
  Keys asked;
  for (const auto& query : hub.taken_in.queries) {
    Keys keys;
    CHECK_FALSE(zmq_test::Codec64::decode_keys(as_bytes(query.message), keys));
    asked.insert(asked.end(), keys.begin(), keys.end());
  }
  CHECK(asked == Keys{1, 2, 3});
}

TEST_CASE("what a hub has taken in over a connection that was silent is not sent once more where the next is refused") {
  const auto key = CurveSecretKey::random();
  zmq_test::MuteHub hub({zmq_test::allow(key)});
  asio::io_context io;
  constexpr auto timeout = 2s;
  ZmqTransportConfig config = hub.to(key);
  config.reconnect_interval = config.reconnect_interval_max = 200ms;
  Client client = in(io, config, "default", timeout);
  const auto listen_until = [&](auto done) {
    return run_until(io, [&] {
      hub.listen();
      return done();
    });
  };
  Completed<std::uint64_t> answered;
  client.async_touch(Keys{1}, answered.token());
  REQUIRE(listen_until([&] { return hub.taken_in.queries.size() == 1; }));
  REQUIRE(hub.answer(0, as_text(count_answer(MessageType::touch_response, 0))));
  REQUIRE(listen_until([&] { return answered.succeeded(); }));
  // With the second of these calls the connection has been silent for too long; the other one is in progress then.
  Completed<std::uint64_t> silent;
  client.async_touch(Keys{2}, silent.token());
  REQUIRE(listen_until([&] { return silent.calls == 1; }));
  Completed<std::uint64_t> silent_again;
  client.async_touch(Keys{3}, silent_again.token());
  REQUIRE(listen_until([&] { return hub.taken_in.queries.size() == 3; }));
  const SteadyTime half = zmq_test::steady_now() + timeout / 2;
  REQUIRE(listen_until([&] { return zmq_test::steady_now() >= half; }));
  Completed<std::uint64_t> removed;
  client.async_remove(Keys{4}, removed.token());
  REQUIRE(listen_until([&] { return hub.taken_in.queries.size() == 4; }));
  hub.restart({});
  REQUIRE(listen_until([&] { return silent_again.calls == 1; }));
  const std::size_t refused = hub.log.texts().size();
  REQUIRE(listen_until([&] { return hub.log.texts().size() >= refused + 2; }));
  hub.restart({zmq_test::allow(key)});
  REQUIRE(listen_until([&] { return removed.calls == 1; }));
  CHECK(removed.failed_with(errc::timeout));
  Completed<std::uint64_t> next;
  client.async_touch(Keys{5}, next.token());
  REQUIRE(listen_until([&] { return hub.taken_in.queries.size() >= 5; }));
  MessageType type{};
  REQUIRE_FALSE(Messages::decode_type(as_bytes(hub.taken_in.queries[4].message), type));
  CHECK(type == MessageType::touch);
}
