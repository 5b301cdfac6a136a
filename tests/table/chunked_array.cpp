// SPDX-License-Identifier: Apache-2.0
#include "support/count_allocations.hpp"

#include <registry/detail/chunked_array.hpp>

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include <sys/resource.h>

#include "support/allocation_counter.hpp"
#include "support/catch.hpp"
#include "table/huge_page.hpp"

using namespace registry::test;
using registry::detail::ChunkedArray;
using registry::detail::HugePageAllocator;

namespace {

/// So large that there are few to a chunk, and a test passes through many chunks.
struct Large {
  std::uint64_t id = 0;
  std::array<std::byte, 100'000> rest{};
};
using Larges = ChunkedArray<Large>;

template <class T>
bool is_aligned(const T& element, std::size_t bytes) {
  return reinterpret_cast<std::uintptr_t>(&element) % bytes == 0;
}

/// Pages that this process has touched for the first time.
long pages_touched() {
  rusage usage{};
  REQUIRE(getrusage(RUSAGE_SELF, &usage) == 0);
  return usage.ru_minflt;
}

}  // namespace

TEST_CASE("an array that has been populated touches no new memory as it grows, and takes none") {
  constexpr std::size_t size = 4'000'000;
  ChunkedArray<std::uint64_t> array;
  array.push_back(7);
  array.populate(size);
  CHECK(array.size() == 1);
  CHECK(array[0] == 7);
  const long before = pages_touched();
  const std::size_t asked = allocated_by([&] {
    for (std::uint64_t i = 1; i < size; ++i) array.push_back(i);
  });
  CHECK(pages_touched() - before < 100);  // of some 8,000
  CHECK(asked == 0);
  CHECK(array.back() == size - 1);
}

TEST_CASE("a chunk is of 2 to 4 MiB") {
  CHECK(ChunkedArray<std::uint32_t>::chunk_size * sizeof(std::uint32_t) == huge_page);
  CHECK(ChunkedArray<std::array<std::byte, 24>>::chunk_size == 131'072);
  CHECK(Larges::chunk_size == 32);
  CHECK(ChunkedArray<std::array<std::byte, huge_page + 1>>::chunk_size == 1);
}

TEST_CASE("an array of chunks holds what a vector would") {
  std::mt19937_64 random{5};
  Larges array;
  std::vector<std::uint64_t> model;
  bool same = true;
  // Up to five chunks and back to none, several times.
  for (int wave = 0; wave < 4; ++wave) {
    for (const bool grows : {true, false}) {
      while (grows ? model.size() < 5 * Larges::chunk_size : !model.empty()) {
        if (model.empty() || (random() % 4 != 0) == grows) {
          model.push_back(random());
          array.push_back({model.back(), {}});
        } else {
          model.pop_back();
          array.pop_back();
        }
        same = same && array.size() == model.size() && array.empty() == model.empty();
        if (model.empty()) continue;
        const std::size_t any = random() % model.size();
        same = same && array[any].id == model[any] && array.back().id == model.back();
      }
    }
  }
  CHECK(same);
}

TEST_CASE("what is past the first chunk never moves") {
  Larges array;
  for (std::size_t i = 0; i <= Larges::chunk_size; ++i) array.push_back({i, {}});
  const Large* const first = &array[0];
  const Large* const last = &array.back();
  for (std::size_t i = array.size(); i < 6 * Larges::chunk_size; ++i) array.push_back({i, {}});
  CHECK(&array[0] == first);
  CHECK(&array[Larges::chunk_size] == last);
}

TEST_CASE("chunks begin with a cache line, and huge ones with a huge page") {
  ChunkedArray<std::uint64_t> small;
  ChunkedArray<std::uint64_t, HugePageAllocator<std::uint64_t>> huge;
  constexpr std::size_t chunk = decltype(small)::chunk_size;
  for (std::size_t i = 0; i < 3 * chunk; ++i) {
    small.push_back(i);
    huge.push_back(i);
    if (std::has_single_bit(i + 1)) CHECK(is_aligned(small[0], 64));
  }
  for (std::size_t i = 0; i < 3 * chunk; i += chunk) {
    CHECK(is_aligned(small[i], 64));
    CHECK(is_aligned(huge[i], huge_page));
  }
}

TEST_CASE("growing asks for a chunk at a time, and never for all there is at once") {
  ChunkedArray<std::uint64_t> array;
  const Allocations asked = allocations_of([&] {
    for (std::uint64_t i = 0; i < 2'000'000; ++i) array.push_back(i);
  });
  CHECK(asked.largest == huge_page);
  // The first chunk doubles until it is full; those behind it are asked for once.
  CHECK(asked.total < 2'000'000 * sizeof(std::uint64_t) + 3 * huge_page);
  bool same = true;
  for (std::uint64_t i = 0; i < 2'000'000; ++i) same = same && array[i] == i;
  CHECK(same);
}

TEST_CASE("a small array asks for little") {
  CHECK(allocated_by([] {
          ChunkedArray<std::uint64_t> array;
          for (std::uint64_t i = 0; i < 100; ++i) array.push_back(i);
          CHECK(array.back() == 99);
        }) < 4096);
}

TEST_CASE("once there is room for an element, pushing it allocates nothing and so cannot fail") {
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{31}, std::size_t{32}, std::size_t{33},
                                 std::size_t{64}, std::size_t{100}}) {
    CAPTURE(size);
    Larges fresh;
    fresh.reserve(size);
    const Large element;
    CHECK(allocated_by([&] {
            while (fresh.size() < size) fresh.push_back(element);
          }) == 0);

    // Also where there is something already, and for no more than was asked.
    Larges begun;
    begun.push_back({7, {}});
    begun.reserve(size);
    begun.reserve(size / 2);
    CHECK(begun.size() == 1);
    CHECK(begun[0].id == 7);
    CHECK(allocated_by([&] {
            while (begun.size() < size) begun.push_back(element);
          }) == 0);
  }
}

