// SPDX-License-Identifier: Apache-2.0
#include <registry/core/expiry_index.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include <registry/core/instant.hpp>

#include "support/allocation_counter.hpp"
#include "support/catch.hpp"

using namespace registry;
using namespace registry::test;
using namespace std::chrono_literals;

namespace {

using Index = ExpiryIndex<std::uint64_t>;
constexpr std::chrono::sys_seconds start{1'700'000'000s};

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
  index.set(1, start);
  CHECK_FALSE(index.empty());
  const WallTime before = WallTime{start} - 1us;
  CHECK_FALSE(index.is_over(1, before));
  CHECK(index.first_over(before) == std::nullopt);
  CHECK(index.is_over(1, WallTime{start}));
  CHECK(index.first_over(WallTime{start}) == 1U);
  CHECK(index.first_over(WallTime{start}) == 1U);
  CHECK_FALSE(index.is_over(2, WallTime{start} + 1h));
}

TEST_CASE("the earliest end comes first, and within a second the first set") {
  Index index;
  index.set(1, start + 2s);
  index.set(2, start + 1s);
  index.set(3, start + 3s);
  index.set(4, start + 1s);
  CHECK(drain(index, start + 2s) == std::vector<std::uint64_t>{2, 4, 1});
  CHECK(drain(index, start + 3s) == std::vector<std::uint64_t>{3});
  CHECK(index.empty());
}

TEST_CASE("a new end replaces the old one, and none clears it") {
  Index index;
  index.set(1, start);
  index.set(1, start + 5s);
  CHECK_FALSE(index.is_over(1, WallTime{start}));
  CHECK(index.first_over(WallTime{start}) == std::nullopt);
  CHECK(index.is_over(1, WallTime{start + 5s}));
  index.set(1, std::nullopt);
  CHECK(index.empty());
  CHECK_FALSE(index.is_over(1, WallTime{start + 5s}));
  index.set(2, std::nullopt);
  CHECK(index.empty());
}

TEST_CASE("erasing a key leaves the others of its second") {
  Index index;
  for (std::uint64_t key = 1; key <= 3; ++key) index.set(key, start);
  index.erase(2);
  index.erase(2);
  index.erase(9);
  CHECK(drain(index, start) == std::vector<std::uint64_t>{1, 3});
  CHECK(index.empty());
}

TEST_CASE("an end for which there is no memory leaves nothing behind") {
  for (const bool second_is_new : {true, false}) {
    Index index;
    if (!second_is_new) index.set(9, start);
    std::size_t failures = 0;
    std::size_t left = 0;
    // Enough keys that each of the three containers has to grow at some point.
    for (std::uint64_t key = 100; key < 140; ++key) {
      const auto end = second_is_new ? start + std::chrono::seconds{key} : start;
      while (fails_with_allocations(left, [&] { index.set(key, end); })) {
        ++failures;
        ++left;
        CHECK_FALSE(index.is_over(key, WallTime{start + 1h}));
      }
      left = 0;
    }
    CHECK(failures > 0);
    CHECK(drain(index, start + 1h).size() == (second_is_new ? 40 : 41));
    CHECK(index.empty());
  }
}
