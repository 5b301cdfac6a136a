// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <utility>
#include <vector>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include <registry/detail/huge_pages.hpp>
#include <registry/detail/prefetch.hpp>

namespace registry::detail {

/// Where the keys are that a KeyIndex refers to: it asks for their hashes when it grows.
template <class R>
concept IndexedRecords = requires(const R& records, std::uint32_t reference) {
  { records.hash_at(reference) } -> std::same_as<std::uint64_t>;
  { records.prefetch(reference) };
};

/// A hash index: from the hash of a key to a number of 32 bits that says where the key is. It holds no keys itself.
///
/// Twelve numbers with a byte of hash each share a cache line, so a look-up costs one access to memory here, which
/// `prefetch` can start ahead, and one to the record. A group that is full counts what had to go past it to the next
/// (F14's overflow counts): erasing leaves no tombstones, and a look-up ends where nothing went past.
///
/// It grows by splitting one shard of 80 KiB at a time (extendible hashing): no insert waits for all to be moved, and
/// there are never two copies. Shards split at different fill levels, so that they do not all split at the same size.
///
/// Numbers may be anything but `none` and `unsure`. One thread. Hashes must be avalanching and seeded with a secret.
class KeyIndex {
  struct alignas(64) Group;

 public:
  using Hash = std::uint64_t;
  using Number = std::uint32_t;
  static constexpr Number none = 0xffff'ffff;
  static constexpr Number unsure = none - 1;

  /// Where a look-up begins.
  class Home {
   public:
    Home() = default;

   private:
    friend KeyIndex;
    explicit Home(const Group* group) noexcept : group_(group) {}
    const Group* group_ = nullptr;
  };

  KeyIndex() = default;
  KeyIndex(KeyIndex&& other) noexcept { swap(other); }
  KeyIndex& operator=(KeyIndex&& other) noexcept {
    KeyIndex moved(std::move(other));
    swap(moved);
    return *this;
  }
  ~KeyIndex() = default;

  std::size_t size() const noexcept { return size_; }

  /// Has the memory that it grows into up to this size, and has touched it, but for the first shard's.
  void reserve(std::size_t numbers) {
    std::size_t shards = chunks_.empty() ? 1 : 0;
    for (const Groups& chunk : chunks_) shards += chunk.capacity() / shard_groups;
    for (const Groups& chunk : spare_) shards += chunk.capacity() / shard_groups;
    for (; shards < shards_for(numbers); shards += spare_.back().capacity() / shard_groups) {
      spare_.push_back(make_chunk(chunk_groups));
      touch_pages(spare_.back().data(), spare_.back().capacity() * sizeof(Group));
    }
  }

  /// Starts fetching what `find` will read first, and says where that is: for `candidate`, as long as the index lives.
  [[gnu::always_inline]] Home prefetch(Hash hash) const noexcept {
    static constexpr Group nothing;
    const Group* const group = directory_.empty() ? &nothing : &groups_of(hash)[home(hash)];
    prefetch_line(group);
    return Home{group};
  }

  /// The first number that `find` will ask about, most likely the right one, or `none`; `unsure` if it would have to go
  /// on to another group, which `prefetch_farther` starts fetching. A guess, if the index has grown since.
  [[gnu::always_inline]] static Number candidate(Home home, Hash hash) noexcept {
    const Group& group = *home.group_;
    const std::uint32_t found = group.match(tag(hash));
    if (found != 0) return group.numbers[static_cast<std::size_t>(std::countr_zero(found))];
    return group.passed == 0 ? none : unsure;
  }

  [[gnu::always_inline]] void prefetch_farther(Hash hash) const noexcept { prefetch_line(&second_group(hash)); }

  /// As `candidate`, of the second group.
  [[gnu::always_inline]] Number farther_candidate(Hash hash) const noexcept {
    return candidate(Home{&second_group(hash)}, hash);
  }

  /// The number under this hash for which `is_it(number)`, or `none`.
  template <class Predicate>
  Number find(Hash hash, Predicate is_it) const {
    if (directory_.empty()) return none;
    const Group* groups = groups_of(hash);
    std::size_t at = home(hash);
    for (std::size_t visited = 0; visited < group_count_; ++visited, at = next(at)) {
      const Group& group = groups[at];
      for (std::uint32_t found = group.match(tag(hash)); found != 0; found &= found - 1) {
        const Number number = group.numbers[static_cast<std::size_t>(std::countr_zero(found))];
        if (is_it(number)) return number;
      }
      if (group.passed == 0) break;
    }
    return none;
  }

