// SPDX-License-Identifier: Apache-2.0
// Every call, with every kind of completion token, against a real hub.
#include <asio/awaitable.hpp>
#include <asio/bind_executor.hpp>
#include <asio/co_spawn.hpp>
#include <asio/strand.hpp>
#include <asio/thread_pool.hpp>
#include <asio/use_awaitable.hpp>
#include <asio/use_future.hpp>

#include <algorithm>
#include <atomic>
#include <future>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

#include "asio/common.hpp"
#include "asio/fragile.hpp"
#include "support/catch.hpp"

using namespace asio_test;

namespace {

/// Asks until the hub has applied what was registered.
asio::awaitable<Blocks> found(Client& client, Keys keys, std::size_t count) {
  const SteadyTime end = zmq_test::steady_now() + zmq_test::limit;
  Blocks entries;
  do {
    entries = co_await client.async_match(keys, asio::use_awaitable);
  } while (entries.size() < count && zmq_test::steady_now() < end);
  co_return entries;
}

asio::awaitable<void> every_call(Client& client, bool& done) {
  const Keys keys{1, 2, 3};
  const auto answer = co_await client.async_can_offload(keys, asio::use_awaitable);
  CHECK(answer.can_offload == keys);

  const Blocks entries{{1, 10}, {2, 20}};
  const Blocks kept = co_await client.async_register_blocks(entries, asio::use_awaitable);
  CHECK(kept.empty());
  co_await client.async_flush(asio::use_awaitable);
  const Blocks stored = co_await found(client, keys, 2);
  CHECK(stored == entries);

  const Keys holed{1, 3, 2};
  const Blocks prefix = co_await client.async_match_prefix(holed, asio::use_awaitable);
  CHECK(prefix == Blocks{{1, 10}});
  const std::uint64_t touched = co_await client.async_touch(keys, asio::use_awaitable);
  CHECK(touched == 2);
  const std::uint64_t released = co_await client.async_release(keys, asio::use_awaitable);
  CHECK(released == 1);
  const std::uint64_t removed = co_await client.async_remove(keys, asio::use_awaitable);
  CHECK(removed == 2);
  const Blocks lost = co_await client.async_close(1s, asio::use_awaitable);
  CHECK(lost.empty());
  done = true;
}

}  // namespace

TEST_CASE("a coroutine makes every call over tcp") {
  ServedHub hub;
  asio::io_context io;
  Client client = builder(io, hub.address()).build();
  bool done = false;
  asio::co_spawn(io, every_call(client, done), rethrow);
  io.run();
  REQUIRE(done);
}

TEST_CASE("a coroutine makes every call over ipc") {
  const zmq_test::SocketDirectory directory;
  ServedHub hub(directory.hub());
  asio::io_context io;
  Client client = builder(io, hub.address()).build();
  bool done = false;
  asio::co_spawn(io, every_call(client, done), rethrow);
  io.run();
  REQUIRE(done);
}

TEST_CASE("callbacks get a code and a result, and never before the call has returned") {
  ServedHub hub;
  asio::io_context io;
  Client client = builder(io, hub.address()).build();
  Completed<OffloadResult<K>> offload;
  Completed<std::uint64_t> nothing_to_ask;
  client.async_can_offload({7, 8}, offload.token());
  client.async_touch(Keys{}, nothing_to_ask.token());
  REQUIRE(offload.calls == 0);
  REQUIRE(nothing_to_ask.calls == 0);
  io.run();
  REQUIRE(offload.succeeded());
  REQUIRE(offload.result.can_offload == Keys{7, 8});
  REQUIRE(nothing_to_ask.succeeded());
  REQUIRE(nothing_to_ask.result == 0);
}

TEST_CASE("futures are completed by whoever runs the io_context") {
  ServedHub hub;
  asio::io_context io;
  auto work = asio::make_work_guard(io);
  std::thread runner([&] { io.run(); });
  {
    Client client = builder(io, hub.address()).build();
    REQUIRE(client.async_can_offload({1, 2}, asio::use_future).get().can_offload == Keys{1, 2});
    REQUIRE(client.async_register_blocks({{1, 10}}, asio::use_future).get().empty());
    client.async_flush(asio::use_future).get();
    REQUIRE(client.async_remove({1}, asio::use_future).get() == 1);
    REQUIRE(client.async_close(1s, asio::use_future).get().empty());
    const auto late = [&] { client.async_touch({1}, asio::use_future).get(); };
    REQUIRE_THROWS_AS(late(), std::system_error);
  }
  work.reset();
  runner.join();
}

TEST_CASE("connect_to takes a host and two ports") {
  ServedHub hub;
  const auto port = [](const std::string& address) {
    return static_cast<std::uint16_t>(std::stoul(address.substr(address.rfind(':') + 1)));
  };
  asio::io_context io;
  auto transport = AsioZmqTransport::connect_to(
      io.get_executor(), "127.0.0.1", port(hub.address().query_addr), port(hub.address().register_addr));
  REQUIRE(transport.get_executor() == io.get_executor());
  Client client = registry::client<K, std::uint64_t>(std::move(transport)).build();
  Completed<OffloadResult<K>> offload;
  client.async_can_offload({1}, offload.token());
  io.run();
  REQUIRE(offload.succeeded());
}

