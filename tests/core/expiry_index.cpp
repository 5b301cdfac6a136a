// SPDX-License-Identifier: Apache-2.0
#include <registry/core/expiry_index.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <unordered_map>
#include <vector>

#include <registry/core/instant.hpp>

#include "core/times.hpp"
#include "support/allocation_counter.hpp"
#include "support/catch.hpp"

using namespace registry;
using namespace registry::test;
using namespace std::chrono_literals;

namespace {

using Index = ExpiryIndex<std::uint64_t>;

std::vector<std::uint64_t> drain(Index& index, WallTime now) {
  std::vector<std::uint64_t> keys;
  while (const auto key = index.first_over(now)) {
    keys.push_back(*key);
    index.erase(*key);
  }
  return keys;
}

}  // namespace

TEST_CASE("a key is over from the second of its end on") {
  Index index;
  CHECK(index.empty());
  index.set(1, wall_start);
  CHECK_FALSE(index.empty());
  const WallTime before = WallTime{wall_start} - 1us;
  CHECK_FALSE(index.is_over(1, before));
  CHECK(index.first_over(before) == std::nullopt);
  CHECK(index.is_over(1, WallTime{wall_start}));
  CHECK(index.first_over(WallTime{wall_start}) == 1U);
  CHECK(index.first_over(WallTime{wall_start}) == 1U);
  CHECK_FALSE(index.is_over(2, WallTime{wall_start} + 1h));
}

TEST_CASE("the earliest end comes first, and within a second the first set") {
  Index index;
  index.set(1, wall_start + 2s);
  index.set(2, wall_start + 1s);
  index.set(3, wall_start + 3s);
  index.set(4, wall_start + 1s);
  CHECK(drain(index, wall_start + 2s) == std::vector<std::uint64_t>{2, 4, 1});
  CHECK(drain(index, wall_start + 3s) == std::vector<std::uint64_t>{3});
  CHECK(index.empty());
}

TEST_CASE("a new end replaces the old one, and none clears it") {
  Index index;
  index.set(1, wall_start);
  index.set(1, wall_start + 5s);
  CHECK_FALSE(index.is_over(1, WallTime{wall_start}));
  CHECK(index.first_over(WallTime{wall_start}) == std::nullopt);
  CHECK(index.is_over(1, WallTime{wall_start + 5s}));
  index.set(1, std::nullopt);
  CHECK(index.empty());
  CHECK_FALSE(index.is_over(1, WallTime{wall_start + 5s}));
  index.set(2, std::nullopt);
  CHECK(index.empty());
}

TEST_CASE("erasing a key leaves the others of its second") {
  Index index;
  for (std::uint64_t key = 1; key <= 3; ++key) index.set(key, wall_start);
  index.erase(2);
  index.erase(2);
  index.erase(9);
  CHECK(drain(index, wall_start) == std::vector<std::uint64_t>{1, 3});
  CHECK(index.empty());
}

TEST_CASE("an end for which there is no memory leaves nothing behind") {
  for (const bool second_is_new : {true, false}) {
    Index index;
    if (!second_is_new) index.set(9, wall_start);
    std::size_t failures = 0;
    std::size_t left = 0;
    // Enough keys that each of the three containers has to grow at some point.
    for (std::uint64_t key = 100; key < 140; ++key) {
      const auto end = second_is_new ? wall_start + std::chrono::seconds{key} : wall_start;
      while (fails_with_allocations(left, [&] { index.set(key, end); })) {
        ++failures;
        ++left;
        CHECK_FALSE(index.is_over(key, WallTime{wall_start + 1h}));
      }
      left = 0;
    }
    CHECK(failures > 0);
    CHECK(drain(index, wall_start + 1h).size() == (second_is_new ? 40 : 41));
    CHECK(index.empty());
  }
}

TEST_CASE("an index of ends holds what a map would") {
  Index index;
  std::unordered_map<std::uint64_t, std::chrono::sys_seconds> model;
  std::mt19937_64 random{21};
  bool same = true;
  for (int step = 0; step < 200'000; ++step) {
    const std::uint64_t key = random() % 60'000;
    const auto now = WallTime{wall_start} + std::chrono::seconds{random() % 100};
    const auto known = model.find(key);
    same = same && index.is_over(key, now) == (known != model.end() && now >= known->second);
    if (random() % 4 == 0) {
      index.erase(key);
      model.erase(key);
    } else {
      const auto end = wall_start + std::chrono::seconds{random() % 100};
      index.set(key, end);
      model[key] = end;
    }
  }
  CHECK(same);
  CHECK(model.size() > 30'000);
  const auto keys = drain(index, WallTime{wall_start + 100s});
  CHECK(keys.size() == model.size());
  CHECK(std::is_sorted(
      keys.begin(), keys.end(), [&](std::uint64_t a, std::uint64_t b) { return model.at(a) < model.at(b); }));
  CHECK(index.empty());
}

TEST_CASE("ends that are gone leave no memory behind") {
  Index index;
  index.set(0, wall_start);
  const Allocations asked = allocations_of([&] {
    for (std::uint64_t key = 1; key < 20'000; ++key) {
      index.set(key, wall_start + 1s);
      index.erase(key);
    }
  });
  CHECK(asked.largest < 1'000);
  CHECK(drain(index, wall_start + 1s) == std::vector<std::uint64_t>{0});
}

TEST_CASE("an index of ends grows without asking for much at once") {
  Index index;
  const Allocations asked = allocations_of([&] {
    for (std::uint64_t key = 0; key < 400'000; ++key) index.set(key, wall_start + std::chrono::seconds{key % 60});
  });
  // A chunk of ends of 24 bytes that is whole huge pages; only address space, until they are touched.
  CHECK(asked.largest <= 6U << 20U);
  CHECK(index.is_over(399'999, WallTime{wall_start + 60s}));
}
