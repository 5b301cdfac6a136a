// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <concepts>
#include <cstdint>

#include <registry/detail/block_table.hpp>

namespace registry::detail {

/// A key's part in a grant, which says whose it is, once for all keys that one request was granted at a time. With an
/// 8-byte key and its links it is half a cache line: there may be millions, and claims of leased keys look them up.
class Lease {
 public:
  Lease() = default;
  /// `mark`: of the holder, that of others differs from it but for chance: whoever is refused a key, which may be most
  /// of those that ask, need not look the grant up. `is_shared`: granted by more than one request. Grants have numbers
  /// below 2^31.
  Lease(std::chrono::steady_clock::time_point end, std::uint32_t mark, std::uint32_t grant, bool is_shared) noexcept
      : deadline(end), holder_mark(mark), packed_(grant | (is_shared ? shared_bit : 0)) {}

  std::uint32_t grant() const noexcept { return packed_ & ~shared_bit; }
  bool is_shared() const noexcept { return (packed_ & shared_bit) != 0; }

  std::chrono::steady_clock::time_point deadline{};
  std::uint32_t holder_mark = 0;

 private:
  static constexpr std::uint32_t shared_bit = 0x8000'0000;

  std::uint32_t packed_ = 0;
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
