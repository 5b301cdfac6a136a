// SPDX-License-Identifier: Apache-2.0
// Claims of asynchronous clients, against a real hub.
#include <asio/awaitable.hpp>
#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/co_spawn.hpp>
#include <asio/error.hpp>
#include <asio/executor_work_guard.hpp>
#include <asio/experimental/as_tuple.hpp>
#include <asio/experimental/awaitable_operators.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>
#include <asio/use_awaitable.hpp>
#include <asio/use_future.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <functional>
#include <future>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "asio/common.hpp"
#include "support/catch.hpp"

using namespace asio_test;

namespace {

using BlockClaim = Client::ClaimType;

/// A hub and two of its clients, on one io_context.
struct World {
  explicit World(HubOptions options = {})
      : hub(zmq_test::local_hub(), std::move(options)),
        alice(builder(io, hub.address()).build()),
        bob(builder(io, hub.address()).build()) {}

  BlockClaim claim(Client& client, const Keys& keys) {
    Completed<BlockClaim> outcome;
    client.async_claim(keys, 0s, outcome.token());
    REQUIRE(run_until(io, [&] { return outcome.calls > 0; }));
    REQUIRE(outcome.succeeded());
    return std::move(outcome.result);
  }

  bool becomes_true(const std::function<bool()>& condition) { return run_until(io, condition); }

  ServedHub hub;
  asio::io_context io;
  Client alice;
  Client bob;
};

}  // namespace

TEST_CASE("a coroutine makes every call of a claim") {
  ServedHub hub;
  asio::io_context io;
  Client client = builder(io, hub.address()).build();
  bool done = false;
  const auto work = [&]() -> asio::awaitable<void> {
    const Keys keys{1, 2, 3};
    auto claim = co_await client.async_claim(keys, 60s, asio::use_awaitable);
    CHECK(claim.granted() == keys);
    CHECK(claim.token() > 0);
    CHECK(claim.deadline() > zmq_test::steady_now());

    const Blocks first{{1, 10}};
    const auto registered = co_await claim.async_register_blocks(first, asio::use_awaitable);
    CHECK(registered.statuses == std::vector{RegisterStatus::stored});
    CHECK(registered.all_stored());
    CHECK(claim.held().size() == 2);

    const SteadyTime before = claim.deadline();
    const Keys lost_by_progress = co_await claim.async_progress(asio::use_awaitable);
    CHECK(lost_by_progress.empty());
    CHECK(claim.deadline() == before);
    const Keys lost_by_renewal = co_await claim.async_renew(asio::use_awaitable);
    CHECK(lost_by_renewal.empty());
    CHECK(claim.deadline() > before);

    const Keys given{2};
    claim.release(given);
    CHECK(claim.held() == Keys{3});
    const auto next = co_await client.async_claim(keys, 0s, asio::use_awaitable);
    CHECK(next.already_stored() == Keys{1});
    CHECK(next.granted() == Keys{2});
    CHECK(next.leased() == Keys{3});
    CHECK(next.token() > claim.token());
    done = true;
  };
  asio::co_spawn(io, work(), rethrow);
  io.run();
  REQUIRE(done);
  REQUIRE(run_until(io, [&] { return hub.stats().leases.active == 0; }));
}

TEST_CASE("claims are made by futures as well") {
  ServedHub hub;
  asio::io_context io;
  auto work = asio::make_work_guard(io);
  std::thread runner([&] { io.run(); });
  {
    Client client = builder(io, hub.address()).build();
    auto claim = client.async_claim({1, 2}, 0s, asio::use_future).get();
    REQUIRE(claim.granted() == Keys{1, 2});
    REQUIRE(claim.async_register_blocks({{1, 10}}, asio::use_future).get().all_stored());
    REQUIRE(claim.async_renew(asio::use_future).get().empty());
    REQUIRE(claim.async_progress(asio::use_future).get().empty());
    // On a thread that has nothing to do with the io_context.
    claim.release();
    REQUIRE(client.async_claim({2}, 10s, asio::use_future).get().granted() == Keys{2});
  }
  work.reset();
  runner.join();
}

