// SPDX-License-Identifier: Apache-2.0
#include "support/catch.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include <registry/key.hpp>

using namespace registry;

namespace {

using Digest = std::array<std::byte, 5>;

/// How full the fullest of 1,024 buckets is, chosen by ten bits of the hash, for 1,024,000 keys in a row.
template <class K, class MakeKey>
std::size_t fullest_bucket(unsigned shift, MakeKey make_key) {
  const KeyHash<K> hash{12345};
  std::vector<std::size_t> buckets(1024);
  for (std::uint64_t i = 0; i < 1024 * 1000; ++i) ++buckets[(hash(make_key(i)) >> shift) & 1023U];
  return *std::max_element(buckets.begin(), buckets.end());
}

}  // namespace

TEST_CASE("key_hex is the wire form, the first byte first") {
  CHECK(key_hex(std::uint64_t{0x0123456789abcdef}) == "efcdab8967452301");
  CHECK(key_hex(Key128{1, 2}) == "02000000000000000100000000000000");
  CHECK(key_hex(PositionalKey{1, 2, 3}) == "0100000000000000020000000000000003000000");
  CHECK(key_hex(Digest{std::byte{0}, std::byte{0xff}, std::byte{0x0a}, std::byte{0xa0}, std::byte{1}}) == "00ff0aa001");
}

TEST_CASE("a 128-bit key is ordered as the number that it is") {
  CHECK(Key128{0, 5} < Key128{1, 0});
  CHECK(Key128{1, 0} < Key128{1, 1});
}

TEST_CASE("one seed gives one hash, and another seed another") {
  const std::uint64_t key = 42;
  CHECK(KeyHash<std::uint64_t>{7}(key) == KeyHash<std::uint64_t>{7}(key));
  std::set<std::size_t> hashes;
  for (std::uint64_t seed = 0; seed < 1000; ++seed) hashes.insert(KeyHash<std::uint64_t>{seed}(key));
  CHECK(hashes.size() == 1000);
}

TEST_CASE("without a seed all tables of a process agree") {
  CHECK(KeyHash<Key128>{}(Key128{1, 2}) == KeyHash<Key128>{}(Key128{1, 2}));
  // Once in 2^64 processes this is not so.
  CHECK(KeyHash<Key128>{}(Key128{1, 2}) != KeyHash<Key128>{0}(Key128{1, 2}));
}

TEST_CASE("every bit of a key changes about half of the hash") {
  const auto worst_and_best = [](auto key, auto decode) {
    using K = decltype(key);
    const KeyHash<K> hash{99};
    std::pair<int, int> range{64, 0};
    for (std::size_t bit = 0; bit < wire<K>::size * 8; ++bit) {
      auto bytes = key_bytes(key);
      bytes[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
      const int changed = std::popcount(hash(key) ^ hash(decode(bytes)));
      range = {std::min(range.first, changed), std::max(range.second, changed)};
    }
    return range;
  };
  const auto decode_as = []<class K>(K) { return [](const auto& bytes) { return *wire_decode<K>(bytes); }; };
  const auto check = [&](auto key) {
    const auto [least, most] = worst_and_best(key, decode_as(key));
    CHECK(least >= 10);
    CHECK(most <= 54);
  };
  check(std::uint64_t{0x0123456789abcdef});
  check(std::uint32_t{77});
  check(Key128{1, 2});
  check(PositionalKey{1, 2, 3});
  check(Digest{std::byte{1}});
}

TEST_CASE("no bit of a hash tells a bit of the key, whatever the seed") {
  constexpr int rounds = 2'000;
  std::mt19937_64 random{5};
  std::array<std::array<int, 64>, 64> changes{};
  for (int round = 0; round < rounds; ++round) {
    const KeyHash<std::uint64_t> hash{random()};
    const std::uint64_t key = random() % 1'000'000;
    for (std::size_t in = 0; in < 64; ++in) {
      const std::uint64_t changed = hash(key) ^ hash(key ^ std::uint64_t{1} << in);
      for (std::size_t out = 0; out < 64; ++out) changes[in][out] += static_cast<int>(changed >> out & 1U);
    }
  }
  int least = rounds;
  int most = 0;
  for (const auto& of_bit : changes) {
    least = std::min(least, *std::min_element(of_bit.begin(), of_bit.end()));
    most = std::max(most, *std::max_element(of_bit.begin(), of_bit.end()));
  }
  // Half of them, give or take nine standard deviations.
  CHECK(least > 800);
  CHECK(most < 1'200);
}

TEST_CASE("keys in a row spread over the low, the middle and the high bits alike") {
  const auto number = [](std::uint64_t i) { return i; };
  const auto multiple = [](std::uint64_t i) { return i << 20U; };
  const auto position = [](std::uint64_t i) { return PositionalKey{1, 2, static_cast<std::uint32_t>(i)}; };
  for (const unsigned shift : {0U, 20U, 54U}) {
    CAPTURE(shift);
    // 1,000 on average; six standard deviations above it is 1,190.
    CHECK(fullest_bucket<std::uint64_t>(shift, number) < 1200);
    CHECK(fullest_bucket<std::uint64_t>(shift, multiple) < 1200);
    CHECK(fullest_bucket<PositionalKey>(shift, position) < 1200);
  }
}
