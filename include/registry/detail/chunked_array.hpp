// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <new>
#include <type_traits>
#include <utility>
#include <vector>

#include <registry/detail/huge_pages.hpp>

namespace registry::detail {

/// Memory that begins with a cache line, so that elements whose size divides one lie in one each.
template <class T>
struct CacheLineAllocator {
  using value_type = T;

  CacheLineAllocator() = default;
  template <class U>
  explicit CacheLineAllocator(const CacheLineAllocator<U>&) noexcept {}

  T* allocate(std::size_t n) { return static_cast<T*>(::operator new(n * sizeof(T), alignment)); }
  void deallocate(T* memory, std::size_t n) noexcept { ::operator delete(memory, n * sizeof(T), alignment); }

  friend bool operator==(const CacheLineAllocator&, const CacheLineAllocator&) noexcept { return true; }

 private:
  static constexpr std::align_val_t alignment{std::max<std::size_t>(64, alignof(T))};
};

/// An array that grows without moving what is in it, once it is past its first chunk: a push costs the same whether
/// there are a thousand elements or a billion, and there are never two copies.
///
/// In huge pages (`HugePageAllocator`) it serves what is looked up at random, a batch at a time. Elsewhere they gain
/// nothing, and the first touch of one takes as long as that of 512 small ones, at once.
template <class T, class Allocator = CacheLineAllocator<T>>
class ChunkedArray {
 public:
  /// Elements in a chunk, a power of two: of 2 to 4 MiB, or of one element that is larger. In huge pages it is as many
  /// as fill a whole number of them, or where those would be very many, 16 to 32 MiB.
  static constexpr std::size_t chunk_size = [] {
    constexpr auto at_least = [](std::size_t bytes) { return std::bit_ceil((bytes + sizeof(T) - 1) / sizeof(T)); };
    constexpr std::size_t page = HugePageAllocator<T>::page;
    if (!std::is_same_v<Allocator, HugePageAllocator<T>>) return at_least(page);
    const std::size_t whole_pages = std::max<std::size_t>(page >> std::countr_zero(sizeof(T)), 1);
    return std::min(whole_pages, at_least(8 * page));
  }();

  ChunkedArray() = default;
  ChunkedArray(ChunkedArray&& other) noexcept
      : chunks_(std::exchange(other.chunks_, {})),
        size_(std::exchange(other.size_, 0)),
        room_(std::exchange(other.room_, 0)) {}
  ChunkedArray& operator=(ChunkedArray&& other) noexcept {
    chunks_ = std::exchange(other.chunks_, {});
    size_ = std::exchange(other.size_, 0);
    room_ = std::exchange(other.room_, 0);
    return *this;
  }
  ~ChunkedArray() = default;

  T& operator[](std::size_t i) noexcept { return chunks_[i / chunk_size][i % chunk_size]; }
  const T& operator[](std::size_t i) const noexcept { return chunks_[i / chunk_size][i % chunk_size]; }

  T& back() noexcept { return (*this)[size_ - 1]; }
  const T& back() const noexcept { return (*this)[size_ - 1]; }

  std::size_t size() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }

  void push_back(T value) {
    if (size_ == room_) make_room(size_ + 1);
    chunks_[size_ / chunk_size].push_back(std::move(value));
    ++size_;
  }

  void pop_back() noexcept {
    --size_;
    chunks_[size_ / chunk_size].pop_back();
  }

  /// Sees to it that a `push_back` up to this size cannot fail for want of memory.
  void reserve(std::size_t size) {
    if (size > room_) make_room(size);
  }

  /// As `reserve`, and touches the memory now, so that no later `push_back` has to.
  void populate(std::size_t size) {
    reserve(size);
    for (Chunk& chunk : chunks_) {
      touch_pages(chunk.data() + chunk.size(), (chunk.capacity() - chunk.size()) * sizeof(T));
    }
  }

 private:
  using Chunk = std::vector<T, Allocator>;

  [[gnu::noinline]] void make_room(std::size_t size) {
    if (chunks_.empty()) chunks_.emplace_back();
    Chunk& first = chunks_.front();
    if (first.capacity() < chunk_size) {
      // It doubles while that is less than a huge page, and then has its full size, of which nothing is touched but
      // what is moved there: so no more than a page's worth is ever moved.
      const std::size_t doubled = std::bit_ceil(size);
      first.reserve(doubled * sizeof(T) < HugePageAllocator<T>::page ? std::min(doubled, chunk_size) : chunk_size);
      room_ = first.capacity();
    }
    while (room_ < size) {
      Chunk chunk;
      chunk.reserve(chunk_size);
      chunks_.push_back(std::move(chunk));
      room_ += chunk_size;
    }
  }

  std::vector<Chunk> chunks_;
  std::size_t size_ = 0;
  std::size_t room_ = 0;  // for so many elements there is memory
};

}  // namespace registry::detail
