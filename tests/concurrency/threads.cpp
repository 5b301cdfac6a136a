// SPDX-License-Identifier: Apache-2.0
// Sixteen threads, each with a client of its own, ask one hub for the same keys.
#include "support/catch.hpp"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <future>
#include <latch>
#include <memory>
#include <random>
#include <vector>

#include "concurrency/claimant.hpp"
#include "concurrency/hubs.hpp"
#include "concurrency/ledger.hpp"
#include "zmq/sockets.hpp"

using namespace concurrency_test;
using namespace std::chrono_literals;

namespace {

constexpr std::uint32_t thread_count = 16;

class Threads {
 public:
  Threads(const registry::ZmqTransportConfig& hub, Ledger& ledger) {
    for (std::uint32_t i = 1; i <= thread_count; ++i) {
      claimants_.push_back(std::make_unique<Claimant>(i, hub, ledger));
    }
  }

  /// Each claimant does this on a thread of its own, all at once.
  template <class Work>
  auto all(Work work) {
    using Result = decltype(work(*claimants_.front()));
    std::latch start(thread_count);
    std::vector<std::future<Result>> results;
    for (const auto& claimant : claimants_) {
      results.push_back(std::async(std::launch::async, [&start, &work, &claimant] {
        start.arrive_and_wait();
        return work(*claimant);
      }));
    }
    Result sum{};
    for (auto& result : results) sum += result.get();
    return sum;
  }

  Tally ask_for_all() {
    return all([](Claimant& claimant) { return claimant.ask_for_all(); });
  }

  void leave() {
    for (const auto& claimant : claimants_) claimant->leave();
  }

 private:
  std::vector<std::unique_ptr<Claimant>> claimants_;
};

}  // namespace

TEST_CASE("sixteen threads are granted each of 100,000 keys exactly once, and after a release exactly once more") {
  const zmq_test::SocketDirectory directory;
  Ledger ledger(directory.path() / "ledger", key_count);
  const ServedHub hub;
  Threads threads(hub.address(), ledger);

  CHECK(threads.ask_for_all() == each_key_once(thread_count));
  CHECK(ledger.granted(1) == key_count);
  CHECK(ledger.taken() == key_count);
  CHECK(hub.stats().leases.active == key_count);

  CHECK(threads.all([](Claimant& claimant) { return claimant.release(); }) == key_count);
  CHECK(ledger.taken() == 0);
  CHECK(hub.stats().leases.active == 0);
  CHECK(threads.ask_for_all() == each_key_once(thread_count));
  CHECK(ledger.granted(2) == key_count);
  CHECK(hub.stats().leases.granted == 2 * key_count);
  CHECK(hub.stats().leases.renewed == 0);
}

TEST_CASE(
    "sixteen threads are granted each of 100,000 keys exactly once, and after its lease's end exactly once more") {
  const zmq_test::SocketDirectory directory;
  Ledger ledger(directory.path() / "ledger", key_count);
  HubOnTestTime hub(30s);
  Threads threads(hub.address(), ledger);

  CHECK(threads.ask_for_all() == each_key_once(thread_count));
  CHECK(ledger.granted(1) == key_count);

  hub.advance(30s - 1ns);
  Claimant late(thread_count + 1, hub.address(), ledger);
  CHECK(late.ask_for_all() == Tally{0, 0, key_count, 0});

  threads.leave();
  hub.advance(1ns);
  CHECK(threads.ask_for_all() == each_key_once(thread_count));
  CHECK(ledger.granted(2) == key_count);
  CHECK(hub.stats().leases.expired == key_count);
  CHECK(hub.stats().leases.active == key_count);
}

TEST_CASE("sixteen threads that take, store and give back the same few keys never meet a second holder") {
  constexpr std::size_t hot_keys = 500;
  constexpr int rounds = 250;
  const zmq_test::SocketDirectory directory;
  Ledger ledger(directory.path() / "ledger", hot_keys);
  const ServedHub hub;
  Threads threads(hub.address(), ledger);
  std::atomic<std::uint32_t> seed = 0;
  std::atomic<std::uint64_t> stored = 0;

  const Tally tally = threads.all([&](Claimant& claimant) {
    std::mt19937 random(++seed);
    Tally sum;
    for (int i = 0; i < rounds; ++i) {
      std::vector<Block> keys(40);
      for (Block& key : keys) key = random() % hot_keys;
      sum += claimant.ask(keys);
      if (i == rounds - 1) {
        stored += claimant.store();
      } else {
        claimant.release();
      }
    }
    return sum;
  });
  CHECK(tally.clashes == 0);
  CHECK(tally.granted > hot_keys);
  CHECK(tally.leased > 0);
  CHECK(stored > 0);
  CHECK(ledger.taken() == stored);
  CHECK(hub.stats().leases.granted == tally.granted);
}
