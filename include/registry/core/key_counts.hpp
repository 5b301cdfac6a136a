// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include <registry/detail/flat_map.hpp>
#include <registry/key.hpp>

namespace registry {

/// Keys, each as often as it was added. Not thread-safe.
template <Key K>
class KeyCounts {
 public:
  void add(const K& key) { ++counts_[key]; }

  /// Once less; it must be there.
  void drop(const K& key) {
    const auto it = counts_.find(key);
    if (--it->second == 0) counts_.erase(it);
  }

  bool empty() const noexcept { return counts_.empty(); }
  bool contains(const K& key) const { return !counts_.empty() && counts_.contains(key); }

 private:
  detail::FlatMap<K, std::uint32_t> counts_;
};

}  // namespace registry
