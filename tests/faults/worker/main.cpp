// SPDX-License-Identifier: Apache-2.0
// A process with one client, for tests/faults: `faults_worker QUERY REGISTER GRANTS NUMBER TTL_MS`. Asks for blocks, by
// itself and in the name of claims, renews, registers, gives back, forgets and matches them without pause, in an order
// that its number decides. If that is even, its client is an asynchronous one. It carries out one command a line,
// answers it with a line, and ends where its input does:
//   report          a tally
//   hold KEY COUNT  has a claim of these keys; their number, and its token
//   progress        has that claim renewed; how many keys it has lost
//   register        registers what it was granted; how many keys were refused with lease_conflict
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <iostream>
#include <optional>
#include <random>
#include <span>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <registry/builder.hpp>
#include <registry/transport/zmq.hpp>

#include "faults/grants.hpp"
#include "faults/tally.hpp"
#include "faults/worker/asynchronous.hpp"

namespace {

using namespace faults_test;
using namespace std::chrono_literals;
using Block = registry::Entry<std::uint64_t, std::uint64_t, registry::NoMetadata>;
using BlockingClient =
    registry::RegistryClient<std::uint64_t, std::uint64_t, registry::NoMetadata, registry::ZmqTransport>;
using Keys = std::vector<std::uint64_t>;

/// An answer that is none, or that belongs to another question, is not among the failures that may be.
bool may_be(const registry::RegistryError& error) {
  return error.as<registry::Timeout>() || error.as<registry::HubError>() || error.as<registry::Disconnected>() ||
         error.as<registry::TransportError>();
}

template <class Action>
auto again(Action action) {
  while (true) {
    try {
      return action();
    } catch (const registry::RegistryError& error) {
      if (!may_be(error)) throw;
    }
  }
}

constexpr auto build_client = [](auto transport) {
  return registry::client<std::uint64_t, std::uint64_t>(std::move(transport))
      .request_timeout(300ms)
      .register_timeout(1s)
      .resend_interval(100ms)
      .close_timeout(0ms)
      .batch_timeout(1ms)
      .log([](registry::LogLevel, std::string_view) {})  // it would speak of every fault
      .build();
};

template <class Client>
class Worker {
 public:
  Worker(Client& client, const std::string& grants, std::uint16_t number, std::chrono::milliseconds ttl)
      : number_(number), ttl_(ttl), grants_(grants), client_(client), random_(number) {
    if (number == 0 || number >= 1U << (16U - claim_bits)) throw std::out_of_range("the number of a worker");
  }

  void work() {
    try {
      tend();
      switch (random_() % 8) {
        case 0:
        case 1: match(); break;
        case 2:
        case 3:
        case 4: ask(); break;
        default: claim();
      }
      ++tally_.calls;
    } catch (const registry::RegistryError& error) {
      if (may_be(error)) {
        ++tally_.failures;
      } else if (error.as<registry::LeaseConflict>()) {
        ++tally_.refused;
      } else {
        std::cerr << "faults_worker: " << error.what() << '\n';
        ++tally_.wrong;
      }
    }
  }

  std::string carry_out(const std::string& line) {
    std::istringstream words(line);
    std::string command;
    words >> command;
    if (command == "report") return tally_.line();
    if (command == "hold") {
      std::uint64_t first = 0;
      std::size_t count = 0;
      words >> first >> count;
      Keys keys;
      for (std::uint64_t key = first; key < first + count; ++key) keys.push_back(key);
      while (held_.granted().size() != count) {
        held_ = again([&] { return client_.claim(keys); });
      }
      return std::to_string(count) + ' ' + std::to_string(held_.token());
    }
    if (command == "progress") {
      again([&] { return held_.progress(); });
      return std::to_string(held_.lost().size());
    }
    if (command == "register") {
      const auto result = again([&] { return held_.register_blocks(blocks_of(held_.granted())); });
      return std::to_string(std::ranges::count(result.statuses, registry::RegisterStatus::lease_conflict));
    }
    throw std::invalid_argument("unknown command: " + line);
  }

 private:
  static constexpr unsigned claim_bits = 11;
  static constexpr std::size_t most_kept = 4;

  /// A claim that is being worked on.
  struct Kept {
    typename Client::ClaimType claim;
    std::uint16_t holder;
    std::optional<std::uint64_t> hub;
  };

  static std::vector<Block> blocks_of(std::span<const std::uint64_t> keys) {
    std::vector<Block> blocks;
    for (const std::uint64_t key : keys) blocks.push_back({key, value_of(key), {}});
    return blocks;
  }

  /// The client is one, and each of its claims another.
  std::uint16_t client_holder() const { return static_cast<std::uint16_t>(number_ << claim_bits); }
  std::uint16_t next_claim_holder() {
    return static_cast<std::uint16_t>(client_holder() + 1 + claims_++ % ((1U << claim_bits) - 1));
  }

  /// Half of them are new, and half were asked for lately: what nobody stored is granted again when its lease is over,
  /// and not before. They are of a number that hardly any other question has, so that another one's answer is wrong.
  Keys some_keys() {
    const std::uint64_t first = grants_.first_key();
    Keys keys;
    for (std::size_t rest = 1 + random_() % 60; rest > 0; --rest) {
      const std::uint64_t key = random_() % 2 == 0 ? first + random_() % 300 : first - random_() % 3'000;
      if (std::find(keys.begin(), keys.end(), key) == keys.end()) keys.push_back(key);
    }
    return keys;
  }

