// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <registry/detail/flat_map.hpp>
#include <registry/detail/linked_slab.hpp>
#include <registry/envelope.hpp>

namespace registry {

/// Up to which sequence number all registrations of each client have come. They may come in any order: after a
/// reconnect the old and the new connection are read in turns. Bounded: the client silent for longest is forgotten
/// first. One thread.
class SequenceTracker {
 public:
  /// Numbers kept per client that came before one below them.
  static constexpr std::size_t max_ahead = 64;

  /// Remembers at most `max_clients`, and at least one.
  explicit SequenceTracker(std::size_t max_clients) : max_clients_(std::max<std::size_t>(max_clients, 1)) {}

  /// Notes that this registration has been applied; one that was noted before, or passed over, changes nothing.
  void note(const ClientId& client, std::uint64_t sequence) {
    if (Client* known = find(client)) {
      note(*known, sequence);
    } else {
      // What a client that is not known sent before this went to a hub before this one, or is forgotten: nothing is
      // left to wait for.
      add(client, sequence);
    }
  }

  /// Nobody shall wait any more for this registration or for one before it: they may be lost.
  void pass_over(const ClientId& client, std::uint64_t sequence) {
    if (Client* known = find(client)) {
      known->mark = std::max(known->mark, sequence);
      pass_what_has_come(*known);
    } else {
      add(client, sequence);
    }
  }

  /// Whether this registration and all before it have been applied.
  bool has_applied(const ClientId& client, std::uint64_t sequence) const {
    const auto it = by_client_.find(client);
    return it != by_client_.end() && sequence <= clients_[it->second].mark;
  }

 private:
  struct Client {
    ClientId client;
    /// All up to this one have come.
    std::uint64_t mark = 0;
    /// Those that came although some between them and the mark have not; ascending.
    std::vector<std::uint64_t> ahead;
  };
  using Clients = detail::LinkedSlab<Client>;

  Client* find(const ClientId& client) {
    const auto it = by_client_.find(client);
    if (it == by_client_.end()) return nullptr;
    clients_.move_to_back(order_, it->second);
    return &clients_[it->second];
  }

  void add(const ClientId& client, std::uint64_t mark) {
    if (clients_.size() >= max_clients_) by_client_.erase(clients_.erase(order_, order_.front).client);
    by_client_.emplace(client, clients_.push_back(order_, {client, mark, {}}));
  }

  static void note(Client& client, std::uint64_t sequence) {
    if (sequence <= client.mark) return;
    if (sequence == client.mark + 1) {
      client.mark = sequence;
    } else {
      const auto place = std::ranges::lower_bound(client.ahead, sequence);
      if (place != client.ahead.end() && *place == sequence) return;
      client.ahead.insert(place, sequence);
      if (client.ahead.size() <= max_ahead) return;
      // After so many the missing ones are not late but lost, for instance with a connection.
      client.mark = client.ahead.front();
    }
    pass_what_has_come(client);
  }

  static void pass_what_has_come(Client& client) {
    auto end = client.ahead.begin();
    for (; end != client.ahead.end() && *end <= client.mark + 1; ++end) client.mark = *end;
    client.ahead.erase(client.ahead.begin(), end);
    // A gap is rare: its memory is not kept for the next one.
    if (client.ahead.empty()) std::vector<std::uint64_t>{}.swap(client.ahead);
  }

  std::size_t max_clients_;
  Clients clients_;
  Clients::List order_;
  detail::FlatMap<ClientId, Clients::Index> by_client_;
};

}  // namespace registry
