// SPDX-License-Identifier: Apache-2.0
// What each variable of a hub changes, as its clients see it.
#include "support/catch.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <registry/builder.hpp>
#include <registry/config.hpp>
#include <registry/eviction/recency.hpp>
#include <registry/eviction/tail.hpp>
#include <registry/metadata.hpp>
#include <registry/storage.hpp>
#include <registry/transport/in_process.hpp>

#include "config/variables.hpp"

using namespace registry;
using namespace config_test;
using namespace std::chrono_literals;

namespace {

using Block = std::uint64_t;

}  // namespace

TEST_CASE("without variables a hub has the documented defaults") {
  const Variables variables;
  const HubConfig config = HubConfig::from_env();
  CHECK(config.capacity == 1'000'000);
  CHECK(config.options.lease_ttl == 30s);
  CHECK(config.transport.query_addr == "tcp://*:5555");
  CHECK(config.transport.register_addr == "tcp://*:5556");
  CHECK(config.transport.hwm == 10'000);
}

TEST_CASE("DYN_REGISTRY_HUB_CAPACITY bounds a hub that evicts by recency") {
  Variables variables;
  variables.set("DYN_REGISTRY_HUB_CAPACITY", "3");
  const HubConfig config = HubConfig::from_env();
  auto hub = registry::hub<Block, Block>(RecencyEviction(HashMapStorage<Block, Block>{}, config.capacity))
                 .options(config.options)
                 .build();
  auto worker = client<Block, Block>(InProcessTransport(hub)).build();
  worker.register_blocks({{1, 1}, {2, 2}, {3, 3}});
  worker.flush();
  CHECK(hub.stats().evicted == 0);
  worker.touch({1});
  worker.register_blocks({{4, 4}});
  worker.flush();
  CHECK(hub.stats().stored == 3);
  CHECK(hub.stats().evicted == 1);
  CHECK(worker.match({1, 2, 3, 4}) == std::vector<Entry<Block, Block, NoMetadata>>{{1, 1, {}}, {3, 3, {}}, {4, 4, {}}});
}

TEST_CASE("DYN_REGISTRY_HUB_CAPACITY bounds a hub that evicts the tails of chains") {
  Variables variables;
  variables.set("DYN_REGISTRY_HUB_CAPACITY", "3");
  const HubConfig config = HubConfig::from_env();
  using Chain = HashMapStorage<Block, Block, PositionMetadata>;
  auto hub = registry::hub<Block, Block, PositionMetadata>(TailEviction(Chain{}, config.capacity))
                 .options(config.options)
                 .build();
  auto worker = client<Block, Block, PositionMetadata>(InProcessTransport(hub)).build();
  const auto block = [](Block key, std::uint32_t position, std::optional<Block> parent) {
    return Entry<Block, Block, PositionMetadata>{key, key, {position, parent, std::nullopt, 0}};
  };
  worker.register_blocks({block(1, 0, std::nullopt), block(2, 1, 1), block(3, 2, 2), block(9, 0, std::nullopt)});
  worker.flush();
  const auto found = worker.match({1, 2, 3, 9});
  REQUIRE(found.size() == 3);
  CHECK(found[0].key == 1);
  CHECK(found[1].key == 2);
  CHECK(found[2].key == 9);
  CHECK(hub.stats().evicted == 1);
}

TEST_CASE("DYN_REGISTRY_HUB_LEASE_TIMEOUT_SECS says when a lease ends") {
  Variables variables;
  const auto [value, time] = GENERATE(std::pair<std::optional<std::string>, std::chrono::seconds>{std::nullopt, 30},
                                      std::pair<std::optional<std::string>, std::chrono::seconds>{"7", 7});
  if (value) variables.set("DYN_REGISTRY_HUB_LEASE_TIMEOUT_SECS", *value);
  auto hub = registry::hub<Block, Block>(HashMapStorage<Block, Block>{}).options(HubConfig::from_env().options).build();
  InProcessTransport transport(hub);
  auto holder = client<Block, Block>(transport).build();
  auto other = client<Block, Block>(transport).build();
  CHECK(holder.can_offload({1}).can_offload.size() == 1);
  transport.advance(time - 1ns);
  CHECK(other.can_offload({1}).leased.size() == 1);
  transport.advance(1ns);
  CHECK(other.can_offload({1}).can_offload.size() == 1);
}
