// SPDX-License-Identifier: Apache-2.0
// Hub and clients in one process: what happens when, and who is who.
#include "support/catch.hpp"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <future>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <registry/builder.hpp>
#include <registry/metadata.hpp>
#include <registry/storage.hpp>
#include <registry/transport/in_process.hpp>

using namespace registry;
using namespace std::chrono_literals;

namespace {

using Block = std::uint64_t;
using BlockEntry = Entry<Block, Block, NoMetadata>;

auto block_hub() { return hub<Block, Block>(HashMapStorage<Block, Block>{}); }
auto block_client(const InProcessTransport& transport) { return client<Block, Block>(transport); }

/// Writes down what it is told and when, and answers nothing.
struct Notebook {
  struct Line {
    std::string what;
    std::chrono::nanoseconds at;
    friend bool operator==(const Line&, const Line&) = default;
  };

  std::vector<Line> lines;
  std::optional<SteadyTime> deadline;
  SteadyTime start{};
  WallTime wall{};
  std::vector<std::string> senders;

  Notebook& core() { return *this; }
  template <class Reply>
  void query(ByteView sender, Frames, ByteView, Instant now, const Reply&) {
    senders.emplace_back(as_text(sender));
    note("query", now);
  }
  template <class Reply>
  void registration(std::string_view, ByteView, ByteView, Instant now, const Reply&) {
    note("registration", now);
  }
  template <class Reply>
  void end_claims(Instant, const Reply&) {}
  template <class Reply>
  void tick(Instant now, const Reply&) {
    if (!deadline || now.lease < *deadline) return;
    deadline.reset();
    note("tick", now);
  }
  std::optional<SteadyTime> next_deadline() const { return deadline; }

 private:
  void note(std::string what, Instant now) {
    lines.push_back({std::move(what), now.lease - start});
    wall = now.wall;
  }
};

/// A real hub whose answer is lost when it is told to.
struct Forgetful {
  decltype(block_hub().build()) real = block_hub().build();
  bool forgets = false;

  Forgetful& core() { return *this; }
  template <class Reply>
  void query(ByteView sender, Frames envelope, ByteView message, Instant now, const Reply& reply) {
    const bool forget = std::exchange(forgets, false);
    real.core().query(sender, envelope, message, now,
                      [&](ByteView to, Frames frames, ByteView answer) { return forget || reply(to, frames, answer); });
  }
  template <class Reply>
  void registration(std::string_view, ByteView, ByteView, Instant, const Reply&) {}
  template <class Reply>
  void end_claims(Instant, const Reply&) {}
  template <class Reply>
  void tick(Instant, const Reply&) {}
  std::optional<SteadyTime> next_deadline() const { return std::nullopt; }
};

}  // namespace

TEST_CASE("a call is answered before it returns, without threads or sockets") {
  auto hub = block_hub().build();
  auto worker = block_client(InProcessTransport(hub)).build();
  CHECK(worker.can_offload({1, 2}).can_offload == std::vector<Block>{1, 2});
  worker.register_blocks({{1, 10}});
  worker.flush();
  CHECK(hub.stats().stored == 1);
  CHECK(worker.match({1, 2}) == std::vector<BlockEntry>{{1, 10, {}}});
  CHECK(worker.match_prefix({1, 2}) == std::vector<BlockEntry>{{1, 10, {}}});
  CHECK(worker.match_prefix({2, 1}).empty());
  CHECK(worker.touch({1, 2}) == 1);
  CHECK(worker.release({1, 2}) == 1);
  CHECK(worker.remove({1, 2}) == 1);
  CHECK(hub.stats().stored == 0);
}

