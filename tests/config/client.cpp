// SPDX-License-Identifier: Apache-2.0
// What each variable of a client changes, as its user sees it.
#include "support/catch.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <registry/builder.hpp>
#include <registry/config.hpp>
#include <registry/storage.hpp>
#include <registry/transport/in_process.hpp>
#include <registry/transport/zmq.hpp>

#include "config/variables.hpp"
#include "zmq/sockets.hpp"

using namespace registry;
using namespace config_test;
using namespace std::chrono_literals;

namespace {

using Block = std::uint64_t;

auto make_hub() { return hub<Block, Block>(HashMapStorage<Block, Block>{}).log(nullptr).build(); }

auto configured_client(const InProcessTransport& transport) {
  return client<Block, Block>(transport).options(ClientConfig::from_env().options).build();
}

std::vector<Entry<Block, Block, NoMetadata>> blocks(Block first, Block count) {
  std::vector<Entry<Block, Block, NoMetadata>> entries;
  for (Block key = first; key < first + count; ++key) entries.push_back({key, key, {}});
  return entries;
}

/// Hears queries and never answers.
struct SilentHub {
  SilentHub& core() { return *this; }
  template <class Reply>
  void query(ByteView, Frames, ByteView, Instant, const Reply&) {}
  template <class Reply>
  void registration(std::string_view, ByteView, ByteView, Instant, const Reply&) {}
  template <class Reply>
  void end_claims(Instant, const Reply&) {}
  template <class Reply>
  void tick(Instant, const Reply&) {}
  std::optional<SteadyTime> next_deadline() const { return std::nullopt; }
};

}  // namespace

