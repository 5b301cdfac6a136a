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
  // So many keys of work are about one access to memory; more of them at once no processor keeps.
  constexpr std::size_t record_ahead = 12;
  constexpr std::size_t index_ahead = 2 * record_ahead;
  const std::size_t count = hashes.size();
  const std::uint64_t erasures = table.erasures();
  std::array<typename Table::Number, 16> hints;
  const auto fetch_record = [&](std::size_t i) { hints[i % hints.size()] = table.prefetch_record(hashes[i]); };
  for (std::size_t i = 0; i < std::min(index_ahead, count); ++i) table.prefetch_index(hashes[i]);
  for (std::size_t i = 0; i < std::min(record_ahead, count); ++i) fetch_record(i);
  for (std::size_t i = 0; i < count; ++i) {
    if (i + index_ahead < count) table.prefetch_index(hashes[i + index_ahead]);
    const auto hint = hints[i % hints.size()];
    if (i + record_ahead < count) fetch_record(i + record_ahead);
    action(i, table.erasures() == erasures ? hint : Table::none);
  }
}

}  // namespace registry::detail
