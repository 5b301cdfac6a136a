// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <sys/types.h>

#include "dedup/files.hpp"
#include "dedup/hashing.hpp"

namespace dedup {

inline constexpr std::size_t max_block_size = std::size_t{16} << 20U;

/// A directory, a file or a symbolic link of a stored tree. Of the mode only the permissions are kept.
struct ManifestEntry {
  enum class Kind { directory, file, link };
  Kind kind{};
  std::string name;  // relative, of plain parts
  mode_t mode = 0;
  std::string target;           // of a link
  std::uint64_t size = 0;       // of a file
  std::size_t first_block = 0;  // of a file: where its blocks begin in Manifest::blocks
};

struct Manifest {
  std::size_t block_size = 0;
  std::vector<ManifestEntry> entries;
  std::vector<Key128> blocks;

  std::size_t block_count(const ManifestEntry& file) const;
  /// The size of the block at `index` of a file: the last one may be short.
  std::size_t size_of_block(const ManifestEntry& file, std::size_t index) const;
};

/// Reads and checks a manifest. Its names lead nowhere but below the directory that it is restored to. Throws
/// std::runtime_error with the line, what was expected there and what stood there.
Manifest read_manifest(const fs::path& path);

/// Writes a manifest, a line each:
///     dedup-manifest 1
///     block-size BYTES
///     dir MODE NAME
///     file MODE BYTES NAME, and behind it a line per block with its digest
///     link NAME TARGET
///     end ENTRIES
/// Names are written as `escaped` does. The file appears with `commit`, or not at all.
class ManifestWriter {
 public:
  ManifestWriter(fs::path path, std::size_t block_size);

  void directory(const std::string& name, mode_t mode);
  void file(const std::string& name, mode_t mode, std::uint64_t size, const std::vector<Key128>& blocks);
  void link(const std::string& name, const std::string& target);
  void commit();

 private:
  void put(const std::string& text);
  void hand_over();

  fs::path path_;
  TemporaryFile file_;
  std::string buffer_;
  std::uint64_t entries_ = 0;
};

}  // namespace dedup
