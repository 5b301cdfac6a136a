// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace registry::detail {

/// Calls `action(i, hint)` for every hash in turn, while what the table will read for the ones to come is being
/// fetched: in a table larger than the caches a batch then waits for memory about once, not twice per key. The hint is
/// for the table's `find`.
template <class Table, class Action>
void look_ahead(const Table& table, std::span<const std::uint64_t> hashes, Action action) {
  const std::size_t count = hashes.size();
  // So many keys of work are about one access to memory; more of them at once no processor keeps.
  const std::size_t one_access = std::min<std::size_t>(14, count);
  const std::uint64_t erasures = table.erasures();
  std::array<typename Table::Home, 16> homes;
  std::array<typename Table::Number, 16> hints;
  for (std::size_t step = 0; step < count + 2 * one_access; ++step) {
    // Before a stage has come to the first key, its number wraps round and is too large.
    if (const std::size_t i = step; i < count) homes[i % homes.size()] = table.prefetch_index(hashes[i]);
    if (const std::size_t i = step - one_access; i < count) {
      hints[i % hints.size()] = table.prefetch_record(homes[i % homes.size()], hashes[i]);
    }
    if (const std::size_t i = step - one_access * 3 / 2; i < count && hints[i % hints.size()] == Table::unsure) {
      hints[i % hints.size()] = table.prefetch_farther_record(hashes[i]);
    }
    if (const std::size_t i = step - 2 * one_access; i < count) {
      action(i, table.erasures() == erasures ? hints[i % hints.size()] : Table::none);
    }
  }
}

}  // namespace registry::detail
