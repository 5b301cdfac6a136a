// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <map>
#include <optional>

#include <registry/detail/flat_map.hpp>
#include <registry/detail/linked_slab.hpp>
#include <registry/key.hpp>

namespace registry {

/// When the entries with a ttl end. Ends are whole seconds, so keys stand in one list per second: setting, erasing and
/// popping cost O(log of the number of distinct seconds), and nothing scans. If `set` throws for want of memory, the
/// key has no end. One thread.
template <Key K>
class ExpiryIndex {
 public:
  using Time = std::chrono::sys_seconds;

  /// Sets or, with nothing, clears the end of a key.
  void set(const K& key, std::optional<Time> end) {
    erase(key);
    if (!end) return;
    const auto second = by_second_.try_emplace(*end).first;
    Index index = Ends::none;
    try {
      index = ends_.push_back(second->second, {key, *end});
      by_key_.emplace(key, index);
    } catch (...) {
      if (index != Ends::none) ends_.erase(second->second, index);
      if (second->second.empty()) by_second_.erase(second);
      throw;
    }
  }

  void erase(const K& key) {
    const auto it = by_key_.find(key);
    if (it == by_key_.end()) return;
    const auto second = by_second_.find(ends_[it->second].at);
    ends_.erase(second->second, it->second);
    if (second->second.empty()) by_second_.erase(second);
    by_key_.erase(it);
  }

  /// Whether the key has an end that has come: from that second on it is as good as absent.
  template <class WallTime>
  bool is_over(const K& key, WallTime now) const {
    const auto it = by_key_.find(key);
    return it != by_key_.end() && now >= ends_[it->second].at;
  }

  /// A key whose end has come, the earliest first; it stays in the index until erased.
  template <class WallTime>
  std::optional<K> first_over(WallTime now) const {
    if (by_second_.empty() || now < by_second_.begin()->first) return std::nullopt;
    return ends_[by_second_.begin()->second.front].key;
  }

  bool empty() const noexcept { return by_second_.empty(); }

 private:
  struct End {
    K key{};
    Time at;
  };
  using Ends = detail::LinkedSlab<End>;
  using Index = typename Ends::Index;

  Ends ends_;
  std::map<Time, typename Ends::List> by_second_;
  detail::FlatMap<K, Index> by_key_;
};

}  // namespace registry
