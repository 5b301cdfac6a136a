// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

#include "concurrency/shared_array.hpp"

namespace concurrency_test {

/// For every key its holder and how often it was granted, as those who were granted it say: a file in memory, shared by
/// threads and processes. A holder takes a key when it has the answer that grants it and leaves it before it gives the
/// lease back, so whoever finds a key taken has met a second live holder.
class Ledger {
 public:
  Ledger(const std::filesystem::path& file, std::size_t keys) : array_(file, keys), slots_(array_.slots()) {}

  std::size_t keys() const { return slots_.size(); }

  /// False if somebody else has it.
  bool take(std::uint64_t key, std::uint32_t who) {
    Slot& slot = slots_[key];
    slot.grants.fetch_add(1);
    std::uint32_t nobody = 0;
    return slot.holder.compare_exchange_strong(nobody, who);
  }

  void leave(std::uint64_t key) { slots_[key].holder.store(0); }

  /// Keys that were granted so many times so far.
  std::size_t granted(std::uint32_t times) const {
    std::size_t count = 0;
    for (const Slot& slot : slots_) count += slot.grants.load() == times ? 1U : 0U;
    return count;
  }

  std::size_t taken() const {
    std::size_t count = 0;
    for (const Slot& slot : slots_) count += slot.holder.load() != 0 ? 1U : 0U;
    return count;
  }

 private:
  struct Slot {
    std::atomic<std::uint32_t> holder;
    std::atomic<std::uint32_t> grants;
  };
  static_assert(std::atomic<std::uint32_t>::is_always_lock_free, "or processes could not share it");

  SharedArray<Slot> array_;
  std::span<Slot> slots_;
};

}  // namespace concurrency_test
