// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <new>
#include <utility>
#include <vector>

#include <sys/mman.h>

namespace registry::detail {

/// Memory for large arrays: from 2 MiB on in huge pages, where the system has them. A random access to a catalogue of a
/// gigabyte then costs no walk through page tables; memory that is not touched yet costs nothing either way.
template <class T>
struct HugePageAllocator {
  using value_type = T;
  static constexpr std::size_t page = std::size_t{2} << 20U;

  HugePageAllocator() = default;
  template <class U>
  explicit HugePageAllocator(const HugePageAllocator<U>&) noexcept {}

  T* allocate(std::size_t n) {
    const std::size_t bytes = n * sizeof(T);
    void* memory = ::operator new(bytes, alignment(bytes));
#ifdef MADV_HUGEPAGE
    if (bytes >= page) madvise(memory, bytes, MADV_HUGEPAGE);  // an advice: where it is not taken, nothing is lost
#endif
    return static_cast<T*>(memory);
  }

  void deallocate(T* memory, std::size_t n) noexcept { ::operator delete(memory, alignment(n * sizeof(T))); }

  friend bool operator==(const HugePageAllocator&, const HugePageAllocator&) noexcept { return true; }

 private:
  static std::align_val_t alignment(std::size_t bytes) noexcept {
    return std::align_val_t{bytes >= page ? page : alignof(T)};
  }
};

/// An array that grows without moving what is in it, once it is past its first chunk: a push costs the same whether
/// there are a thousand elements or a billion, and there are never two copies.
template <class T>
class ChunkedArray {
 public:
  /// Elements in a chunk: of 2 to 4 MiB, or of one element that is larger.
  static constexpr std::size_t chunk_size = std::bit_ceil((HugePageAllocator<T>::page + sizeof(T) - 1) / sizeof(T));

  ChunkedArray() = default;
  ChunkedArray(ChunkedArray&& other) noexcept
      : chunks_(std::exchange(other.chunks_, {})), size_(std::exchange(other.size_, 0)) {}
  ChunkedArray& operator=(ChunkedArray&& other) noexcept {
    chunks_ = std::exchange(other.chunks_, {});
    size_ = std::exchange(other.size_, 0);
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
    if (size_ == chunks_.size() * chunk_size) add_chunk();
    chunks_[size_ / chunk_size].push_back(std::move(value));
    ++size_;
  }

  void pop_back() noexcept {
    --size_;
    chunks_[size_ / chunk_size].pop_back();
  }

  /// Sees to it that a `push_back` up to this size cannot fail for want of memory.
  void reserve(std::size_t size) {
    while (size > chunks_.size() * chunk_size) add_chunk();
    if (size == 0) return;
    if (Chunk& first = chunks_.front(); size > first.capacity() && first.capacity() < chunk_size) {
      first.reserve(std::min(std::bit_ceil(size), chunk_size));
    }
  }

 private:
  using Chunk = std::vector<T, HugePageAllocator<T>>;

  void add_chunk() {
    Chunk chunk;
    if (!chunks_.empty()) chunk.reserve(chunk_size);
    chunks_.push_back(std::move(chunk));
  }

  std::vector<Chunk> chunks_;
  std::size_t size_ = 0;
};

}  // namespace registry::detail
