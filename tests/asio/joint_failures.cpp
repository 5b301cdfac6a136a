// SPDX-License-Identifier: Apache-2.0
// Calls that travel together fail as they would have failed alone, and take nobody with them.
#include <asio/bind_cancellation_slot.hpp>
#include <asio/bind_executor.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/error.hpp>
#include <asio/executor_work_guard.hpp>
#include <asio/use_future.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <span>
#include <stdexcept>
#include <thread>
#include <vector>

#include "asio/common.hpp"
#include "asio/joint.hpp"
#include "support/catch.hpp"
#include "zmq/keys.hpp"

using namespace asio_test;

namespace joint_cases {

/// A value whose wire throws when it reads 13.
struct Unreadable {
  std::uint64_t number = 0;
  friend bool operator==(const Unreadable&, const Unreadable&) = default;
};

/// A value that can be read and not written.
struct ReadOnly {
  std::uint64_t number = 0;
  friend bool operator==(const ReadOnly&, const ReadOnly&) = default;
};

/// A codec whose messages have room for two keys.
struct Narrow : Messages {
  static void encode_keys(MessageType type, std::span<const K> keys, Bytes& out) {
    if (keys.size() > 2) throw std::length_error("too many keys");
    Messages::encode_keys(type, keys, out);
  }
};

}  // namespace joint_cases

using joint_cases::Narrow;
using joint_cases::ReadOnly;
using joint_cases::Unreadable;

template <>
struct registry::wire<Unreadable> {
  static constexpr std::size_t size = 8;
  static void encode(const Unreadable& value, std::span<std::byte, size> out) { store_le(value.number, out.data()); }
  static std::optional<Unreadable> decode(std::span<const std::byte, size> in) {
    const auto number = load_le<std::uint64_t>(in.data());
    if (number == 13) throw std::runtime_error("not that number");
    return Unreadable{number};
  }
};

template <>
struct registry::wire<ReadOnly> {
  static std::size_t encoded_size(const ReadOnly&) { return 8; }
  static bool encode(const ReadOnly&, std::span<std::byte>) { return false; }
  static std::optional<ReadOnly> decode(std::span<const std::byte> in) {
    if (in.size() != 8) return std::nullopt;
    return ReadOnly{load_le<std::uint64_t>(in.data())};
  }
};

namespace {

/// A hub that knows the blocks 1 to 3, and a client for them that knows that the hub returns envelopes.
template <class V>
struct WithBlocks {
  ServedHub hub;
  asio::io_context io;
  RegistryClient<K, V, NoMetadata, AsioZmqTransport> client;

  explicit WithBlocks(const Blocks& blocks)
      : client(registry::client<K, V>(AsioZmqTransport::connect(io.get_executor(), hub.address())).build()) {
    Client other = builder(io, hub.address()).build();
    other.async_register_blocks(blocks, [](std::error_code, const Blocks&) {});
    other.async_flush([](std::error_code) {});
    run();
    const SteadyTime end = zmq_test::steady_now() + zmq_test::limit;
    while (hub.stats().entries_registered < blocks.size() && zmq_test::steady_now() < end) std::this_thread::yield();
    client.async_touch({0}, [](std::error_code, std::uint64_t) {});
    run();
  }

  void run() {
    io.restart();
    io.run();
  }
};

/// Leaves the client knowing that its hub returns envelopes.
template <class AnyClient>
void ask_once(asio::io_context& io, AnyClient& client) {
  Completed<std::uint64_t> outcome;
  client.async_touch({0}, outcome.token());
  io.restart();
  io.run();
  REQUIRE(outcome.succeeded());
}

}  // namespace

TEST_CASE("calls that are too many keys for the hub together are answered one by one") {
  HubOptions options;
  options.max_keys_per_query = 20;
  ServedHub hub(zmq_test::local_hub(), options);
  asio::io_context io;
  Client client = builder(io, hub.address()).build();
  Completed<OffloadResult<K>> before;
  client.async_can_offload({0, 1}, before.token());
  io.run();
  REQUIRE(before.result.can_offload == Keys{0, 1});
  constexpr std::size_t count = 10;
  Offloads outcomes(count);
  for (K i = 0; i < count; ++i) client.async_can_offload({4 * i, 4 * i + 1, 4 * i + 2}, outcomes[i].token());
  io.restart();
  io.run();
  for (const auto& outcome : outcomes) {
    REQUIRE(outcome.succeeded());
    REQUIRE(outcome.result.statuses == std::vector{granted, granted, granted});
  }
  REQUIRE(hub.stats().queries == 2 + count);
  REQUIRE(hub.stats().leases.active == 3 * count);
  REQUIRE(hub.stats().leases.granted == 3 * count);
}

