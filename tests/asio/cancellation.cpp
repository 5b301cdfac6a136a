// SPDX-License-Identifier: Apache-2.0
#include <asio/awaitable.hpp>
#include <asio/bind_cancellation_slot.hpp>
#include <asio/bind_executor.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/co_spawn.hpp>
#include <asio/error.hpp>
#include <asio/executor_work_guard.hpp>
#include <asio/experimental/awaitable_operators.hpp>
#include <asio/steady_timer.hpp>
#include <asio/use_awaitable.hpp>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "asio/common.hpp"
#include "support/catch.hpp"

using namespace asio_test;

TEST_CASE("a cancelled query ends at once and gives back what it may have been granted") {
  ScriptedHub hub;
  asio::io_context io;
  Client client = builder(io, hub.address()).build();
  REQUIRE(introduce(hub, io, client));
  asio::cancellation_signal signal;
  Completed<OffloadResult<K>> outcome;
  Diagnostics diagnostics;
  diagnostics.set(Timeout{});
  client.async_can_offload({1}, diagnostics, asio::bind_cancellation_slot(signal.slot(), outcome.token()));
  REQUIRE(hub.run(io, [&] { return hub.seen.queries.size() == 2; }));
  signal.emit(asio::cancellation_type::terminal);
  REQUIRE(hub.run(io, [&] { return hub.seen.queries.size() == 3 && outcome.calls > 0; }));
  REQUIRE(outcome.code == asio::error::operation_aborted);
  REQUIRE_FALSE(diagnostics.error());
  REQUIRE(hub.type(2) == MessageType::withdraw);
  REQUIRE(hub.envelope(2).number == hub.envelope(1).number);

  // The connection goes on, and the late answer is nobody's.
  hub.answer(1, statuses_answer({OffloadStatus::granted}));
  REQUIRE(introduce(hub, io, client));
  REQUIRE(outcome.calls == 1);
}

TEST_CASE("an emission of no type cancels nothing") {
  ScriptedHub hub;
  asio::io_context io;
  Client client = builder(io, hub.address()).build();
  asio::cancellation_signal signal;
  Completed<std::uint64_t> outcome;
  client.async_touch({1}, asio::bind_cancellation_slot(signal.slot(), outcome.token()));
  REQUIRE(hub.run(io, [&] { return hub.seen.queries.size() == 1; }));
  signal.emit(asio::cancellation_type::none);
  hub.answer(0, count_answer(MessageType::touch_response, 1));
  REQUIRE(hub.run(io, [&] { return outcome.calls > 0; }));
  REQUIRE(outcome.succeeded());
}

TEST_CASE("a query that is cancelled before it is sent is never sent") {
  ScriptedHub hub;
  asio::io_context io;
  Client client = builder(io, hub.address()).build();
  asio::cancellation_signal signal;
  Completed<std::uint64_t> first;
  Completed<std::uint64_t> cancelled;
  Completed<std::uint64_t> last;
  client.async_touch({1}, first.token());
  client.async_touch({2}, asio::bind_cancellation_slot(signal.slot(), cancelled.token()));
  client.async_touch({3}, last.token());
  signal.emit(asio::cancellation_type::total);
  REQUIRE(hub.run(io, [&] { return hub.seen.queries.size() == 1 && cancelled.calls > 0; }));
  REQUIRE(cancelled.code == asio::error::operation_aborted);
  hub.answer(0, count_answer(MessageType::touch_response, 1));
  REQUIRE(hub.run(io, [&] { return hub.seen.queries.size() == 2; }));
  REQUIRE(hub.keys(1) == Keys{3});
}

TEST_CASE("a cancellation that comes after completion does nothing") {
  ServedHub hub;
  asio::io_context io;
  Client client = builder(io, hub.address()).build();
  asio::cancellation_signal signal;
  Completed<std::uint64_t> outcome;
  client.async_touch({1}, asio::bind_cancellation_slot(signal.slot(), outcome.token()));
  io.run();
  REQUIRE(outcome.succeeded());
  REQUIRE_FALSE(signal.slot().has_handler());
  signal.emit(asio::cancellation_type::terminal);
  io.restart();
  io.run();
  REQUIRE(outcome.calls == 1);
}

