// SPDX-License-Identifier: Apache-2.0
// What befalls workers, the hub and the network between them while they work.
#include "support/catch.hpp"

#include <signal.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
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

/// What must be true of everything that workers saw.
void check(const Tally& tally) {
  CHECK(tally.clashes == 0);
  CHECK(tally.wrong == 0);
  CHECK(tally.granted > 0);
  CHECK(tally.stored > 0);
  CHECK(tally.found > 0);
}

/// Lets things happen for a while: how much of them does not matter to what is checked.
void let_work(std::chrono::milliseconds duration) { std::this_thread::sleep_for(duration); }

}  // namespace

TEST_CASE("a network that delays, hangs and cuts connections grants no key twice, and clients go on after it") {
  Hub hub;
  Proxy queries(Hub::port(hub.address().query_addr), 1);
  Proxy registrations(Hub::port(hub.address().register_addr), 2);
  auto through_proxies = hub.address();
  through_proxies.query_addr = queries.address();
  through_proxies.register_addr = registrations.address();
  Workers workers(3, through_proxies);
  CHECK(workers.all_go_on());

  queries.be_bad(true);
  registrations.be_bad(true);
  CHECK(eventually([&] {
    return queries.cuts() >= 10 && queries.stalls() >= 10 && registrations.cuts() >= 3 &&
           workers.report().failures >= 10;
  }));
  queries.be_bad(false);
  registrations.be_bad(false);
  CHECK(workers.all_go_on());

  const Tally tally = workers.report();
  check(tally);
  CHECK(serves(hub));
  CHECK(workers.end() == 0);
  print("network",
        std::to_string(queries.connections() + registrations.connections()) + " connections, " +
            std::to_string(queries.cuts() + registrations.cuts()) + " cut, " +
            std::to_string(queries.stalls() + registrations.stalls()) + " stalls, " +
            std::to_string(queries.delays() + registrations.delays()) + " delays",
        tally);
}

TEST_CASE("what a worker was granted before it was killed is granted again when its lease is over, and not before") {
  Hub hub;
  Workers workers(3, hub.address());
  std::mt19937 random(3);
  Tally killed;
  for (int i = 0; i < 5; ++i) {
    CHECK(eventually([&] { return workers[0].report().granted > 0; }));
    let_work(std::chrono::milliseconds{random() % 50});
    killed += workers[0].report();
    workers.kill(0);
    workers.add();
  }
  // One that is granted keys 0 and 1, which no other worker asks for, and dies before it has stored them.
  const auto sent = Clock::now();
  {
    const zmq_test::SocketDirectory directory;
    concurrency_test::Process dying({REGISTRY_CONCURRENCY_WORKER, hub.address().query_addr, hub.address().register_addr,
                                     (directory.path() / "ledger").string(), "2", "1"});
    dying.tell("ask");
    CHECK(dying.hear() == "2 0 0 0");
    dying.signal(SIGKILL);
    CHECK(dying.end() == -1);
  }
  auto heir = client(hub.address());
  CHECK(eventually([&] { return heir.can_offload({0, 1}).can_offload.size() == 2; }));
  CHECK(Clock::now() - sent >= ttl);

  CHECK(workers.all_go_on());
  Tally tally = workers.report();
  tally += killed;
  check(tally);
  CHECK(serves(hub));
  CHECK(workers.end() == 0);
  print("killed", "5 workers under load and one with a claim", tally);
}

TEST_CASE("a worker that was frozen for longer than its leases does not take them for its own") {
  Hub hub;
  Workers workers(3, hub.address());
  std::mt19937 random(4);
  for (int i = 0; i < 4; ++i) {
    CHECK(workers.all_go_on());
    let_work(std::chrono::milliseconds{random() % 50});
    workers[0].signal(SIGSTOP);
    // The others go on, and are granted its keys when their leases are over.
    const auto frozen = Clock::now();
    const std::uint64_t granted = workers[1].report().granted;
    CHECK(eventually([&] { return Clock::now() - frozen > ttl + 300ms && workers[1].report().granted > granted; }));
    workers[0].signal(SIGCONT);
  }
  CHECK(workers.all_go_on());
  const Tally tally = workers.report();
  check(tally);
  CHECK(serves(hub));
  CHECK(workers.end() == 0);
  print("frozen", "4 times a worker", tally);
}

TEST_CASE("clients go on with a hub that was killed and started anew under load") {
  Hub hub;
  Workers workers(3, hub.address());
  for (int i = 0; i < 3; ++i) {
    CHECK(workers.all_go_on());
    workers.grants().hub_is_replaced();
    hub.kill();
    const std::uint64_t failures = workers.report().failures;
    CHECK(eventually([&] { return workers.report().failures > failures; }));
    hub.start();
    workers.grants().hub_was_replaced();
    CHECK(workers.all_go_on());
    CHECK(serves(hub));
  }
  const Tally tally = workers.report();
  check(tally);
  CHECK(workers.end() == 0);
  print("restart", "3 times the hub", tally);
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
  const Tally tally = workers.report();
  check(tally);
  CHECK(serves(hub));
  CHECK(workers.end() == 0);
  print("stall", "the hub for longer than its leases", tally);
}

TEST_CASE("the answer to a question that was given up is not taken for that to the next one on its connection") {
  constexpr int rounds = 6;
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
  CHECK(serves(hub));
  std::printf("%-10s %d questions behind one that was given up, %d answered\n", "late", rounds, answered);
}
