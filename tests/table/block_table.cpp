// SPDX-License-Identifier: Apache-2.0
#include <registry/detail/block_table.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <stdexcept>
#include <unordered_map>
#include <utility>
#include <vector>

#include <registry/detail/look_ahead.hpp>
#include <registry/key.hpp>

#include "support/allocation_counter.hpp"
#include "support/catch.hpp"

using namespace registry::test;
using registry::KeyHash;
using registry::detail::BlockTable;

namespace {

using Key = std::uint64_t;
using Table = BlockTable<Key, std::uint64_t, std::uint64_t>;
using Kind = Table::Kind;
using Number = Table::Number;

Table table_of(std::uint64_t seed) { return Table{KeyHash<Key>{seed}}; }

template <class T>
Number store(BlockTable<Key, T, std::uint64_t>& table, Key key, T value) {
  const auto hash = table.hash(key);
  return table.store(key, hash, std::move(value), table.find(key, hash));
}

template <class T>
T erase(BlockTable<Key, T, std::uint64_t>& table, Key key) {
  return table.erase(table.find(key, table.hash(key)).number, table.hash(key));
}

Kind kind(const Table& table, Key key) { return table.find(key, table.hash(key)).kind; }
Number number_of(const Table& table, Key key) { return table.number_of(key, table.hash(key)); }

/// A table beside maps that say what must be in it.
class Run {
 public:
  Run(Key keys, bool keeps_names) : random_(keys), keys_(keys), keeps_names_(keeps_names), table_(table_of(keys)) {
    if (keeps_names) table_.keep_names();
  }

  void step(bool grows) {
    const Key key = random_() % keys_;
    check(key);
    const bool is_stored = stored.contains(key);
    const bool is_leased = leased.contains(key);
    switch (random_() % 8) {
      case 0:
      case 1:
      case 2:
        if (is_stored) {
          table_[table_.find(key, hash(key)).number].value = stored[key].value = random_();
        } else if (grows || random_() % 8 == 0) {
          const std::uint64_t value = random_();
          const Number number = store(table_, key, value);
          if (named.contains(key)) {
            agree(number == named[key]);
            named.erase(key);
            ++came_back;
          }
          stored[key] = {number, value};
          // As a registration does, but not always at once.
          if (is_leased && random_() % 2 == 0) erase_lease(key);
          taken_over += is_leased ? 1U : 0U;
        }
        break;
      case 3:
        if (!is_stored && !is_leased) {
          const std::uint64_t lease = random_();
          leased[key] = {table_.add_lease(order_, key, hash(key), lease), lease};
        }
        break;
      case 4:
        if (is_leased) erase_lease(key);
        break;
      case 5:
        if (named.contains(key)) {
          table_.erase_name(named[key]);
          named.erase(key);
        } else if (!is_stored && random_() % 2 == 0) {
          named[key] = table_.add_name(key, hash(key));
        }
        break;
      default:
        if (is_stored && (!grows || random_() % 4 == 0)) {
          // What waits for a lease that was taken over would be found no more: a hub ends it first.
          if (is_leased) erase_lease(key);
          agree(erase(table_, key) == stored[key].value);
          if (keeps_names_) named[key] = stored[key].number;
          stored.erase(key);
        }
    }
    check(key);
    agree(table_.size() == stored.size() && table_.leases().size() == leased.size());
  }

  void check_all() {
    std::vector<std::uint64_t> hashes;
    for (Key key = 0; key < keys_; ++key) hashes.push_back(hash(key));
    registry::detail::look_ahead(table_, hashes, [&](std::size_t key, Number hint) {
      check(key, hint);
      if (!stored.contains(key)) return;
      ++hints;
      right_hints += hint == stored[key].number ? 1U : 0U;
    });
  }

  struct Known {
    Number number;
    std::uint64_t value;
  };
  std::unordered_map<Key, Known> stored, leased;
  std::unordered_map<Key, Number> named;
  std::size_t hints = 0;  // for stored keys
  std::size_t right_hints = 0;
  std::size_t taken_over = 0;
  std::size_t came_back = 0;
  bool same = true;