TEST_CASE("where there is no room for the leases of all, those come first who came first") {
  HubOptions options;
  options.max_leases = 5;
  ServedHub hub(zmq_test::local_hub(), options);
  asio::io_context io;
  Client client = builder(io, hub.address()).build();
  Completed<OffloadResult<K>> before;
  client.async_can_offload({0}, before.token());
  io.run();
  REQUIRE(before.result.can_offload == Keys{0});
  Offloads outcomes(8);
  for (K i = 0; i < 8; ++i) client.async_can_offload({i}, outcomes[i].token());
  io.restart();
  io.run();
  for (std::size_t i = 0; i < 5; ++i) REQUIRE(outcomes[i].result.statuses == std::vector{granted});
  for (std::size_t i = 5; i < 8; ++i) REQUIRE(outcomes[i].failed_with(errc::hub_error));
  REQUIRE(hub.stats().leases.active == 5);
}

TEST_CASE("calls whose joint message the codec refuses travel alone") {
  ServedHub hub;
  asio::io_context io;
  auto client = builder(io, hub.address()).codec<Narrow>().build();
  ask_once(io, client);
  Offloads outcomes(4);
  for (K i = 0; i < 4; ++i) client.async_can_offload({i}, outcomes[i].token());
  io.restart();
  io.run();
  for (const auto& outcome : outcomes) {
    REQUIRE(outcome.succeeded());
    REQUIRE(outcome.result.statuses == std::vector{granted});
  }
  REQUIRE(hub.stats().queries == 5);
}

TEST_CASE("a value that cannot be read fails only the call that asked for it") {
  WithBlocks<Unreadable> it({{1, 1}, {2, 13}, {3, 3}});
  using Found = std::vector<Entry<K, Unreadable, NoMetadata>>;
  std::vector<Completed<Found>> outcomes(3);
  for (K i = 0; i < 3; ++i) it.client.async_match({i + 1}, outcomes[i].token());
  it.run();
  REQUIRE(outcomes[0].succeeded());
  REQUIRE(outcomes[0].result == Found{{1, {1}, {}}});
  REQUIRE(outcomes[1].failed_with(errc::transport_error));
  REQUIRE(outcomes[2].succeeded());
  REQUIRE(outcomes[2].result == Found{{3, {3}, {}}});
}

TEST_CASE("a value that cannot be written is found all the same") {
  WithBlocks<ReadOnly> it({{1, 10}, {2, 20}});
  using Found = std::vector<Entry<K, ReadOnly, NoMetadata>>;
  std::vector<Completed<Found>> outcomes(2);
  for (K i = 0; i < 2; ++i) it.client.async_match({i + 1}, outcomes[i].token());
  it.run();
  REQUIRE(outcomes[0].succeeded());
  REQUIRE(outcomes[0].result == Found{{1, {10}, {}}});
  REQUIRE(outcomes[1].succeeded());
  REQUIRE(outcomes[1].result == Found{{2, {20}, {}}});
}

TEST_CASE("an answer under a number that was not sent is nobody's") {
  Introduced it;
  Offloads outcomes(2);
  for (K i = 0; i < 2; ++i) it.client.async_can_offload({i}, outcomes[i].token());
  REQUIRE(it.received(1));
  // Among them are the numbers that the two calls have in the client.
  const RequestId sent = it.hub.envelope(1).number;
  for (RequestId earlier = 1; earlier <= 3; ++earlier) {
    for (RequestId slot = 0; slot < 4; ++slot) {
      it.hub.answer_as((((sent >> 32U) - earlier) << 32U) + slot, 1, statuses_answer({leased}));
    }
  }
  it.hub.answer(1, statuses_answer({granted, stored}));
  REQUIRE(it.completed(outcomes));
  REQUIRE(outcomes[0].result.statuses == std::vector{granted});
  REQUIRE(outcomes[1].result.statuses == std::vector{stored});
}

