// SPDX-License-Identifier: Apache-2.0
#include <registry/detail/look_ahead.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <vector>

#include "support/catch.hpp"

namespace {

/// Writes down when what was fetched, on a clock that every call advances. Every seventh key is farther on than where a
/// look-up begins.
struct Recorder {
  using Number = std::uint64_t;
  using Home = std::size_t;
  static constexpr std::size_t never = 0;
  static constexpr Number none = ~Number{0};
  static constexpr Number unsure = none - 1;
  mutable std::size_t now = 0;
  mutable std::vector<std::size_t> index, record, farther;
  mutable bool twice = false;

  explicit Recorder(std::size_t count) : index(count, never), record(count, never), farther(count, never) {}
  static bool is_farther(std::uint64_t hash) { return hash % 7 == 3; }
  Home prefetch_index(std::uint64_t hash) const {
    note(index[hash]);
    return hash + 500;
  }
  Number prefetch_record(Home home, std::uint64_t hash) const {
    note(record[hash]);
    return home != hash + 500 ? none : is_farther(hash) ? unsure : hash + 1000;
  }
  Number prefetch_farther_record(std::uint64_t hash) const {
    note(farther[hash]);
    return hash + 1000;
  }
  std::uint64_t erasures() const { return erased; }
  std::uint64_t erased = 0;

 private:
  void note(std::size_t& when) const {
    twice = twice || when != never;
    when = ++now;
  }
};

}  // namespace

TEST_CASE("every key of a batch has its turn, in order, when index and record have been asked for") {
  for (std::size_t count = 0; count <= 100; ++count) {
    CAPTURE(count);
    std::vector<std::uint64_t> hashes(count);
    std::iota(hashes.begin(), hashes.end(), std::uint64_t{0});
    const Recorder table{count};
    std::vector<std::size_t> turns;
    registry::detail::look_ahead(table, hashes, [&](std::size_t i, Recorder::Number hint) {
      CHECK(i == turns.size());
      CHECK(hint == i + 1000);
      turns.push_back(++table.now);
    });
    REQUIRE(turns.size() == count);
    CHECK_FALSE(table.twice);
    for (std::size_t i = 0; i < count; ++i) {
      CHECK(table.index[i] != Recorder::never);
      CHECK(table.record[i] > table.index[i]);
      CHECK(turns[i] > table.record[i]);
      CHECK((table.farther[i] != Recorder::never) == Recorder::is_farther(i));
      CHECK((!Recorder::is_farther(i) || (table.farther[i] > table.record[i] && turns[i] > table.farther[i])));
    }
  }
}

TEST_CASE("several turns lie between what is asked for and its use, and not more than a processor keeps") {
  constexpr std::size_t count = 200;
  std::vector<std::uint64_t> hashes(count);
  std::iota(hashes.begin(), hashes.end(), std::uint64_t{0});
  const Recorder table{count};
  std::vector<std::size_t> turns;
  registry::detail::look_ahead(table, hashes, [&](std::size_t, Recorder::Number) { turns.push_back(++table.now); });
  const auto turns_before = [&](std::size_t moment) {
    return static_cast<std::size_t>(std::lower_bound(turns.begin(), turns.end(), moment) - turns.begin());
  };
  bool index_in_time = true;
  bool record_in_time = true;
  bool farther_in_time = true;
  for (std::size_t i = 50; i < count; ++i) {
    const std::size_t asked_index = turns_before(table.index[i]);
    const std::size_t asked_record = turns_before(table.record[i]);
    index_in_time = index_in_time && asked_record - asked_index >= 8 && asked_record - asked_index <= 16;
    record_in_time = record_in_time && i - asked_record >= 8 && i - asked_record <= 16;
    if (!Recorder::is_farther(i)) continue;
    const std::size_t asked_farther = turns_before(table.farther[i]);
    farther_in_time = farther_in_time && asked_farther - asked_record >= 4 && i - asked_farther >= 4;
  }
  CHECK(index_in_time);
  CHECK(record_in_time);
  CHECK(farther_in_time);
}

TEST_CASE("after an erasure there are no hints until the next batch: what they point at may be gone") {
  std::vector<std::uint64_t> hashes(50);
  std::iota(hashes.begin(), hashes.end(), std::uint64_t{0});
  Recorder table{hashes.size()};
  registry::detail::look_ahead(table, hashes, [&](std::size_t i, Recorder::Number hint) {
    CHECK(hint == (i <= 20 ? i + 1000 : Recorder::none));
    if (i == 20) ++table.erased;
  });
}
