// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>

namespace registry::detail {

/// A number that one thread changes and any thread reads: no read-modify-write, so it costs what a plain one does.
class Counter {
 public:
  Counter() = default;
  Counter(const Counter& other) noexcept : value_(other.load()) {}
  Counter& operator=(const Counter& other) noexcept {
    store(other.load());
    return *this;
  }

  void add(std::uint64_t n = 1) noexcept { store(load() + n); }
  void store(std::uint64_t value) noexcept { value_.store(value, std::memory_order_relaxed); }
  std::uint64_t load() const noexcept { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_ = 0;
};

}  // namespace registry::detail