TEST_CASE("the hub's word on what a cancelled call gave back is no answer to the others, who ask again") {
  Introduced it;
  Offloads outcomes(2);
  asio::cancellation_signal signal;
  it.client.async_can_offload({1}, asio::bind_cancellation_slot(signal.slot(), outcomes[0].token()));
  it.client.async_can_offload({2}, outcomes[1].token());
  REQUIRE(it.received(1));
  signal.emit(asio::cancellation_type::terminal);
  REQUIRE(it.received(2));
  // Had the answer not been lost, it would have come before.
  it.hub.answer(2, count_answer(MessageType::release_response, 0));
  REQUIRE(it.received(3));
  REQUIRE(it.hub.keys(3) == Keys{2});
  it.hub.answer(1, statuses_answer({granted, leased}));
  it.hub.answer(3, statuses_answer({stored}));
  REQUIRE(it.completed(outcomes));
  REQUIRE(outcomes[1].succeeded());
  REQUIRE(outcomes[1].result.statuses == std::vector{stored});
}

TEST_CASE("calls whose joint message was not answered are followed by calls that travel alone") {
  Introduced it(200ms);
  Offloads outcomes(2);
  for (K i = 0; i < 2; ++i) it.client.async_can_offload({i}, outcomes[i].token());
  REQUIRE(it.completed(outcomes));
  REQUIRE(it.received(3));
  Offloads later(2);
  for (K i = 0; i < 2; ++i) it.client.async_can_offload({10 + i}, later[i].token());
  REQUIRE(it.received(5));
  REQUIRE(it.hub.keys(4) == Keys{10});
  REQUIRE(it.hub.keys(5) == Keys{11});
}

TEST_CASE("a call that runs out of time leaves those that have more") {
  ScriptedHub hub;
  asio::io_context io;
  Client client = builder(io, hub.address()).request_timeout(1s).build();
  Completed<std::uint64_t> first;
  client.async_touch({0}, first.token());
  REQUIRE(hub.run(io, [&] { return hub.seen.queries.size() == 1; }));
  Offloads outcomes(2);
  client.async_can_offload({1}, outcomes[0].token());
  const SteadyTime later = zmq_test::steady_now() + 500ms;
  REQUIRE(hub.run(io, [&] { return zmq_test::steady_now() > later; }));
  client.async_can_offload({2}, outcomes[1].token());
  hub.answer(0, count_answer(MessageType::touch_response, 0));
  REQUIRE(hub.run(io, [&] { return hub.seen.queries.size() == 3; }));
  REQUIRE(outcomes[0].failed_with(errc::timeout));
  REQUIRE(hub.keys(1) == Keys{1, 2});
  REQUIRE(hub.type(2) == MessageType::withdraw);
  REQUIRE(hub.keys(2) == Keys{1});
  hub.answer(1, statuses_answer({granted, stored}));
  REQUIRE(hub.run(io, [&] { return outcomes[1].calls > 0; }));
  REQUIRE(outcomes[1].result.statuses == std::vector{stored});
}

TEST_CASE("matches travel alone if an answer to all could be longer than the client takes") {
  ScriptedHub hub;
  asio::io_context io;
  ZmqTransportConfig config = hub.address();
  config.max_message_size = 1 << 20;
  auto located = client<K, StorageLocation>(AsioZmqTransport::connect(io.get_executor(), config)).build();
  auto numbered = client<K, std::uint64_t>(AsioZmqTransport::connect(io.get_executor(), config)).build();
  REQUIRE(introduce(hub, io, located));
  REQUIRE(introduce(hub, io, numbered));
  const auto ignore = [](std::error_code, const auto&) {};
  for (K i = 0; i < 2; ++i) located.async_match({i}, ignore);
  REQUIRE(hub.run(io, [&] { return hub.seen.queries.size() == 4; }));
  for (K i = 0; i < 2; ++i) located.async_can_offload({i}, ignore);
  REQUIRE(hub.run(io, [&] { return hub.seen.queries.size() == 5; }));
  REQUIRE(hub.keys(4) == Keys{0, 1});
  for (K i = 0; i < 2; ++i) numbered.async_match({i}, ignore);
  REQUIRE(hub.run(io, [&] { return hub.seen.queries.size() == 6; }));
  REQUIRE(hub.keys(5) == Keys{0, 1});
}

