// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <concepts>
#include <cstdint>

#include <registry/detail/block_table.hpp>
#include <registry/holder.hpp>

namespace registry::detail {

/// Who may store a key, until when, and by which of its requests.
struct Lease {
  Holder holder;
  bool shared = false;  // granted by more than one request
  std::uint32_t account = 0;
  std::uint64_t request = 0;
  std::chrono::steady_clock::time_point deadline;
};

/// A storage or eviction policy that keeps its entries in a table which has room for the hub's leases, so that one
/// look-up answers for both. Any other works as well, at the price of a second look-up for what is not stored.
template <class S>
concept SharesTable = requires(S& storage, const S& view) {
  typename S::Table;
  requires std::same_as<typename S::Table::LeaseType, Lease>;
  { storage.table() } -> std::same_as<typename S::Table&>;
};

template <class S>
struct TableIn {
  using type = void;
};
template <SharesTable S>
struct TableIn<S> {
  using type = typename S::Table;
};

/// The table that a storage shares, or void.
template <class S>
using TableOf = typename TableIn<S>::type;

}  // namespace registry::detail
