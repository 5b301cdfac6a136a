// SPDX-License-Identifier: Apache-2.0
// Claims that end after what they need: the client's connections, the client, or whoever runs the io_context.
#include <asio/awaitable.hpp>
#include <asio/bind_executor.hpp>
#include <asio/co_spawn.hpp>
#include <asio/use_awaitable.hpp>

#include <exception>
#include <optional>
#include <utility>
#include <vector>

#include "asio/common.hpp"
#include "support/catch.hpp"

using namespace asio_test;

namespace {

using BlockClaim = Client::ClaimType;

BlockClaim claim_of(asio::io_context& io, Client& client, const Keys& keys) {
  Completed<BlockClaim> outcome;
  client.async_claim(keys, 0s, outcome.token());
  REQUIRE(run_until(io, [&] { return outcome.calls > 0; }));
  REQUIRE(outcome.result.granted() == keys);
  return std::move(outcome.result);
}

/// Whether the hub comes to have no lease any more, with nobody else doing anything. Leases last for 30 s.
bool all_given_back(const ServedHub& hub) {
  asio::io_context idle;
  return run_until(idle, [&] { return hub.stats().leases.active == 0; });
}

}  // namespace

TEST_CASE("a claim that ends just before its client gives back") {
  ServedHub hub;
  asio::io_context io;
  std::optional<Client> client = builder(io, hub.address()).build();
  {
    const BlockClaim claim = claim_of(io, *client, {1});
  }
  client.reset();
  io.restart();
  io.run();
  REQUIRE(all_given_back(hub));
}

TEST_CASE("a claim gives back also while its client is being closed") {
  ServedHub hub;
  asio::io_context io;
  ZmqTransportConfig config = hub.address();
  config.register_addr = zmq_test::nowhere().register_addr;
  config.push_hwm = 1;
  Client client = builder(io, config).batch_size(1).close_timeout(0ms).log({}).build();
  std::optional<BlockClaim> claim = claim_of(io, client, {1});
  std::vector<Completed<Blocks>> filling(2);
  for (auto& outcome : filling) client.async_register_blocks({{7, 70}}, outcome.token());
  REQUIRE(run_until(io, [&] { return filling[0].calls > 0 && filling[1].calls > 0; }));
  Completed<Blocks> closed;
  client.async_close(std::chrono::hours{1}, closed.token());
  claim.reset();
  REQUIRE(run_until(io, [&] { return hub.stats().leases.active == 0; }));
  REQUIRE(closed.calls == 0);
}

TEST_CASE("what a claim gives back behind its own registration is sent when the client or the io_context ends") {
  const bool is_closed = GENERATE(true, false);
  ServedHub hub;
  {
    asio::io_context io;
    ZmqTransportConfig config = hub.address();
    config.register_addr = zmq_test::nowhere().register_addr;
    config.push_hwm = 1;
    Client client = builder(io, config).batch_size(1).log({}).build();
    std::optional<BlockClaim> claim = claim_of(io, client, {1});
    std::vector<Completed<Blocks>> filling(2);
    for (auto& outcome : filling) client.async_register_blocks({{7, 70}}, outcome.token());
    REQUIRE(run_until(io, [&] { return filling[0].calls > 0 && filling[1].calls > 0; }));
    Completed<RegisterResult<Block>> registered;
    claim->async_register_blocks({{1, 10}, {7, 71}}, registered.token());
    claim.reset();
    io.restart();
    io.run_for(20ms);
    REQUIRE(registered.calls == 0);
    REQUIRE(hub.stats().leases.active == 1);
    if (is_closed) {
      Completed<Blocks> closed;
      client.async_close(0s, closed.token());
      REQUIRE(run_until(io, [&] { return closed.calls > 0 && registered.calls > 0; }));
      REQUIRE(registered.failed_with(errc::disconnected));
      REQUIRE(all_given_back(hub));
    }
  }
  REQUIRE(all_given_back(hub));
}

