// SPDX-License-Identifier: Apache-2.0
// The four addresses: a hub and a client that know each other by nothing else.
#include "support/catch.hpp"

#include <chrono>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include <registry/builder.hpp>
#include <registry/config.hpp>
#include <registry/storage.hpp>
#include <registry/transport/zmq.hpp>
#include <registry/transport/zmq_hub.hpp>

#include "config/variables.hpp"
#include "zmq/sockets.hpp"

using namespace registry;
using namespace config_test;

namespace {

using Block = std::uint64_t;

class Served {
 public:
  Served() : transport_(ZmqHubTransport::bind(HubConfig::from_env().transport)) {
    thread_ = std::thread([this] { hub_.serve(transport_); });
  }
  Served(const Served&) = delete;
  Served& operator=(const Served&) = delete;
  ~Served() {
    hub_.stop();
    thread_.join();
  }

  const ZmqEndpoints& endpoints() const { return transport_.endpoints(); }
  HubStats stats() const { return hub_.stats(); }

 private:
  RegistryHub<NoEviction<HashMapStorage<Block, Block>>> hub_ =
      hub<Block, Block>(HashMapStorage<Block, Block>{}).build();
  ZmqHubTransport transport_;
  std::thread thread_;
};

auto configured_client() {
  return client<Block, Block>(ZmqTransport::connect(ClientConfig::from_env().transport)).build();
}

/// A query and a registration that both arrive at this hub.
void check_that_client_reaches(const Served& hub) {
  auto worker = configured_client();
  CHECK(worker.can_offload({1}).can_offload == std::vector<Block>{1});
  worker.register_blocks({{1, 10}});
  worker.flush();
  CHECK(zmq_test::eventually([&] { return hub.stats().stored == 1; }));
  CHECK(hub.stats().queries == 2);  // the second: what kind of hub it is
}

}  // namespace

TEST_CASE("client and hub meet at the ipc addresses of their variables") {
  Variables variables;
  const zmq_test::SocketDirectory directory;
  const std::string queries = "ipc://" + (directory.path() / "here queries go").string();
  const std::string registrations = "ipc://" + (directory.path() / "here registrations go").string();
  variables.set("DYN_REGISTRY_HUB_QUERY_ADDR", queries);
  variables.set("DYN_REGISTRY_HUB_REGISTER_ADDR", registrations);
  variables.set("DYN_REGISTRY_CLIENT_QUERY_ADDR", queries);
  variables.set("DYN_REGISTRY_CLIENT_REGISTER_ADDR", registrations);
  const Served hub;
  CHECK(hub.endpoints().query_addr == queries);
  CHECK(hub.endpoints().register_addr == registrations);
  check_that_client_reaches(hub);
}

TEST_CASE("client and hub meet at the tcp addresses of their variables") {
  Variables variables;
  variables.set("DYN_REGISTRY_HUB_QUERY_ADDR", "tcp://127.0.0.1:*");
  variables.set("DYN_REGISTRY_HUB_REGISTER_ADDR", "tcp://127.0.0.1:*");
  const Served hub;
  variables.set("DYN_REGISTRY_CLIENT_QUERY_ADDR", hub.endpoints().query_addr);
  variables.set("DYN_REGISTRY_CLIENT_REGISTER_ADDR", hub.endpoints().register_addr);
  check_that_client_reaches(hub);
}