TEST_CASE("two asynchronous claims of one client are never granted the same key") {
  World world;
  Completed<BlockClaim> first;
  Completed<BlockClaim> second;
  world.alice.async_claim({1, 2, 2}, 0s, first.token());
  world.alice.async_claim({1, 2, 3}, 0s, second.token());
  REQUIRE(first.calls == 0);
  world.io.run();
  REQUIRE(first.succeeded());
  REQUIRE(second.succeeded());
  REQUIRE(first.result.granted() == Keys{1, 2});
  REQUIRE(second.result.leased() == Keys{1, 2});
  REQUIRE(second.result.granted() == Keys{3});
}

TEST_CASE("an exception that ends a coroutine gives back what its claim holds") {
  ServedHub hub;
  asio::io_context io;
  Client client = builder(io, hub.address()).build();
  const auto work = [&]() -> asio::awaitable<void> {
    const Keys keys{1, 2};
    const auto claim = co_await client.async_claim(keys, 0s, asio::use_awaitable);
    CHECK(claim.granted() == keys);
    CHECK(hub.stats().leases.active == 2);
    throw std::runtime_error("the disk is full");
  };
  asio::co_spawn(io, work(), rethrow);
  REQUIRE_THROWS_WITH(io.run(), "the disk is full");
  REQUIRE(run_until(io, [&] { return hub.stats().leases.released == 2; }));
  REQUIRE(hub.stats().leases.active == 0);
}

TEST_CASE("an asynchronous claim that waits is granted what another gives back") {
  World world;
  BlockClaim held = world.claim(world.alice, {1});
  Completed<BlockClaim> waiting;
  world.bob.async_claim({1}, 60s, waiting.token());
  REQUIRE(world.becomes_true([&] { return world.hub.stats().waiting_claims == 1; }));
  REQUIRE(waiting.calls == 0);
  held.release();
  REQUIRE(held.held().empty());
  REQUIRE(world.becomes_true([&] { return waiting.calls > 0; }));
  REQUIRE(waiting.succeeded());
  REQUIRE(waiting.result.granted() == Keys{1});
  REQUIRE(waiting.result.token() > held.token());
}

TEST_CASE("while a claim waits, its client goes on, and it ends when its wait is over") {
  World world;
  const BlockClaim held = world.claim(world.alice, {1});
  Completed<BlockClaim> waiting;
  Completed<BlockClaim> impatient;
  // The first calls of this client: the hub keeps one of them.
  world.bob.async_claim({1}, 60s, waiting.token());
  world.bob.async_claim({1}, 1ms, impatient.token());
  REQUIRE(world.becomes_true([&] { return impatient.calls > 0; }));
  REQUIRE(impatient.succeeded());
  REQUIRE(impatient.result.leased() == Keys{1});
  REQUIRE(impatient.result.token() == 0);
  REQUIRE(world.claim(world.bob, {2}).granted() == Keys{2});
  REQUIRE(waiting.calls == 0);
  REQUIRE(world.hub.stats().waiting_claims == 1);
}

TEST_CASE("a cancelled claim waits no longer, and the grant goes to the next") {
  World world;
  BlockClaim held = world.claim(world.alice, {1});
  asio::cancellation_signal signal;
  Completed<BlockClaim> cancelled;
  Completed<BlockClaim> next;
  world.bob.async_claim({1}, 60s, asio::bind_cancellation_slot(signal.slot(), cancelled.token()));
  REQUIRE(world.becomes_true([&] { return world.hub.stats().waiting_claims == 1; }));
  world.bob.async_claim({1}, 60s, next.token());
  REQUIRE(world.becomes_true([&] { return world.hub.stats().waiting_claims == 2; }));
  signal.emit(asio::cancellation_type::terminal);
  REQUIRE(world.becomes_true([&] { return world.hub.stats().waiting_claims == 1 && cancelled.calls > 0; }));
  REQUIRE(cancelled.code == asio::error::operation_aborted);
  REQUIRE(cancelled.result.granted().empty());
  held.release();
  REQUIRE(world.becomes_true([&] { return next.calls > 0; }));
  REQUIRE(next.result.granted() == Keys{1});
  REQUIRE(world.hub.stats().waiting_claims == 0);
  REQUIRE(world.hub.stats().granted == 2);
}