TEST_CASE("without variables a client has the documented defaults") {
  const Variables variables;
  const ClientConfig config = ClientConfig::from_env();
  CHECK_FALSE(config.enabled);
  CHECK(config.transport.query_addr == "tcp://localhost:5555");
  CHECK(config.transport.register_addr == "tcp://localhost:5556");
  CHECK(config.options.name_space == "default");
  CHECK(config.options.batch_size == 100);
  CHECK(config.options.batch_timeout == 10ms);
  CHECK(config.options.request_timeout == 5s);
  CHECK(config.options.local_cache == 0);
  CHECK(config.transport.hwm == 10'000);
}

TEST_CASE("DYN_REGISTRY_ENABLE says whether to use the registry") {
  Variables variables;
  for (const char* yes : {"true", "1"}) {
    variables.set("DYN_REGISTRY_ENABLE", yes);
    CHECK(ClientConfig::from_env().enabled);
  }
  for (const char* no : {"false", "0"}) {
    variables.set("DYN_REGISTRY_ENABLE", no);
    CHECK_FALSE(ClientConfig::from_env().enabled);
  }
}

TEST_CASE("DYN_REGISTRY_CLIENT_BATCH_SIZE says after how many entries a batch leaves") {
  Variables variables;
  const auto [value, size] = GENERATE(
      std::pair<std::optional<std::string>, Block>{std::nullopt, 100},
      std::pair<std::optional<std::string>, Block>{"3", 3}, std::pair<std::optional<std::string>, Block>{"1", 1});
  if (value) variables.set("DYN_REGISTRY_CLIENT_BATCH_SIZE", *value);
  auto hub = make_hub();
  auto worker = configured_client(InProcessTransport(hub));
  worker.register_blocks(blocks(0, size - 1));
  CHECK(hub.stats().registrations == 0);
  worker.register_blocks(blocks(size - 1, 1));
  CHECK(hub.stats().registrations == 1);
  CHECK(hub.stats().stored == size);
}

TEST_CASE("DYN_REGISTRY_CLIENT_BATCH_TIMEOUT_MS says when a batch leaves that did not fill") {
  Variables variables;
  const auto [value, time] =
      GENERATE(std::pair<std::optional<std::string>, std::chrono::milliseconds>{std::nullopt, 10},
               std::pair<std::optional<std::string>, std::chrono::milliseconds>{"250", 250});
  if (value) variables.set("DYN_REGISTRY_CLIENT_BATCH_TIMEOUT_MS", *value);
  auto hub = make_hub();
  InProcessTransport transport(hub);
  auto worker = configured_client(transport);
  worker.register_blocks(blocks(1, 1));
  transport.advance(time - 1ns);
  CHECK(hub.stats().stored == 0);
  transport.advance(1ns);
  CHECK(hub.stats().stored == 1);
}

TEST_CASE("DYN_REGISTRY_CLIENT_REQUEST_TIMEOUT_MS says when a query without an answer fails") {
  Variables variables;
  const auto [value, time] =
      GENERATE(std::pair<std::optional<std::string>, std::chrono::milliseconds>{std::nullopt, 5'000},
               std::pair<std::optional<std::string>, std::chrono::milliseconds>{"70", 70});
  if (value) variables.set("DYN_REGISTRY_CLIENT_REQUEST_TIMEOUT_MS", *value);
  SilentHub hub;
  auto worker = configured_client(InProcessTransport(hub));
  const auto error = error_of([&] { worker.can_offload({1}); });
  REQUIRE(error);
  REQUIRE(error->as<Timeout>() != nullptr);
  CHECK(error->as<Timeout>()->duration == time);
  CHECK(std::string{error->what()}.find(std::to_string(time.count()) + " ms") != std::string::npos);
}

TEST_CASE("the request timeout ends a query to a hub that does not exist") {
  Variables variables;
  variables.set("DYN_REGISTRY_CLIENT_REQUEST_TIMEOUT_MS", "40");
  const ZmqEndpoints nowhere = zmq_test::nowhere();
  variables.set("DYN_REGISTRY_CLIENT_QUERY_ADDR", nowhere.query_addr);
  variables.set("DYN_REGISTRY_CLIENT_REGISTER_ADDR", nowhere.register_addr);
  const ClientConfig config = ClientConfig::from_env();
  auto worker = client<Block, Block>(ZmqTransport::connect(config.transport)).options(config.options).build();
  const auto start = std::chrono::steady_clock::now();
  const auto error = error_of([&] { worker.can_offload({1}); });
  CHECK(std::chrono::steady_clock::now() - start >= 40ms);
  REQUIRE(error);
  REQUIRE(error->as<Timeout>() != nullptr);
  CHECK(error->as<Timeout>()->duration <= 40ms);
}

TEST_CASE("DYN_REGISTRY_CLIENT_LOCAL_CACHE says of how many stored keys the hub is not asked again") {
  Variables variables;
  auto hub = make_hub();
  const InProcessTransport transport(hub);
  auto other = client<Block, Block>(transport).build();
  other.register_blocks(blocks(1, 20));
  other.flush();
  const std::uint64_t before = hub.stats().queries;
  const auto asked = [&] { return hub.stats().queries - before; };

  SECTION("without it of none") {
    auto worker = configured_client(transport);
    worker.can_offload({1, 2, 3});
    worker.can_offload({1, 2, 3});
    CHECK(asked() == 2);
    CHECK(hub.stats().already_stored == 6);
  }
  SECTION("of those that fit") {
    variables.set("DYN_REGISTRY_CLIENT_LOCAL_CACHE", "10");
    auto worker = configured_client(transport);
    worker.can_offload({1, 2, 3});
    CHECK(worker.can_offload({1, 2, 3}).already_stored == std::vector<Block>{1, 2, 3});
    CHECK(asked() == 1);
    for (Block key = 1; key <= 20; ++key) worker.can_offload({key});
    const std::uint64_t first = asked();
    for (Block key = 1; key <= 20; ++key) worker.can_offload({key});
    CHECK(asked() >= first + 10);
  }
  SECTION("of as many as a number can say") {
    variables.set("DYN_REGISTRY_CLIENT_LOCAL_CACHE", "18446744073709551615");
    auto worker = configured_client(transport);
    worker.can_offload({1});
    worker.can_offload({1});
    CHECK(asked() == 1);
  }
  SECTION("0 is none") {
    variables.set("DYN_REGISTRY_CLIENT_LOCAL_CACHE", "0");
    auto worker = configured_client(transport);
    worker.can_offload({1});
    worker.can_offload({1});
    CHECK(asked() == 2);
  }
}

TEST_CASE("DYN_REGISTRY_CLIENT_NAMESPACE names a catalogue, and one that the hub does not serve is an error") {
  Variables variables;
  auto hub = make_hub();
  const InProcessTransport transport(hub);
  SECTION("the default one is served") {
    variables.set("DYN_REGISTRY_CLIENT_NAMESPACE", "default");
    auto worker = configured_client(transport);
    CHECK(worker.can_offload({1}).can_offload == std::vector<Block>{1});
  }
  SECTION("another is not") {
    variables.set("DYN_REGISTRY_CLIENT_NAMESPACE", "llama-70b");
    const auto error = error_of([&] { configured_client(transport); });
    REQUIRE(error);
    REQUIRE(error->as<Unsupported>() != nullptr);
    CHECK(error->as<Unsupported>()->operation.find("llama-70b") != std::string::npos);
    CHECK(hub.stats().granted == 0);
  }
  SECTION("a name may be 255 bytes long") {
    variables.set("DYN_REGISTRY_CLIENT_NAMESPACE", std::string(255, 'n'));
    CHECK(ClientConfig::from_env().options.name_space.size() == 255);
    const auto error = error_of([&] { configured_client(transport); });
    REQUIRE(error);
    CHECK(error->as<Unsupported>() != nullptr);
  }
}
