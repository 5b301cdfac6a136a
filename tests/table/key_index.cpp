// SPDX-License-Identifier: Apache-2.0
#include <registry/detail/key_index.hpp>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <numeric>
#include <random>
#include <stdexcept>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

#include <registry/key.hpp>

#include "support/allocation_counter.hpp"
#include "support/catch.hpp"

using namespace registry::test;
using registry::detail::KeyIndex;

namespace {

using Hash = KeyIndex::Hash;
using Number = KeyIndex::Number;

/// Places in a shard, which the first one has before there is a second.
constexpr std::size_t shard_places = 1280 * 12;

/// An index with the hashes of the numbers in it, given by the test.
struct Indexed {
  KeyIndex index;
  std::vector<Hash> hashes;

  Hash hash_at(Number number) const noexcept { return hashes[number]; }
  void prefetch(Number number) const noexcept { registry::detail::prefetch_line(&hashes[number]); }

  void insert(Number number) { index.insert(hashes[number], number, *this); }
  void erase(Number number) { index.erase(hashes[number], number); }
  bool contains(Number number) const {
    return index.find(hashes[number], [&](Number candidate) { return candidate == number; }) == number;
  }
  std::size_t count(Number end) const {
    std::size_t found = 0;
    for (Number number = 0; number < end; ++number) found += contains(number) ? 1U : 0U;
    return found;
  }
};

std::vector<Hash> random_hashes(std::size_t count, std::uint64_t seed) {
  std::mt19937_64 random{seed};
  std::vector<Hash> hashes(count);
  std::generate(hashes.begin(), hashes.end(), std::ref(random));
  return hashes;
}

std::vector<Number> shuffled(std::size_t count, std::uint64_t seed) {
  std::vector<Number> numbers(count);
  std::iota(numbers.begin(), numbers.end(), 0U);
  std::shuffle(numbers.begin(), numbers.end(), std::mt19937_64{seed});
  return numbers;
}

}  // namespace

TEST_CASE("an empty index finds nothing") {
  const KeyIndex index;
  CHECK(index.size() == 0);
  CHECK(index.find(1, [](Number) { return true; }) == KeyIndex::none);
  CHECK(KeyIndex::candidate(index.prefetch(1), 1) == KeyIndex::none);
}

