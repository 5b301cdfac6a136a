// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <emmintrin.h>

#include <registry/detail/chunked_array.hpp>

namespace bench {

/// The floor under any catalogue: a flat table of 8-byte keys and values in groups of 16, a byte of each hash beside
/// them, looked up for a whole batch with prefetch. It cannot grow or forget, and trusts its keys. In huge pages, as
/// the hub's table is. Whatever its size it is 55 % full: a look-up may have to go on past a full group, and hardly one
/// is.
class FloorTable {
 public:
  explicit FloorTable(std::size_t entries)
      : groups_(entries * 100 / 55 / width + 1), tags_(groups_), slots_(groups_ * width) {}

  void insert(std::uint64_t key, std::uint64_t value) {
    const std::uint64_t hash = hash_of(key);
    for (std::size_t group = home(hash);; group = next(group)) {
      const unsigned empty = matches(group, 0);
      if (empty == 0) continue;
      const auto i = static_cast<std::size_t>(std::countr_zero(empty));
      tags_[group].bytes[i] = tag_of(hash);
      slots_[group * width + i] = {key, value};
      return;
    }
  }

  /// How many of the keys are there; each in three steps, which wait for memory together with those of other keys, and
  /// without a branch that depends on what is found.
  std::size_t count(std::span<const std::uint64_t> keys) const {
    constexpr std::size_t most = 128;
    // Measured at 1, 10 and 50 million entries: a hundred keys at once, more than the processor fetches at a time, take
    // as long at the first size and a quarter longer at the others. From 12 to 24 ahead there is little between them;
    // at 8 and less, and at 48 and more, it is slower.
    constexpr std::size_t ahead = 16;
    static constexpr Slot none{};
    std::uint64_t hashes[most];
    const Slot* candidates[most];
    bool undecided[most];
    std::size_t found = 0;
    for (; !keys.empty(); keys = keys.subspan(std::min(most, keys.size()))) {
      const std::size_t n = std::min(most, keys.size());
      const auto fetch_tags = [&](std::size_t i) {
        hashes[i] = hash_of(keys[i]);
        __builtin_prefetch(&tags_[home(hashes[i])]);
      };
      const auto fetch_slot = [&](std::size_t i) {
        const std::size_t group = home(hashes[i]);
        const unsigned hits = matches(group, tag_of(hashes[i]));
        const Slot* first = &slots_[group * width + static_cast<std::size_t>(std::countr_zero(hits | 1U << width))];
        candidates[i] = hits != 0 ? first : &none;
        undecided[i] = (hits & (hits - 1)) != 0 || matches(group, 0) == 0;
        __builtin_prefetch(candidates[i]);
      };
      for (std::size_t i = 0; i < std::min(2 * ahead, n); ++i) fetch_tags(i);
      for (std::size_t i = 0; i < std::min(ahead, n); ++i) fetch_slot(i);
      for (std::size_t i = 0; i < n; ++i) {
        if (i + 2 * ahead < n) fetch_tags(i + 2 * ahead);
        if (i + ahead < n) fetch_slot(i + ahead);
        const bool is_there = candidates[i]->key == keys[i];
        found += is_there ? 1U : 0U;
        if (undecided[i] && !is_there && contains(keys[i], hashes[i])) ++found;
      }
    }
    return found;
  }

 private:
  static constexpr std::size_t width = 16;

  struct alignas(16) Tags {
    std::uint8_t bytes[width] = {};
  };
  struct Slot {
    std::uint64_t key = 0, value = 0;
  };

  static std::uint64_t hash_of(std::uint64_t key) noexcept {
    __extension__ using Product = unsigned __int128;
    const Product product = static_cast<Product>(key ^ 0x5851f42d4c957f2d) * 0x9e3779b97f4a7c15;
    return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64U);
  }

  std::size_t home(std::uint64_t hash) const noexcept { return (hash & 0xffff'ffffU) * groups_ >> 32U; }

  std::size_t next(std::size_t group) const noexcept { return group + 1 == groups_ ? 0 : group + 1; }

  static std::uint8_t tag_of(std::uint64_t hash) noexcept { return static_cast<std::uint8_t>(hash >> 57U | 0x80U); }

  unsigned matches(std::size_t group, std::uint8_t tag) const noexcept {
    const __m128i tags = _mm_load_si128(reinterpret_cast<const __m128i*>(tags_[group].bytes));
    return static_cast<unsigned>(_mm_movemask_epi8(_mm_cmpeq_epi8(tags, _mm_set1_epi8(static_cast<char>(tag)))));
  }

  bool contains(std::uint64_t key, std::uint64_t hash) const noexcept {
    for (std::size_t group = home(hash);; group = next(group)) {
      for (unsigned hits = matches(group, tag_of(hash)); hits != 0; hits &= hits - 1) {
        if (slots_[group * width + static_cast<std::size_t>(std::countr_zero(hits))].key == key) return true;
      }
      if (matches(group, 0) != 0) return false;
    }
  }

  std::size_t groups_;
  std::vector<Tags, registry::detail::HugePageAllocator<Tags>> tags_;
  std::vector<Slot, registry::detail::HugePageAllocator<Slot>> slots_;
};

}  // namespace bench
