// SPDX-License-Identifier: Apache-2.0
// Claims of asynchronous clients that wait while their connection breaks, is refused or is made anew.
#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/error.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "asio/common.hpp"
#include "asio/joint.hpp"
#include "faults/proxy.hpp"
#include "support/catch.hpp"
#include "zmq/keys.hpp"

using namespace asio_test;

namespace {

using BlockClaim = Client::ClaimType;

ZmqTransportConfig quick(ZmqTransportConfig config) {
  config.reconnect_interval = 10ms;
  config.reconnect_interval_max = 100ms;
  return config;
}

/// For how long a claim is ready to wait, in its message.
std::chrono::nanoseconds wait_in(const ScriptedHub& hub, std::size_t query) {
  const auto [message, numbers] = split_trailer<1>(as_bytes(hub.seen.queries.at(query).message)).value();
  return std::chrono::nanoseconds{static_cast<std::int64_t>(numbers[0])};
}

/// Whether the second query is the claim of the first one, asked for again for the rest of its time.
bool is_asked_again(const ScriptedHub& hub, std::size_t first, std::size_t second) {
  return hub.type(second) == MessageType::claim && hub.envelope(second).claim == hub.envelope(first).claim &&
         hub.envelope(second).number != hub.envelope(first).number && wait_in(hub, second) > 0ns &&
         wait_in(hub, second) < wait_in(hub, first);
}

/// A hub whose clients' queries come over connections that can be cut, and a claim that waits there.
struct Waiting {
  explicit Waiting(std::chrono::nanoseconds wait = 20s) {
    REQUIRE(introduce(hub, io, client));
    client.async_claim({1, 2}, wait, asio::bind_cancellation_slot(signal.slot(), claimed.token()));
    REQUIRE(hub.run(io, [&] { return hub.seen.queries.size() == 2; }));
  }

  void cut_and_wait_for_query() {
    const std::size_t seen = hub.seen.queries.size();
    proxy.cut();
    REQUIRE(hub.run(io, [&] { return hub.seen.queries.size() == seen + 1; }));
  }

  bool is_claimed() {
    return hub.run(io, [&] { return claimed.calls > 0; });
  }

  ZmqTransportConfig through_proxy() const {
    ZmqTransportConfig config = quick(hub.address());
    config.query_addr = proxy.address();
    return config;
  }

  ScriptedHub hub;
  faults_test::Proxy proxy{zmq_test::port_of(hub.address().query_addr), 1};
  asio::io_context io;
  Client client = builder(io, through_proxy()).build();
  asio::cancellation_signal signal;
  Completed<BlockClaim> claimed;
};

}  // namespace

TEST_CASE("an asynchronous claim that waits asks again over a new connection, and its lease is counted from then") {
  Waiting world;
  world.cut_and_wait_for_query();
  REQUIRE(is_asked_again(world.hub, 1, 2));
  const SteadyTime before = zmq_test::steady_now();
  world.cut_and_wait_for_query();
  REQUIRE(is_asked_again(world.hub, 2, 3));
  // What the one before was told is nobody's.
  world.hub.answer_as(world.hub.envelope(2).number, 3, claim_answer({leased, leased}));
  world.hub.answer(3, claim_answer({granted, leased}));
  REQUIRE(world.is_claimed());
  REQUIRE(world.claimed.succeeded());
  REQUIRE(world.claimed.result.granted() == Keys{1});
  REQUIRE(world.claimed.result.deadline() > before + ClaimTerms{}.ttl);
  REQUIRE(world.claimed.result.deadline() < zmq_test::steady_now() + ClaimTerms{}.ttl);
  REQUIRE(world.client.stats().late_answers == 1);
}

TEST_CASE("an asynchronous claim that has asked again and fails gives back what it may have been granted") {
  const bool is_cancelled = GENERATE(false, true);
  Waiting world;
  world.cut_and_wait_for_query();
  if (is_cancelled) {
    world.signal.emit(asio::cancellation_type::terminal);
  } else {
    world.hub.answer(2, text_answer(MessageType::error_response, "no"));
  }
  REQUIRE(world.is_claimed());
  REQUIRE(world.claimed.code);
  const auto released = [&]() -> std::optional<std::size_t> {
    for (std::size_t i = 3; i < world.hub.seen.queries.size(); ++i) {
      if (world.hub.type(i) == MessageType::release) return i;
    }
    return std::nullopt;
  };
  REQUIRE(world.hub.run(world.io, [&] { return released().has_value(); }));
  REQUIRE(world.hub.envelope(*released()).claim == world.hub.envelope(1).claim);
  REQUIRE(world.hub.keys(*released()) == Keys{1, 2});
}