 private:
  Table::Hash hash(Key key) const { return table_.hash(key); }
  void agree(bool as_expected) { same = same && as_expected; }

  void check(Key key, Number hint = registry::detail::KeyIndex::none) {
    const auto found = table_.find(key, hash(key), hint);
    if (const auto it = stored.find(key); it != stored.end()) {
      agree(found.kind == Kind::stored && found.number == it->second.number);
      agree(table_[found.number].key == key && table_[found.number].value == it->second.value);
    } else if (const auto lease = leased.find(key); lease != leased.end()) {
      agree(found.kind == Kind::leased && found.number == lease->second.number);
    } else {
      agree(found.kind == Kind::absent);
    }
    const Number number = number_of(table_, key);
    if (const auto name = named.find(key); name != named.end()) {
      agree(number == name->second && table_[number].key == key && table_[number].value == 0);
    } else {
      agree(stored.contains(key) ? number == stored[key].number : number == Table::none);
    }
    if (const auto lease = leased.find(key); lease != leased.end()) {
      const auto& record = table_.leases()[lease->second.number];
      agree(record.key == key && record.lease == lease->second.value);
    }
  }

  void erase_lease(Key key) {
    table_.erase_lease(order_, leased[key].number, hash(key));
    leased.erase(key);
  }

  std::mt19937_64 random_;
  Key keys_;
  bool keeps_names_;
  Table table_;
  Table::Leases::List order_;
};

}  // namespace

