// SPDX-License-Identifier: Apache-2.0
// What befalls workers, the hub and the network between them while they work.
#include "support/catch.hpp"

#include <signal.h>

#include <chrono>
#include <cstdint>
#include <future>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "faults/processes.hpp"
#include "faults/proxy.hpp"
#include "zmq/sockets.hpp"

using namespace faults_test;

namespace {

/// Lets things happen for a while: how much of them does not matter to what is checked.
void let_work(std::chrono::milliseconds duration) { std::this_thread::sleep_for(duration); }

}  // namespace

TEST_CASE("a network that delays, hangs and cuts connections grants no key twice, and clients go on after it") {
  Hub hub;
  Proxy queries(zmq_test::port_of(hub.address().query_addr), 1);
  Proxy registrations(zmq_test::port_of(hub.address().register_addr), 2);
  auto through_proxies = hub.address();
  through_proxies.query_addr = queries.address();
  through_proxies.register_addr = registrations.address();
  Workers workers(3, through_proxies);
  CHECK(workers.all_go_on());

  queries.be_bad(true);
  registrations.be_bad(true);
  CHECK(eventually([&] {
    return queries.cuts() >= 10 && queries.stalls() >= 10 && registrations.cuts() >= 2 &&
           workers.report().failures >= 10;
  }));
  queries.be_bad(false);
  registrations.be_bad(false);
  CHECK(workers.all_go_on());

  check(hub, workers, "network",
        "seeds 1 and 2, " + std::to_string(queries.connections() + registrations.connections()) + " connections, " +
            std::to_string(queries.cuts() + registrations.cuts()) + " cut, " +
            std::to_string(queries.stalls() + registrations.stalls()) + " stalls, " +
            std::to_string(queries.delays() + registrations.delays()) + " delays");
}

TEST_CASE("what a worker was granted before it was killed is granted again when its lease is over, and not before") {
  Hub hub;
  Workers workers(3, hub.address());
  std::mt19937 random(3);
  for (int i = 0; i < 5; ++i) {
    CHECK(eventually([&] { return workers[0].report().claimed > 0; }));
    let_work(std::chrono::milliseconds{random() % 50});
    workers.kill(0);
    workers.add();
  }
  // One that has claimed a key which no other worker asks for.
  const auto sent = Clock::now();
  const auto held = workers[0].hold(1, 1);
  REQUIRE(held.keys == 1);
  workers.kill(0);
  auto blocks = client(hub.address());
  const auto heir = blocks.claim({1}, limit);
  CHECK(heir.granted().size() == 1);
  CHECK(Clock::now() - sent >= ttl);
  CHECK(heir.token() > held.token);

  CHECK(workers.all_go_on());
  check(hub, workers, "killed", "seed 3, 5 workers under load and one with a claim");
}

TEST_CASE("a worker that was frozen for longer than its leases learns that they are over") {
  const bool insists = GENERATE(false, true);
  Hub hub(ttl, insists ? std::vector<std::string>{"--insist-on-holder"} : std::vector<std::string>{});
  Workers workers(3, hub.address());
  auto blocks = client(hub.address());
  std::mt19937 random(4);
  constexpr int rounds = 3;
  for (std::uint64_t key = 10; key < 10 * (rounds + 1); key += 10) {
    CHECK(workers.all_go_on());
    Worker& frozen = workers[0];
    const auto held = frozen.hold(key, 2);
    REQUIRE(held.keys == 2);
    let_work(std::chrono::milliseconds{random() % 50});
    frozen.signal(SIGSTOP);
    // The others go on, and are granted its keys when their leases are over.
    const auto leased = blocks.claim({key}, limit);
    auto stored = blocks.claim({key + 1}, limit);
    CHECK(leased.token() > held.token);
    REQUIRE(stored.token() > held.token);
    CHECK(stored.register_blocks({{key + 1, 1}}).all_stored());
    frozen.signal(SIGCONT);

    if (insists) CHECK(frozen.conflicts() == 2);
    CHECK(frozen.lost() == 2);
    const auto found = blocks.match({key, key + 1});
    REQUIRE(found.size() == 1);
    CHECK(found[0].key == key + 1);
    CHECK(found[0].value == 1);
  }
  CHECK(workers.all_go_on());
  check(hub, workers, insists ? "frozen (i)" : "frozen",
        "seed 4, " + std::to_string(rounds) + " times a worker with a claim" + (insists ? ", the hub insists" : ""));
}

