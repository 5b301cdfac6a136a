// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <type_traits>
#include <utility>

#include <registry/detail/chunked_array.hpp>
#include <registry/detail/huge_pages.hpp>
#include <registry/detail/key_index.hpp>
#include <registry/detail/linked_slab.hpp>
#include <registry/detail/prefetch.hpp>
#include <registry/key.hpp>

namespace registry::detail {

/// What is known of keys: a `T` for those that are stored, an `L` for those that are leased, all under one index, so
/// that one look-up says "stored", "leased" or neither. Records have numbers, which stay theirs until they are erased,
/// and never move but while the table is smaller than a chunk.
///
/// A key can also be just a name: it has its number, but nothing is stored under it, and `find` does not see it. So
/// others can keep what they know of a key by its number, before it is stored and beyond.
///
/// Hashes come from `hash` and are passed in, so that whoever looks a batch up computes each once and prefetches.
/// What throws (std::bad_alloc, std::length_error, what a copy of K or T throws) has changed nothing. One thread.
template <Key K, class T, class L>
class BlockTable {
 public:
  using Hash = KeyIndex::Hash;
  using Number = std::uint32_t;
  using Home = KeyIndex::Home;
  using LeaseType = L;
  static constexpr Number none = KeyIndex::none;
  static constexpr Number unsure = KeyIndex::unsure;

  struct Record {
    K key{};
    [[no_unique_address]] T value{};
  };
  struct LeaseRecord {
    K key{};
    L lease{};
  };
  using Leases = LinkedSlab<LeaseRecord>;

  enum class Kind : std::uint8_t { absent, stored, leased };
  struct Found {
    Kind kind = Kind::absent;
    Number number = none;
  };
  /// What a look-up needs beside the key: its hash, and a hint if there is one.
  struct LookUp {
    Hash hash = 0;
    Number hint = none;
  };

  BlockTable() = default;
  explicit BlockTable(KeyHash<K> hash) : hash_(hash) {}

  Hash hash(const K& key) const noexcept { return hash_(key); }

  /// The two accesses of a look-up, to be started ahead: the second reads what the first has fetched, and answers with
  /// a hint for `find`, good as long as `erasures` stays what it is.
  [[gnu::always_inline]] Home prefetch_index(Hash hash) const noexcept { return index_.prefetch(hash); }
  [[gnu::always_inline]] Number prefetch_record(Home home, Hash hash) const noexcept {
    const Number candidate = KeyIndex::candidate(home, hash);
    if (candidate < unsure) {
      records().prefetch(candidate);
    } else if (candidate == unsure) {
      index_.prefetch_farther(hash);
    }
    return candidate;
  }
  /// Where that hint was `unsure`: the second access once more, for one key of some dozens.
  [[gnu::always_inline]] Number prefetch_farther_record(Hash hash) const noexcept {
    const Number candidate = index_.farther_candidate(hash);
    if (candidate < unsure) records().prefetch(candidate);
    return candidate;
  }

  /// How often a record was erased.
  std::uint64_t erasures() const noexcept { return erasures_; }

  Found find(const K& key, Hash hash) const {
    const Number number = index_.find(hash, [&](Number candidate) { return is_known(candidate, key); });
    return number == none ? Found{} : found(number);
  }
  [[gnu::always_inline]] Found find(const K& key, Hash hash, Number hint) const {
    return hint < unsure && is_known(hint, key) ? found(hint) : find_without_hint(key, hash);
  }

  /// The number of a key that is stored or a name, or `none`.
  Number number_of(const K& key, Hash hash) const {
    const Number number = index_.find(
        hash, [&](Number candidate) { return !is_lease(candidate) && entries_[candidate & ~name_bit].key == key; });
    return number == none ? none : number & ~name_bit;
  }

  Record& operator[](Number number) noexcept { return entries_[number]; }
  const Record& operator[](Number number) const noexcept { return entries_[number]; }

  /// Entries that are stored.
  std::size_t size() const noexcept { return size_; }

  /// Has the memory for so many entries and leases, and has touched it.
  void reserve(std::size_t entries, std::size_t leases) {
    entries_.populate(entries);
    free_.reserve(entries);  // not touched: only who removes a lot ever fills it, a small page at a time
    leases_.populate(leases);
    index_.reserve(entries + leases);
  }

  /// All numbers that there have been are less.
  std::size_t numbers() const noexcept { return entries_.size(); }

  /// Stores a key that is not stored, as `find` has just said; a name keeps its number. A lease on it is no longer
  /// found by its key; its record stays until it is erased, and `superseded` says which it is.
  Number store(K key, Hash hash, T value, Found before) {
    const Number lease = before.kind == Kind::leased ? before.number | lease_bit : none;
    Number number = names_ > 0 ? number_of(key, hash) : none;
    if (number != none) {
      entries_[number].value = std::move(value);
      --names_;
      index_.replace(hash, number | name_bit, number);
      if (lease != none) index_.erase(hash, lease);
    } else {
      number = take_number();
      put_to_use(number, [&] {
        entries_[number] = {std::move(key), std::move(value)};
        if (lease != none) {
          index_.replace(hash, lease, number);
        } else {
          index_.insert(hash, number, records());
        }
      });
    }
    superseded_ = before.number;
    if (lease != none) ++erasures_;
    ++size_;
    return number;
  }

