// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <utility>

#include <registry/core/instant.hpp>
#include <registry/detail/flat_map.hpp>
#include <registry/key.hpp>

namespace registry {

/// A set of keys, bounded in number and in age. It has two generations: a key is added to the young one, and the old
/// one is dropped whole when the young one is half the time or half the number. So what it knows is at most `ttl` old,
/// and it forgets no sooner than after ttl / 2 unless it is full. O(1); not thread-safe.
template <Key K>
class KnownKeys {
 public:
  KnownKeys(std::size_t capacity, std::chrono::nanoseconds ttl)
      : half_capacity_(capacity / 2 + capacity % 2), half_ttl_(ttl / 2) {}

  void add(const K& key, SteadyTime now) {
    if (half_capacity_ == 0) return;
    age(now);
    if (young_.size() >= half_capacity_ && !young_.contains(key)) turn(now);
    young_.insert(key);
  }

  bool contains(const K& key, SteadyTime now) {
    if (empty()) return false;
    age(now);
    return young_.contains(key) || old_.contains(key);
  }

  void forget(const K& key) {
    young_.erase(key);
    old_.erase(key);
  }

  void clear() {
    young_.clear();
    old_.clear();
  }

  bool empty() const noexcept { return young_.empty() && old_.empty(); }

 private:
  void age(SteadyTime now) {
    const auto elapsed = now - since_;
    if (elapsed < half_ttl_) return;
    if (elapsed < 2 * half_ttl_) {
      // Not from now: what turns old here may be older than ttl / 2 already.
      turn(since_ + half_ttl_);
    } else {
      young_.clear();
      old_.clear();
      since_ = now;
    }
  }

  void turn(SteadyTime since) {
    std::swap(young_, old_);
    young_.clear();
    since_ = since;
  }

  std::size_t half_capacity_;
  std::chrono::nanoseconds half_ttl_;
  SteadyTime since_{};
  detail::FlatSet<K> young_;
  detail::FlatSet<K> old_;
};

}  // namespace registry