TEST_CASE("of many calls on many threads each keeps what it was granted, unless it was cancelled") {
  ServedHub hub;
  asio::io_context io;
  auto work = asio::make_work_guard(io);
  std::vector<std::thread> runners;
  for (int i = 0; i < 2; ++i) runners.emplace_back([&] { io.run(); });
  constexpr K per_thread = 1'500;
  constexpr K window = 16;
  std::atomic<std::size_t> granted_keys = 0;
  std::atomic<std::size_t> ended = 0;
  {
    Client client = builder(io, hub.address()).request_timeout(zmq_test::limit).build();
    std::vector<std::thread> callers;
    for (K caller = 0; caller < 3; ++caller) {
      callers.emplace_back([&, caller] {
        // A slot belongs to its handler's executor: each thread has one of its own.
        asio::io_context own;
        std::mt19937 random(static_cast<unsigned>(caller));
        std::vector<asio::cancellation_signal> signals(per_thread);
        K ended_here = 0;
        for (K i = 0; i < per_thread; ++i) {
          Keys keys(1 + random() % 4);
          for (std::size_t k = 0; k < keys.size(); ++k) keys[k] = ((caller * per_thread + i) << 8U) + k;
          auto handler = [&](std::error_code code, const OffloadResult<K>& result) {
            if (code && code != asio::error::operation_aborted) std::terminate();
            granted_keys += result.can_offload.size();
            ++ended_here;
          };
          client.async_can_offload(
              keys, asio::bind_cancellation_slot(signals[i].slot(), asio::bind_executor(own.get_executor(), handler)));
          own.restart();
          while (ended_here + window < i) own.run_one();
          if (random() % 2 == 0) signals[i - std::min(i, K{random() % window})].emit(asio::cancellation_type::terminal);
        }
        own.restart();
        own.run();
        ended += ended_here;
      });
    }
    for (std::thread& caller : callers) caller.join();
    // What was taken back was so before this.
    client.async_touch({0}, asio::use_future).get();
  }
  work.reset();
  for (std::thread& runner : runners) runner.join();
  REQUIRE(ended == 3 * per_thread);
  REQUIRE(granted_keys > 0);
  REQUIRE(hub.stats().leases.active == granted_keys);
  REQUIRE(hub.stats().leases.released > 0);
}

TEST_CASE("calls that travel together and run out while they are refused leave nothing in progress") {
  const auto key = CurveSecretKey::random();
  const auto secret = CurveSecretKey::random();
  const zmq_test::SocketDirectory directory;
  ZmqHubConfig place = directory.hub();
  place.curve = CurveServer{secret, {zmq_test::allow(key)}};
  std::optional<ScriptedHub> hub(place);
  ZmqTransportConfig address = hub->address();
  address.curve = CurveClient{secret.public_key(), key};
  address.reconnect_interval = 50ms;
  address.reconnect_interval_max = 50ms;
  asio::io_context io;
  Client client = builder(io, address).request_timeout(600ms).build();
  REQUIRE(introduce(*hub, io, client));
  hub.reset();
  Offloads outcomes(2);
  const SteadyTime begun = zmq_test::steady_now();
  for (K i = 0; i < 2; ++i) client.async_can_offload({i}, outcomes[i].token());
  io.restart();
  io.poll();
  const zmq_test::KeyedHub refusing({}, directory.hub(), secret);
  REQUIRE(run_until(io, [&] { return refusing.log.texts().size() >= 2; }));
  io.restart();
  io.run_for(10ms);
  // Both come due meanwhile: the connection, and the calls.
  std::this_thread::sleep_until(begun + 700ms);
  io.restart();
  io.run_for(zmq_test::limit);
  REQUIRE(outcomes[0].failed_with(errc::timeout));
  REQUIRE(outcomes[1].failed_with(errc::timeout));
  REQUIRE(io.stopped());
}
