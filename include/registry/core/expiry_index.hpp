// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>

#include <registry/detail/key_index.hpp>
#include <registry/detail/linked_slab.hpp>
#include <registry/detail/prefetch.hpp>
#include <registry/key.hpp>

namespace registry {

/// When the entries with a ttl end. Ends are whole seconds, so keys stand in one list per second: setting, erasing and
/// popping cost O(log of the number of distinct seconds), and nothing scans or is moved to grow. As long as nothing is
/// over, that is known without a look-up. If `set` throws for want of memory, nothing has changed. One thread.
template <Key K>
class ExpiryIndex {
 public:
  using Time = std::chrono::sys_seconds;

  /// Sets or, with nothing, clears the end of a key.
  void set(const K& key, std::optional<Time> end) { settle(key, prepare(key, end)); }

  /// An end that a key may be given, with all the memory that this takes; until then it must be asked nothing.
  class Prepared {
    friend ExpiryIndex;
    std::uint32_t index = detail::KeyIndex::none;
  };

  Prepared prepare(const K& key, std::optional<Time> end) {
    Prepared prepared;
    if (!end) return prepared;
    const auto second = by_second_.try_emplace(*end).first;
    try {
      prepared.index = ends_.push_back(second->second, {key, *end});
      by_key_.insert(hash_(key), prepared.index, Records{*this});
    } catch (...) {
      if (prepared.index != Ends::none) ends_.erase(second->second, prepared.index);
      if (second->second.empty()) by_second_.erase(second);
      throw;
    }
    return prepared;
  }

  /// Gives the key the end that was prepared for it, instead of the one that it has.
  void settle(const K& key, Prepared prepared) noexcept {
    if (empty()) return;
    const auto hash = hash_(key);
    const Index old =
        by_key_.find(hash, [&](Index candidate) { return candidate != prepared.index && ends_[candidate].key == key; });
    if (old != Ends::none) erase(old, hash);
  }

  /// Lets go of what was prepared and is not wanted.
  void discard(Prepared prepared) noexcept {
    if (prepared.index != Ends::none) erase(prepared.index, hash_(ends_[prepared.index].key));
  }

  void erase(const K& key) {
    if (empty()) return;
    const auto hash = hash_(key);
    if (const Index index = find(key, hash); index != Ends::none) erase(index, hash);
  }

  /// Whether the key has an end that has come: from that second on it is as good as absent.
  template <class WallTime>
  bool is_over(const K& key, WallTime now) const {
    if (!is_any_over(now)) return false;
    const Index index = find(key, hash_(key));
    return index != Ends::none && now >= ends_[index].at;
  }

  /// A key whose end has come, the earliest first; it stays in the index until erased.
  template <class WallTime>
  std::optional<K> first_over(WallTime now) const {
    if (!is_any_over(now)) return std::nullopt;
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

  /// What the index of keys asks for when it grows.
  struct Records {
    const ExpiryIndex& all;

    std::uint64_t hash_at(Index index) const noexcept { return all.hash_(all.ends_[index].key); }
    [[gnu::always_inline]] void prefetch(Index index) const noexcept { detail::prefetch_line(&all.ends_[index]); }
  };

  void erase(Index index, std::uint64_t hash) noexcept {
    const auto second = by_second_.find(ends_[index].at);
    by_key_.erase(hash, index);
    ends_.erase(second->second, index);
    if (second->second.empty()) by_second_.erase(second);
  }

  Index find(const K& key, std::uint64_t hash) const {
    return by_key_.find(hash, [&](Index candidate) { return ends_[candidate].key == key; });
  }

  template <class WallTime>
  bool is_any_over(WallTime now) const {
    return !by_second_.empty() && now >= by_second_.begin()->first;
  }

  KeyHash<K> hash_;
  Ends ends_;
  std::map<Time, typename Ends::List> by_second_;
  detail::KeyIndex by_key_;
};

}  // namespace registry
