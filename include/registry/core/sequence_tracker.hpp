// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include <registry/detail/flat_map.hpp>
#include <registry/detail/linked_slab.hpp>
#include <registry/envelope.hpp>

namespace registry {

/// Up to which sequence number the registrations of each client have been applied. Bounded: the client silent for
/// longest is forgotten first. One thread.
class SequenceTracker {
 public:
  /// Remembers at most `max_clients`, and at least one.
  explicit SequenceTracker(std::size_t max_clients) : max_clients_(std::max<std::size_t>(max_clients, 1)) {}

  /// Notes that `sequence` is being applied; false if that or a later one already was, so that it must not be.
  bool advance(const ClientId& client, std::uint64_t sequence) {
    if (const auto it = by_client_.find(client); it != by_client_.end()) {
      clients_.move_to_back(order_, it->second);
      std::uint64_t& applied = clients_[it->second].applied;
      if (sequence <= applied) return false;
      applied = sequence;
      return true;
    }
    if (clients_.size() >= max_clients_) by_client_.erase(clients_.erase(order_, order_.front).client);
    by_client_.emplace(client, clients_.push_back(order_, {client, sequence}));
    return true;
  }

  bool has_applied(const ClientId& client, std::uint64_t sequence) const {
    const auto it = by_client_.find(client);
    return it != by_client_.end() && clients_[it->second].applied >= sequence;
  }

 private:
  struct Client {
    ClientId client;
    std::uint64_t applied = 0;
  };
  using Clients = detail::LinkedSlab<Client>;

  std::size_t max_clients_;
  Clients clients_;
  Clients::List order_;
  detail::FlatMap<ClientId, Clients::Index> by_client_;
};

}  // namespace registry
