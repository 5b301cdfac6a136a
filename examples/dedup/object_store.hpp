// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <registry/value.hpp>

#include "dedup/files.hpp"
#include "dedup/hashing.hpp"

namespace dedup {

/// A directory as a store of objects, in place of S3: `objects/ab/cdef...` holds the block whose digest is abcdef...;
/// what is being written lies in `tmp/`. Any number of processes may use it at a time. A process that is killed can
/// leave a file in `tmp/`, never half an object.
class ObjectStore {
 public:
  explicit ObjectStore(fs::path directory) : directory_(std::move(directory)) {}

  /// Makes the directories, for who means to write.
  void create() const {
    fs::create_directories(directory_ / "objects");
    fs::create_directories(directory_ / "tmp");
  }

  const fs::path& directory() const noexcept { return directory_; }

  static registry::StorageLocation location(const Key128& key, std::size_t size) {
    return {registry::StorageBackend::object, object_name(key), size};
  }

  static std::string object_name(const Key128& key) {
    const std::string hex = to_hex(key);
    return "objects/" + hex.substr(0, 2) + "/" + hex.substr(2);
  }

  /// Whether the object is there, with this size.
  bool contains(const Key128& key, std::size_t size) const {
    std::error_code error;
    const auto found = fs::file_size(directory_ / object_name(key), error);
    return !error && found == size;
  }

  /// Writes the object; it appears whole or not at all.
  void write(const Key128& key, std::span<const std::byte> data) const {
    const fs::path name = directory_ / object_name(key);
    TemporaryFile file(directory_ / "tmp");
    file.write(data);
    file.close();
    if (file.rename_to(name)) return;
    fs::create_directory(name.parent_path());
    if (!file.rename_to(name)) fail("rename a temporary file to", name);
  }

  /// Reads the object at `name` and checks that it is the block `key` of `size` bytes.
  std::vector<std::byte> read(const std::string& name, const Key128& key, std::size_t size) const {
    InputFile file(directory_ / name);
    std::vector<std::byte> data(size + 1);
    data.resize(file.read(data));
    if (data.size() != size) {
      throw std::runtime_error("object " + escaped(name) + ": expected " + std::to_string(size) + " bytes, got " +
                               (data.size() > size ? "more" : std::to_string(data.size())));
    }
    if (const Key128 got = hash(data); got != key) {
      throw std::runtime_error(
          "object " + escaped(name) + ": expected content of the digest " + to_hex(key) + ", got " + to_hex(got));
    }
    return data;
  }

 private:
  fs::path directory_;
};

}  // namespace dedup