TEST_CASE("an address that is none and a mark of 0 are refused at once") {
  asio::io_context io;
  ZmqTransportConfig config;
  config.query_addr = "carrier pigeon";
  try {
    AsioZmqTransport::connect(io.get_executor(), config);
    FAIL("expected an error");
  } catch (const RegistryError& error) {
    REQUIRE(error.as<TransportError>() != nullptr);
    REQUIRE(std::string{error.what()}.find("carrier pigeon") != std::string::npos);
  }
  config = {};
  config.push_hwm = 0;
  REQUIRE_THROWS_AS(AsioZmqTransport::connect(io.get_executor(), config), RegistryError);
}

TEST_CASE("handlers run on the executor that they are bound to") {
  ServedHub hub;
  asio::io_context io;
  asio::thread_pool other(1);
  Client client = builder(io, hub.address()).build();
  std::promise<std::thread::id> ran_on;
  client.async_touch({1}, asio::bind_executor(other, [&](std::error_code, std::uint64_t) {
                       ran_on.set_value(std::this_thread::get_id());
                     }));
  io.run();
  const std::thread::id id = ran_on.get_future().get();
  REQUIRE(id != std::this_thread::get_id());
  other.join();
}

TEST_CASE("an idle client does not keep the io_context running") {
  ServedHub hub;
  asio::io_context io;
  Client client = builder(io, hub.address()).build();
  for (int round = 0; round < 3; ++round) {
    Completed<std::uint64_t> outcome;
    client.async_touch({1}, outcome.token());
    io.restart();
    io.run();
    REQUIRE(outcome.succeeded());
  }
}

TEST_CASE("a handler that throws leaves the other calls alone") {
  ServedHub hub;
  asio::io_context io;
  Client client = builder(io, hub.address()).build();
  Completed<std::uint64_t> before;
  Completed<std::uint64_t> after;
  client.async_touch({1}, before.token());
  client.async_touch({2}, [](std::error_code, std::uint64_t) { throw std::runtime_error("the user's"); });
  client.async_touch({3}, after.token());
  REQUIRE_THROWS_WITH(io.run(), "the user's");
  io.run();
  REQUIRE(before.succeeded());
  REQUIRE(after.succeeded());
  Completed<std::uint64_t> later;
  client.async_touch({4}, later.token());
  io.restart();
  io.run();
  REQUIRE(later.succeeded());
}

TEST_CASE("when a client breaks down over one call, those that came with it are told, too") {
  Fragile::throws_number = GENERATE(false, true);
  asio::io_context io;
  auto fragile = client<Fragile, std::uint64_t>(
                     AsioZmqTransport::connect(io.get_executor(), zmq_test::to_hub(zmq_test::nowhere())))
                     .log(nullptr)
                     .build();
  using Fragiles = std::vector<decltype(fragile)::EntryType>;
  Completed<std::uint64_t> before, behind;
  Completed<Fragiles> broken, written, closed;
  fragile.async_touch({Fragile{1}}, before.token());
  fragile.async_register_blocks(Fragiles{{Fragile{13}, 1, {}}}, broken.token());
  fragile.async_touch({Fragile{2}}, behind.token());
  fragile.async_register_blocks(Fragiles{{Fragile{3}, 1, {}}}, written.token());
  fragile.async_close(1s, closed.token());
  Fragile::breaks = true;
  io.run_for(10s);
  Fragile::breaks = false;
  CHECK(before.failed_with(errc::disconnected));
  CHECK(broken.failed_with(errc::disconnected));
  CHECK(behind.failed_with(errc::disconnected));
  CHECK(written.failed_with(errc::disconnected));
  CHECK(written.result.size() == 1);
  CHECK(closed.succeeded());
}

TEST_CASE("a registration over which a client breaks down comes back once, and whole, however far it had come") {
  Fragile::throws_number = false;
  Fragile::copies_left = GENERATE(0, 1, 2, 3);
  asio::io_context io;
  auto fragile =
      client<Fragile, std::uint64_t>(
          AsioZmqTransport::connect(io.get_executor(), zmq_test::to_hub(zmq_test::nowhere())))
          .acknowledged(true)
          .register_timeout(100ms)
          .log(nullptr)
          .build();
  using Fragiles = std::vector<decltype(fragile)::EntryType>;
  Completed<Fragiles> broken;
  fragile.async_register_blocks(Fragiles{{Fragile{13}, 1, {}}}, broken.token());
  Fragile::breaks = true;
  io.run_for(10s);
  Fragile::breaks = false;
  Fragile::copies_left = 0;
  CHECK(broken.calls == 1);
  CHECK(broken.code);
  CHECK(broken.result.size() == 1);
}