TEST_CASE("copies lead to the same hub and are holders of their own") {
  auto hub = block_hub().build();
  const InProcessTransport transport(hub);
  auto one = block_client(transport).build();
  auto two = block_client(transport).build();
  CHECK(one.can_offload({1}).can_offload.size() == 1);
  CHECK(two.can_offload({1}).leased.size() == 1);
  // Whoever holds it and asks again renews it.
  CHECK(one.can_offload({1}).can_offload.size() == 1);
  CHECK(hub.stats().leases.renewed == 1);
  CHECK(two.release({1}) == 0);
  CHECK(one.release({1}) == 1);
  CHECK(two.can_offload({1}).can_offload.size() == 1);
  two.register_blocks({{1, 10}});
  two.flush();
  CHECK(one.can_offload({1}).already_stored.size() == 1);
  CHECK(one.match({1}).size() == 1);
}

TEST_CASE("a key named twice in one query is granted once") {
  auto hub = block_hub().build();
  auto worker = block_client(InProcessTransport(hub)).build();
  using enum OffloadStatus;
  CHECK(worker.can_offload({1, 2, 1}).statuses == std::vector{granted, granted, leased});
}

TEST_CASE("time stands still except in advance") {
  auto hub = block_hub().lease_ttl(1ns).build();
  InProcessTransport transport(hub);
  auto one = block_client(transport).build();
  auto two = block_client(transport).build();
  const SteadyTime start = transport.now();
  CHECK(one.can_offload({1}).can_offload.size() == 1);
  for (int i = 0; i < 1'000; ++i) REQUIRE(two.can_offload({1}).leased.size() == 1);
  CHECK(transport.now() == start);
  transport.advance(1ns);
  CHECK(transport.now() == start + 1ns);
  CHECK(two.can_offload({1}).can_offload.size() == 1);
}

TEST_CASE("every copy tells the same time, and any may move it") {
  auto hub = block_hub().build();
  InProcessTransport one(hub);
  InProcessTransport two(one);
  InProcessTransport three = two;
  three.advance(7s);
  CHECK(one.now() == three.now());
  auto other_hub = block_hub().build();
  InProcessTransport elsewhere(other_hub);
  elsewhere.advance(1s);
  elsewhere = one;
  CHECK(elsewhere.now() == one.now());
  InProcessTransport moved = std::move(elsewhere);
  CHECK(moved.now() == one.now());
  auto worker = client<Block, Block>(std::move(moved)).build();
  worker.can_offload({1});
  CHECK(hub.stats().queries == 1);
  CHECK(other_hub.stats().queries == 0);
  worker.register_blocks({{1, 10}});
  one.advance(10ms);
  CHECK(hub.stats().stored == 1);
}

TEST_CASE("leases end in advance and are collected there") {
  auto hub = block_hub().lease_ttl(30s).lease_cleanup_interval(1s).build();
  InProcessTransport transport(hub);
  auto one = block_client(transport).build();
  auto two = block_client(transport).build();
  one.can_offload({1, 2, 3});
  transport.advance(30s - 1ns);
  CHECK(two.can_offload({1}).leased.size() == 1);
  CHECK(hub.stats().leases.active == 3);
  transport.advance(1ns);
  CHECK(two.can_offload({1}).can_offload.size() == 1);
  transport.advance(1s);
  CHECK(hub.stats().leases.expired == 3);
  CHECK(hub.stats().leases.active == 1);
}

TEST_CASE("more leases than one collection takes are all gone after one advance") {
  auto hub = block_hub().lease_ttl(1s).lease_cleanup_interval(1s).build();
  InProcessTransport transport(hub);
  auto worker = block_client(transport).build();
  std::vector<Block> keys(5'000);
  for (Block key = 0; key < keys.size(); ++key) keys[key] = key;
  worker.can_offload(keys);
  transport.advance(2s);
  CHECK(hub.stats().leases.active == 0);
  CHECK(hub.stats().leases.expired == 5'000);
}

TEST_CASE("batches leave at their time, whatever advance jumps to") {
  Notebook notebook;
  InProcessTransport transport(notebook);
  notebook.start = transport.now();
  auto slow = block_client(transport).batch_timeout(30ms).max_unconfirmed_bytes(0).build();
  auto quick = block_client(transport).batch_timeout(10ms).max_unconfirmed_bytes(0).build();
  slow.register_blocks({{1, 10}});
  transport.advance(5ms);
  quick.register_blocks({{2, 20}});
  notebook.lines.clear();  // each has asked what hub it is
  transport.advance(1h);
  CHECK(notebook.lines == std::vector<Notebook::Line>{{"registration", 15ms}, {"registration", 30ms}});
  quick.register_blocks({{3, 30}});
  transport.advance(10ms);
  CHECK(notebook.lines.size() == 3);
}

TEST_CASE("what falls due in one advance happens in its order, the clients' before the hub's") {
  Notebook notebook;
  InProcessTransport transport(notebook);
  notebook.start = transport.now();
  notebook.deadline = transport.now() + 12ms;
  auto worker = block_client(transport).batch_timeout(10ms).build();
  auto other = block_client(transport).batch_timeout(12ms).build();
  auto last = block_client(transport).batch_timeout(14ms).build();
  last.register_blocks({{3, 30}});
  other.register_blocks({{2, 20}});
  worker.register_blocks({{1, 10}});
  notebook.lines.clear();  // each has asked what hub it is
  transport.advance(20ms);
  CHECK(notebook.lines == std::vector<Notebook::Line>{
                              {"registration", 10ms}, {"registration", 12ms}, {"tick", 12ms}, {"registration", 14ms}});
  CHECK(transport.now() == notebook.start + 20ms);
}

TEST_CASE("a hub is ticked at its deadline, also while no client waits for anything") {
  Notebook notebook;
  InProcessTransport transport(notebook);
  notebook.start = transport.now();
  notebook.deadline = transport.now() + 12ms;
  transport.advance(20ms);
  CHECK(notebook.lines == std::vector<Notebook::Line>{{"tick", 12ms}});
}

TEST_CASE("a handler is called at the earliest time asked for, and at those that it answers") {
  Notebook notebook;
  InProcessTransport transport(notebook);
  const SteadyTime start = transport.now();
  notebook.start = start;
  notebook.deadline = start + 3ms;
  std::vector<std::chrono::nanoseconds> called;
  transport.start([&](SteadyTime now) -> std::optional<SteadyTime> {
    called.push_back(now - start);
    if (called.size() == 3) return std::nullopt;
    return now + 10ms;
  });
  transport.wake_at(start + 10ms);
  transport.wake_at(start + 5ms);
  transport.wake_at(start + 20ms);
  transport.advance(1s);
  CHECK(called == std::vector<std::chrono::nanoseconds>{5ms, 15ms, 25ms});
  transport.wake_at(transport.now() + 1ms);
  transport.stop();
  transport.advance(1s);
  CHECK(called.size() == 3);
}

TEST_CASE("a query whose answer is lost is withdrawn, and its keys are granted to others") {
  Forgetful hub;
  const InProcessTransport transport(hub);
  auto one = block_client(transport).build();
  auto two = block_client(transport).build();
  one.can_offload({1});
  hub.forgets = true;
  CHECK_THROWS_AS(one.can_offload({2}), RegistryError);
  CHECK(two.can_offload({1, 2}).can_offload == std::vector<Block>{2});
}

TEST_CASE("a hub that is due already is ticked by advancing nothing") {
  Notebook notebook;
  InProcessTransport transport(notebook);
  notebook.start = transport.now();
  notebook.deadline = transport.now();
  transport.advance(0s);
  CHECK(notebook.lines == std::vector<Notebook::Line>{{"tick", 0s}});
}

TEST_CASE("the wall clock begins where it is told to and moves with the other") {
  Notebook notebook;
  const WallTime start{std::chrono::seconds{1'000}};
  InProcessTransport transport(notebook, start);
  auto worker = block_client(transport).batch_size(1).build();
  worker.register_blocks({{1, 10}});
  CHECK(notebook.wall == start);
  transport.advance(90s);
  worker.register_blocks({{1, 10}});
  CHECK(notebook.wall == start + 90s);
}

TEST_CASE("each client has a routing id of its own") {
  Notebook notebook;
  const InProcessTransport transport(notebook);
  auto one = block_client(transport).build();
  auto two = block_client(transport).build();
  const auto ask = [](auto& worker) {
    try {
      worker.can_offload({1});
    } catch (const RegistryError& error) {
      return error.as<Timeout>() != nullptr;
    }
    return false;
  };
  CHECK(ask(one));
  CHECK(ask(two));
  CHECK(ask(one));
  // Each query, and behind it its withdrawal.
  REQUIRE(notebook.senders.size() == 6);
  CHECK(notebook.senders[0] == notebook.senders[1]);
  CHECK(notebook.senders[0] != notebook.senders[2]);
  CHECK(notebook.senders[2] == notebook.senders[3]);
  CHECK(notebook.senders[0] == notebook.senders[4]);
}

TEST_CASE("several hubs live in one process") {
  auto one = block_hub().build();
  auto two = block_hub().build();
  InProcessTransport to_one(one);
  InProcessTransport to_two(two);
  auto first = block_client(to_one).build();
  auto second = block_client(to_two).build();
  CHECK(first.can_offload({1}).can_offload.size() == 1);
  CHECK(second.can_offload({1}).can_offload.size() == 1);
  to_one.advance(1h);
  CHECK(to_two.now() < to_one.now());
  CHECK(two.stats().leases.active == 1);
  CHECK(one.stats().leases.active == 0);
}

TEST_CASE("a client that ended or was closed is not called by advance, and its entries have arrived") {
  auto hub = block_hub().build();
  InProcessTransport transport(hub);
  {
    auto ending = block_client(transport).build();
    ending.register_blocks({{1, 10}});
  }
  auto closing = block_client(transport).build();
  closing.register_blocks({{2, 20}});
  CHECK(closing.close(0s).empty());
  CHECK(hub.stats().stored == 2);
  CHECK(hub.stats().registrations == 2);
  transport.advance(1s);
  CHECK(hub.stats().registrations == 2);
  CHECK_THROWS_AS(closing.can_offload({1}), RegistryError);
}

TEST_CASE("many clients may come and go") {
  auto hub = block_hub().build();
  InProcessTransport transport(hub);
  for (Block i = 0; i < 1'000; ++i) {
    auto worker = block_client(transport).build();
    worker.register_blocks({{i, i}});
    if (i % 2 == 0) transport.advance(10ms);
  }
  CHECK(hub.stats().stored == 1'000);
}

TEST_CASE("clients on many threads share a hub, and time may be moved meanwhile") {
  auto hub = block_hub().build();
  InProcessTransport transport(hub);
  constexpr Block threads = 8;
  constexpr Block each = 200;
  std::atomic<Block> running = threads;
  std::vector<std::future<std::size_t>> work;
  for (Block thread = 0; thread < threads; ++thread) {
    work.push_back(std::async(std::launch::async, [&] {
      std::size_t granted = 0;
      {
        auto worker = block_client(transport).batch_size(3).batch_timeout(1ms).build();
        for (Block key = 0; key < each; ++key) {
          if (worker.can_offload({key}).can_offload.empty()) continue;
          ++granted;
          worker.register_blocks({{key, key}});
        }
      }
      --running;
      return granted;
    }));
  }
  while (running > 0) transport.advance(1ms);
  std::size_t granted = 0;
  for (auto& one : work) granted += one.get();
  CHECK(hub.stats().stored == each);
  // 30 s of leases are a long time for a hub whose clock is moved by milliseconds, but it may be moved that often.
  CHECK(granted >= each);
}

TEST_CASE("a namespace that the hub does not serve is an error") {
  auto hub = block_hub().build();
  const InProcessTransport transport(hub);
  try {
    block_client(transport).name_space("other").build();
    FAIL("nothing was thrown");
  } catch (const RegistryError& error) {
    CHECK(error.as<Unsupported>() != nullptr);
  }
  auto worker = block_client(transport).name_space("default").build();
  CHECK(worker.can_offload({1}).can_offload.size() == 1);
}