  /// Adds a number that is not in the index. Throws std::bad_alloc, and std::length_error if thousands of keys have
  /// hashes that begin alike, which a seeded hash rules out; nothing has changed then.
  template <IndexedRecords R>
  void insert(Hash hash, Number number, const R& records) {
    if (directory_.empty()) start();
    Shard* shard = &shard_of(hash);
    if (shard->is_full()) {
      make_room(hash, records);
      shard = &shard_of(hash);
    }
    place(groups_of(hash), hash, number);
    ++shard->size;
    ++size_;
  }

  /// Takes a number out that was inserted with this hash; false if it is not there.
  bool erase(Hash hash, Number number) noexcept {
    if (directory_.empty()) return false;
    Group* const groups = groups_of(hash);
    std::size_t at = home(hash);
    for (std::size_t visited = 1; !groups[at].erase(tag(hash), number); at = next(at), ++visited) {
      if (groups[at].passed == 0 || visited == group_count_) return false;
    }
    // Nothing that stays goes past on behalf of this one any more.
    for (std::size_t passed = home(hash); passed != at; passed = next(passed)) groups[passed].unpass();
    --shard_of(hash).size;
    --size_;
    return true;
  }

  /// Puts another number in the place of one that was inserted with this hash.
  void replace(Hash hash, Number old, Number by) noexcept {
    Group* const groups = groups_of(hash);
    for (std::size_t at = home(hash); !groups[at].replace(tag(hash), old, by); at = next(at)) {
    }
  }

 private:
  struct alignas(64) Group {
    static constexpr std::size_t capacity = 12;
    static constexpr std::uint8_t saturated = 255;

    std::array<std::uint8_t, capacity> tags{};  // 0: empty
    std::uint8_t passed = 0;                    // entries of this home or path that are farther on; sticks at 255
    std::array<std::uint8_t, 3> unused{};
    std::array<Number, capacity> numbers{};

    /// A bit per slot with this tag.
    std::uint32_t match(std::uint8_t wanted) const noexcept {
#if defined(__SSE2__)
      const __m128i all = _mm_load_si128(reinterpret_cast<const __m128i*>(tags.data()));
      const __m128i same = _mm_cmpeq_epi8(all, _mm_set1_epi8(static_cast<char>(wanted)));
      return static_cast<std::uint32_t>(_mm_movemask_epi8(same)) & ((1U << capacity) - 1);
#else
      std::uint32_t found = 0;
      for (std::size_t i = 0; i < capacity; ++i) found |= static_cast<std::uint32_t>(tags[i] == wanted) << i;
      return found;
#endif
    }

    bool add(std::uint8_t tag, Number number) noexcept {
      const std::uint32_t free = match(0);
      if (free == 0) {
        if (passed != saturated) ++passed;
        return false;
      }
      const auto slot = static_cast<std::size_t>(std::countr_zero(free));
      tags[slot] = tag;
      numbers[slot] = number;
      return true;
    }

    bool erase(std::uint8_t tag, Number number) noexcept {
      for (std::uint32_t found = match(tag); found != 0; found &= found - 1) {
        const auto slot = static_cast<std::size_t>(std::countr_zero(found));
        if (numbers[slot] != number) continue;
        tags[slot] = 0;
        return true;
      }
      return false;
    }

    bool replace(std::uint8_t tag, Number old, Number by) noexcept {
      for (std::uint32_t found = match(tag); found != 0; found &= found - 1) {
        const auto slot = static_cast<std::size_t>(std::countr_zero(found));
        if (numbers[slot] != old) continue;
        numbers[slot] = by;
        return true;
      }
      return false;
    }

    void unpass() noexcept {
      if (passed != saturated) --passed;
    }
  };
  static_assert(sizeof(Group) == 64);

  /// All keys whose hashes begin with the same `depth` bits.
  struct Shard {
    std::size_t size = 0;
    std::size_t limit = 0;
    unsigned depth = 0;

    bool is_full() const noexcept { return size >= limit; }
  };

  using Groups = std::vector<Group, HugePageAllocator<Group>>;