TEST_CASE("what cannot be read back when a client ends is said, whatever its wire throws") {
  const bool breaks_down = GENERATE(false, true);
  Log log;
  {
    asio::io_context io;
    auto fragile =
        client<Fragile, Unreadable>(AsioZmqTransport::connect(io.get_executor(), zmq_test::to_hub(zmq_test::nowhere())))
            .batch_timeout(std::chrono::hours{1})
            .close_timeout(0ms)
            .log(log.hook())
            .build();
    using Fragiles = std::vector<decltype(fragile)::EntryType>;
    Completed<Fragiles> written, broken;
    fragile.async_register_blocks(Fragiles{{Fragile{1}, {2}, {}}}, written.token());
    while (written.calls == 0) io.run_one();
    if (breaks_down) {
      Fragile::throws_number = false;
      fragile.async_register_blocks(Fragiles{{Fragile{13}, {2}, {}}}, broken.token());
      Fragile::breaks = true;
      io.poll();
      Fragile::breaks = false;
      CHECK(broken.failed_with(errc::disconnected));
    }
  }
  REQUIRE(log.lines.size() == 1);
  CHECK(log.lines[0] == std::string{breaks_down ? "entries were lost: " : "closing the client failed: "} +
                            "something that is no std::exception was thrown");
}

TEST_CASE("many threads call one client that many threads run") {
  ServedHub hub;
  asio::io_context io;
  auto work = asio::make_work_guard(io);
  std::vector<std::thread> runners;
  for (int i = 0; i < 3; ++i) runners.emplace_back([&] { io.run(); });
  constexpr K per_thread = 500;
  std::atomic<std::size_t> granted = 0;
  {
    Client client = builder(io, hub.address()).batch_size(7).build();
    std::vector<std::thread> callers;
    for (K caller = 0; caller < 4; ++caller) {
      callers.emplace_back([&, caller] {
        std::vector<std::future<OffloadResult<K>>> answers;
        for (K i = 0; i < per_thread; ++i) {
          const K key = caller * per_thread + i;
          answers.push_back(client.async_can_offload({key}, asio::use_future));
          client.async_register_blocks({{key + 1'000'000, i}}, [](std::error_code code, const Blocks&) {
            if (code) std::terminate();
          });
        }
        for (auto& answer : answers) granted += answer.get().can_offload.size();
      });
    }
    for (std::thread& caller : callers) caller.join();
    client.async_flush(asio::use_future).get();
    REQUIRE(client.async_close(10s, asio::use_future).get().empty());
  }
  work.reset();
  for (std::thread& runner : runners) runner.join();
  REQUIRE(granted == 4 * per_thread);
  const SteadyTime end = zmq_test::steady_now() + zmq_test::limit;
  while (hub.stats().entries_registered < 4 * per_thread && zmq_test::steady_now() < end) std::this_thread::yield();
  REQUIRE(hub.stats().entries_registered == 4 * per_thread);
}

TEST_CASE("the client works on when its hub was away") {
  ZmqHubConfig config = zmq_test::local_hub();
  std::optional<ServedHub> hub;
  hub.emplace(config);
  const ZmqTransportConfig address = hub->address();
  asio::io_context io;
  Client client = builder(io, address).build();
  Completed<std::uint64_t> before;
  client.async_touch({1}, before.token());
  io.run();
  REQUIRE(before.succeeded());
  hub.reset();
  config.query_addr = address.query_addr;
  config.register_addr = address.register_addr;
  Completed<std::uint64_t> meanwhile;
  client.async_touch({2}, meanwhile.token());
  hub.emplace(config);
  io.restart();
  io.run();
  // What was handed to libzmq before it noticed is lost with the connection, and that ends in a timeout, not in
  // silence.
  REQUIRE(meanwhile.calls == 1);
  Completed<std::uint64_t> after;
  client.async_touch({3}, after.token());
  io.restart();
  io.run();
  REQUIRE(after.succeeded());
}

TEST_CASE("answers that have come while the executor was held up are not too late") {
  ServedHub hub;
  asio::io_context io;
  Client client = builder(io, hub.address()).request_timeout(300ms).build();
  Completed<std::uint64_t> first;
  client.async_touch(Keys{1}, first.token());
  REQUIRE(run_until(io, [&] { return first.calls > 0; }));
  std::vector<Completed<std::uint64_t>> calls(200);
  for (std::size_t i = 0; i < calls.size(); ++i) client.async_touch(Keys{i}, calls[i].token());
  io.restart();
  io.poll();
  // Longer than their time, and than any answer takes to come: a handler of the application's.
  std::this_thread::sleep_for(2 * 300ms);
  REQUIRE(run_until(io, [&] { return std::ranges::all_of(calls, [](const auto& call) { return call.calls > 0; }); }));
  CHECK(std::ranges::all_of(calls, [](const auto& call) { return call.succeeded(); }));
}
