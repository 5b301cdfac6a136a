// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dedup/text.hpp"

namespace dedup {

namespace fs = std::filesystem;

/// Throws what errno says about an operation on a path.
[[noreturn]] inline void fail(const char* operation, const fs::path& path) {
  throw std::system_error(errno, std::generic_category(), std::string{operation} + " " + escaped(path.native()));
}

/// A file descriptor, closed in the end.
class Descriptor {
 public:
  Descriptor(const fs::path& path, int flags, mode_t mode = 0)
      : number_(::open(path.c_str(), flags | O_CLOEXEC, mode)) {
    if (number_ < 0) fail("open", path);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }

  int number() const noexcept { return number_; }

  /// Closes it now, and says whether that went well: some file systems report a failed write only here.
  bool close() noexcept { return ::close(std::exchange(number_, -1)) == 0; }

 private:
  int number_;
};

/// A regular file, read from its beginning. It is not opened through a symbolic link, nor does opening wait for
/// anybody: what the walk saw may have been replaced meanwhile.
class InputFile {
 public:
  explicit InputFile(fs::path path) : path_(std::move(path)), descriptor_(path_, O_RDONLY | O_NOFOLLOW | O_NONBLOCK) {
    if (::fstat(descriptor_.number(), &status_) != 0) fail("look at", path_);
    if (!S_ISREG(status_.st_mode)) {
      errno = EINVAL;
      fail("open as a regular file", path_);
    }
  }

  mode_t mode() const noexcept { return status_.st_mode & 0777U; }

  /// Fills the buffer, less only at the end of the file; how much of it.
  std::size_t read(std::span<std::byte> buffer) {
    std::size_t filled = 0;
    while (filled < buffer.size()) {
      const ssize_t got = ::read(descriptor_.number(), buffer.data() + filled, buffer.size() - filled);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) fail("read", path_);
      if (got == 0) break;
      filled += static_cast<std::size_t>(got);
    }
    return filled;
  }

 private:
  fs::path path_;
  Descriptor descriptor_;
  struct stat status_{};
};

/// A file that comes into being whole: it is written under a temporary name and gets its own with `rename_to`. Without
/// that it vanishes. It is not synced: after a crash of the machine it may be there without its bytes.
class TemporaryFile {
 public:
  /// In a directory on the file system of its later name.
  explicit TemporaryFile(const fs::path& directory, mode_t mode = 0666)
      : path_(directory / unique_name()), descriptor_(path_, O_WRONLY | O_CREAT | O_EXCL, mode) {}
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile() {
    if (!path_.empty()) ::unlink(path_.c_str());
  }

  void write(std::span<const std::byte> data) {
    while (!data.empty()) {
      const ssize_t put = ::write(descriptor_.number(), data.data(), data.size());
      if (put < 0 && errno == EINTR) continue;
      if (put < 0) fail("write", path_);
      data = data.subspan(static_cast<std::size_t>(put));
    }
  }

  void write(std::string_view text) { write(std::as_bytes(std::span{text})); }

  void set_mode(mode_t mode) {
    if (::fchmod(descriptor_.number(), mode) != 0) fail("set the mode of", path_);
  }

  void close() {
    if (!descriptor_.close()) fail("write", path_);
  }

  /// After `close`. False if the directory of the name is not there; throws for other failures.
  bool rename_to(const fs::path& name) {
    if (::rename(path_.c_str(), name.c_str()) != 0) {
      if (errno == ENOENT) return false;
      fail("rename a temporary file to", name);
    }
    path_.clear();
    return true;
  }

 private:
  /// Unique among all machines that share the directory.
  static std::string unique_name() {
    std::array<unsigned char, 12> bytes;
    randombytes_buf(bytes.data(), bytes.size());
    std::string name = ".tmp-";
    for (const unsigned char byte : bytes) {
      name += hex_digits[byte >> 4U];
      name += hex_digits[byte & 15U];
    }
    return name;
  }

  fs::path path_;
  Descriptor descriptor_;
};

}  // namespace dedup
