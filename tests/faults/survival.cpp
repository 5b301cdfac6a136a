// SPDX-License-Identifier: Apache-2.0
// What clients keep through faults: registrations that nobody acknowledged, and claims.
#include "support/catch.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <future>
#include <numeric>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <registry/codec.hpp>
#include <registry/envelope.hpp>
#include <registry/message.hpp>
#include <registry/trailer.hpp>

#include "faults/processes.hpp"
#include "faults/proxy.hpp"
#include "zmq/sockets.hpp"

using namespace faults_test;

namespace {

using Keys = std::vector<std::uint64_t>;

Keys keys_from(std::uint64_t first, std::size_t count) {
  Keys keys(count);
  std::iota(keys.begin(), keys.end(), first);
  return keys;
}

constexpr std::chrono::milliseconds patience{300};

auto quick_client(const registry::ZmqTransportConfig& hub) {
  return registry::client<std::uint64_t, std::uint64_t>(registry::ZmqTransport::connect(hub))
      .request_timeout(patience)
      .resend_interval(100ms)
      .log(nullptr);
}

/// A claim of a peer that is not ours: it is waiting at the hub when this is made.
class WaitingPeer {
 public:
  WaitingPeer(const Hub& hub, std::uint64_t number, std::uint64_t key)
      : peer_(zmq::socket_type::dealer, hub.address().query_addr) {
    registry::Bytes envelope;
    registry::Envelope{1, {0, number}, std::nullopt, registry::default_namespace, 1}.encode(envelope);
    peer_.send({zmq_test::text(envelope), message(registry::MessageType::claim, key, limit)});
    // The hub takes a peer's queries in their order.
    peer_.send({"behind", message(registry::MessageType::touch, key)});
    REQUIRE(peer_.receive().front() == "behind");
  }

  /// Of the answer; 0 if nothing was granted.
  std::uint64_t token() {
    const auto frames = peer_.receive();
    if (frames.empty()) return 0;
    const auto parts = registry::split_trailer<4>(registry::as_bytes(frames.back()));
    return parts ? parts->second[1] : 0;
  }

 private:
  using Codec = registry::BinaryCodec<std::uint64_t, std::uint64_t, registry::NoMetadata>;

  static std::string message(registry::MessageType type, std::uint64_t key,
                             std::optional<std::chrono::nanoseconds> wait = std::nullopt) {
    registry::Bytes bytes;
    Codec::encode_keys(type, Keys{key}, bytes);
    if (wait) registry::append_trailer<1>({static_cast<std::uint64_t>(wait->count())}, bytes);
    return zmq_test::text(bytes);
  }

  zmq_test::Peer peer_;
};

}  // namespace

TEST_CASE("no registration is lost with the connections that are cut") {
  Hub hub;
  Proxy queries(zmq_test::port_of(hub.address().query_addr), 11);
  Proxy registrations(zmq_test::port_of(hub.address().register_addr), 12);
  auto through_proxies = hub.address();
  through_proxies.query_addr = queries.address();
  through_proxies.register_addr = registrations.address();
  auto blocks = quick_client(through_proxies).batch_size(10).register_timeout(limit).build();
  registrations.be_bad(true);
  queries.be_bad(true);
  std::uint64_t key = 0;
  CHECK(eventually([&] {
    for (int i = 0; i < 10; ++i, ++key) blocks.register_blocks({{key, key + 1}});
    return registrations.cuts() >= 10;
  }));
  registrations.be_bad(false);
  queries.be_bad(false);
  auto reader = client(hub.address());
  CHECK(eventually([&] { return reader.match(keys_from(0, key)).size() == key; }));
  const auto resent = blocks.stats().batches_resent;
  CHECK(blocks.close(limit).empty());
  check(hub);
  print("lost", "seeds 11 and 12, " + std::to_string(key) + " blocks, " + std::to_string(registrations.cuts()) +
                    " cuts, " + std::to_string(resent) + " batches sent again");
}

TEST_CASE("what was registered while the hub was away is there when it has been started anew") {
  Hub hub;
  auto blocks = quick_client(hub.address()).batch_size(10).build();
  blocks.register_blocks({{1, 2}});
  blocks.flush();
  hub.kill();
  for (std::uint64_t key = 10; key < 110; ++key) blocks.register_blocks({{key, key + 1}});
  hub.start();
  auto reader = client(hub.address());
  CHECK(eventually([&] { return reader.match(keys_from(10, 100)).size() == 100; }));
  const auto resent = blocks.stats().batches_resent;
  CHECK(blocks.close(limit).empty());
  check(hub);
  print("away", "100 blocks registered while there was no hub, " + std::to_string(resent) + " batches sent again");
}

TEST_CASE("with a recovery time no claim of before a restart is granted to another, and it goes on") {
  Hub hub(3s, {"--recovery-time-secs", "3"});
  auto blocks = quick_client(hub.address()).build();
  auto other = quick_client(hub.address()).build();
  const Keys keys = keys_from(1, 20);
  // The first start has its recovery time as well.
  auto claim = blocks.claim({1});
  CHECK(eventually([&] {
    claim = blocks.claim(keys);
    return claim.granted().size() == keys.size();
  }));
  constexpr int rounds = 2;
  std::uint64_t refused = 0;
  for (int i = 0; i < rounds; ++i) {
    hub.kill();
    hub.start();
    const auto restarted = Clock::now();
    // As its owner works on.
    while (Clock::now() - restarted < 4s) {
      try {
        claim.progress();
        const auto answer = other.can_offload(keys);
        REQUIRE(answer.can_offload.empty());
        refused += answer.leased.size();
      } catch (const registry::RegistryError& error) {
        REQUIRE(error.as<registry::Timeout>() != nullptr);
      }
      std::this_thread::sleep_for(20ms);
    }
    CHECK(claim.held().size() == keys.size());
  }
  std::vector<registry::Entry<std::uint64_t, std::uint64_t, registry::NoMetadata>> entries;
  for (const std::uint64_t key : keys) entries.push_back({key, key + 1, {}});
  CHECK(claim.register_blocks(entries).all_stored());
  CHECK(other.match(keys).size() == keys.size());
  check(hub);
  print("recovery", std::to_string(rounds) + " times the hub, a claim of " + std::to_string(keys.size()) + " keys; " +
                        std::to_string(refused) + " answers Leased to another");
}

TEST_CASE(
    "claims wait through a frozen hub, and are served in the order in which they came when the holder is killed") {
  Hub hub;
  Workers workers(1, hub.address());
  constexpr std::uint64_t key = 1;
  const auto held = workers[0].hold(key, 1);
  REQUIRE(held.keys == 1);
  WaitingPeer first(hub, 1, key);
  WaitingPeer second(hub, 2, key);
  auto blocks = quick_client(hub.address()).build();
  auto third = std::async(std::launch::async, [&] { return blocks.claim({key}, limit); });
  hub.freeze();
  workers.kill(0);
  std::this_thread::sleep_for(2 * patience);
  hub.thaw();

  // Each when the lease of the one before is over: when that is does not matter, for tokens grow in the order in which
  // the hub grants.
  const std::uint64_t tokens[] = {held.token, first.token(), second.token(), third.get().token()};
  CHECK(std::ranges::is_sorted(tokens, std::ranges::less_equal{}));
  CHECK(tokens[1] > 0);
  check(hub);
  print("queue", "3 claims that waited for a killed holder of a key, through a hub that was frozen");
}