  /// The lease that was on this key, which is stored, when it was stored, or `none`: a registration that ends it need
  /// not look for it. Known of the last key only that was stored, and only until that lease is erased. So nothing is
  /// lost or wrong if nobody asks.
  Number superseded(const K& key) const noexcept {
    return superseded_ != none && leases_[superseded_].key == key ? superseded_ : none;
  }

  /// Forgets an entry and returns what was stored.
  T erase(Number number, Hash hash) noexcept {
    --size_;
    ++erasures_;
    T value = std::exchange(entries_[number].value, T{});
    if (keeps_names_) {
      index_.replace(hash, number, number | name_bit);
      ++names_;
    } else {
      index_.erase(hash, number);
      free_number(number);
    }
    return value;
  }

  /// From now on, what is erased stays a name until it is erased as such.
  void keep_names() noexcept { keeps_names_ = true; }

  /// Gives a number to a key that has none.
  Number add_name(const K& key, Hash hash) {
    const Number number = take_number();
    put_to_use(number, [&] {
      entries_[number].key = key;
      index_.insert(hash, number | name_bit, records());
    });
    ++names_;
    return number;
  }

  void erase_name(Number number) noexcept {
    index_.erase(hash(entries_[number].key), number | name_bit);
    free_number(number);
    --names_;
  }

  Leases& leases() noexcept { return leases_; }
  const Leases& leases() const noexcept { return leases_; }

  /// Adds a lease on a key that is neither stored nor leased, at the back of `order`.
  Number add_lease(typename Leases::List& order, const K& key, Hash hash, L lease) {
    if (leases_.size() >= lease_bit - 2) throw std::length_error("more than 2^31 - 2 leases");
    const Number number = leases_.push_back(order, {key, std::move(lease)});
    try {
      index_.insert(hash, number | lease_bit, records());
    } catch (...) {
      leases_.erase(order, number);
      throw;
    }
    return number;
  }

  /// Forgets a lease, also one whose key has been stored meanwhile.
  void erase_lease(typename Leases::List& order, Number number, Hash hash) noexcept {
    // Its number may be that of another key's lease soon.
    if (superseded_ == number) superseded_ = none;
    index_.erase(hash, number | lease_bit);
    leases_.erase(order, number);
    ++erasures_;
  }

 private:
  /// What a number in the index refers to: a lease, a name or, with neither bit, an entry.
  static constexpr Number lease_bit = 0x8000'0000;
  static constexpr Number name_bit = 0x4000'0000;
  static bool is_lease(Number number) noexcept { return (number & lease_bit) != 0; }
  static Found found(Number number) noexcept {
    return is_lease(number) ? Found{Kind::leased, number & ~lease_bit} : Found{Kind::stored, number};
  }
  const K& key_of(Number number) const noexcept {
    return is_lease(number) ? leases_[number & ~lease_bit].key : entries_[number & ~name_bit].key;
  }
  /// Whether the number is that of this key, and not a mere name.
  bool is_known(Number number, const K& key) const noexcept {
    return number < name_bit ? entries_[number].key == key
                             : is_lease(number) && leases_[number & ~lease_bit].key == key;
  }

  /// Out of the way of those with a hint.
  [[gnu::noinline]] Found find_without_hint(const K& key, Hash hash) const { return find(key, hash); }

  Number take_number() {
    if (!free_.empty()) {
      const Number number = free_.back();
      free_.pop_back();
      return number;
    }
    if (entries_.size() >= name_bit) throw std::length_error("a table of more than 2^30 entries");
    free_.reserve(entries_.size() + 1);  // so that giving one back cannot fail
    entries_.push_back({});
    return static_cast<Number>(entries_.size() - 1);
  }

  /// Puts a number to use that was taken; if that throws, it is free again.
  template <class Use>
  void put_to_use(Number number, Use use) {
    try {
      use();
    } catch (...) {
      // What there is in the record by now is let go only where that cannot throw as well.
      if constexpr (std::is_nothrow_move_assignable_v<Record>) entries_[number] = Record{};
      free_.push_back(number);
      throw;
    }
  }

  void free_number(Number number) noexcept {
    entries_[number] = Record{};
    free_.push_back(number);
  }

  /// What the index asks for when it grows.
  struct Records {
    const BlockTable& table;

    std::uint64_t hash_at(Number number) const noexcept { return table.hash_(table.key_of(number)); }
    [[gnu::always_inline]] void prefetch(Number number) const noexcept {
      if (is_lease(number)) {
        prefetch_line(&table.leases_[number & ~lease_bit]);
      } else {
        prefetch_line(&table.entries_[number & ~name_bit]);
      }
    }
  };
  Records records() const noexcept { return {*this}; }

  KeyHash<K> hash_;
  KeyIndex index_;
  ChunkedArray<Record, HugePageAllocator<Record>> entries_;
  ChunkedArray<Number> free_;
  Leases leases_;
  std::size_t size_ = 0;
  std::size_t names_ = 0;
  bool keeps_names_ = false;
  std::uint64_t erasures_ = 0;
  Number superseded_ = none;
};

}  // namespace registry::detail
