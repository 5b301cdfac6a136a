// SPDX-License-Identifier: Apache-2.0
// Clients with namespaces and the hub that makes them, together.
#include "support/catch.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <registry/builder.hpp>
#include <registry/storage.hpp>
#include <registry/transport/in_process.hpp>

using namespace registry;
using namespace std::chrono_literals;

namespace {

using Block = std::uint64_t;

auto many(std::size_t most) {
  return hub<Block, Block>([](std::string_view) { return HashMapStorage<Block, Block>{}; })
      .max_namespaces(most)
      .log(nullptr)
      .build();
}

auto client_in(const InProcessTransport& transport, std::string name) {
  return client<Block, Block>(transport).name_space(std::move(name)).log(nullptr).build();
}

}  // namespace

TEST_CASE("clients of two namespaces share a hub and nothing else") {
  auto hub = many(3);
  InProcessTransport transport(hub);
  auto a = client_in(transport, "a");
  auto b = client_in(transport, "b");
  auto plain = client<Block, Block>(transport).build();
  CHECK(a.can_offload({1}).can_offload.size() == 1);
  CHECK(b.can_offload({1}).can_offload.size() == 1);
  CHECK(plain.can_offload({1}).can_offload.size() == 1);
  a.register_blocks({{1, 10}});
  a.flush();
  CHECK(a.match({1}).size() == 1);
  CHECK(b.match({1}).empty());
  CHECK(plain.match({1}).empty());
  CHECK(b.remove({1}) == 0);
  CHECK(hub.stats("a")->stored == 1);
  CHECK(hub.stats("b")->leases.active == 1);
  // Leases end in all of them.
  transport.advance(31s);
  CHECK(hub.stats("b")->leases.active == 0);
  CHECK(hub.stats("default")->leases.active == 0);
}

TEST_CASE("a client for one namespace too many hears which limit it met") {
  auto hub = many(2);
  InProcessTransport transport(hub);
  auto a = client_in(transport, "a");
  try {
    client_in(transport, "b");
    FAIL("the namespace was served");
  } catch (const RegistryError& error) {
    REQUIRE(error.as<Unsupported>() != nullptr);
    CHECK(std::string{error.what()}.find("max_namespaces allows 2, got 3") != std::string::npos);
  }
  CHECK(a.can_offload({1}).can_offload.size() == 1);
}

TEST_CASE("a hub over one storage serves default and no other namespace") {
  auto hub = registry::hub<Block, Block>(HashMapStorage<Block, Block>{}).log(nullptr).build();
  InProcessTransport transport(hub);
  CHECK_THROWS_AS(client_in(transport, "a"), RegistryError);
  CHECK(client_in(transport, "default").can_offload({1}).can_offload.size() == 1);
}