  /// 80 KiB. A split moves at most 12,900 numbers, in some 0.3 ms: about what an insert waits anyway that is the first
  /// to touch a huge page. Smaller ones would make the directory larger, which every look-up reads: with these it is 16
  /// KiB for 10 million keys, half of a processor's first cache. Of huge pages they leave little over: 25 stay just
  /// below one, as the second chunk must, and 51 take all but 0.4 % of two.
  static constexpr std::size_t shard_groups = 1280;
  /// Shards lie in chunks, which never move: the first one by itself, of which no more is touched than is needed; the
  /// next ones in less than a huge page, for a small index lives in caches and would only take more memory in one; the
  /// others as they fit into two, so that of those little is left over.
  static constexpr std::size_t page_groups = HugePageAllocator<Group>::page / sizeof(Group);
  static constexpr std::size_t second_chunk_groups = page_groups / shard_groups * shard_groups;
  static constexpr std::size_t chunk_groups = 2 * page_groups;
  static_assert(second_chunk_groups < page_groups);
  /// Of the directory beyond what even shards need: as many bits may hashes begin alike by chance.
  static constexpr unsigned spare_depth = 6;

  static std::uint8_t tag(Hash hash) noexcept {
    const auto byte = static_cast<std::uint8_t>(hash >> 32U);
    return static_cast<std::uint8_t>(byte + (byte == 0 ? 1 : 0));
  }
  /// The lower half of the hash, scaled to the number of groups.
  std::size_t home(Hash hash) const noexcept {
    return static_cast<std::size_t>((hash & 0xffff'ffffU) * group_count_ >> 32U);
  }
  std::size_t next(std::size_t at) const noexcept { return at + 1 == group_count_ ? 0 : at + 1; }

  /// The place in the directory: the first `depth()` bits of the hash, which may be none: in two shifts, for one by 64
  /// would be undefined.
  std::size_t slot_of(Hash hash) const noexcept { return static_cast<std::size_t>(hash >> 1U >> slot_shift_); }
  /// So many bits of hash the directory tells apart.
  unsigned depth() const noexcept { return 63 - slot_shift_; }
  const Group& second_group(Hash hash) const noexcept { return groups_of(hash)[next(home(hash))]; }
  Group* groups_of(Hash hash) const noexcept { return directory_[slot_of(hash)]; }
  Shard& shard_of(Hash hash) noexcept { return shards_[owners_[slot_of(hash)]]; }

  static constexpr std::size_t least_limit = shard_groups * Group::capacity * 62 / 100;
  static constexpr std::size_t most_limit = shard_groups * Group::capacity * 84 / 100;
  /// Between these two, different for each shard.
  static std::size_t limit_of(std::size_t shard) noexcept {
    const std::size_t scattered = shard * 0x9e37'79b9U % 4096;
    return least_limit + (most_limit - least_limit) * scattered / 4096;
  }

  /// As many shards as so many numbers need, or some more.
  static std::size_t shards_for(std::size_t numbers) noexcept {
    numbers += numbers / 32;  // hashes fill some shards more than others
    std::size_t shards = 1;
    while (numbers / shards > most_limit) shards *= 2;
    const std::size_t above = std::max(numbers / shards, least_limit) - least_limit;
    return shards + shards * above / (most_limit - least_limit);
  }

  /// Of the first shard, at each of its sizes. It rises with every one, also to the last: an insert that has enlarged
  /// the shard must not have to split it as well.
  static std::size_t small_limit(std::size_t groups) noexcept { return groups * Group::capacity * 5 / 6; }

  void place(Group* groups, Hash hash, Number number) noexcept {
    for (std::size_t at = home(hash); !groups[at].add(tag(hash), number); at = next(at)) {
    }
  }

  void start() {
    chunks_.reserve(1);
    directory_.reserve(1);
    owners_.reserve(1);
    shards_.reserve(1);
    Groups first = make_chunk(shard_groups);
    first.resize(1);
    directory_.push_back(first.data());
    chunks_.push_back(std::move(first));
    owners_.push_back(0);
    shards_.push_back({0, small_limit(1), 0});
  }

  /// Makes room in the shard of this hash, or throws.
  template <class R>
  [[gnu::noinline]] void make_room(Hash hash, const R& records) {
    while (shard_of(hash).is_full()) {
      if (group_count_ < shard_groups) {
        enlarge(records);
      } else if (!split(hash, records)) {
        // As full as it gets.
        if (shard_of(hash).size >= group_count_ * Group::capacity) throw std::length_error("too many keys of one hash");
        return;
      }
    }
  }

  /// Doubles the only shard there is as yet.
  template <class R>
  void enlarge(const R& records) {
    const std::vector<Known> known = contents(directory_.front(), records);
    group_count_ = std::min(group_count_ * 2, shard_groups);
    chunks_.front().clear();
    chunks_.front().resize(group_count_);
    shards_.front().limit = small_limit(group_count_);
    for (const Known& one : known) place(directory_.front(), one.hash, one.number);
  }

  /// Moves the half of a shard whose next bit of hash is 1 to a new one.
  template <class R>
  bool split(Hash hash, const R& records) {
    const std::size_t number = owners_[slot_of(hash)];
    if (shards_[number].depth == depth()) {
      if (depth() >= static_cast<unsigned>(std::bit_width(shards_.size())) + spare_depth) return false;
      double_directory();
    }
    Group* const groups = groups_of(hash);
    const std::vector<Known> known = contents(groups, records);
    if (shards_.size() == shards_.capacity()) shards_.reserve(2 * shards_.size());
    Group* const added = add_groups();

    Shard& old = shards_[number];
    const unsigned deeper = ++old.depth;
    shards_.push_back({0, limit_of(shards_.size()), deeper});
    Shard& half = shards_.back();
    const std::size_t span = std::size_t{1} << (depth() - deeper);
    const std::size_t first = slot_of(hash) / (2 * span) * (2 * span) + span;
    for (std::size_t slot = first; slot < first + span; ++slot) {
      directory_[slot] = added;
      owners_[slot] = static_cast<std::uint32_t>(shards_.size() - 1);
    }
    std::fill_n(groups, shard_groups, Group{});
    for (const Known& one : known) place(groups_of(one.hash), one.hash, one.number);
    for (const Known& one : known) half.size += (one.hash >> (64U - deeper)) & 1U;
    shards_[number].size -= half.size;
    return true;
  }

  void double_directory() {
    std::vector<Group*> directory(directory_.size() * 2);
    std::vector<std::uint32_t> owners(owners_.size() * 2);
    for (std::size_t i = 0; i < directory.size(); ++i) {
      directory[i] = directory_[i / 2];
      owners[i] = owners_[i / 2];
    }
    directory_ = std::move(directory);
    owners_ = std::move(owners);
    --slot_shift_;
  }

  static Groups make_chunk(std::size_t groups) {
    Groups chunk;
    chunk.reserve(groups);
    return chunk;
  }

  Group* add_groups() {
    if (chunks_.back().capacity() - chunks_.back().size() < shard_groups) {
      const bool is_ready = !spare_.empty();
      chunks_.push_back(
          is_ready ? std::move(spare_.back()) : make_chunk(chunks_.size() == 1 ? second_chunk_groups : chunk_groups));
      if (is_ready) spare_.pop_back();
    }
    Groups& chunk = chunks_.back();
    chunk.resize(chunk.size() + shard_groups);
    return chunk.data() + (chunk.size() - shard_groups);
  }

  struct Known {
    Hash hash;
    Number number;
  };

  /// What is in a shard, with the hashes, which only the records know: fetched ahead, for they lie anywhere.
  template <class R>
  std::vector<Known> contents(const Group* groups, const R& records) const {
    std::vector<Known> known;
    known.reserve(group_count_ * Group::capacity);
    for (std::size_t i = 0; i < group_count_; ++i) {
      for (std::size_t slot = 0; slot < Group::capacity; ++slot) {
        if (groups[i].tags[slot] != 0) known.push_back({0, groups[i].numbers[slot]});
      }
    }
    constexpr std::size_t ahead = 16;
    for (std::size_t i = 0; i < known.size(); ++i) {
      if (i + ahead < known.size()) records.prefetch(known[i + ahead].number);
      known[i].hash = records.hash_at(known[i].number);
    }
    return known;
  }

  void swap(KeyIndex& other) noexcept {
    std::swap(chunks_, other.chunks_);
    std::swap(spare_, other.spare_);
    std::swap(directory_, other.directory_);
    std::swap(owners_, other.owners_);
    std::swap(shards_, other.shards_);
    std::swap(group_count_, other.group_count_);
    std::swap(slot_shift_, other.slot_shift_);
    std::swap(size_, other.size_);
  }

  std::vector<Groups> chunks_;
  std::vector<Groups> spare_;  // chunks to come, if they have been reserved
  std::vector<Group*> directory_;
  std::vector<std::uint32_t> owners_;  // the shard of each place in the directory
  std::vector<Shard> shards_;
  std::size_t group_count_ = 1;  // of each shard
  unsigned slot_shift_ = 63;     // of a hash that has been shifted by one, to its place in the directory
  std::size_t size_ = 0;
};

}  // namespace registry::detail
