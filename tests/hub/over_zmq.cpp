// SPDX-License-Identifier: Apache-2.0
// Stopping and starting a hub on real sockets.
#include "support/catch.hpp"

#include <chrono>
#include <cstdint>
#include <future>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include <registry/transport/zmq.hpp>
#include <registry/transport/zmq_hub.hpp>

#include "hub/fake_transport.hpp"
#include "zmq/sockets.hpp"

using namespace hub_test;

namespace {

using enum OffloadStatus;

auto client_of(const ZmqHubTransport& transport) {
  return client<Block, Block>(ZmqTransport::connect(zmq_test::to_hub(transport.endpoints())))
      .request_timeout(zmq_test::limit)
      .build();
}

std::string plain(const Bytes& message) { return zmq_test::text(message); }

}  // namespace

TEST_CASE("stop wakes a hub that waits on its sockets") {
  auto hub = block_hub().build();
  auto transport = ZmqHubTransport::bind(zmq_test::local_hub());
  auto serving = std::async(std::launch::async, [&] { hub.serve(transport); });
  auto worker = client_of(transport);
  CHECK(worker.can_offload({1}).can_offload.size() == 1);
  hub.stop();
  CHECK(serving.wait_for(zmq_test::limit) == std::future_status::ready);
}

TEST_CASE("a hub that is stopped answers more than one drain's worth of what had arrived") {
  auto hub = block_hub().build();
  const zmq_test::InProcess local;
  ZmqHubConfig config = local.config;
  config.slice = 1ns;
  auto transport = ZmqHubTransport::bind(config);
  zmq_test::Peer peer(local.context, zmq::socket_type::dealer, config.query_addr);
  for (Block key = 0; key < 50; ++key) peer.send({plain(can_offload({key}))});
  hub.stop();
  hub.serve(transport);
  for (Block key = 0; key < 50; ++key) REQUIRE(peer.receive() == zmq_test::Parts{plain(statuses({granted}))});
  CHECK(hub.stats().queries == 50);
}

TEST_CASE("a hub goes on where it was stopped, over the same sockets and over others") {
  auto hub = block_hub().build();
  auto transport = ZmqHubTransport::bind(zmq_test::local_hub());
  auto holder = client_of(transport);
  for (Block round = 0; round < 5; ++round) {
    auto serving = std::async(std::launch::async, [&] { hub.serve(transport); });
    CHECK(holder.can_offload({round}).can_offload.size() == 1);
    hub.stop();
    serving.get();
  }
  auto other_transport = ZmqHubTransport::bind(zmq_test::local_hub());
  auto serving = std::async(std::launch::async, [&] { hub.serve(other_transport); });
  auto other = client_of(other_transport);
  CHECK(other.can_offload({0, 1, 2, 3, 4, 5}).leased == std::vector<Block>{0, 1, 2, 3, 4});
  hub.stop();
  serving.get();
}

TEST_CASE("two hubs are served side by side") {
  auto one = block_hub().build();
  auto two = block_hub().build();
  auto to_one = ZmqHubTransport::bind(zmq_test::local_hub());
  auto to_two = ZmqHubTransport::bind(zmq_test::local_hub());
  auto serving_one = std::async(std::launch::async, [&] { one.serve(to_one); });
  auto serving_two = std::async(std::launch::async, [&] { two.serve(to_two); });
  auto first = client_of(to_one);
  auto second = client_of(to_two);
  CHECK(first.can_offload({1}).can_offload.size() == 1);
  CHECK(second.can_offload({1}).can_offload.size() == 1);
  one.stop();
  serving_one.get();
  CHECK(second.can_offload({2}).can_offload.size() == 1);
  two.stop();
  serving_two.get();
}

TEST_CASE("a context that ends ends serve with a TransportError") {
  auto hub = block_hub().build();
  const zmq_test::InProcess local;
  auto transport = ZmqHubTransport::bind(local.config);
  auto serving = std::async(std::launch::async, [&]() -> std::optional<Error> {
    try {
      hub.serve(transport);
    } catch (const RegistryError& error) {
      return error.error();
    }
    return std::nullopt;
  });
  local.context->shutdown();
  REQUIRE(serving.wait_for(zmq_test::limit) == std::future_status::ready);
  const auto error = serving.get();
  REQUIRE(error);
  CHECK(std::holds_alternative<TransportError>(*error));
}
