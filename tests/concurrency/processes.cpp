// SPDX-License-Identifier: Apache-2.0
// Eight processes, each with a client of its own, ask one hub for the same keys.
#include "support/catch.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "concurrency/claimant.hpp"
#include "concurrency/hubs.hpp"
#include "concurrency/ledger.hpp"
#include "concurrency/process.hpp"
#include "zmq/sockets.hpp"

using namespace concurrency_test;
using namespace std::chrono_literals;

namespace {

constexpr std::uint32_t process_count = 8;

/// A running concurrency_worker.
class Worker {
 public:
  Worker(std::uint32_t number, const registry::ZmqTransportConfig& hub, const std::filesystem::path& ledger)
      : process_({REGISTRY_CONCURRENCY_WORKER, hub.query_addr, hub.register_addr, ledger.string(),
                  std::to_string(key_count), std::to_string(number)}) {}

  void tell(const std::string& command) { process_.tell(command); }

  Tally hear() {
    const std::string line = process_.hear();
    Tally tally;
    if (std::sscanf(line.c_str(), "%lu %lu %lu %lu", &tally.granted, &tally.stored, &tally.leased, &tally.clashes) !=
        4) {
      throw std::runtime_error("a worker did not answer: " + line);
    }
    return tally;
  }

  int end() { return process_.end(); }

 private:
  Process process_;
};

class Processes {
 public:
  Processes(const registry::ZmqTransportConfig& hub, const std::filesystem::path& ledger) {
    for (std::uint32_t i = 1; i <= process_count; ++i) processes_.push_back(std::make_unique<Worker>(i, hub, ledger));
  }

  Tally all(const std::string& command) {
    for (const auto& process : processes_) process->tell(command);
    Tally sum;
    for (const auto& process : processes_) sum += process->hear();
    return sum;
  }

  int failures() {
    int count = 0;
    for (const auto& process : processes_) count += process->end() == 0 ? 0 : 1;
    return count;
  }

 private:
  std::vector<std::unique_ptr<Worker>> processes_;
};

}  // namespace

TEST_CASE("eight processes are granted each of 100,000 keys exactly once, and after a release exactly once more") {
  const zmq_test::SocketDirectory directory;
  const Ledger ledger(directory.path() / "ledger", key_count);
  const ServedHub hub;
  Processes processes(hub.address(), directory.path() / "ledger");

  CHECK(processes.all("ask") == each_key_once(process_count));
  CHECK(ledger.granted(1) == key_count);
  CHECK(ledger.taken() == key_count);
  CHECK(hub.stats().leases.active == key_count);

  CHECK(processes.all("release").granted == key_count);
  CHECK(ledger.taken() == 0);
  CHECK(hub.stats().leases.active == 0);
  CHECK(processes.all("ask") == each_key_once(process_count));
  CHECK(ledger.granted(2) == key_count);
  CHECK(hub.stats().leases.granted == 2 * key_count);
  CHECK(processes.failures() == 0);
}

TEST_CASE(
    "eight processes are granted each of 100,000 keys exactly once, and after its lease's end exactly once more") {
  const zmq_test::SocketDirectory directory;
  Ledger ledger(directory.path() / "ledger", key_count);
  HubOnTestTime hub(30s);
  Processes processes(hub.address(), directory.path() / "ledger");

  CHECK(processes.all("ask") == each_key_once(process_count));
  CHECK(ledger.granted(1) == key_count);

  hub.advance(30s - 1ns);
  Claimant late(process_count + 1, hub.address(), ledger);
  CHECK(late.ask_for_all() == Tally{0, 0, key_count, 0});

  processes.all("leave");
  hub.advance(1ns);
  CHECK(processes.all("ask") == each_key_once(process_count));
  CHECK(ledger.granted(2) == key_count);
  CHECK(hub.stats().leases.expired == key_count);
  CHECK(processes.failures() == 0);
}
