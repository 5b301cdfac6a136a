// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include <registry/detail/flat_map.hpp>
#include <registry/key.hpp>

namespace registry {

/// Keeps a key from being granted while the object it named is being deleted: as long as a copy of it lives, the key is
/// `Leased` to everyone, unless it is stored. May be copied, moved and dropped on any thread, also after the hub is
/// gone.
using EvictionHandle = std::shared_ptr<const void>;

/// The keys under an EvictionHandle. All calls on the hub's thread; only the handles end elsewhere.
template <Key K>
class KeyHolds {
 public:
  EvictionHandle hold(const K& key) {
    {
      const std::lock_guard lock(ended_->mutex);
      std::vector<K>& room = ended_->keys;
      if (room.capacity() <= outstanding_) room.reserve(2 * outstanding_ + 1);
    }
    ++held_[key];
    ++outstanding_;
    try {
      return std::make_shared<Handle>(ended_, key);
    } catch (...) {
      let_go(key);
      throw;
    }
  }

  /// Whether there may be a key that is held.
  bool any() const noexcept { return outstanding_ > 0; }

  bool is_held(const K& key) {
    if (!any()) return false;
    collect();
    return held_.contains(key);
  }

  std::size_t size() {
    collect();
    return held_.size();
  }

 private:
  struct Ended {
    std::mutex mutex;
    std::vector<K> keys;  // room for every outstanding handle is reserved, so that ending one cannot fail
    std::atomic<bool> any = false;
  };

  struct Handle {
    Handle(std::shared_ptr<Ended> where, const K& what) : ended(std::move(where)), key(what) {}
    Handle(const Handle&) = delete;
    Handle& operator=(const Handle&) = delete;
    ~Handle() {
      const std::lock_guard lock(ended->mutex);
      ended->keys.push_back(key);
      ended->any.store(true, std::memory_order_release);
    }
    std::shared_ptr<Ended> ended;
    K key;
  };

  void collect() {
    if (!ended_->any.load(std::memory_order_acquire)) return;
    const std::lock_guard lock(ended_->mutex);
    for (const K& key : ended_->keys) let_go(key);
    ended_->keys.clear();
    ended_->any.store(false, std::memory_order_release);
  }

  void let_go(const K& key) {
    const auto it = held_.find(key);
    if (--it->second == 0) held_.erase(it);
    --outstanding_;
  }

  std::shared_ptr<Ended> ended_ = std::make_shared<Ended>();
  detail::FlatMap<K, std::uint32_t> held_;
  std::size_t outstanding_ = 0;
};

}  // namespace registry