TEST_CASE("a coroutine waits for a claim or a timer, whichever comes first") {
  using namespace asio::experimental::awaitable_operators;
  World world;
  const BlockClaim held = world.claim(world.alice, {1});
  std::size_t first = 99;
  const auto race = [&]() -> asio::awaitable<void> {
    asio::steady_timer timer(world.io, 20ms);
    const Keys keys{1};
    const auto winner =
        co_await (world.bob.async_claim(keys, 60s, asio::use_awaitable) || timer.async_wait(asio::use_awaitable));
    first = winner.index();
  };
  asio::co_spawn(world.io, race(), rethrow);
  REQUIRE(world.becomes_true([&] { return first != 99; }));
  REQUIRE(first == 1);
  REQUIRE(world.becomes_true([&] { return world.hub.stats().waiting_claims == 0; }));
}

TEST_CASE("an asynchronous claim hears what it has lost") {
  World world;
  BlockClaim claim = world.claim(world.alice, {1, 2});
  Completed<RegisterResult<Block>> theirs;
  world.bob.async_register_acknowledged({{1, 11}}, theirs.token());
  REQUIRE(world.becomes_true([&] { return theirs.calls > 0; }));
  REQUIRE(theirs.result.all_stored());
  Completed<Keys> renewed;
  claim.async_renew(renewed.token());
  REQUIRE(world.becomes_true([&] { return renewed.calls > 0; }));
  REQUIRE(renewed.succeeded());
  REQUIRE(renewed.result == Keys{1});
  REQUIRE(claim.lost() == Keys{1});
  REQUIRE(claim.held() == Keys{2});
}

TEST_CASE("on a hub that insists, a block is registered through its claim and by nobody else") {
  World world(HubOptions{.insist_on_holder = true});
  BlockClaim claim = world.claim(world.alice, {1, 2});
  Completed<RegisterResult<Block>> past_it;
  world.alice.async_register_acknowledged({{1, 11}}, past_it.token());
  REQUIRE(world.becomes_true([&] { return past_it.calls > 0; }));
  REQUIRE(past_it.succeeded());
  REQUIRE(past_it.result.statuses == std::vector{RegisterStatus::lease_conflict});
  REQUIRE(past_it.result.refused == Blocks{{1, 11}});
  Completed<RegisterResult<Block>> through_it;
  claim.async_register_blocks({{1, 10}, {3, 30}}, through_it.token());
  REQUIRE(world.becomes_true([&] { return through_it.calls > 0; }));
  REQUIRE(through_it.result.statuses == std::vector{RegisterStatus::stored, RegisterStatus::lease_conflict});
  REQUIRE(through_it.result.refused == Blocks{{3, 30}});
  REQUIRE(claim.held() == Keys{2});
}

