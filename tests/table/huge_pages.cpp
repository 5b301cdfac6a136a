// SPDX-License-Identifier: Apache-2.0
// What shall lie in huge pages: where it begins, how much it is, and that the system is asked for them.
#include <registry/detail/chunked_array.hpp>
#include <registry/detail/key_index.hpp>
#include <registry/detail/linked_slab.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "support/catch.hpp"
#include "table/huge_page.hpp"

using registry::detail::ChunkedArray;
using registry::detail::HugePageAllocator;
using registry::detail::KeyIndex;
using registry::test::huge_page;

namespace {

struct Advice {
  std::uintptr_t begin;
  std::size_t size;
};

std::vector<Advice> advised;

std::size_t advised_bytes() {
  std::size_t bytes = 0;
  for (const Advice& one : advised) {
    CHECK(one.begin % huge_page == 0);
    CHECK(one.size % huge_page == 0);
    bytes += one.size;
  }
  return bytes;
}

std::uint64_t hash_of(std::uint32_t number) {
  std::uint64_t hash = number * 0x9e37'79b9'7f4a'7c15U;
  hash ^= hash >> 32U;
  hash *= 0xd6e8'feb8'6659'fd93U;
  return hash ^ hash >> 32U;
}

struct Records {
  std::uint64_t hash_at(std::uint32_t number) const { return hash_of(number); }
  void prefetch(std::uint32_t) const {}
};

void fill(KeyIndex& index, std::uint32_t size) {
  for (auto number = static_cast<std::uint32_t>(index.size()); number < size; ++number) {
    index.insert(hash_of(number), number, Records{});
  }
}

template <std::size_t Size>
std::size_t advised_for_elements(std::size_t count) {
  advised.clear();
  using Element = std::array<std::byte, Size>;
  ChunkedArray<Element, HugePageAllocator<Element>> array;
  for (std::size_t i = 0; i < count; ++i) array.push_back({});
  return advised_bytes();
}

}  // namespace

// In the place of the C library's, which it calls.
extern "C" int madvise(void* memory, std::size_t size, int advice) noexcept {
  if (advice == MADV_HUGEPAGE) advised.push_back({reinterpret_cast<std::uintptr_t>(memory), size});
  return static_cast<int>(syscall(SYS_madvise, memory, size, advice));
}

TEST_CASE("a large index lies in huge pages, a small one does not") {
  advised.clear();
  KeyIndex index;
  fill(index, 100'000);
  CHECK(advised_bytes() == 0);
  fill(index, 3'000'000);
  // Five bytes a number are the least that it can do with, and the first chunk is a small one's.
  CHECK(advised_bytes() > 3'000'000 * 5 - huge_page);
  CHECK(advised_bytes() < 3'000'000 * 12);
}

TEST_CASE("the chunks of an array are whole huge pages, whatever the size of its elements") {
  CHECK(advised_for_elements<8>(1'000'000) == 4 * huge_page);
  CHECK(advised_for_elements<16>(1'000'000) == 8 * huge_page);
  CHECK(advised_for_elements<24>(1'000'000) == 12 * huge_page);
  CHECK(advised_for_elements<40>(1'000'000) == 20 * huge_page);
  CHECK(advised_for_elements<56>(1'000'000) == 28 * huge_page);
  CHECK(advised_for_elements<88>(1'000'000) == 44 * huge_page);
}

TEST_CASE("chunks of elements of an odd size are not larger for being whole pages than 32 MiB") {
  using Odd = std::array<std::byte, 257>;
  CHECK(ChunkedArray<Odd, HugePageAllocator<Odd>>::chunk_size == 65'536);
  using Larger = std::array<std::byte, 2 * huge_page>;
  CHECK(ChunkedArray<Larger, HugePageAllocator<Larger>>::chunk_size == 1);
}

TEST_CASE("an array in huge pages is small as long as it has little, and moves no more than a page's worth at once") {
  advised.clear();
  using Element = std::array<std::byte, 56>;
  ChunkedArray<Element, HugePageAllocator<Element>> array;
  const std::size_t small = huge_page / 2 / sizeof(Element);
  array.reserve(small);
  for (std::size_t i = 0; i < small; ++i) array.push_back({});
  CHECK(advised_bytes() == 0);
  array.reserve(huge_page / sizeof(Element) + 1);
  CHECK(advised_bytes() == 7 * huge_page);
  const Element* const first = &array[0];
  for (std::size_t i = small; i < decltype(array)::chunk_size; ++i) array.push_back({});
  CHECK(&array[0] == first);
  CHECK(advised.size() == 1);
}
