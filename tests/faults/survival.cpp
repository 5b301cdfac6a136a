// SPDX-License-Identifier: Apache-2.0
// What clients keep through faults: registrations that nobody acknowledged, and claims.
#include "support/catch.hpp"

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <future>
#include <numeric>
#include <string>
#include <vector>

#include "faults/processes.hpp"
#include "faults/proxy.hpp"

using namespace faults_test;

namespace {

using Keys = std::vector<std::uint64_t>;

Keys keys_from(std::uint64_t first, std::size_t count) {
  Keys keys(count);
  std::iota(keys.begin(), keys.end(), first);
  return keys;
}

auto quick_client(const registry::ZmqTransportConfig& hub) {
  return registry::client<std::uint64_t, std::uint64_t>(registry::ZmqTransport::connect(hub))
      .request_timeout(300ms)
      .resend_interval(100ms)
      .log(nullptr);
}

}  // namespace

TEST_CASE("no registration is lost with the connections that are cut") {
  Hub hub;
  Proxy queries(Hub::port(hub.address().query_addr), 11);
  Proxy registrations(Hub::port(hub.address().register_addr), 12);
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
  std::printf(
      "lost and sent again: %llu blocks, %zu cuts, %llu batches sent again\n", static_cast<unsigned long long>(key),
      static_cast<std::size_t>(registrations.cuts()), static_cast<unsigned long long>(blocks.stats().batches_resent));
  CHECK(blocks.close(limit).empty());
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
  CHECK(blocks.close(limit).empty());
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
  for (int i = 0; i < 3; ++i) {
    hub.kill();
    hub.start();
    const auto restarted = Clock::now();
    // As its owner works on.
    while (Clock::now() - restarted < 4s) {
      try {
        claim.progress();
        const auto answer = other.can_offload(keys);
        REQUIRE(answer.can_offload.empty());
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
}

TEST_CASE("claims wait through a frozen hub, and the first who came is served when the holder is killed") {
  Hub hub(2s);
  const zmq_test::SocketDirectory directory;
  concurrency_test::Process dying({REGISTRY_CONCURRENCY_WORKER, hub.address().query_addr, hub.address().register_addr,
                                   (directory.path() / "ledger").string(), "2", "1"});
  dying.tell("ask");
  REQUIRE(dying.hear() == "2 0 0 0");
  auto blocks = client(hub.address());
  auto second = client(hub.address());
  auto waiting = std::async(std::launch::async, [&] { return blocks.claim({0}, limit).granted().size(); });
  dying.signal(SIGKILL);
  CHECK(dying.end() == -1);
  hub.freeze();
  hub.thaw();
  CHECK(waiting.get() == 1);
  // Given back as the claim was dropped.
  CHECK(second.claim({0}, limit).granted() == Keys{0});
}