TEST_CASE("an index holds what a map from number to hash would") {
  constexpr std::size_t numbers = 60'000;
  std::mt19937_64 random{17};
  Indexed indexed;
  // Some hashes are alike in all bits, and some in those that choose the shard, the group or the byte of hash.
  indexed.hashes = random_hashes(numbers, 1);
  for (std::size_t i = 0; i < numbers; i += 7) {
    const Hash like = indexed.hashes[random() % numbers];
    const Hash masks[] = {~Hash{0}, 0xffff'0000'0000'0000, 0x0000'0000'ffff'ffff, 0x0000'00ff'0000'0000};
    const Hash mask = masks[random() % 4];
    indexed.hashes[i] = (indexed.hashes[i] & ~mask) | (like & mask);
  }
  std::vector<bool> model(numbers);
  std::size_t size = 0;
  bool same = true;
  // Grows over several splits, shrinks, and grows again.
  for (int step = 0; step < 600'000; ++step) {
    const auto number = static_cast<Number>(random() % numbers);
    same = same && indexed.contains(number) == model[number];
    const bool grows = step < 200'000 || step > 400'000;
    if (model[number] ? !grows || random() % 8 == 0 : grows || random() % 8 == 0) {
      model[number] ? indexed.erase(number) : indexed.insert(number);
      size += model[number] ? std::numeric_limits<std::size_t>::max() : 1;
      model[number] = !model[number];
    }
    same = same && indexed.index.size() == size;
  }
  CHECK(same);
  for (Number number = 0; number < numbers; ++number) same = same && indexed.contains(number) == model[number];
  CHECK(same);
  CHECK(size > 2 * shard_places);
}

TEST_CASE("a replaced number is found in the place of the old one, and erased like one that was inserted") {
  constexpr Number count = 30'000;
  Indexed indexed;
  indexed.hashes = random_hashes(count, 2);
  // The second half have the hashes of the first.
  std::copy_n(indexed.hashes.begin(), count / 2, indexed.hashes.begin() + count / 2);
  for (Number number = 0; number < count / 2; ++number) indexed.insert(number);
  for (Number number = 0; number < count / 2; ++number) {
    indexed.index.replace(indexed.hashes[number], number, number + count / 2);
  }
  CHECK(indexed.index.size() == count / 2);
  CHECK(indexed.count(count / 2) == 0);
  CHECK(indexed.count(count) == count / 2);
  for (Number number = count / 2; number < count; ++number) indexed.erase(number);
  CHECK(indexed.index.size() == 0);
  CHECK(indexed.count(count) == 0);
}

TEST_CASE("all keys are found after every stage of growth") {
  constexpr std::size_t count = 1'000'000;
  Indexed indexed;
  indexed.hashes = random_hashes(count, 3);
  std::size_t next_check = 1;
  for (Number number = 0; number < count; ++number) {
    indexed.insert(number);
    // From the first group over its doublings, to the first split, and then often enough to meet shards half split.
    if (number + 1 != next_check && number + 1 != count) continue;
    next_check += next_check < 20'000 ? next_check / 2 + 1 : 100'000;
    CAPTURE(number);
    REQUIRE(indexed.count(number + 1) == number + 1);
    REQUIRE(indexed.index.size() == number + 1);
  }
}

TEST_CASE("the first candidate is nearly always the one that is asked for, or it is farther on, as is said") {
  constexpr std::size_t count = 100'000;
  Indexed indexed;
  indexed.hashes = random_hashes(count, 4);
  for (Number number = 0; number < count; ++number) indexed.insert(number);
  std::size_t right = 0, farther = 0, farther_right = 0;
  for (Number number = 0; number < count; ++number) {
    const Hash hash = indexed.hashes[number];
    const Number candidate = KeyIndex::candidate(indexed.index.prefetch(hash), hash);
    REQUIRE(candidate != KeyIndex::none);
    right += candidate == number;
    if (candidate != KeyIndex::unsure) continue;
    indexed.index.prefetch_farther(hash);
    ++farther;
    farther_right += indexed.index.farther_candidate(hash) == number;
  }
  CHECK(right > count * 9 / 10);
  CHECK(farther > 0);
  CHECK(farther_right > farther / 2);
}

TEST_CASE("of a key that is not there, there is hardly a candidate") {
  constexpr std::size_t count = 100'000;
  Indexed indexed;
  indexed.hashes = random_hashes(count, 4);
  for (Number number = 0; number < count; ++number) indexed.insert(number);
  std::size_t none = 0, unsure = 0;
  for (const Hash hash : random_hashes(count, 8)) {
    const Number candidate = KeyIndex::candidate(indexed.index.prefetch(hash), hash);
    none += candidate == KeyIndex::none;
    unsure += candidate == KeyIndex::unsure;
  }
  CHECK(none > count * 8 / 10);
  CHECK(unsure > 0);
  CHECK(unsure < count / 10);
}

TEST_CASE("where a look-up begins can be read however the index has grown meanwhile") {
  constexpr std::size_t count = 100'000;
  Indexed indexed;
  indexed.hashes = random_hashes(count, 7);
  indexed.insert(0);
  const Hash first = indexed.hashes[0];
  const KeyIndex::Home home = indexed.index.prefetch(first);
  REQUIRE(KeyIndex::candidate(home, first) == 0);
  for (Number number = 1; number < count; ++number) {
    indexed.insert(number);
    const Number guess = KeyIndex::candidate(home, first);
    REQUIRE((guess >= KeyIndex::unsure || guess <= number));
  }
}

TEST_CASE("growing asks for little at once, and for no more than the keys need") {
  constexpr std::size_t count = 1'000'000;
  Indexed indexed;
  indexed.hashes = random_hashes(count, 5);
  const Allocations asked = allocations_of([&] {
    for (Number number = 0; number < count; ++number) indexed.insert(number);
  });
  CHECK(asked.largest <= 4U << 20U);
  // Beside what stays, 64 bytes for each group of twelve, every split asks for a list of what is in one shard.
  CHECK(asked.total < count * 48);
}

TEST_CASE("no insert asks for more hashes than one shard holds") {
  constexpr Number count = 200'000;
  struct {
    std::vector<Hash> hashes = random_hashes(count, 22);
    mutable std::size_t asked = 0;

    Hash hash_at(Number number) const noexcept {
      ++asked;
      return hashes[number];
    }
    void prefetch(Number number) const noexcept { registry::detail::prefetch_line(&hashes[number]); }
  } records;
  KeyIndex index;
  std::size_t most = 0;
  std::size_t all = 0;
  for (Number number = 0; number < count; ++number) {
    records.asked = 0;
    index.insert(records.hashes[number], number, records);
    most = std::max(most, records.asked);
    all += records.asked;
  }
  CHECK(most <= shard_places);
  // It does grow: each of them has been moved, most more than once.
  CHECK(all > count);
}

namespace {

/// What look-ups of keys cost whose hashes are given: the numbers that they ask about, which are the right one and
/// those that only look like it. Long ways and crowded groups show in it, and so do bytes of hash that are alike.
struct Cost {
  std::size_t asked_for_present = 0;
  std::size_t asked_for_absent = 0;
  std::size_t memory = 0;
};

template <class MakeKey>
Cost cost_of(MakeKey make_key, std::uint64_t seed) {
  constexpr std::size_t count = 100'000;
  const registry::KeyHash<std::invoke_result_t<MakeKey, std::uint64_t>> hash{seed};
  Indexed indexed;
  for (std::uint64_t i = 0; i < 2 * count; ++i) indexed.hashes.push_back(hash(make_key(i)));
  Cost cost;
  cost.memory = allocated_by([&] {
    for (Number number = 0; number < count; ++number) indexed.insert(number);
  });
  const auto ask = [&](Number number, std::size_t& asked) {
    indexed.index.find(indexed.hashes[number], [&](Number candidate) {
      ++asked;
      return candidate == number;
    });
  };
  for (Number number = 0; number < count; ++number) ask(number, cost.asked_for_present);
  for (Number number = count; number < 2 * count; ++number) ask(number, cost.asked_for_absent);
  return cost;
}

std::uint64_t reversed(std::uint64_t i) {
  std::uint64_t bits = 0;
  for (unsigned bit = 0; bit < 64; ++bit) bits |= (i >> bit & 1U) << (63U - bit);
  return bits;
}

}  // namespace

TEST_CASE("keys that somebody has chosen cost no more than random ones") {
  const std::uint64_t seed = GENERATE(std::uint64_t{99}, std::uint64_t{20'240'229});
  CAPTURE(seed);
  std::mt19937_64 random{6};
  const Cost usual = cost_of([&](std::uint64_t) { return random(); }, seed);
  const auto check_keys = [&](auto make_key) {
    const Cost cost = cost_of(make_key, seed);
    CHECK(cost.asked_for_present < usual.asked_for_present * 101 / 100);
    CHECK(cost.asked_for_absent < usual.asked_for_absent * 12 / 10);
    CHECK(cost.memory < usual.memory * 11 / 10);
  };
  // Of several words, which are hashed one after the other, any can be the one that somebody chooses, or all.
  const auto check = [&](auto make_number) {
    check_keys(make_number);
    check_keys([&](std::uint64_t i) { return registry::Key128{1, make_number(i)}; });
    check_keys([&](std::uint64_t i) { return registry::Key128{make_number(i), 1}; });
    check_keys([&](std::uint64_t i) {
      const std::uint64_t number = make_number(i);
      return registry::PositionalKey{number, number, static_cast<std::uint32_t>(number)};
    });
  };
  SECTION("in a row") {
    check([](std::uint64_t i) { return i; });
  }
  SECTION("backwards") {
    check([](std::uint64_t i) { return ~i; });
  }
  SECTION("multiples of powers of two") {
    for (const unsigned shift : {8U, 16U, 32U, 40U, 45U}) {
      CAPTURE(shift);
      check([&](std::uint64_t i) { return i << shift; });
    }
  }
  SECTION("bits reversed") { check(reversed); }
  SECTION("in a row, all with the same lower half") {
    check([](std::uint64_t i) { return i << 32U | 0xdead'beefU; });
  }
  SECTION("each half the same") {
    check([](std::uint64_t i) { return i << 32U | i; });
  }
  SECTION("a single bit apart") {
    check([](std::uint64_t i) { return (i / 64 + 1) * 0xd6e8'feb8'6659'fd93 ^ std::uint64_t{1} << (i % 64); });
  }
  SECTION("multiples of the hash's own multiplier") {
    check([](std::uint64_t i) { return i * 0x9e3779b97f4a7c15; });
  }
  SECTION("multiples of its inverse") {
    check([](std::uint64_t i) { return i * 0xf1de83e19937733d; });
  }
  SECTION("positions in a row, of one sequence") {
    check_keys([](std::uint64_t i) { return registry::PositionalKey{1, 2, static_cast<std::uint32_t>(i)}; });
  }
}

TEST_CASE("keys of one hash are all kept until there are too many, and that one is refused without a trace") {
  constexpr Hash hash = 0x0123'4567'89ab'cdef;
  Indexed indexed;
  indexed.hashes.assign(shard_places + 1, hash);
  const Allocations asked = allocations_of([&] {
    for (Number number = 0; number < shard_places; ++number) indexed.insert(number);
  });
  // Splitting does not part them, and is given up soon.
  CHECK(asked.largest <= 2U << 20U);
  CHECK_THROWS_AS(indexed.insert(shard_places), std::length_error);
  CHECK(indexed.index.size() == shard_places);
  CHECK(indexed.count(shard_places + 1) == shard_places);
  CHECK_FALSE(indexed.contains(shard_places));

  // Others do not suffer.
  const std::vector<Hash> others = random_hashes(5'000, hash);
  indexed.hashes.insert(indexed.hashes.end(), others.begin(), others.end());
  std::size_t refused = 0;
  for (auto number = Number{shard_places + 1}; number < indexed.hashes.size(); ++number) {
    try {
      indexed.insert(number);
    } catch (const std::length_error&) {
      ++refused;  // of the same first bits as the many
    }
  }
  CHECK(refused < others.size() / 16);
  CHECK(indexed.count(static_cast<Number>(indexed.hashes.size())) == shard_places + others.size() - refused);

  for (const Number number : shuffled(shard_places, 8)) indexed.erase(number);
  CHECK(indexed.count(static_cast<Number>(indexed.hashes.size())) == others.size() - refused);
  indexed.insert(3);
  CHECK(indexed.contains(3));
}

TEST_CASE("a group that more have passed than it can count forgets none of them") {
  constexpr Number crowd = 1'000;
  // One home for all: what does not fit goes past it, nearly a thousand times.
  Indexed indexed;
  indexed.hashes = random_hashes(crowd, 9);
  for (Hash& hash : indexed.hashes) hash |= 0xffff'ffffU;
  for (Number number = 0; number < crowd; ++number) indexed.insert(number);
  CHECK(indexed.count(crowd) == crowd);
  std::size_t left = crowd;
  bool all = true;
  // The last to come are those that passed most.
  for (Number number = 12; number < crowd; number += 2) {
    indexed.erase(number);
    --left;
    if (number % 50 == 0) all = all && indexed.count(crowd) == left;
  }
  CHECK(all);
  CHECK(indexed.count(crowd) == left);
  for (Number number = 12; number < crowd; number += 2) indexed.insert(number);
  CHECK(indexed.count(crowd) == crowd);
}

TEST_CASE("a look-up ends even where every group was once passed by more than it can count") {
  Indexed indexed;
  for (const Hash hash : {Hash{0x0123'4567'0000'0000}, Hash{0x0123'4567'8000'0000}}) {
    indexed.hashes.assign(shard_places, hash);
    for (Number number = 0; number < shard_places; ++number) indexed.insert(number);
    for (Number number = 0; number < shard_places; ++number) indexed.erase(number);
    CHECK(indexed.index.size() == 0);
    CHECK_FALSE(indexed.contains(1));
  }
}

TEST_CASE("where nothing goes past any more, a look-up ends") {
  constexpr Number crowd = 100;
  constexpr Number others = 40;
  constexpr Hash home = 0x1'8000'0000;
  // The crowd has one home in the middle; the others, with the same byte of hash, live where it spills to.
  Indexed indexed;
  indexed.hashes.assign(crowd, home);
  for (Number other = 0; other < others; ++other) {
    indexed.hashes.push_back(0x1'c000'0000 + other * Hash{0x3fff'ffff} / others);
  }
  const auto asked = [&] {
    std::vector<Number> candidates;
    indexed.index.find(home, [&](Number candidate) {
      candidates.push_back(candidate);
      return false;
    });
    return candidates;
  };
  for (Number number = 0; number < crowd; ++number) indexed.insert(number);
  const std::vector<Number> near_first = asked();
  REQUIRE(near_first.size() == crowd);
  for (std::size_t i = 12; i < crowd; ++i) indexed.erase(near_first[i]);
  for (Number number = crowd; number < crowd + others; ++number) indexed.insert(number);
  CHECK(asked().size() == 12);
  // Who stands behind a hole is found, and is what keeps the way open.
  for (std::size_t i = 12; i < 30; ++i) indexed.insert(near_first[i]);
  for (std::size_t i = 0; i < 12; ++i) indexed.erase(near_first[i]);
  CHECK(asked().size() >= 18);
  CHECK(indexed.count(crowd) == 18);
  for (std::size_t i = 12; i < 30; ++i) indexed.erase(near_first[i]);
  CHECK(asked().empty());
}

TEST_CASE("an index for which there is no more memory is as it was") {
  constexpr std::size_t count = 50'000;
  Indexed indexed;
  indexed.hashes = random_hashes(count, 10);
  std::size_t failures = 0;
  for (Number number = 0; number < count; ++number) {
    for (std::size_t left = 0; fails_with_allocations(left, [&] { indexed.insert(number); }); ++left) {
      ++failures;
      REQUIRE(indexed.index.size() == number);
      REQUIRE_FALSE(indexed.contains(number));
      REQUIRE(indexed.count(number) == number);
    }
  }
  CHECK(failures > 20);
  CHECK(indexed.count(count) == count);
}

TEST_CASE("an index moves as a whole, and leaves an empty one") {
  constexpr Number count = 20'000;
  Indexed indexed;
  indexed.hashes = random_hashes(count, 11);
  for (Number number = 0; number < count; ++number) indexed.insert(number);
  KeyIndex moved{std::move(indexed.index)};
  CHECK(moved.size() == count);
  CHECK(indexed.index.size() == 0);
  CHECK(indexed.count(count) == 0);
  for (Number number = 0; number < 100; ++number) indexed.insert(number);
  CHECK(indexed.count(count) == 100);
  indexed.index = std::move(moved);
  CHECK(indexed.count(count) == count);
  CHECK(indexed.index.size() == count);
  CHECK(moved.size() == 0);
}

TEST_CASE("an index that has been reserved takes little memory as it grows, and finds all") {
  // Most memory for each is needed when all shards have just been split.
  for (const Number size : {430'000U, 1'700'000U, 2'000'000U, 3'400'000U}) {
    CAPTURE(size);
    Indexed indexed{{}, random_hashes(size, 21)};
    indexed.index.reserve(size);
    const Allocations asked = allocations_of([&] {
      for (Number number = 0; number < size; ++number) indexed.insert(number);
    });
    // Otherwise it takes two huge pages at a time, or one.
    CHECK(asked.largest < std::size_t{1} << 20U);
    CHECK(indexed.count(size) == size);
    KeyIndex moved = std::move(indexed.index);
    indexed.index = std::move(moved);
    CHECK(indexed.count(size) == size);
  }
}

TEST_CASE("an index that is in use is reserved no less, and what it has already counts") {
  constexpr Number size = 1'700'000;
  for (const Number before : {Number{1}, Number{20'000}, Number{1'000'000}}) {
    CAPTURE(before);
    Indexed indexed{{}, random_hashes(size, 22)};
    for (Number number = 0; number < before; ++number) indexed.insert(number);
    indexed.index.reserve(size);
    CHECK(allocations_of([&] { indexed.index.reserve(size); }).total == 0);
    const Allocations asked = allocations_of([&] {
      for (Number number = before; number < size; ++number) indexed.insert(number);
    });
    CHECK(asked.largest < std::size_t{1} << 20U);
    CHECK(indexed.count(size) == size);
  }
}