TEST_CASE("of many coroutines that wait for one key, on many threads, each stores it in turn until it is stored") {
  ServedHub hub;
  asio::io_context io;
  std::atomic<int> holders = 0;
  std::atomic<int> most = 0;
  std::atomic<int> given_up = 0;
  std::atomic<int> found_stored = 0;
  {
    Client client = builder(io, hub.address()).build();
    const auto work = [&]() -> asio::awaitable<void> {
      const Keys keys{1};
      auto claim = co_await client.async_claim(keys, 60s, asio::use_awaitable);
      if (claim.granted().empty()) {
        if (claim.already_stored() == keys) ++found_stored;
        co_return;
      }
      most = std::max(most.load(), ++holders);
      co_await asio::post(io, asio::use_awaitable);
      --holders;
      // The first three fail, and their claims end with that.
      if (given_up.fetch_add(1) < 3) throw std::runtime_error("failed");
      const Blocks entries{{1, 10}};
      const auto result = co_await claim.async_register_blocks(entries, asio::use_awaitable);
      if (!result.all_stored()) std::terminate();
    };
    constexpr int coroutines = 16;
    std::vector<std::future<void>> ended;
    for (int i = 0; i < coroutines; ++i) ended.push_back(asio::co_spawn(io, work, asio::use_future));
    std::vector<std::thread> runners;
    for (int i = 0; i < 3; ++i) runners.emplace_back([&] { io.run(); });
    for (std::thread& runner : runners) runner.join();
    int failed = 0;
    for (auto& end : ended) {
      try {
        end.get();
      } catch (const std::runtime_error&) {
        ++failed;
      }
    }
    REQUIRE(failed == 3);
    REQUIRE(found_stored == coroutines - 4);
  }
  REQUIRE(most == 1);
  REQUIRE(given_up == 4);
  REQUIRE(hub.stats().granted == 4);
  REQUIRE(hub.stats().waiting_claims == 0);
  REQUIRE(hub.stats().leases.active == 0);
}

TEST_CASE("claims that end on many threads all give back") {
  ServedHub hub;
  asio::io_context io;
  auto work = asio::make_work_guard(io);
  std::vector<std::thread> runners;
  for (int i = 0; i < 2; ++i) runners.emplace_back([&] { io.run(); });
  constexpr K per_thread = 300;
  {
    Client client = builder(io, hub.address()).build();
    std::vector<std::thread> callers;
    for (K caller = 0; caller < 3; ++caller) {
      callers.emplace_back([&, caller] {
        std::vector<std::future<BlockClaim>> claims;
        for (K i = 0; i < per_thread; ++i) {
          claims.push_back(client.async_claim({caller * per_thread + i}, 0s, asio::use_future));
        }
        for (auto& claim : claims) {
          if (claim.get().granted().size() != 1) std::terminate();
        }
      });
    }
    for (std::thread& caller : callers) caller.join();
  }
  work.reset();
  for (std::thread& runner : runners) runner.join();
  asio::io_context idle;
  REQUIRE(run_until(idle, [&] { return hub.stats().leases.released == 3 * per_thread; }));
  REQUIRE(hub.stats().leases.active == 0);
}

TEST_CASE("claims that end together give back also what finds no room at once") {
  ServedHub hub;
  asio::io_context io;
  ZmqTransportConfig config = hub.address();
  config.dealer_hwm = 1;
  Client client = builder(io, config).build();
  constexpr K count = 500;
  std::vector<Completed<BlockClaim>> outcomes(count);
  for (K key = 0; key < count; ++key) client.async_claim({key}, 0s, outcomes[key].token());
  io.run();
  REQUIRE(std::ranges::all_of(outcomes, [](const auto& outcome) { return outcome.succeeded(); }));
  REQUIRE(hub.stats().leases.active == count);
  outcomes.clear();
  REQUIRE(run_until(io, [&] { return hub.stats().leases.active == 0; }));
}

TEST_CASE("a failed claim can be looked at, and holds nothing") {
  asio::io_context io;
  Client client = builder(io, zmq_test::to_hub(zmq_test::nowhere())).request_timeout(20ms).build();
  bool done = false;
  const auto work = [&]() -> asio::awaitable<void> {
    const Keys keys{1};
    Diagnostics diagnostics;
    auto [code, claim] =
        co_await client.async_claim(keys, 30ms, diagnostics, asio::experimental::as_tuple(asio::use_awaitable));
    CHECK(code == errc::timeout);
    CHECK(std::get<Timeout>(*diagnostics.error()).duration == 50ms);
    CHECK(claim.granted().empty());
    CHECK(claim.already_stored().empty());
    CHECK(claim.leased().empty());
    CHECK(claim.held().empty());
    CHECK(claim.lost().empty());
    CHECK(claim.token() == 0);
    claim.release(keys);
    claim.release();
    done = true;
  };
  asio::co_spawn(io, work(), rethrow);
  io.run();
  REQUIRE(done);
}