TEST_CASE("a table holds what maps of stored, leased and named keys would") {
  const bool keeps_names = GENERATE(false, true);
  for (const Key keys : {Key{30}, Key{3'000}, Key{60'000}}) {
    CAPTURE(keys, keeps_names);
    Run run{keys, keeps_names};
    for (int step = 0; step < 200'000; ++step) run.step(step / 50'000 % 2 == 0);
    CHECK(run.same);
    run.check_all();
    CHECK(run.same);
    CHECK(run.taken_over > 1'000);
    CHECK(run.hints > 0);
    CHECK(run.right_hints > run.hints * 9 / 10);
    CHECK(run.came_back > 1'000);
    CHECK_FALSE(run.stored.empty());
    CHECK_FALSE(run.leased.empty());
    CHECK_FALSE(run.named.empty());
  }
}

TEST_CASE("a key is absent, leased, stored, and absent again") {
  Table table = table_of(1);
  Table::Leases::List order;
  CHECK(kind(table, 7) == Kind::absent);
  const Number lease = table.add_lease(order, 7, table.hash(7), 70);
  CHECK(kind(table, 7) == Kind::leased);
  CHECK(table.size() == 0);
  const Number number = store<std::uint64_t>(table, 7, 700);
  CHECK(kind(table, 7) == Kind::stored);
  CHECK(table.find(7, table.hash(7)).number == number);
  CHECK(table.size() == 1);
  // The record of the lease waits to be erased, and takes nothing with it.
  CHECK(table.leases().size() == 1);
  CHECK(table.leases()[lease].lease == 70);
  table.erase_lease(order, lease, table.hash(7));
  CHECK(table.leases().size() == 0);
  CHECK(order.empty());
  CHECK(kind(table, 7) == Kind::stored);
  CHECK(erase(table, 7) == 700);
  CHECK(kind(table, 7) == Kind::absent);
  CHECK(table.size() == 0);
}

TEST_CASE("the lease that was on a key when it was stored is known until it is erased, and taken for no other's") {
  BlockTable<Key, std::uint64_t, std::uint64_t> table = table_of(1);
  Table::Leases::List order;
  const Number lease = table.add_lease(order, 7, table.hash(7), 70);
  store<std::uint64_t>(table, 7, 700);
  CHECK(table.superseded(7) == lease);
  CHECK(table.superseded(8) == Table::none);
  table.erase_lease(order, lease, table.hash(7));
  CHECK(table.superseded(7) == Table::none);
  // Where the record is free, its key is 0.
  CHECK(table.superseded(0) == Table::none);
  CHECK(table.add_lease(order, 8, table.hash(8), 80) == lease);
  CHECK(table.superseded(8) == Table::none);
  store<std::uint64_t>(table, 9, 900);
  CHECK(table.superseded(9) == Table::none);
  store<std::uint64_t>(table, 8, 800);
  store<std::uint64_t>(table, 10, 1000);
  CHECK(table.superseded(8) == Table::none);
}

TEST_CASE("a name is not stored, and what is stored under it has its number") {
  Table table = table_of(1);
  table.keep_names();
  Table::Leases::List order;
  const Number number = table.add_name(7, table.hash(7));
  CHECK(number_of(table, 7) == number);
  CHECK(kind(table, 7) == Kind::absent);
  CHECK(table.size() == 0);
  const Number lease = table.add_lease(order, 7, table.hash(7), 70);
  CHECK(kind(table, 7) == Kind::leased);
  CHECK(number_of(table, 7) == number);
  CHECK(store<std::uint64_t>(table, 7, 700) == number);
  CHECK(kind(table, 7) == Kind::stored);
  CHECK(table.size() == 1);
  table.erase_lease(order, lease, table.hash(7));
  CHECK(erase(table, 7) == 700);
  CHECK(number_of(table, 7) == number);
  CHECK(kind(table, 7) == Kind::absent);
  CHECK(table.size() == 0);
  table.erase_name(number);
  CHECK(number_of(table, 7) == Table::none);
  CHECK(store<std::uint64_t>(table, 8, 800) == number);
  CHECK(table.numbers() == 1);
}

TEST_CASE("leases stand in the order in which they were added") {
  Table table = table_of(2);
  Table::Leases::List order;
  for (Key key = 0; key < 5; ++key) table.add_lease(order, key, table.hash(key), key);
  table.erase_lease(order, table.find(2, table.hash(2)).number, table.hash(2));
  std::vector<Key> keys;
  for (Number at = order.front; at != Table::Leases::none; at = table.leases().next(at)) {
    keys.push_back(table.leases()[at].key);
  }
  CHECK(keys == std::vector<Key>{0, 1, 3, 4});
}

TEST_CASE("numbers are used again, the last freed first, and records stay where they are") {
  Table table = table_of(3);
  constexpr Key count = 300'000;  // two chunks and a part
  std::vector<Number> numbers;
  for (Key key = 0; key < count; ++key) numbers.push_back(store(table, key, key));
  const Table::Record* const record = &table[numbers[1]];
  erase(table, 5);
  erase(table, 100);
  CHECK(store<std::uint64_t>(table, count, 1) == numbers[100]);
  CHECK(store<std::uint64_t>(table, count + 1, 1) == numbers[5]);
  CHECK(store<std::uint64_t>(table, count + 2, 1) == count);
  for (Key key = count + 3; key < 2 * count; ++key) store(table, key, key);
  CHECK(&table[numbers[1]] == record);
  bool same = true;
  for (Key key = 0; key < count; ++key) {
    const auto found = table.find(key, table.hash(key));
    const bool is_stored = key != 5 && key != 100;
    same = same && (found.kind == Kind::stored) == is_stored && (!is_stored || found.number == numbers[key]);
  }
  CHECK(same);
}

TEST_CASE("an erased value is let go at once, not when its number is used again") {
  BlockTable<Key, std::shared_ptr<int>, std::uint64_t> table{KeyHash<Key>{4}};
  const auto value = std::make_shared<int>(1);
  store(table, 1, value);
  CHECK(value.use_count() == 2);
  erase(table, 1);
  CHECK(value.use_count() == 1);
}

TEST_CASE("a table for which there is no more memory is as it was") {
  // Every fifth key is named, every third leased before it is stored.
  constexpr Key count = 40'000;
  Table table = table_of(5);
  Table::Leases::List order;
  std::size_t failures = 0;
  Key stored = 0;
  std::size_t leased = 0;
  const auto none_changed = [&](Key key, Kind expected) {
    ++failures;
    std::size_t found = 0;
    for (Key one = 0; one < key; ++one) found += kind(table, one) == Kind::stored ? 1U : 0U;
    REQUIRE(found == stored);
    REQUIRE(kind(table, key) == expected);
    REQUIRE(table.size() == stored);
    REQUIRE(table.leases().size() == leased);
  };
  for (Key key = 0; key < count; ++key) {
    Kind before = Kind::absent;
    if (key % 5 == 0) {
      const auto name = [&] { table.add_name(key, table.hash(key)); };
      for (std::size_t left = 0; fails_with_allocations(left, name); ++left) {
        none_changed(key, before);
        REQUIRE(number_of(table, key) == Table::none);
      }
      // All that storing a named key needs it has.
      if (key % 3 != 0) REQUIRE_FALSE(fails_with_allocations(0, [&] { store(table, key, key); }));
      stored += key % 3 != 0 ? 1U : 0U;
      if (key % 3 != 0) continue;
    }
    if (key % 3 == 0) {
      const auto lease = [&] { table.add_lease(order, key, table.hash(key), key); };
      for (std::size_t left = 0; fails_with_allocations(left, lease); ++left) none_changed(key, before);
      before = Kind::leased;
      ++leased;
    }
    for (std::size_t left = 0; fails_with_allocations(left, [&] { store(table, key, key); }); ++left) {
      none_changed(key, before);
    }
    ++stored;
  }
  CHECK(failures > 50);
  CHECK(table.numbers() == count);  // no number is lost to a failure
  // Erasing needs no memory at all.
  CHECK_FALSE(fails_with_allocations(0, [&] {
    while (!order.empty()) table.erase_lease(order, order.front, table.hash(table.leases()[order.front].key));
    for (Key key = 0; key < count; ++key) erase(table, key);
  }));
  CHECK(table.size() == 0);
  CHECK(table.leases().size() == 0);
}

namespace {

/// A value that cannot be assigned at times.
struct Fragile {
  inline static bool breaks = false;

  Fragile() = default;
  Fragile(const Fragile&) = default;
  Fragile& operator=(const Fragile&) {
    if (breaks) throw std::runtime_error("broken");
    return *this;
  }
};

}  // namespace

TEST_CASE("no number is lost when a value cannot be assigned") {
  BlockTable<Key, Fragile, std::uint64_t> table{KeyHash<Key>{8}};
  const auto fails = [&](Key key) {
    Fragile::breaks = true;
    CHECK_THROWS_AS(store(table, key, Fragile{}), std::runtime_error);
    Fragile::breaks = false;
    CHECK(table.size() == 0);
    CHECK(table.find(key, table.hash(key)).kind == decltype(table)::Kind::absent);
  };
  fails(1);
  CHECK(store(table, 2, Fragile{}) == 0);
  CHECK(table.numbers() == 1);
  erase(table, 2);
  // Also one that had been used before, and that of a name.
  fails(3);
  const Number name = table.add_name(4, table.hash(4));
  fails(4);
  CHECK(store(table, 4, Fragile{}) == name);
  CHECK(table.size() == 1);
  CHECK(table.numbers() == 1);
}

TEST_CASE("a table moves as a whole") {
  Table table = table_of(6);
  Table::Leases::List order;
  for (Key key = 0; key < 20'000; ++key) {
    if (key % 2 == 0) store(table, key, key);
    if (key % 2 != 0) table.add_lease(order, key, table.hash(key), key);
  }
  const auto is_whole = [](const Table& one) {
    bool same = one.size() == 10'000 && one.leases().size() == 10'000;
    for (Key key = 0; key < 20'000; ++key) {
      same = same && kind(one, key) == (key % 2 == 0 ? Kind::stored : Kind::leased);
    }
    return same;
  };
  Table moved{std::move(table)};
  CHECK(is_whole(moved));
  table = table_of(7);
  store<std::uint64_t>(table, 1, 1);
  CHECK(kind(table, 1) == Kind::stored);
  CHECK(kind(table, 2) == Kind::absent);
  table = std::move(moved);
  CHECK(is_whole(table));
}
