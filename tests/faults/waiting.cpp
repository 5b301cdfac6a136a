// SPDX-License-Identifier: Apache-2.0
// A claim that waits goes on waiting when its connection breaks or its hub is replaced.
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <registry/registry.hpp>

#include "faults/proxy.hpp"
#include "support/catch.hpp"
#include "zmq/keys.hpp"
#include "zmq/sockets.hpp"

using namespace registry;
using namespace std::chrono_literals;
using zmq_test::Block;
using zmq_test::Codec64;
using zmq_test::KeyedHub;
using zmq_test::Recorder;
using zmq_test::SocketDirectory;
using zmq_test::steady_now;
using zmq_test::text;
using zmq_test::to_hub;

namespace {

using Keys = std::vector<Block>;

auto worker_at(ZmqTransportConfig config) {
  config.reconnect_interval = 10ms;
  config.reconnect_interval_max = 100ms;
  return client<Block, Block>(ZmqTransport::connect(std::move(config))).close_timeout(0ns).log(nullptr).build();
}

MessageType type_of(const Recorder::Query& query) {
  MessageType type{};
  if (Codec64::decode_type(as_bytes(query.message), type)) throw std::runtime_error("no message");
  return type;
}

/// Takes in what comes at this address until somebody has claimed something, and is gone then as if it had been killed.
Recorder receive_and_die(const ZmqHubConfig& place) {
  auto hub = ZmqHubTransport::bind(place);
  Recorder seen;
  CHECK(zmq_test::pump(hub, seen, [&] { return !seen.queries.empty(); }));
  return seen;
}

/// Refuses all claims until something is given back.
Recorder refuse_until_release(const ZmqHubConfig& place) {
  auto hub = ZmqHubTransport::bind(place);
  Recorder seen;
  Bytes refusal;
  Codec64::encode_text(MessageType::error_response, "no", refusal);
  std::size_t answered = 0;
  CHECK(zmq_test::pump(hub, seen, [&] {
    for (; answered < seen.queries.size(); ++answered) {
      const Recorder::Query& query = seen.queries[answered];
      if (type_of(query) == MessageType::release) return true;
      CHECK(zmq_test::answer(hub, query, text(refusal)));
    }
    return false;
  }));
  return seen;
}

}  // namespace

TEST_CASE("a claim that waits asks again over a new connection, and keeps its turn") {
  KeyedHub hub(KeyedHub::WithoutKeys{}, zmq_test::local_hub());
  faults_test::Proxy proxy(zmq_test::port_of(hub.endpoints().query_addr), 1);
  ZmqTransportConfig through = to_hub(hub.endpoints());
  through.query_addr = proxy.address();
  auto alice = worker_at(to_hub(hub.endpoints()));
  auto bob = worker_at(through);
  auto carol = worker_at(to_hub(hub.endpoints()));

  auto held = std::make_unique<decltype(alice.claim({1}))>(alice.claim({1}));
  Keys granted;
  bool is_stored = false;
  Keys told;
  std::thread waiting([&] {
    auto claim = bob.claim({1}, 15s);
    granted = claim.granted();
    is_stored = claim.register_blocks({{1, 10}}).all_stored();
  });
  CHECK(zmq_test::eventually([&] { return hub.stats().waiting_claims == 1; }));
  std::thread next([&] { told = carol.claim({1}, 15s).already_stored(); });
  CHECK(zmq_test::eventually([&] { return hub.stats().waiting_claims == 2; }));
  for (int cuts = 0; cuts < 3; ++cuts) {
    const auto asked = hub.stats().queries;
    proxy.cut();
    CHECK(zmq_test::eventually([&] { return hub.stats().queries > asked; }));
  }
  CHECK(hub.stats().waiting_claims == 2);
  held.reset();
  waiting.join();
  next.join();
  CHECK(granted == Keys{1});
  CHECK(is_stored);
  CHECK(told == Keys{1});
  CHECK(hub.stats().leases.granted == 2);
  CHECK(hub.stats().leases.active == 0);
}

TEST_CASE("a claim that waits goes on at the hub that takes the place of one that was killed") {
  const SocketDirectory directory;
  auto bob = worker_at(to_hub({directory.hub().query_addr, directory.hub().register_addr}));
  const auto start = steady_now();
  Keys granted;
  SteadyTime deadline{};
  std::thread waiting([&] {
    const auto claim = bob.claim({1}, 15s);
    granted = claim.granted();
    deadline = claim.deadline();
  });
  const Recorder seen = receive_and_die(directory.hub());
  CHECK(type_of(seen.queries.front()) == MessageType::claim);
  const auto killed = steady_now();
  KeyedHub hub(KeyedHub::WithoutKeys{}, directory.hub());
  waiting.join();
  CHECK(steady_now() < start + 10s);
  CHECK(granted == Keys{1});
  // Counted from when this hub was asked, and no longer than its lease.
  CHECK(deadline > killed + 30s);
  CHECK(deadline <= steady_now() + 30s);
}

TEST_CASE("a claim that has asked again and fails gives back what it may have been granted") {
  const SocketDirectory directory;
  auto bob = worker_at(to_hub({directory.hub().query_addr, directory.hub().register_addr}));
  std::optional<RegistryError> error;
  std::thread waiting([&] { error = zmq_test::error_of([&] { bob.claim({1}, 15s); }); });
  const Recorder first = receive_and_die(directory.hub());
  const Recorder second = refuse_until_release(directory.hub());
  waiting.join();
  REQUIRE(error);
  CHECK(error->as<HubError>() != nullptr);
  const auto envelope_of = [](const Recorder::Query& query) {
    return Envelope::decode(as_bytes(query.envelope.front())).value();
  };
  // A claim may ask more than once: whether the first connection had stood before nobody knows.
  REQUIRE(second.queries.size() >= 2);
  CHECK(type_of(second.queries.front()) == MessageType::claim);
  CHECK(envelope_of(second.queries.front()).number > envelope_of(first.queries.front()).number);
  for (const auto& query : second.queries) {
    CHECK(envelope_of(query).claim == envelope_of(first.queries.front()).claim);
  }
  // The rest of the wait.
  const auto wait_in = [](const Recorder::Query& query) {
    return split_trailer<1>(as_bytes(query.message)).value().second[0];
  };
  CHECK(wait_in(first.queries[0]) == 15'000'000'000U);
  CHECK(wait_in(second.queries[0]) < 15'000'000'000U);
  CHECK(wait_in(second.queries[0]) > 0U);
}