TEST_CASE("there is room also for a few more in an array that has just grown") {
  for (std::size_t held = 1; held < 2 * Larges::chunk_size; ++held) {
    Larges array;
    while (array.size() < held) array.push_back({});
    array.reserve(held + 3);
    const Large element;
    CHECK(allocated_by([&] {
            while (array.size() < held + 3) array.push_back(element);
          }) == 0);
  }
}

TEST_CASE("room that was popped is used again") {
  Larges array;
  for (std::size_t i = 0; i < 3 * Larges::chunk_size; ++i) array.push_back({i, {}});
  CHECK(allocated_by([&] {
          while (!array.empty()) array.pop_back();
          while (array.size() < 3 * Larges::chunk_size) array.push_back({1, {}});
        }) == 0);
}

TEST_CASE("an array for which there is no more memory is as it was") {
  ChunkedArray<std::uint64_t> array;
  std::size_t failures = 0;
  constexpr std::uint64_t size = 600'000;  // two chunks and a part
  for (std::uint64_t i = 0; i < size; ++i) {
    const bool reserves = i % 3 == 0;
    for (std::size_t left = 0;; ++left) {
      const bool failed = fails_with_allocations(left, [&] { reserves ? array.reserve(i + 2) : array.push_back(i); });
      if (!failed) break;
      ++failures;
      CHECK(array.size() == i);
    }
    if (reserves) array.push_back(i);
  }
  CHECK(failures > 10);
  bool same = array.size() == size;
  for (std::uint64_t i = 0; i < size; ++i) same = same && array[i] == i;
  CHECK(same);
}

TEST_CASE("what is popped is let go at once") {
  const auto value = std::make_shared<int>(1);
  ChunkedArray<std::shared_ptr<int>> array;
  array.push_back(value);
  CHECK(value.use_count() == 2);
  array.pop_back();
  CHECK(value.use_count() == 1);
}

TEST_CASE("an array moves as a whole, and leaves an empty one") {
  Larges array;
  for (std::size_t i = 0; i < 40; ++i) array.push_back({i, {}});
  Larges moved{std::move(array)};
  CHECK(moved.size() == 40);
  CHECK(moved[39].id == 39);
  CHECK(array.empty());
  array.push_back({1, {}});
  CHECK(array.back().id == 1);
  array = std::move(moved);
  CHECK(array.size() == 40);
  CHECK(array[39].id == 39);
  CHECK(moved.empty());
}