TEST_CASE("with a recovery time a hub that is killed and started anew under load grants nothing twice") {
  Hub hub(ttl, {"--recovery-time-secs", std::to_string(ttl.count())});
  Workers workers(3, hub.address());
  constexpr int rounds = 3;
  for (int i = 0; i < rounds; ++i) {
    CHECK(workers.all_go_on());
    workers.grants().hub_is_replaced();
    hub.kill();
    const std::uint64_t failures = workers.report().failures;
    if (i % 2 == 0) CHECK(eventually([&] { return workers.report().failures > failures; }));
    hub.start();
    workers.grants().hub_was_replaced();
    CHECK(workers.all_go_on());
    CHECK(serves(hub));
  }
  check(hub, workers, "restart", std::to_string(rounds) + " times the hub");
}

TEST_CASE("a hub that was frozen counts no lease down meanwhile, and its late answers are nobody's") {
  // Long enough that the test has frozen the hub before half of it is over.
  constexpr std::chrono::seconds long_ttl{6};
  Hub hub(long_ttl);
  Workers workers(3, hub.address());
  CHECK(workers.all_go_on());
  auto holder = client(hub.address());
  constexpr std::uint64_t key = std::uint64_t{1} << 50U;

  const auto sent = Clock::now();
  CHECK(holder.can_offload({key}).can_offload.size() == 1);
  const std::uint64_t failures = workers.report().failures;
  hub.freeze();
  REQUIRE(Clock::now() - sent < long_ttl / 2);
  // Asked while the hub is frozen, so that it is answered in the hub's first moments afterwards.
  zmq_test::Peer other(zmq::socket_type::dealer, hub.address().query_addr);
  registry::Bytes query;
  registry::BinaryCodec<std::uint64_t, std::uint64_t, registry::NoMetadata>::encode_keys(
      registry::MessageType::can_offload, std::vector<std::uint64_t>{key}, query);
  other.send({zmq_test::text(query)});
  CHECK(eventually([&] { return workers.report().failures >= failures + 30 && Clock::now() - sent > long_ttl + 1s; }));
  hub.thaw();
  const auto leased = other.receive();
  REQUIRE(leased.size() == 1);
  CHECK(leased[0].back() == 2);

  CHECK(workers.all_go_on());
  check(hub, workers, "stall", "the hub for longer than its leases");
}

TEST_CASE("the answer to a question that was given up is not taken for that to the next one on its connection") {
  constexpr int rounds = 4;
  Hub hub;
  auto blocks = registry::client<std::uint64_t, std::uint64_t>(registry::ZmqTransport::connect(hub.address()))
                    .request_timeout(1s)
                    .build();
  for (std::uint64_t key = 1; key <= 2 * rounds; ++key) blocks.register_blocks({{key, 100 + key}});
  blocks.flush();
  REQUIRE(eventually([&] { return blocks.match({2 * rounds}).size() == 1; }));

  int answered = 0;
  for (std::uint64_t key = 1; key <= 2 * rounds; key += 2) {
    hub.freeze();
    CHECK_THROWS_AS(blocks.match({key}), registry::RegistryError);
    auto next = std::async(std::launch::async, [&] { return blocks.match({key + 1}); });
    let_work(50ms);  // or it would be asked when the hub is there again: right, and no test
    hub.thaw();
    try {
      const auto found = next.get();
      ++answered;
      REQUIRE(found.size() == 1);
      CHECK(found[0].key == key + 1);
      CHECK(found[0].value == 100 + key + 1);
    } catch (const registry::RegistryError& error) {
      CHECK(error.code() == registry::errc::timeout);  // on a machine that stood still for a second
    }
  }
  CHECK(answered > 0);
  check(hub);
  print("late",
        std::to_string(rounds) + " questions behind one that was given up, " + std::to_string(answered) + " answered");
}