TEST_CASE("a claim may end after its client was closed, and its calls end with Disconnected") {
  ServedHub hub;
  asio::io_context io;
  Client client = builder(io, hub.address()).build();
  std::optional<BlockClaim> claim = claim_of(io, client, {1});
  Completed<Blocks> closed;
  client.async_close(1s, closed.token());
  REQUIRE(run_until(io, [&] { return closed.calls > 0; }));
  Completed<Keys> renewed;
  Completed<RegisterResult<Block>> registered;
  claim->async_renew(renewed.token());
  claim->async_register_blocks({{1, 10}}, registered.token());
  REQUIRE(run_until(io, [&] { return renewed.calls > 0 && registered.calls > 0; }));
  REQUIRE(renewed.failed_with(errc::disconnected));
  REQUIRE(registered.failed_with(errc::disconnected));
  REQUIRE(registered.result.refused == Blocks{{1, 10}});
  REQUIRE(registered.result.statuses.empty());
  REQUIRE(claim->held() == Keys{1});
  claim.reset();
  io.restart();
  io.run();
  REQUIRE(hub.stats().leases.active == 1);
}

TEST_CASE("a claim may end after its client, and throws where nothing is left to complete on") {
  ServedHub hub;
  asio::io_context io;
  std::optional<Client> client = builder(io, hub.address()).build();
  BlockClaim claim = claim_of(io, *client, {1});
  client.reset();
  io.restart();
  io.run();
  REQUIRE(claim.held() == Keys{1});
  Completed<Keys> renewed;
  Completed<RegisterResult<Block>> registered;
  REQUIRE_THROWS_AS(claim.async_renew(renewed.token()), RegistryError);
  REQUIRE_THROWS_AS(claim.async_progress(renewed.token()), RegistryError);
  REQUIRE_THROWS_AS(claim.async_register_blocks({{1, 10}}, registered.token()), RegistryError);
  claim.release({1});
  claim.release();
  REQUIRE(renewed.calls + registered.calls == 0);
}

TEST_CASE("a claim that holds nothing throws, too") {
  BlockClaim empty;
  Completed<Keys> renewed;
  REQUIRE_THROWS_AS(empty.async_renew(renewed.token()), RegistryError);
  BlockClaim moved = std::move(empty);
  REQUIRE(moved.granted().empty());
  moved.release();
}

TEST_CASE("a claim may end after the io_context itself") {
  ServedHub hub;
  BlockClaim claim;
  {
    asio::io_context io;
    Client client = builder(io, hub.address()).build();
    claim = claim_of(io, client, {1, 2});
  }
  REQUIRE(claim.held().size() == 2);
  claim.release({1});
}

TEST_CASE("what a claim gives back when the io_context runs no more is sent when that ends") {
  const bool is_client_gone = GENERATE(false, true);
  ServedHub hub;
  {
    asio::io_context io;
    std::optional<Client> client = builder(io, hub.address()).build();
    std::optional<BlockClaim> claim = claim_of(io, *client, {1});
    io.stop();
    claim.reset();
    if (is_client_gone) client.reset();
    REQUIRE(hub.stats().leases.active == 1);
  }
  REQUIRE(all_given_back(hub));
}

TEST_CASE("what nobody comes to take of a granted claim is given back with the io_context") {
  ServedHub hub;
  {
    asio::io_context io;
    Client client = builder(io, hub.address()).build();
    asio::io_context never_run;
    client.async_claim(
        {1}, 0s, asio::bind_executor(never_run.get_executor(), [](std::error_code, const BlockClaim&) {}));
    // Until the answer has come.
    io.run();
    REQUIRE(hub.stats().leases.active == 1);
  }
  REQUIRE(all_given_back(hub));
}

TEST_CASE("a coroutine that owns claim and client gives back when it ends with the io_context") {
  ServedHub hub;
  asio::io_context other_io;
  Client other = builder(other_io, hub.address()).build();
  {
    const BlockClaim theirs = claim_of(other_io, other, {2});
    {
      asio::io_context io;
      const auto work = [](asio::io_context& context, ZmqTransportConfig address) -> asio::awaitable<void> {
        Client client = builder(context, std::move(address)).build();
        const Keys first{1};
        const Keys second{2};
        const auto held = co_await client.async_claim(first, 0s, asio::use_awaitable);
        const auto awaited = co_await client.async_claim(second, 20s, asio::use_awaitable);
      };
      asio::co_spawn(io, work(io, hub.address()), [](std::exception_ptr) {});
      REQUIRE(run_until(io, [&] { return hub.stats().waiting_claims == 1; }));
      REQUIRE(hub.stats().leases.active == 2);
    }
    asio::io_context idle;
    REQUIRE(run_until(idle, [&] { return hub.stats().leases.active == 1 && hub.stats().waiting_claims == 0; }));
  }
  other_io.restart();
  other_io.run();
  REQUIRE(all_given_back(hub));
}