TEST_CASE("an asynchronous claim asks again over the connection that its client makes in place of a silent one") {
  const zmq_test::SocketDirectory directory;
  std::optional<ScriptedHub> hub(directory.hub());
  asio::io_context io;
  Client client = builder(io, quick(hub->address())).request_timeout(300ms).build();
  REQUIRE(introduce(*hub, io, client));
  Completed<BlockClaim> claimed;
  client.async_claim({1}, 60s, claimed.token());
  REQUIRE(hub->run(io, [&] { return hub->seen.queries.size() == 2; }));
  for (std::size_t i = 2; i < 4; ++i) {
    Completed<std::uint64_t> touched;
    client.async_touch({2}, touched.token());
    REQUIRE(hub->run(io, [&] { return touched.calls > 0; }));
    REQUIRE(touched.failed_with(errc::timeout));
  }
  REQUIRE(hub->run(io, [&] { return hub->seen.queries.size() == 5; }));
  REQUIRE(is_asked_again(*hub, 1, 4));
  // And so it does after that one.
  hub.emplace(directory.hub());
  REQUIRE(hub->run(io, [&] { return hub->seen.queries.size() == 1; }));
  REQUIRE(hub->type(0) == MessageType::claim);
  hub->answer(0, claim_answer({granted}));
  REQUIRE(hub->run(io, [&] { return claimed.calls > 0; }));
  REQUIRE(claimed.succeeded());
}

TEST_CASE("an asynchronous claim that waits asks again where another call's answer was too long for the connection") {
  ScriptedHub hub;
  ZmqTransportConfig address = quick(hub.address());
  address.max_message_size = 1'000;
  asio::io_context io;
  Client client = builder(io, address).close_timeout(0ns).build();
  REQUIRE(introduce(hub, io, client));
  Completed<BlockClaim> claimed;
  client.async_claim({1}, 60s, claimed.token());
  REQUIRE(hub.run(io, [&] { return hub.seen.queries.size() == 2; }));
  Completed<std::uint64_t> touched;
  client.async_touch({2}, touched.token());
  REQUIRE(hub.run(io, [&] { return hub.seen.queries.size() == 3; }));
  hub.answer(2, text_answer(MessageType::error_response, std::string(2'000, 'x')));
  REQUIRE(hub.run(io, [&] { return hub.seen.queries.size() == 4; }));
  REQUIRE(is_asked_again(hub, 1, 3));
  hub.answer(3, claim_answer({granted}));
  REQUIRE(hub.run(io, [&] { return claimed.calls > 0; }));
  REQUIRE(claimed.succeeded());
}

TEST_CASE("an asynchronous claim that waits asks again where its client is let in after it was refused") {
  const auto key = CurveSecretKey::random();
  const auto secret = CurveSecretKey::random();
  const zmq_test::SocketDirectory directory;
  ZmqHubConfig place = directory.hub();
  place.curve = CurveServer{secret, {zmq_test::allow(key)}};
  std::optional<ScriptedHub> hub(place);
  ZmqTransportConfig address = quick(hub->address());
  address.curve = CurveClient{secret.public_key(), key};
  asio::io_context io;
  Client client = builder(io, address).build();
  REQUIRE(introduce(*hub, io, client));
  Completed<BlockClaim> claimed;
  client.async_claim({1}, 20s, claimed.token());
  REQUIRE(hub->run(io, [&] { return hub->seen.queries.size() == 2; }));
  const Envelope first = hub->envelope(1);
  hub.reset();
  {
    const zmq_test::KeyedHub refusing({}, directory.hub(), secret);
    REQUIRE(run_until(io, [&] { return refusing.log.texts().size() >= 4; }));
  }
  REQUIRE(claimed.calls == 0);
  hub.emplace(place);
  REQUIRE(hub->run(io, [&] { return !hub->seen.queries.empty(); }));
  REQUIRE(hub->type(0) == MessageType::claim);
  REQUIRE(hub->envelope(0).claim == first.claim);
  REQUIRE(hub->envelope(0).number != first.number);
  REQUIRE(wait_in(*hub, 0) < 20s);
  hub->answer(0, claim_answer({granted}));
  REQUIRE(hub->run(io, [&] { return claimed.calls > 0; }));
  REQUIRE(claimed.succeeded());
  REQUIRE(claimed.result.granted() == Keys{1});
}
