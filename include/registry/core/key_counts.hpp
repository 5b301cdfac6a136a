// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

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

/// Has keys counted for as long as it lives.
template <Key K>
class CountedKeys {
 public:
  CountedKeys(std::shared_ptr<KeyCounts<K>> counts, std::span<const K> keys) : CountedKeys(std::move(counts)) {
    keys_.reserve(keys.size());
    for (const K& key : keys) {
      counts_->add(key);
      keys_.push_back(key);
    }
  }
  CountedKeys(const CountedKeys&) = delete;
  CountedKeys& operator=(const CountedKeys&) = delete;
  ~CountedKeys() {
    for (const K& key : keys_) counts_->drop(key);
  }

 private:
  explicit CountedKeys(std::shared_ptr<KeyCounts<K>> counts) noexcept : counts_(std::move(counts)) {}

  std::shared_ptr<KeyCounts<K>> counts_;
  std::vector<K> keys_;
};

}  // namespace registry
