// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <random>
#include <span>
#include <utility>
#include <vector>

#include <registry/builder.hpp>
#include <registry/transport/zmq.hpp>
#include <registry/transport/zmq_config.hpp>

#include "concurrency/ledger.hpp"

namespace concurrency_test {

using Block = std::uint64_t;

constexpr std::size_t key_count = 100'000;
constexpr std::size_t keys_per_query = 1'000;

/// What the answers to one round of questions said, and how often a key granted was in somebody else's hands.
struct Tally {
  std::uint64_t granted = 0;
  std::uint64_t stored = 0;
  std::uint64_t leased = 0;
  std::uint64_t clashes = 0;

  Tally& operator+=(const Tally& other) {
    granted += other.granted;
    stored += other.stored;
    leased += other.leased;
    clashes += other.clashes;
    return *this;
  }
  friend bool operator==(const Tally&, const Tally&) = default;
};

/// What `askers` are told together if each key is granted to one of them.
constexpr Tally each_key_once(std::uint64_t askers) { return {key_count, 0, (askers - 1) * key_count, 0}; }

/// One client among those that ask for the same keys.
class Claimant {
 public:
  Claimant(std::uint32_t number, registry::ZmqTransportConfig hub, Ledger& ledger)
      : number_(number),
        ledger_(ledger),
        // A sanitizer on a busy machine makes a query wait long for those of the others.
        client_(registry::client<Block, Block>(registry::ZmqTransport::connect(std::move(hub)))
                    .request_timeout(std::chrono::seconds{60})
                    .build()),
        order_(ledger.keys()),
        random_(number) {
    std::iota(order_.begin(), order_.end(), Block{0});
  }

  /// Asks for every key once: half of the claimants side by side from the first to the last, each of the others in an
  /// order of its own.
  Tally ask_for_all() {
    if (number_ % 2 == 0) std::shuffle(order_.begin(), order_.end(), random_);
    Tally tally;
    for (std::span<const Block> rest = order_; !rest.empty();) {
      const auto batch = rest.first(std::min(keys_per_query, rest.size()));
      tally += ask(batch);
      rest = rest.subspan(batch.size());
    }
    return tally;
  }

  Tally ask(std::span<const Block> keys) {
    const auto answer = client_.can_offload(keys);
    Tally tally{answer.can_offload.size(), answer.already_stored.size(), answer.leased.size(), 0};
    for (const Block key : answer.can_offload) {
      if (!ledger_.take(key, number_)) ++tally.clashes;
    }
    held_.insert(held_.end(), answer.can_offload.begin(), answer.can_offload.end());
    return tally;
  }

  /// Leaves everything to others without telling the hub: the leases are about to end by themselves.
  void leave() {
    for (const Block key : std::exchange(held_, {})) ledger_.leave(key);
  }

  /// Gives everything back; how many leases the hub says these were.
  std::uint64_t release() {
    const std::vector<Block> keys = held_;
    leave();
    std::uint64_t released = 0;
    for (std::span<const Block> rest = keys; !rest.empty();) {
      const auto batch = rest.first(std::min(keys_per_query, rest.size()));
      released += client_.release(batch);
      rest = rest.subspan(batch.size());
    }
    return released;
  }

  /// Stores everything that it holds and answers how much that was. It stays in the ledger: whoever is granted a key
  /// that is being stored has met its holder too.
  std::uint64_t store() {
    std::vector<registry::Entry<Block, Block, registry::NoMetadata>> entries;
    for (const Block key : held_) entries.push_back({key, number_, {}});
    client_.register_blocks(entries);
    client_.flush();
    return entries.size();
  }

 private:
  using Client = registry::RegistryClient<Block, Block, registry::NoMetadata, registry::ZmqTransport>;

  std::uint32_t number_;  // from 1: 0 is nobody
  Ledger& ledger_;
  Client client_;
  std::vector<Block> order_;
  std::mt19937 random_;
  std::vector<Block> held_;
};

}  // namespace concurrency_test
