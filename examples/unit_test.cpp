// SPDX-License-Identifier: Apache-2.0
// A unit test of code that uses a registry: client and hub in one process, without sockets or threads. Time passes only
// when the test says so.
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <registry/registry.hpp>

// Catch2 version 2 or 3.
#if __has_include(<catch2/catch_test_macros.hpp>)
#include <catch2/catch_test_macros.hpp>
#else
#include <catch2/catch.hpp>
#endif

using namespace std::chrono_literals;

namespace {

/// The code under test: stores what nobody has stored, and says how many blocks that were. Written against the
/// concept, it takes a client over ZeroMQ, a client in this process, or a fake.
template <registry::Registry R>
std::size_t store_new_blocks(R& hub, const std::vector<std::uint64_t>& hashes) {
  const auto answer = hub.can_offload(hashes);
  for (const std::uint64_t hash : answer.can_offload) hub.register_blocks({{{hash, 1000 + hash, {}}}});
  hub.flush();
  return answer.can_offload.size();
}

auto make_hub() {
  return registry::hub<std::uint64_t, std::uint64_t>(registry::HashMapStorage<std::uint64_t, std::uint64_t>{})
      .lease_ttl(30s)
      .build();
}

auto make_worker(const registry::InProcessTransport& transport) {
  return registry::client<std::uint64_t, std::uint64_t>(transport).build();
}

}  // namespace

TEST_CASE("Of two workers with the same blocks one stores them") {
  auto hub = make_hub();
  const registry::InProcessTransport transport{hub};
  auto first = make_worker(transport);
  auto second = make_worker(transport);

  CHECK(store_new_blocks(first, {1, 2, 3}) == 3);
  CHECK(store_new_blocks(second, {2, 3, 4}) == 1);
  CHECK(second.match_prefix({1, 2, 3, 4, 5}).size() == 4);
}

TEST_CASE("What a worker was granted and never stored goes to another one after the lease") {
  auto hub = make_hub();
  registry::InProcessTransport transport{hub};
  auto silent = make_worker(transport);
  auto other = make_worker(transport);

  REQUIRE(silent.can_offload({1}).can_offload.size() == 1);
  transport.advance(29s);
  CHECK(other.can_offload({1}).leased.size() == 1);
  transport.advance(1s);
  CHECK(other.can_offload({1}).can_offload.size() == 1);
}