TEST_CASE("a hub that returns no envelopes is asked on a new connection after a cancellation") {
  ScriptedHub hub;
  asio::io_context io;
  Client client = builder(io, hub.address()).build();
  asio::cancellation_signal signal;
  Completed<std::uint64_t> cancelled;
  client.async_touch({1}, asio::bind_cancellation_slot(signal.slot(), cancelled.token()));
  REQUIRE(hub.run(io, [&] { return hub.seen.queries.size() == 1; }));
  signal.emit(asio::cancellation_type::terminal);
  Completed<std::uint64_t> next;
  client.async_touch({2}, next.token());
  REQUIRE(hub.run(io, [&] { return hub.seen.queries.size() == 2; }));
  REQUIRE(hub.seen.queries[0].sender != hub.seen.queries[1].sender);
  hub.answer_bare(1, count_answer(MessageType::touch_response, 2));
  REQUIRE(hub.run(io, [&] { return next.calls > 0; }));
  REQUIRE(next.result == 2);
}

TEST_CASE("a cancelled registration that waits for room comes back with its entries") {
  asio::io_context io;
  ZmqTransportConfig config = zmq_test::to_hub(zmq_test::nowhere());
  config.push_hwm = 1;
  Client client = builder(io, config).batch_size(1).close_timeout(0ms).log({}).build();
  std::vector<Completed<Blocks>> filling(2);
  for (auto& outcome : filling) client.async_register_blocks({{1, 1}}, outcome.token());
  asio::cancellation_signal signal;
  Completed<Blocks> outcome;
  client.async_register_blocks({{7, 70}}, asio::bind_cancellation_slot(signal.slot(), outcome.token()));
  for (int turn = 0; turn < 10; ++turn) io.poll();
  REQUIRE(outcome.calls == 0);
  signal.emit(asio::cancellation_type::terminal);
  while (outcome.calls == 0) io.run_one();
  REQUIRE(outcome.code == asio::error::operation_aborted);
  REQUIRE(outcome.result == Blocks{{7, 70}});
}

TEST_CASE("a coroutine waits for a call or a timer, whichever comes first") {
  using namespace asio::experimental::awaitable_operators;
  ScriptedHub hub;
  asio::io_context io;
  Client client = builder(io, hub.address()).build();
  REQUIRE(introduce(hub, io, client));
  std::size_t first = 99;
  const auto race = [&]() -> asio::awaitable<void> {
    asio::steady_timer timer(io, 20ms);
    const Keys keys{1};
    const auto winner =
        co_await (client.async_can_offload(keys, asio::use_awaitable) || timer.async_wait(asio::use_awaitable));
    first = winner.index();
  };
  asio::co_spawn(io, race(), rethrow);
  REQUIRE(hub.run(io, [&] { return first != 99 && hub.seen.queries.size() == 3; }));
  REQUIRE(first == 1);
  REQUIRE(hub.type(2) == MessageType::withdraw);
}

TEST_CASE("a query is taken back also before the hub is known to return envelopes") {
  ScriptedHub hub;
  asio::io_context io;
  Client client = builder(io, hub.address()).build();
  asio::cancellation_signal signal;
  Completed<OffloadResult<K>> outcome;
  client.async_can_offload({1}, asio::bind_cancellation_slot(signal.slot(), outcome.token()));
  REQUIRE(hub.run(io, [&] { return hub.seen.queries.size() == 1; }));
  signal.emit(asio::cancellation_type::terminal);
  REQUIRE(hub.run(io, [&] { return hub.seen.queries.size() == 2 && outcome.calls > 0; }));
  REQUIRE(hub.type(1) == MessageType::withdraw);
  REQUIRE(hub.seen.queries[1].sender == hub.seen.queries[0].sender);
}

TEST_CASE("a cancellation that follows at once on any thread is not lost") {
  ScriptedHub hub;
  asio::io_context io;
  auto work = asio::make_work_guard(io);
  std::thread runner([&] { io.run(); });
  std::atomic<int> aborted = 0;
  constexpr int per_thread = 2'000;
  {
    Client client = builder(io, hub.address()).request_timeout(20s).build();
    std::vector<std::thread> callers;
    for (int i = 0; i < 3; ++i) {
      callers.emplace_back([&] {
        // A slot belongs to its handler's executor: each thread has one of its own.
        asio::io_context own;
        std::vector<asio::cancellation_signal> signals(per_thread);
        for (asio::cancellation_signal& signal : signals) {
          auto handler = [&](std::error_code code, std::uint64_t) {
            if (code == asio::error::operation_aborted) ++aborted;
          };
          client.async_touch({1}, asio::bind_cancellation_slot(
                                      signal.slot(), asio::bind_executor(own.get_executor(), std::move(handler))));
          signal.emit(asio::cancellation_type::terminal);
        }
        own.run();
      });
    }
    for (std::thread& caller : callers) caller.join();
  }
  work.reset();
  runner.join();
  REQUIRE(aborted == 3 * per_thread);
}
