// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <new>

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

/// Writes to every page of memory that nothing lives in yet. The first touch of a page is where it costs time: some 0.2
/// ms for a huge one, and milliseconds where a hypervisor has to find the memory for it.
inline void touch_pages(void* memory, std::size_t bytes) noexcept {
  constexpr std::size_t small_page = 4096;
  auto* const at = static_cast<volatile std::byte*>(memory);
  for (std::size_t i = 0; i < bytes; i += small_page) at[i] = std::byte{0};
}

}  // namespace registry::detail