  void ask() {
    const auto keys = some_keys();
    const auto sent = Clock::now();
    const auto answer = client_.can_offload(keys);
    const auto arrival = Clock::now();
    const auto until = sent + ttl_;
    const Keys& granted = answer.can_offload;
    if (answer.statuses.size() != keys.size()) ++tally_.wrong;
    if (granted.empty() || arrival >= until) return;
    for (const std::uint64_t key : granted) {
      if (!grants_.take(key, client_holder(), arrival, until)) ++tally_.clashes;
    }
    tally_.granted += granted.size();
    const auto end = random_() % 6;
    if (end == 5 || Clock::now() >= until) return;  // the leases run out
    leave(granted, client_holder());
    if (end == 0) {
      client_.release(granted);
    } else if (end < 4) {
      client_.register_blocks(blocks_of(granted));
      grants_.stored(granted.size());
      tally_.stored += granted.size();
    } else {
      const auto hub = grants_.hub();
      note(client_.register_acknowledged(blocks_of(granted)), granted, hub);
    }
  }

  void claim() {
    const auto keys = some_keys();
    const auto hub = grants_.hub();
    Kept kept{client_.claim(keys, std::chrono::milliseconds{random_() % 100}), next_claim_holder(), hub};
    const auto& claim = kept.claim;
    if (claim.granted().size() + claim.already_stored().size() + claim.leased().size() != keys.size()) ++tally_.wrong;
    if (claim.granted().empty()) return;
    tally_.claimed += hold(kept);
    const auto until = claim.deadline();
    for (const std::uint64_t key : claim.held()) {
      if (!grants_.raise(key, claim.token(), until)) ++tally_.clashes;
    }
    if (kept_.size() < most_kept) {
      kept_.push_back(std::move(kept));
    } else {
      finish(std::move(kept));
    }
  }

  /// Notes until when the claim has what it has; how many keys that are. Its client may have had them back of another
  /// hub meanwhile.
  std::size_t hold(const Kept& kept) {
    // In this order: what is lost afterwards is not held until then.
    const auto until = kept.claim.deadline();
    const Keys held = kept.claim.held();
    const auto now = Clock::now();
    if (now >= until) return 0;
    for (const std::uint64_t key : held) {
      if (!grants_.take(key, kept.holder, now, until)) ++tally_.clashes;
    }
    return held.size();
  }

  /// Goes on with the claims that it keeps, and is done with some.
  void tend() {
    for (std::size_t i = 0; i < kept_.size();) {
      if (random_() % 40 == 0) {
        Kept done = std::move(kept_[i]);
        kept_.erase(kept_.begin() + static_cast<std::ptrdiff_t>(i));
        finish(std::move(done));
        continue;
      }
      Kept& kept = kept_[i++];
      const auto deadline = kept.claim.deadline();
      const std::size_t lost = kept.claim.lost().size();
      const auto hub = grants_.hub();
      kept.claim.progress();
      tally_.lost += kept.claim.lost().size() - lost;
      if (kept.claim.deadline() == deadline) continue;
      ++tally_.renewals;
      if (hold(kept) == 0 || !hub || hub != grants_.hub()) continue;
      if (kept.hub != hub) ++tally_.had_back;
      kept.hub = hub;
    }
  }

  /// Registers some of what the claim has, or nothing; the rest is given back as it ends.
  void finish(Kept kept) {
    const auto until = kept.claim.deadline();
    Keys held = kept.claim.held();
    leave(kept.claim.granted(), kept.holder);
    if (held.empty() || Clock::now() >= until || random_() % 4 == 0) return;
    held.resize(1 + random_() % held.size());
    const auto hub = grants_.hub();
    note(kept.claim.register_blocks(blocks_of(held)), held, hub);
  }

  void leave(const Keys& keys, std::uint16_t holder) {
    for (const std::uint64_t key : keys) grants_.leave(key, holder);
  }

  /// What the hub has made of these; `hub` was running when they were sent.
  template <class Result>
  void note(const Result& result, const Keys& keys, std::optional<std::uint64_t> hub) {
    const bool is_same_hub = hub && grants_.hub() == hub;
    for (std::size_t i = 0; i < keys.size(); ++i) {
      if (result.statuses[i] == registry::RegisterStatus::stored && is_same_hub) grants_.confirm(keys[i], *hub);
    }
    const std::size_t stored = keys.size() - result.refused.size();
    grants_.stored(stored);
    tally_.confirmed += stored;
    tally_.refused += result.refused.size();
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

  std::uint16_t number_;
  std::chrono::milliseconds ttl_;
  Grants grants_;
  Client& client_;
  std::mt19937 random_;
  std::uint64_t claims_ = 0;
  std::vector<Kept> kept_;
  typename Client::ClaimType held_;  // by command
  Tally tally_;
};

bool has_input() {
  pollfd input{STDIN_FILENO, POLLIN, 0};
  return poll(&input, 1, 0) > 0;
}

template <class Client>
void work(Client& client, char** argv) {
  Worker<Client> worker(
      client, argv[3], static_cast<std::uint16_t>(std::stoul(argv[4])), std::chrono::milliseconds{std::stol(argv[5])});
  for (std::string command;;) {
    if (!has_input()) {
      worker.work();
      continue;
    }
    if (!std::getline(std::cin, command)) return;
    std::cout << worker.carry_out(command) << std::endl;
  }
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
    if (std::stoul(argv[4]) % 2 == 0) {
      AsynchronousClient client(hub, build_client);
      work(client, argv);
    } else {
      BlockingClient client = build_client(registry::ZmqTransport::connect(hub));
      work(client, argv);
    }
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "faults_worker: " << error.what() << '\n';
    return 1;
  }
}
