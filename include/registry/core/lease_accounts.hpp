// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <utility>

#include <registry/detail/flat_map.hpp>
#include <registry/detail/linked_slab.hpp>
#include <registry/envelope.hpp>

namespace registry {

/// How many leases each client holds, so that none has more than its share: only if there is a bound, or it costs
/// nothing. Clients that hold nothing take no room. One thread.
class LeaseAccounts {
 public:
  using Account = std::uint32_t;

  explicit LeaseAccounts(std::optional<std::size_t> most) : most_(most) {}

  /// The account of this client; good until the next call.
  Account of(const ClientId& client) {
    if (!most_) return nobody;
    close_if_empty(std::exchange(last_, nobody));
    const auto [place, is_new] = by_client_.try_emplace(client, nobody);
    if (is_new) {
      try {
        place->second = clients_.push_back(all_, {client, 0});
      } catch (...) {
        by_client_.erase(place);
        throw;
      }
    }
    return last_ = place->second;
  }

  bool is_full(Account account) const noexcept { return account != nobody && clients_[account].leases >= *most_; }

  void add(Account account) noexcept {
    if (account != nobody) ++clients_[account].leases;
  }

  void drop(Account account) noexcept {
    if (account == nobody) return;
    --clients_[account].leases;
    if (account != last_) close_if_empty(account);
  }

 private:
  struct Client {
    ClientId client;
    std::size_t leases = 0;
  };
  using Clients = detail::LinkedSlab<Client>;
  static constexpr Account nobody = Clients::none;

  void close_if_empty(Account account) noexcept {
    if (account == nobody || clients_[account].leases > 0) return;
    by_client_.erase(clients_[account].client);
    clients_.erase(all_, account);
  }

  std::optional<std::size_t> most_;
  Clients clients_;
  Clients::List all_;
  detail::FlatMap<ClientId, Account> by_client_;
  Account last_ = nobody;  // may be in use although it holds nothing
};

}  // namespace registry
