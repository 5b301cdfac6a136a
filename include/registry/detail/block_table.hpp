// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <utility>

#include <registry/detail/chunked_array.hpp>
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
  using LeaseType = L;
  static constexpr Number none = KeyIndex::none;

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

  BlockTable() = default;
  explicit BlockTable(KeyHash<K> hash) : hash_(hash) {}

  Hash hash(const K& key) const noexcept { return hash_(key); }

  /// The two accesses of a look-up, to be started ahead: the second reads what the first has fetched.
  [[gnu::always_inline]] void prefetch_index(Hash hash) const noexcept { index_.prefetch(hash); }
  [[gnu::always_inline]] void prefetch_record(Hash hash) const noexcept {
    if (const Number candidate = index_.candidate(hash); candidate != none) records().prefetch(candidate);
  }

  Found find(const K& key, Hash hash) const {
    const Number number = index_.find(hash, [&](Number candidate) {
      if (candidate < name_bit) return entries_[candidate].key == key;
      return is_lease(candidate) && leases_[candidate & ~lease_bit].key == key;
    });
    if (number == none) return {};
    if (is_lease(number)) return {Kind::leased, number & ~lease_bit};
    return {Kind::stored, number};
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

  /// All numbers that there have been are less.
  std::size_t numbers() const noexcept { return entries_.size(); }

  /// Stores a key that is not stored; a name keeps its number. A lease on it is no longer found by its key; its record
  /// stays until it is erased.
  Number store(K key, Hash hash, T value) {
    Number lease = none;
    Number name = none;
    index_.find(hash, [&](Number candidate) {
      if (is_lease(candidate)) {
        if (leases_[candidate & ~lease_bit].key == key) lease = candidate;
      } else if (entries_[candidate & ~name_bit].key == key) {
        name = candidate;
      }
      return false;
    });
    if (name == none) {
      const Number number = take_number();
      entries_[number] = {std::move(key), std::move(value)};
      if (lease != none) {
        index_.replace(hash, lease, number);
      } else {
        index_number(hash, number, number);
      }
      ++size_;
      return number;
    }
    const Number number = name & ~name_bit;
    entries_[number].value = std::move(value);
    index_.replace(hash, name, number);
    if (lease != none) index_.erase(hash, lease);
    ++size_;
    return number;
  }

  /// Forgets an entry and returns what was stored.
  T erase(Number number, Hash hash) noexcept {
    --size_;
    T value = std::exchange(entries_[number].value, T{});
    if (keeps_names_) {
      index_.replace(hash, number, number | name_bit);
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
    K name = key;
    const Number number = take_number();
    entries_[number].key = std::move(name);
    index_number(hash, number | name_bit, number);
    return number;
  }

  void erase_name(Number number) noexcept {
    index_.erase(hash(entries_[number].key), number | name_bit);
    free_number(number);
  }

  Leases& leases() noexcept { return leases_; }
  const Leases& leases() const noexcept { return leases_; }

  /// Adds a lease on a key that is neither stored nor leased, at the back of `order`.
  Number add_lease(typename Leases::List& order, const K& key, Hash hash, L lease) {
    if (leases_.size() >= lease_bit - 1) throw std::length_error("more than 2^31 - 1 leases");
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
    const Number reference = number | lease_bit;
    if (index_.find(hash, [&](Number candidate) { return candidate == reference; }) != none) {
      index_.erase(hash, reference);
    }
    leases_.erase(order, number);
  }

 private:
  /// What a number in the index refers to: a lease, a name or, with neither bit, an entry.
  static constexpr Number lease_bit = 0x8000'0000;
  static constexpr Number name_bit = 0x4000'0000;
  static bool is_lease(Number number) noexcept { return (number & lease_bit) != 0; }

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

  void free_number(Number number) noexcept {
    entries_[number] = Record{};
    free_.push_back(number);
  }

  void index_number(Hash hash, Number reference, Number number) {
    try {
      index_.insert(hash, reference, records());
    } catch (...) {
      free_number(number);
      throw;
    }
  }

  /// What the index asks for when it grows.
  struct Records {
    const BlockTable& table;

    std::uint64_t hash_at(Number number) const noexcept {
      return table.hash_(
          is_lease(number) ? table.leases_[number & ~lease_bit].key : table.entries_[number & ~name_bit].key);
    }
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
  ChunkedArray<Record> entries_;
  ChunkedArray<Number> free_;
  Leases leases_;
  std::size_t size_ = 0;
  bool keeps_names_ = false;
};

}  // namespace registry::detail
