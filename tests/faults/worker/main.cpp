// SPDX-License-Identifier: Apache-2.0
// A process with one client, for tests/faults: `faults_worker QUERY REGISTER GRANTS NUMBER TTL_MS`. Claims, registers,
// gives back, forgets and matches blocks without pause, in an order that its number decides, and answers every line of
// its input with a tally; it ends where its input does.
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <iostream>
#include <random>
#include <string>
#include <vector>

#include <registry/builder.hpp>
#include <registry/transport/zmq.hpp>

#include "faults/grants.hpp"
#include "faults/tally.hpp"

namespace {

using namespace faults_test;
using namespace std::chrono_literals;
using Block = registry::Entry<std::uint64_t, std::uint64_t, registry::NoMetadata>;

std::uint64_t value_of(std::uint64_t key) { return key * 1'000'003 + 7; }

class Worker {
 public:
  Worker(const registry::ZmqTransportConfig& hub, const std::string& grants, std::uint64_t number,
         std::chrono::milliseconds ttl)
      : number_(number),
        ttl_(ttl),
        grants_(grants),
        client_(registry::client<std::uint64_t, std::uint64_t>(registry::ZmqTransport::connect(hub))
                    .request_timeout(300ms)
                    .register_timeout(300ms)
                    .close_timeout(0ms)
                    .batch_timeout(1ms)
                    .log([](registry::LogLevel, std::string_view) {})  // it would speak of every fault
                    .build()),
        random_(static_cast<unsigned>(number)) {}

  void work() {
    try {
      if (random_() % 4 == 0) {
        match();
      } else {
        claim();
      }
      ++tally_.calls;
    } catch (const registry::RegistryError& error) {
      // An answer that is none, or that belongs to another question, is not among the failures that may be.
      if (error.as<registry::Timeout>() || error.as<registry::HubError>() || error.as<registry::Disconnected>() ||
          error.as<registry::TransportError>()) {
        ++tally_.failures;
      } else {
        std::cerr << "faults_worker: " << error.what() << '\n';
        ++tally_.wrong;
      }
    }
  }

  const Tally& tally() const { return tally_; }

 private:
  struct Held {
    std::vector<std::uint64_t> keys;
    std::uint64_t hub;
    Micros until;
  };

  /// Half of them are new, and half were asked for lately: what nobody stored is granted again when its lease is over,
  /// and not before. They are of a number that hardly any other question has, so that another one's answer is wrong.
  std::vector<std::uint64_t> some_keys() {
    const std::uint64_t first = grants_.first_key();
    std::vector<std::uint64_t> keys;
    for (std::size_t rest = 1 + random_() % 60; rest > 0; --rest) {
      const std::uint64_t key = random_() % 2 == 0 ? first + random_() % 300 : first - random_() % 3'000;
      if (std::find(keys.begin(), keys.end(), key) == keys.end()) keys.push_back(key);
    }
    return keys;
  }

  void claim() {
    const auto keys = some_keys();
    const auto hub = grants_.hub();
    const auto sent = Clock::now();
    const auto answer = client_.can_offload(keys);
    const auto arrival = Clock::now();
    if (answer.statuses.size() != keys.size()) ++tally_.wrong;
    if (!hub || grants_.hub() != hub || arrival >= sent + ttl_) return;
    const Held held{answer.can_offload, *hub, micros(sent + ttl_)};
    for (const std::uint64_t key : held.keys) {
      if (!grants_.take(key, number_, held.hub, micros(arrival), held.until)) ++tally_.clashes;
    }
    tally_.granted += held.keys.size();
    switch (random_() % 4) {
      case 0:
      case 1: return store(held);
      case 2: return release(held);
      default: return;  // the leases run out
    }
  }

  void leave(const Held& held) {
    for (const std::uint64_t key : held.keys) grants_.leave(key, number_, held.hub, held.until);
  }

  void store(const Held& held) {
    if (held.keys.empty() || micros(Clock::now()) >= held.until) return;
    leave(held);
    std::vector<Block> blocks;
    for (const std::uint64_t key : held.keys) blocks.push_back({key, value_of(key), {}});
    client_.register_blocks(blocks);
    grants_.stored(blocks.size());
    tally_.stored += blocks.size();
  }

  void release(const Held& held) {
    if (held.keys.empty()) return;
    leave(held);
    client_.release(held.keys);
  }

  void match() {
    const auto keys = some_keys();
    const auto found = client_.match(keys);
    auto at = keys.begin();
    for (const Block& block : found) {
      at = std::find(at, keys.end(), block.key);
      if (at == keys.end() || block.value != value_of(block.key)) {
        ++tally_.wrong;
        return;
      }
    }
    tally_.found += found.size();
  }

  std::uint64_t number_;
  std::chrono::milliseconds ttl_;
  Grants grants_;
  registry::RegistryClient<std::uint64_t, std::uint64_t, registry::NoMetadata, registry::ZmqTransport> client_;
  std::mt19937 random_;
  Tally tally_;
};

bool has_input() {
  pollfd input{STDIN_FILENO, POLLIN, 0};
  return poll(&input, 1, 0) > 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6) {
    std::cerr << "usage: faults_worker QUERY REGISTER GRANTS NUMBER TTL_MS\n";
    return 2;
  }
  try {
    registry::ZmqTransportConfig hub;
    hub.query_addr = argv[1];
    hub.register_addr = argv[2];
    hub.reconnect_interval_max = std::chrono::milliseconds{100};
    Worker worker(hub, argv[3], std::stoul(argv[4]), std::chrono::milliseconds{std::stol(argv[5])});
    for (;;) {
      if (!has_input()) {
        worker.work();
        continue;
      }
      std::string command;
      if (!std::getline(std::cin, command)) return 0;
      std::cout << worker.tally().line() << std::endl;
    }
  } catch (const std::exception& error) {
    std::cerr << "faults_worker: " << error.what() << '\n';
    return 1;
  }
}
