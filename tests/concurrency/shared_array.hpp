// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <system_error>

namespace concurrency_test {

/// A file in memory, shared by threads and processes, seen as slots. A fresh file is all zeros, and so are its slots.
template <class Slot>
class SharedArray {
 public:
  SharedArray(const std::filesystem::path& file, std::size_t slots) : size_(slots * sizeof(Slot)) {
    const int descriptor = open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (descriptor < 0) fail("open " + file.string());
    void* memory = MAP_FAILED;
    if (ftruncate(descriptor, static_cast<off_t>(size_)) == 0) {
      memory = mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    }
    const int error = errno;
    close(descriptor);
    errno = error;
    if (memory == MAP_FAILED) fail("map " + file.string());
    slots_ = {static_cast<Slot*>(memory), slots};
  }
  SharedArray(const SharedArray&) = delete;
  SharedArray& operator=(const SharedArray&) = delete;
  ~SharedArray() { munmap(slots_.data(), size_); }

  std::span<Slot> slots() const { return slots_; }

 private:
  [[noreturn]] static void fail(const std::string& what) {
    throw std::system_error(errno, std::generic_category(), what);
  }

  std::size_t size_;
  std::span<Slot> slots_;
};

}  // namespace concurrency_test
